import assert from "node:assert/strict";
import { test } from "node:test";
import { parseExact } from "../../cli/json_text.ts";
import { renderTemplate } from "../../core/go_template.ts";

const DATA = parseExact(
  '{"ID":"web","N":3,"Big":1795321057622614933,"F":0.5,"On":true,"Off":false,"Nil":null,"Tags":["a","b"],"M":{"k":"v","a":"b"},"L":[{"X":1},{"X":2}]}',
);

const CASES: [string, string][] = [
  ["{{.ID}} {{.N}} {{.Big}} {{.F}} {{.On}} {{.Nil}}", "web 3 1795321057622614933 0.5 true <nil>"],
  [
    "{{.}}",
    "map[Big:1795321057622614933 F:0.5 ID:web L:[map[X:1] map[X:2]] M:map[a:b k:v] N:3 Nil:<nil> Off:false On:true Tags:[a b]]",
  ],
  ["{{range .Tags}}<{{.}}>{{end}}", "<a><b>"],
  ["{{range $i, $t := .Tags}}{{$i}}={{$t}};{{end}}", "0=a;1=b;"],
  ["{{range $k, $v := .M}}{{$k}}={{$v}};{{end}}", "a=b;k=v;"],
  ["{{range .Nil}}x{{else}}none{{end}}", "none"],
  ["{{range 3}}{{.}}{{end}}", "012"],
  ["{{range .L}}{{if eq .X 1}}{{continue}}{{end}}{{.X}}{{break}}{{end}}", "2"],
  ["{{if .On}}y{{else}}n{{end}}{{if .Off}}y{{else if .Nil}}z{{else}}n{{end}}", "yn"],
  ["{{with .M}}{{.k}}{{end}}{{with .Nil}}x{{else}}empty{{end}}", "vempty"],
  ["{{$x := 1}}{{range .Tags}}{{$x = 2}}{{end}}{{$x}}", "2"],
  ["a {{- 1 -}} b", "a1b"],
  ["{{/* comment */}}x{{- /* other */ -}} y", "xy"],
  ['{{printf "%s-%05d|%-4s|%q|%v" .ID .N "x" "q" .Tags}}', 'web-00003|x   |"q"|[a b]'],
  ['{{printf "%.2f %x %t %5.1f%%" .F 255 .On 1.26}}', "0.50 ff true   1.3%"],
  ["{{len .Tags}}{{len .ID}}{{len .M}}", "232"],
  ['{{index .Tags 1}}{{index .M "k"}}{{slice .ID 1 2}}', "bve"],
  ["{{and .On .Off}} {{or .Off .ID}} {{not .On}}", "false web false"],
  ['{{eq .ID "x" "web"}} {{ne 1 2}} {{lt 1 2}} {{ge 2 2}} {{gt 1.5 2.5}}', "true true true true false"],
  ['{{.Tags | len | printf "%d!"}}', "2!"],
  ['{{define "row"}}[{{.}}]{{end}}{{range .Tags}}{{template "row" .}}{{end}}', "[a][b]"],
  ['{{block "b" .ID}}<{{.}}>{{end}}', "<web>"],
  ['{{html "<a>"}} {{urlquery "a b&c"}} {{print 1 2 "x" 3}}', "&lt;a&gt; a+b%26c 1 2x3"],
  ["{{(index .L 0).X}}{{$.ID}}", "1web"],
  ["{{\"a\\tb\"}}{{`raw\\n`}}{{'a'}}", "a\tbraw\\n97"],
];

for (const [template, expected] of CASES) {
  test(`renderTemplate ${template}`, () => assert.equal(renderTemplate(template, DATA), expected));
}

const ERRORS: [string, string][] = [
  ["{{range .L}}{{.Y}}{{end}}", `template: :1:14: executing "" at <.Y>: can't evaluate field Y in type T`],
  ["{{.ID", "template: :1: unclosed action"],
  ["{{if .ID}}x", "template: :1: unexpected EOF"],
  ["{{end}}", "template: :1: unexpected {{end}}"],
  ["{{nope .ID}}", 'template: :1: function "nope" not defined'],
  ["{{.ID 1}}", "template: :1:2: can't give argument to non-function .ID"],
  ['{{template "x"}}', 'template: :1:2: template "x" not defined'],
  [
    "{{index .Tags 9}}",
    'template: :1:2: executing "" at <index>: error calling index: reflect: slice index out of range',
  ],
  ["{{break}}", "template: :1: {{break}} outside {{range}}"],
  [
    "{{lt .ID 1}}",
    'template: :1:2: executing "" at <lt>: error calling lt: incompatible types for comparison',
  ],
];

for (const [template, message] of ERRORS) {
  test(`renderTemplate refuses ${template}`, () => {
    assert.throws(() => renderTemplate(template, DATA, { typeName: "T" }), {
      name: "TemplateError",
      message,
    });
  });
}

test("renderTemplate stops a template that calls itself", () => {
  assert.throws(
    () => renderTemplate('{{define "x"}}{{template "x"}}{{end}}{{template "x"}}', DATA),
    /maximum template depth/,
  );
});
