// mock_driver: tasks that only pretend to run, for tests of everything above the drivers. Timers and the wall clock
// instead of processes: a handle holds the start time and the configured end, so a task is recovered by arithmetic, and
// its output is continued by comparing what stands in the log files with what is due. No process, no isolation.
import { DriverError } from "../core/errors.ts";
import { checkConfig, ConfigReader, field, type Schema, toBlocks } from "./config_check.ts";
import type {
  Driver,
  DriverCapabilities,
  DriverFingerprint,
  ExecSession,
  ExitResult,
  TaskHandle,
  TaskSpec,
  TaskUsage,
} from "./driver.ts";
import type { StreamName } from "./log_files.ts";
import { isStarting } from "./run_dir.ts";
import { signalNumber } from "./process_tree.ts";
import { type LogPosition, RotatingWriter } from "./rotating_writer.ts";

const COMMAND_SCHEMA: Schema = {
  run_for: field.duration,
  exit_code: field.number,
  exit_signal: field.number,
  exit_err_msg: field.string,
  signal_error: field.string,
  stdout_string: field.string,
  stdout_repeat: field.number,
  stdout_repeat_duration: field.duration,
  stderr_string: field.string,
  stderr_repeat: field.number,
  stderr_repeat_duration: field.duration,
};

const SCHEMA: Schema = {
  ...COMMAND_SCHEMA,
  start_error: field.string,
  start_error_recoverable: field.bool,
  start_block_for: field.duration,
  kill_after: field.duration,
  exec_command: field.block(COMMAND_SCHEMA),
};

/** Known to Nomad's mock_driver and refused here, with the reason. */
const REFUSED: Record<string, string> = {
  plugin_exit_after: "drivers are part of the agent here, so there is no plugin process that could exit",
  driver_ip: "drivers report no addresses here; use the group's network block",
  driver_advertise: "drivers report no addresses here; use the group's network block",
  driver_port_map: "drivers report no addresses here; use the group's network block",
};

const ENDED_WELL: ExitResult = { exitCode: 0, signal: 0, oomKilled: false };
const KILLED: ExitResult = { exitCode: 137, signal: 9, oomKilled: false };

interface Output {
  text: string;
  /** How often it is written in all. */
  times: number;
  everyMs: number;
  /** Where the stream stood at the start. */
  from: LogPosition;
}

interface MockState extends Record<string, unknown> {
  startedMs: number;
  runForMs: number;
  killAfterMs: number;
  exit: ExitResult;
  signalError: string;
  execCommand: Record<string, unknown> | null;
  logs: { dir: string; task: string; filesMax: number; fileSizeMaxBytes: number } | null;
  outputs: Partial<Record<StreamName, Output>>;
}

interface MockTask {
  state: MockState;
  result: ExitResult | null;
  ended: Promise<ExitResult>;
  end(result: ExitResult): void;
  timers: Set<ReturnType<typeof setTimeout>>;
}

export class MockDriver implements Driver {
  readonly name = "mock_driver";
  readonly capabilities: DriverCapabilities = { sendSignals: true, exec: true, filesystem: "none" };
  readonly #tasks = new Map<string, MockTask>();

  fingerprint(): Promise<DriverFingerprint> {
    return Promise.resolve({
      detected: true,
      healthy: true,
      description: "Healthy",
      attributes: { "driver.mock_driver": "true" },
    });
  }

  validate(config: Record<string, unknown>): string[] {
    const known: Record<string, unknown> = {};
    const errors: string[] = [];
    for (const [key, value] of Object.entries(config)) {
      if (Object.hasOwn(REFUSED, key)) errors.push(`config.${key} is not supported: ${REFUSED[key]}`);
      else known[key] = value;
    }
    return [...errors, ...checkConfig(known, SCHEMA)];
  }

  async start(spec: TaskSpec, _onEvent: (message: string) => void): Promise<TaskHandle> {
    const errors = this.validate(spec.config);
    if (errors.length > 0) throw new DriverError("start", errors.join("; "), false);
    const config = new ConfigReader(spec.config);
    if (config.durationMs("start_block_for") > 0) {
      await new Promise((resolve) => setTimeout(resolve, config.durationMs("start_block_for")));
    }
    if (config.text("start_error") !== "") {
      throw new DriverError("start", config.text("start_error"), config.bool("start_error_recoverable"));
    }
    const { disabled, ...place } = spec.logs;
    const logs = disabled ? null : { ...place, task: spec.task };
    const state: MockState = {
      startedMs: Date.now(),
      runForMs: config.durationMs("run_for"),
      killAfterMs: config.durationMs("kill_after"),
      exit: exitOf(config),
      signalError: config.text("signal_error"),
      execCommand: toBlocks(spec.config["exec_command"] ?? [])?.[0] ?? null,
      logs,
      outputs: {},
    };
    for (const stream of ["stdout", "stderr"] as const) {
      if (logs === null) continue;
      const from = await new RotatingWriter(logs, stream).position();
      if (config.text(`${stream}_string`) !== "") {
        state.outputs[stream] = { ...outputOf(config, stream), from };
      }
    }
    this.#follow(spec.id, state);
    return { driver: this.name, id: spec.id, state };
  }

  recover(handle: TaskHandle): Promise<boolean> {
    // Whoever died during a start took with him all there was of the task.
    if (isStarting(handle)) return Promise.resolve(false);
    if (!this.#tasks.has(handle.id)) this.#follow(handle.id, handle.state as unknown as MockState);
    return Promise.resolve(true);
  }

  #follow(id: string, state: MockState): MockTask {
    let resolve: (result: ExitResult) => void = () => {};
    const ended = new Promise<ExitResult>((done) => resolve = done);
    const task: MockTask = {
      state,
      result: null,
      ended,
      timers: new Set(),
      end: (result) => {
        if (task.result) return;
        task.result = result;
        for (const timer of task.timers) clearTimeout(timer);
        resolve(result);
      },
    };
    this.#tasks.set(id, task);
    const outputs = (Object.keys(state.outputs) as StreamName[]).map((stream) => this.#write(task, stream));
    const leftMs = Math.max(0, state.startedMs + state.runForMs - Date.now());
    this.#after(task, leftMs, () => {
      // What was due before the end stands in the files before the end is told.
      Promise.all(outputs).then(() => task.end(state.exit), () => task.end(state.exit));
    });
    return task;
  }

  /** One timer of a task. Node's timers hold 2^31 ms at most: longer ones are taken in steps. */
  #after(task: MockTask, delayMs: number, run: () => void): void {
    const step = Math.min(delayMs, 2 ** 31 - 1);
    const timer = setTimeout(() => {
      task.timers.delete(timer);
      if (step < delayMs) this.#after(task, delayMs - step, run);
      else run();
    }, step);
    task.timers.add(timer);
  }

  /** Writes what is due and not yet there, then the rest in its time. Resolves when what was due at first is written. */
  async #write(task: MockTask, stream: StreamName): Promise<void> {
    const { logs, outputs, startedMs } = task.state;
    const output = outputs[stream];
    if (!logs || !output) return;
    const writer = new RotatingWriter(logs, stream);
    const line = new TextEncoder().encode(output.text);
    let written = writer.bytesBetween(output.from, await writer.position());
    const step = async (): Promise<void> => {
      const passed = Math.floor((Date.now() - startedMs) / Math.max(1, output.everyMs)) + 1;
      const due = output.everyMs === 0 ? output.times : Math.min(output.times, passed);
      for (; written < due * line.length; written += line.length - written % line.length) {
        await writer.write(line.subarray(written % line.length));
      }
      if (due >= output.times || task.result) return;
      this.#after(task, Math.max(0, startedMs + due * output.everyMs - Date.now()), () => void step());
    };
    await step();
  }

  #known(op: string, handle: TaskHandle): MockTask {
    const task = this.#tasks.get(handle.id);
    if (!task) throw new DriverError(op, `Cannot ${op} ${handle.id}: unknown task; recover it first`, false);
    return task;
  }

  wait(handle: TaskHandle, signal: AbortSignal): Promise<ExitResult> {
    return new Promise((resolve, reject) => {
      const task = this.#known("wait", handle);
      const abort = () => reject(new DriverError("wait", `No longer waiting for ${handle.id}`, true));
      if (signal.aborted) return abort();
      signal.addEventListener("abort", abort, { once: true });
      task.ended.then(resolve).finally(() => signal.removeEventListener("abort", abort));
    });
  }

  async stop(handle: TaskHandle, options: { killSignal: string; timeoutMs: number }): Promise<void> {
    if (signalNumber(options.killSignal) === null) {
      throw new DriverError("stop", `Unknown signal ${JSON.stringify(options.killSignal)}`, false);
    }
    const task = this.#tasks.get(handle.id);
    if (!task) return;
    // One that obeys ends well, as Nomad's does: the signal is not told.
    const obeys = task.state.killAfterMs <= options.timeoutMs;
    const ending = obeys ? ENDED_WELL : KILLED;
    this.#after(task, Math.min(task.state.killAfterMs, options.timeoutMs), () => task.end(ending));
    await task.ended;
  }

  destroy(handle: TaskHandle): Promise<void> {
    this.#tasks.get(handle.id)?.end(KILLED);
    this.#tasks.delete(handle.id);
    return Promise.resolve();
  }

  async signal(handle: TaskHandle, name: string): Promise<void> {
    const task = await Promise.resolve(this.#known("signal", handle));
    if (signalNumber(name) === null) {
      throw new DriverError("signal", `Unknown signal ${JSON.stringify(name)}`, false);
    }
    if (task.result) throw new DriverError("signal", `Cannot signal ${handle.id}: it is not running`, false);
    if (task.state.signalError !== "") throw new DriverError("signal", task.state.signalError, false);
  }

  usage(handle: TaskHandle): Promise<TaskUsage> {
    const task = this.#tasks.get(handle.id);
    if (!task || task.result) {
      return Promise.reject(new DriverError("usage", `${handle.id} does not run`, false));
    }
    return Promise.resolve({
      memoryRssBytes: 0,
      cpuUserNs: 0,
      cpuSystemNs: 0,
      pids: [],
      timestampMs: Date.now(),
    });
  }

  /** Answers as `exec_command` of the task's config says; the command itself is not looked at. */
  async exec(handle: TaskHandle): Promise<ExecSession> {
    const task = await Promise.resolve(this.#known("exec", handle));
    if (task.result) throw new DriverError("exec", `Cannot exec in ${handle.id}: it is not running`, false);
    if (!task.state.execCommand) {
      throw new DriverError("exec", "Cannot exec: the task's config has no exec_command block", false);
    }
    const config = new ConfigReader(task.state.execCommand);
    let finish: (code: number) => void = () => {};
    const exitCode = new Promise<number>((resolve) => finish = resolve);
    const timer = setTimeout(() => finish(exitOf(config).exitCode), config.durationMs("run_for"));
    return {
      stdin: new WritableStream(),
      stdout: sourceOf(outputOf(config, "stdout")),
      stderr: sourceOf(outputOf(config, "stderr")),
      exitCode,
      resize: () => Promise.resolve(),
      kill: () => {
        clearTimeout(timer);
        finish(137);
        return Promise.resolve();
      },
    };
  }
}

function exitOf(config: ConfigReader): ExitResult {
  const signal = config.number("exit_signal");
  const message = config.text("exit_err_msg");
  return {
    exitCode: config.number("exit_code"),
    signal,
    oomKilled: false,
    ...(message === "" ? {} : { error: message }),
  };
}

function outputOf(config: ConfigReader, stream: StreamName): Omit<Output, "from"> {
  return {
    text: config.text(`${stream}_string`),
    times: 1 + config.number(`${stream}_repeat`),
    everyMs: config.durationMs(`${stream}_repeat_duration`),
  };
}

function sourceOf(output: Omit<Output, "from">): ReadableStream<Uint8Array> {
  const bytes = new TextEncoder().encode(output.text.repeat(output.text === "" ? 0 : output.times));
  return new ReadableStream({
    start(controller) {
      if (bytes.length > 0) controller.enqueue(bytes);
      controller.close();
    },
  });
}
