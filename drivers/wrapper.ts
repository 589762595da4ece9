// The small shell that starts a task and waits for it in the agent's place, and the tools of the host it uses. It
// is the only process that stays beside a task besides the two log writers (0.1 MB of private memory each), it
// survives the agent, and it leaves in the run directory: `wrapper` (own pid), `pid` (main process), `loggers` (pids), `exit` (code),
// `jobs` (the shell's own account: ended by itself or by a signal?), `wrapper.log`. Never decides anything.
import { spawn } from "node:child_process";
import { accessSync, constants, readFileSync, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import { isGone } from "./proc.ts";
import { SUFFIX_WIDTH } from "./log_files.ts";

/**
 * Arguments: run directory, bytes a file, prefix of stdout's and stderr's pieces ("" throws output away), files whose
 * content goes before (or ""), split ("" for the slow loop), mkfifo, cat, "exact" or "plain", oom_score_adj, count of
 * cgroup files, those files, the command.
 *
 * - An empty here-document gives a pipe without starting a process; opening it again through /proc gives its other
 *   end. Shells that use a file instead (bash) take fifos.
 * - The wrapper keeps the reading ends open: a log writer that dies (disk full) blocks the task at worst, and never
 *   kills it by SIGPIPE.
 * - "exact": the task runs in the background, because only then does the shell tell exit 143 from death by signal
 *   15. Background jobs of a shell ignore SIGINT and SIGQUIT; `env --default-signal` in the command undoes that.
 */
export const WRAPPER_SCRIPT = `
run=$1 size=$2 out=$3 err=$4 carry_out=$5 carry_err=$6 split=$7 mkfifo=$8 cat=$9
shift 9
mode=$1 oom=$2 groups=$3
shift 3
exec </dev/null >/dev/null 2>"$run/wrapper.log"
echo $$ >"$run/wrapper"
become() {
  read -r pid rest </proc/self/stat
  echo "$pid" >"$run/pid"
  echo "$oom" >/proc/self/oom_score_adj
  while [ "$groups" -gt 0 ]; do
    echo 0 >"$1" || exit 125
    shift
    groups=$((groups - 1))
  done
  if [ -f "$run/env" ]; then . "$run/env"; fi
  exec "$@"
}
collect() {
  if [ -n "$split" ]; then exec "$split" -a ${SUFFIX_WIDTH} -b "$size" - "$1"; fi
  PATH=$PATH:/usr/bin:/bin
  piece=0
  while :; do
    name=$1
    rest=$piece
    letters=
    while [ \${#letters} -lt ${SUFFIX_WIDTH} ]; do
      set -- "$1" a b c d e f g h i j k l m n o p q r s t u v w x y z
      shift $((rest % 26 + 1))
      letters=$1$letters
      set -- "$name"
      rest=$((rest / 26))
    done
    dd bs=1 count="$size" of="$name$letters" 2>/dev/null
    if [ "$(wc -c <"$name$letters")" -lt "$size" ]; then break; fi
    piece=$((piece + 1))
  done
}
if [ -z "$out" ]; then
  exec 4>/dev/null 6>/dev/null
else
  exec 3<<A 5<<B
A
B
  if [ -p /proc/self/fd/3 ]; then
    exec 4>/proc/self/fd/3 6>/proc/self/fd/5
  else
    "$mkfifo" "$run/out" "$run/err"
    exec 4<>"$run/out" 6<>"$run/err"
    exec 3<"$run/out" 5<"$run/err"
    exec 4>"$run/out" 6>"$run/err"
  fi
  collect "$out" <&3 3<&- 4>&- 5<&- 6>&- &
  loggers=$!
  collect "$err" <&5 3<&- 4>&- 5<&- 6>&- &
  echo "$loggers $!" >"$run/loggers"
  if [ -n "$carry_out" ]; then "$cat" "$carry_out" >&4 3<&- 4>&- 5<&- 6>&-; fi
  if [ -n "$carry_err" ]; then "$cat" "$carry_err" >&6 3<&- 4>&- 5<&- 6>&-; fi
fi
if [ "$mode" = exact ]; then
  become "$@" >&4 2>&6 3<&- 4>&- 5<&- 6>&- &
  task=$!
  exec 4>&- 6>&-
  wait "$task"
  code=$?
  jobs -l >"$run/jobs"
else
  (become "$@") >&4 2>&6 3<&- 4>&- 5<&- 6>&-
  code=$?
fi
echo "$code" >"$run/exit"
`;

/** Programs of the host, absolute paths; null where it has none. */
export interface Toolkit {
  /** Shell and arguments before `-c`. */
  shell: string[];
  /** True when exit by code and death by signal can be told apart for every code. */
  exact: boolean;
  setsid: string;
  env: string;
  split: string | null;
  mkfifo: string;
  cat: string;
  setpriv: string | null;
  /** Binds a process to cores. */
  taskset: string | null;
  script: string | null;
  stty: string | null;
}

const STANDARD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/** First executable regular file of that name in `path` (colon-separated), or null. */
export function findProgram(
  name: string,
  path = `${process.env["PATH"] ?? ""}:${STANDARD_PATH}`,
): string | null {
  for (const dir of path.split(delimiter)) {
    if (dir !== "" && isExecutable(join(dir, name))) return join(dir, name);
  }
  return null;
}

export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK);
    return statSync(path).isFile();
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** Finds the tools and tries the shells once. Returns a sentence when something indispensable is missing. */
export async function findToolkit(): Promise<Toolkit | string> {
  const setsid = findProgram("setsid");
  const env = findProgram("env");
  const mkfifo = findProgram("mkfifo");
  const cat = findProgram("cat");
  const plainShell = isExecutable("/bin/sh") ? "/bin/sh" : findProgram("sh");
  if (!setsid || !env || !mkfifo || !cat || !plainShell) {
    const missing = Object.entries({ setsid, env, mkfifo, cat, sh: plainShell }).filter(([, path]) => !path);
    return `missing on this machine: ${missing.map(([name]) => name).join(", ")}; ` +
      "install util-linux and coreutils (or busybox)";
  }
  const rest = {
    setsid,
    env,
    mkfifo,
    cat,
    split: findProgram("split"),
    setpriv: findProgram("setpriv"),
    taskset: findProgram("taskset"),
    script: findProgram("script"),
    stty: findProgram("stty"),
  };
  const busybox = findProgram("busybox");
  const dash = findProgram("dash");
  for (const shell of [[plainShell], dash ? [dash] : [], busybox ? [busybox, "sh"] : []]) {
    if (shell.length > 0 && await tellsSignals(shell, env)) return { ...rest, shell, exact: true };
  }
  return { ...rest, shell: [plainShell], exact: false };
}

/** Starts a process that dies by SIGINT in this shell's background and looks at the shell's account of it. */
async function tellsSignals(shell: string[], env: string): Promise<boolean> {
  const script = `"$@" & wait $!; echo "code $?"; jobs -l`;
  const command = [
    ...shell.slice(1),
    "-c",
    script,
    "probe",
    ...defaultSignals(env),
    "/bin/sh",
    "-c",
    "kill -INT $$",
  ];
  const result = await run(shell[0]!, command);
  const [first, job] = result.stdout.split("\n");
  return first === "code 130" && job !== undefined && job.startsWith("[1]") && !job.includes("Done");
}

/** The part of a command line that gives SIGINT and SIGQUIT their default action back. */
export function defaultSignals(env: string): string[] {
  return [env, "--default-signal=INT,QUIT"];
}

/** Runs a short program to its end. Rejects only when it cannot be started. */
export function run(
  program: string,
  args: string[],
  options: { env?: Record<string, string>; cwd?: string } = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, { ...options, stdio: ["ignore", "pipe", "pipe"] });
    const parts = { stdout: "", stderr: "" };
    child.stdout.on("data", (chunk: Uint8Array) => parts.stdout += new TextDecoder().decode(chunk));
    child.stderr.on("data", (chunk: Uint8Array) => parts.stderr += new TextDecoder().decode(chunk));
    child.on("error", reject);
    child.on("close", (code) => resolve({ code: code ?? -1, ...parts }));
  });
}

/** Names that a shell would drop, change or be changed by: handed over by `env` in a private file instead. */
export function isShellSafe(name: string): boolean {
  return /^[A-Za-z_][A-Za-z0-9_]*$/.test(name) && !name.startsWith("LD_") && !SHELL_NAMES.has(name);
}

const SHELL_NAMES = new Set(
  "IFS ENV BASH_ENV OPTIND OPTARG PPID PWD OLDPWD PS1 PS2 PS4 UID EUID SHELLOPTS BASHOPTS SHLVL _ GLIBC_TUNABLES"
    .split(" "),
);

/** Shell text that puts `env NAME=value …` before the command. */
export function environmentScript(env: string, entries: [string, string][]): string {
  const words = entries.map(([name, value]) => quote(`${name}=${value}`));
  return `set -- ${[quote(env), ...words].join(" ")} "$@"\n`;
}

export function quote(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`;
}

export interface WrapperExit {
  exitCode: number;
  signal: number;
}

/** What the wrapper wrote of the task's end; null while there is nothing whole. */
export function readExit(runDir: string, exact: boolean): WrapperExit | null {
  const text = readRunFile(runDir, "exit");
  if (text === null || !text.endsWith("\n")) return null;
  const code = Number(text);
  const pid = readRunFile(runDir, "pid")?.trim() ?? "";
  const account = (readRunFile(runDir, "jobs") ?? "").split("\n")
    .map((line) => /^\[\d+\]\s*[-+]?\s*(\d+)\s+(.*)$/.exec(line)).find((match) => match?.[1] === pid);
  const signalled = code > 128 && code <= 192 && !(exact && account?.[2]?.startsWith("Done"));
  return { exitCode: code, signal: signalled ? code - 128 : 0 };
}

export function readRunFile(runDir: string, name: string): string | null {
  try {
    return readFileSync(join(runDir, name), "utf8");
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}
