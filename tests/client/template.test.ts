import assert from "node:assert/strict";
import { test } from "node:test";
import { renderTemplate } from "../../client/template.ts";
import { parseEnvFile } from "../../client/template_files.ts";

const render = (text: string, options: { errorOnMissingKey?: boolean; left?: string; right?: string } = {}) =>
  renderTemplate(text, {
    left: options.left ?? "{{",
    right: options.right ?? "}}",
    errorOnMissingKey: options.errorOnMissingKey ?? false,
    env: { NOMAD_PORT_http: "21554", NAME: "web", EMPTY: "", LIST: "a,b,c" },
    readFile: (path) =>
      path === "local/x" ? "file!" : (() => {
        throw new Error("no such file");
      })(),
    nowMs: Date.UTC(2026, 0, 2, 3, 4, 5),
  });

test("renderTemplate evaluates like Go's text/template", () => {
  const cases: [string, string][] = [
    ["plain", "plain"],
    ['port={{ env "NOMAD_PORT_http" }}', "port=21554"],
    ['{{env "MISSING"}}|', "|"],
    ['{{ envOrDefault "EMPTY" "d" }}', "d"],
    ["a {{- /* gone */ -}} b", "ab"],
    ["a\n{{- 1 -}}\n b", "a1b"],
    ['{{ if env "EMPTY" }}yes{{ else if eq (env "NAME") "web" }}web{{ else }}no{{ end }}', "web"],
    ['{{ range $i, $x := split "," (env "LIST") }}{{ $i }}={{ $x }};{{ end }}', "0=a;1=b;2=c;"],
    ["{{ range loop 3 }}{{ . }}{{ end }}", "012"],
    ["{{ range loop 1 4 }}{{ if eq . 2 }}{{ continue }}{{ end }}{{ . }}{{ end }}", "13"],
    ['{{ range split "," "" }}x{{ else }}none{{ end }}', "none"],
    ['{{ with $n := env "NAME" }}{{ $n | toUpper }}{{ end }}', "WEB"],
    ["{{ $x := 1 }}{{ if true }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"],
    ['{{ with parseJSON "{\\"a\\":{\\"b\\":[1,2]}}" }}{{ index .a.b 1 }}{{ end }}', "2"],
    ['{{ (parseJSON `{"k":"v"}`).k }}', "v"],
    ['{{ printf "%s-%05d-%q-%.2f" "x" 42 "q" 1.5 }}', 'x-00042-"q"-1.50'],
    ["{{ 5 | subtract 2 }} {{ 7 | divide 2 }} {{ 2 | multiply 3 | add 1 }}", "3 3 7"],
    ['{{ "hello" | base64Encode | base64Decode | sha256Hex | len }}', "64"],
    ['{{ and 1 0 }}{{ or 0 "x" }}{{ not false }}', "0xtrue"],
    ['{{ file "local/x" }}', "file!"],
    [
      '{{ define "row" }}[{{ . }}]{{ end }}{{ range split "," "a,b" }}{{ template "row" . }}{{ end }}',
      "[a][b]",
    ],
    ["{{ timestamp }}", "2026-01-02T03:04:05Z"],
    ['{{ timestamp "2006-01-02T15:04:05Z07:00" }}', "2026-01-02T03:04:05Z"],
    [
      '{{ timestamp "Monday Mon January Jan _2 2 06 3:4:5PM 03pm MST -0700 002" }}',
      "Friday Fri January Jan  2 2 26 3:4:5AM 03am UTC +0000 002",
    ],
    ['{{ timestamp "15:04:05.000 05.999 05,00 at 1 o\'clock" }}', "03:04:05.000 05 05,00 at 1 o'clock"],
    ['{{ "a.b.c" | replaceAll "." "-" }} {{ "v1" | regexMatch "^v[0-9]$" }}', "a-b-c true"],
    ['{{ toJSON (split "," "a,b") }}', '["a","b"]'],
    ['{{ "x" | indent 4 }}', "    x"],
    ['{{ toJSON (parseJSON `{"b":1,"a":"<"}`) }}', '{"a":"\\u003c","b":1}'],
    ['{{ printf "%v" (parseJSON `{"a":[1,2.5]}`) }}', "map[a:[1 2.5]]"],
    ['{{ "abC dEf" | toTitle }} {{ trim "aa" "aabaa" }}', "AbC DEf b"],
  ];
  for (const [text, expected] of cases) assert.equal(render(text), expected, text);
  assert.equal(render('<% env "NAME" %>{{ }}', { left: "<%", right: "%>" }), "web{{ }}");
});

test("renderTemplate refuses what it does not know, by name and place", () => {
  const cases: [string, RegExp][] = [
    ['{{ key "a/b" }}', /line 1, column 4: function "key" needs Consul/],
    ['\n {{ nomadVar "x" }}', /line 2, column 5: function "nomadVar" needs Nomad variables/],
    ['{{ with secret "x" }}{{ end }}', /"secret" needs Vault/],
    ["{{ sprigThing 1 }}", /"sprigThing" is not known/],
    ["{{ constructor }}", /"constructor" is not known/],
    ["{{ if true }}x", /unexpected EOF/],
    ["{{ end }}", /unexpected \{\{end\}\}/],
    ["{{ env ", /line 1, column 3: unclosed action/],
    ['{{ template "x" }}', /template "x" not defined/],
    ['{{ mustEnv "NOPE" }}', /no variable "NOPE"/],
    ["{{ $y }}", /undefined variable: \$y/],
    ["{{ 1 | divide 0 }}", /division by zero/],
    ['{{ file "../../x" }}', /no such file/],
  ];
  for (const [text, expected] of cases) {
    assert.throws(
      () => render(text),
      expected,
      text,
    );
  }
  assert.equal(render('{{ (parseJSON "{}").x }}'), "<no value>");
  assert.throws(
    () => render('{{ (parseJSON "{}").x }}', { errorOnMissingKey: true }),
    /no entry for key "x"/,
  );
});

test("parseEnvFile reads what shells would", () => {
  assert.deepEqual(
    parseEnvFile(`# comment
A=1
export B = two words # tail
C="quoted # not a comment\\n" # comment
D='single \\n'

E=
`),
    { A: "1", B: "two words", C: "quoted # not a comment\n", D: "single \\n", E: "" },
  );
  assert.throws(() => parseEnvFile("A=1\nnonsense"), /env line 2 is not KEY=value/);
});
