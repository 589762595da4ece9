// A whole job file: text → variables, locals, job → the job's JSON as the reference's `job run -output` has it (nothing
// filled in that the file does not say). The one place where the phases meet.
// Invariant: throws JobspecError and nothing else, whatever the input.
import { checkLabels, rawContent } from "./body_content.ts";
import { job as jobTable } from "./blocks_job.ts";
import { Budget, BudgetError } from "./budget.ts";
import { decodeBlock, headerPlace } from "./decode.ts";
import { Diagnostics, JobspecError, placeText, SourceFile, suggestName } from "./diagnostics.ts";
import { type EvaluationOptions, Evaluator } from "./expression.ts";
import type { FileReader } from "./function_types.ts";
import { FUNCTIONS } from "./functions.ts";
import type { Json } from "./json.ts";
import { parseJsonBody } from "./json_syntax.ts";
import { Locals } from "./locals.ts";
import { parseBody } from "./parser.ts";
import { randomBytes } from "node:crypto";
import type { Block, Body } from "./syntax.ts";
import { decodeSource } from "./text.ts";
import { type VariableFile, Variables } from "./variables.ts";

export interface ParseJobOptions {
  /** Name of the file in messages. */
  readonly filename?: string | undefined;
  /** Values of -var. */
  readonly variables?: Readonly<Record<string, string>> | undefined;
  /** Contents of -var-file, in order. */
  readonly variableFiles?: readonly VariableFile[] | undefined;
  /** Where NOMAD_VAR_* are looked up; nothing is if absent. */
  readonly environment?: Readonly<Record<string, string | undefined>> | undefined;
  /** False: values for undeclared variables are ignored. */
  readonly strict?: boolean | undefined;
  /** What file functions may read; absent: they are refused. */
  readonly readFile?: FileReader | undefined;
  /** Source of uuidv4() and bcrypt(); the system's if absent. */
  readonly random?: ((count: number) => Uint8Array) | undefined;
}

/** A job as a file says it: the API's field names, null for what the file leaves open. */
export interface ParsedJob {
  readonly ID: string;
  readonly Name: string;
  readonly TaskGroups: readonly Record<string, Json>[] | null;
  readonly [field: string]: unknown;
}

const TOP_LEVEL = new Map([["job", 1], ["variable", 1], ["variables", 0], ["locals", 0]]);

/** Compiles a job file. Throws JobspecError with everything that is wrong. */
export function parseJob(source: string | Uint8Array, options: ParseJobOptions = {}): ParsedJob {
  const diagnostics = new Diagnostics();
  const filename = options.filename ?? "input.hcl";
  const text = decodeSource(source, filename, diagnostics);
  diagnostics.throwIfFailed();
  const file = new SourceFile(filename, text);
  const body = parseSyntax(file, diagnostics);
  diagnostics.throwIfFailed();
  try {
    return new JobCompiler(file, body, diagnostics, options).compile();
  } catch (error) {
    if (error instanceof JobspecError) throw error;
    // Stack overflow is a RangeError; the nesting limit should prevent it, but a file must never crash its reader.
    const limit = error instanceof BudgetError
      ? error.message
      : error instanceof RangeError
      ? "Evaluating the file needs more memory or deeper nesting than is allowed."
      : undefined;
    if (limit === undefined) throw error;
    diagnostics.error({ source: file, start: 0, end: 0 }, "File too complex", limit);
    diagnostics.throwIfFailed();
    throw error;
  }
}

/** Native or JSON syntax, as the first character that is no space says. */
export function parseSyntax(file: SourceFile, diagnostics: Diagnostics): Body {
  return /^ *\{/.test(file.text) ? parseJsonBody(file, diagnostics) : parseBody(file, diagnostics);
}

class JobCompiler {
  readonly #options: EvaluationOptions;

  constructor(
    readonly file: SourceFile,
    readonly body: Body,
    readonly diagnostics: Diagnostics,
    readonly input: ParseJobOptions,
  ) {
    this.#options = {
      diagnostics,
      functions: FUNCTIONS,
      unknownNames: "runtime",
      budget: new Budget(),
      files: input.readFile,
      random: input.random ?? ((count) => randomBytes(count)),
    };
  }

  compile(): ParsedJob {
    const { diagnostics, file } = this;
    const top = new Evaluator(file, this.#options, undefined);
    const content = rawContent(this.body, TOP_LEVEL, top);
    for (const attribute of content.attributes) {
      diagnostics.error(
        { source: file, start: attribute.nameStart, end: attribute.nameEnd },
        "Unsupported argument",
        `An argument named "${attribute.name}" is not expected here.`,
        { expected: "job, variable, variables or locals blocks" },
      );
    }
    const blocks = content.blocks.filter((block) => this.#known(block, top));
    const variables = new Variables(this.#options);
    for (const block of blocks) {
      if (block.type === "variable") variables.declareBlock(block);
      else if (block.type === "variables") variables.declareShort(block);
    }
    variables.assign({
      flags: this.input.variables ?? {},
      files: this.input.variableFiles ?? [],
      environment: this.input.environment ?? {},
      strict: this.input.strict ?? true,
    });
    const withVariables = top.with(new Map([["var", variables.values()]]));
    const locals = new Locals(withVariables);
    for (const block of blocks) if (block.type === "locals") locals.add(block);
    const evaluator = withVariables.with(new Map([["local", locals.values()]]));
    const record = this.#job(blocks.filter((block) => block.type === "job"), content.blocks, evaluator);
    diagnostics.throwIfFailed();
    return record as unknown as ParsedJob;
  }

  #known(block: Block, evaluator: Evaluator): boolean {
    const labels = TOP_LEVEL.get(block.type);
    if (labels !== undefined) return checkLabels(block, labels === 1 ? ["name"] : [], evaluator);
    this.diagnostics.error(
      headerPlace(block),
      "Unsupported block type",
      `Blocks of type "${block.type}" are not expected here.`,
      {
        suggestion: suggestName(block.type, TOP_LEVEL.keys()),
        expected: "job, variable, variables or locals",
      },
    );
    return false;
  }

  #job(
    jobs: readonly Block[],
    all: readonly Block[],
    evaluator: Evaluator,
  ): Record<string, Json> | undefined {
    const [first, ...others] = jobs;
    for (const other of others) {
      const place = { source: other.source, start: other.typeStart, end: other.labels[0]!.end };
      const previous = placeText({
        source: first!.source,
        start: first!.typeStart,
        end: first!.labels[0]!.end,
      });
      this.diagnostics.error(
        place,
        "Duplicate job block",
        `Only one block of type "job" is allowed. Previous definition was at ${previous}.`,
      );
    }
    // Which of several jobs was meant nobody knows, so none is read further.
    if (others.length > 0) return undefined;
    if (first) return decodeBlock({ block: first, evaluator }, jobTable);
    if (!all.some((block) => block.type === "job")) {
      this.diagnostics.error(undefined, "Missing job block", "A job block is required.", {
        expected: 'job "<name>" { … }',
      });
    }
    return undefined;
  }
}
