// Input variables: declarations, values from defaults, environment, files and flags (later ones win), types and
// validation rules.
// Invariants: every declared variable ends up with a value, UNKNOWN after a reported error; a value other than of an
// untyped variable has the declared type.
import { rawContent } from "./body_content.ts";
import { convert, ConvertError } from "./convert.ts";
import { type Diagnostics, type Place, placeText, SourceFile, suggestName } from "./diagnostics.ts";
import { type EvaluationOptions, Evaluator } from "./expression.ts";
import { parseJsonBody } from "./json_syntax.ts";
import { parseBody, parseExpressionText } from "./parser.ts";
import { visitReferences } from "./references.ts";
import type { Attribute, Block, Body, Expression } from "./syntax.ts";
import { block, type BlockTable, child, optional, plain } from "./table.ts";
import { parseTypeExpression } from "./type_expression.ts";
import { NullValue, objectOf, type Type, typeOf, UNKNOWN, UnknownValue, type Value } from "./value.ts";

const validationTable: BlockTable = block("validation", "A rule that values of the variable must follow.", {
  attributes: {
    condition: plain("condition", "bool", "An expression with var.<name> that is true for good values.", {
      required: true,
    }),
    error_message: plain("error_message", "string", "What to say about other values.", { required: true }),
  },
});

/** The table of a variable block; its attributes are expressions of their own kind, so the decoding is here. */
export const variableTable: BlockTable = block("variable", "An input of the job file.", {
  labels: [{ name: "name", field: "name" }],
  attributes: {
    type: optional(
      "type",
      "any",
      "string, number, bool, list(…), set(…), map(…), tuple([…]) or object({…}).",
    ),
    default: optional("default", "any", "Value if none is given; without it one must be given."),
    description: optional("description", "string", "What it is for."),
  },
  blocks: { validation: child("validation", "list", () => validationTable, "Rules.") },
});

export interface VariableFile {
  readonly name: string;
  readonly source: string;
}

export interface VariableInputs {
  readonly flags: Readonly<Record<string, string>>;
  readonly files: readonly VariableFile[];
  readonly environment: Readonly<Record<string, string | undefined>>;
  /** Whether values for undeclared variables are errors. */
  readonly strict: boolean;
}

interface Rule {
  readonly condition: Attribute;
  readonly message: string;
  readonly place: Place;
}

interface Variable {
  readonly name: string;
  type: Type | undefined;
  value: Value | undefined;
  /** Where the value came from, for messages. */
  origin: "default" | "env" | "varfile" | "cmd";
  valuePlace: Place | undefined;
  readonly place: Place;
  readonly rules: Rule[];
}

const IDENTIFIER = /^[\p{ID_Start}_][\p{ID_Continue}-]*$/u;
const NAME_RULE =
  "A name must start with a letter or underscore and may contain only letters, digits, underscores, and dashes.";

export class Variables {
  readonly #variables = new Map<string, Variable>();
  readonly #options: EvaluationOptions;

  /** `options` of the file; constants are evaluated with functions and names taken away. */
  constructor(options: EvaluationOptions) {
    this.#options = options;
  }

  get #diagnostics(): Diagnostics {
    return this.#options.diagnostics;
  }

  #constant(source: SourceFile): Evaluator {
    return new Evaluator(
      source,
      { ...this.#options, functions: undefined, unknownNames: "constant" },
      undefined,
    );
  }

  #declare(variable: Variable): void {
    const earlier = this.#variables.get(variable.name);
    if (earlier) {
      this.#diagnostics.error(
        variable.place,
        "Duplicate variable",
        `The variable "${variable.name}" was already declared at ${placeText(earlier.place)}.`,
      );
      return;
    }
    this.#variables.set(variable.name, variable);
  }

  /** `variable "name" { … }`, labels already checked. */
  declareBlock(declaration: Block): void {
    const label = declaration.labels[0]!;
    const { source } = declaration;
    const place = { source, start: label.start, end: label.end };
    if (!IDENTIFIER.test(label.text)) this.#diagnostics.error(place, "Invalid variable name", NAME_RULE);
    const variable: Variable = {
      name: label.text,
      type: undefined,
      value: undefined,
      origin: "default",
      valuePlace: undefined,
      place,
      rules: [],
    };
    const evaluator = this.#constant(source);
    const names = new Map(Object.keys(variableTable.blocks).map((name) => [name, 0]));
    const content = rawContent(declaration.body, names, evaluator);
    let fallback: Attribute | undefined;
    for (const attribute of content.attributes) {
      if (attribute.name === "type") {
        variable.type = this.#type(attribute);
        if (variable.type === undefined) variable.value = UNKNOWN;
      } else if (attribute.name === "default") fallback = attribute;
      else if (attribute.name === "description") {
        evaluator.forSource(attribute.source).evaluate(attribute.expression);
      } else this.#unknownArgument(attribute, Object.keys(variableTable.attributes));
    }
    for (const inner of content.blocks) {
      if (inner.type === "validation") this.#rule(variable, inner);
      else this.#unknownBlock(inner, ["validation"]);
    }
    if (fallback) this.#default(variable, fallback);
    // What is not known may have been meant as the default; that it is missing would be a second complaint about it.
    else if (content.attributes.some(({ name }) => !Object.hasOwn(variableTable.attributes, name))) {
      variable.value = UNKNOWN;
    }
    this.#declare(variable);
  }

  /** `variables { name = default }` */
  declareShort(declaration: Block): void {
    const content = rawContent(declaration.body, new Map(), this.#constant(declaration.source));
    for (const inner of content.blocks) this.#unknownBlock(inner, []);
    for (const attribute of content.attributes) {
      const variable: Variable = {
        name: attribute.name,
        type: undefined,
        value: undefined,
        origin: "default",
        valuePlace: undefined,
        place: { source: attribute.source, start: attribute.nameStart, end: attribute.nameEnd },
        rules: [],
      };
      this.#default(variable, attribute);
      this.#declare(variable);
    }
  }

  #unknownArgument(attribute: Attribute, known: readonly string[]): void {
    this.#diagnostics.error(
      { source: attribute.source, start: attribute.nameStart, end: attribute.nameEnd },
      "Unsupported argument",
      `An argument named "${attribute.name}" is not expected here.`,
      { suggestion: suggestName(attribute.name, known) },
    );
  }

  #unknownBlock(inner: Block, known: readonly string[]): void {
    this.#diagnostics.error(
      { source: inner.source, start: inner.typeStart, end: inner.typeEnd },
      "Unsupported block type",
      `Blocks of type "${inner.type}" are not expected here.`,
      { suggestion: suggestName(inner.type, known) },
    );
  }

  #type(attribute: Attribute): Type | undefined {
    const { expression, source } = attribute;
    const context = { source, diagnostics: this.#diagnostics, allowAny: false };
    if (
      expression.kind === "literal" && typeof expression.value === "string" &&
      source.text[0] === "{"
    ) {
      // In JSON syntax the type is a string that holds the expression.
      const inner = new SourceFile(source.name, expression.value, {
        file: source,
        offset: expression.start + 1,
      });
      const parsed = parseExpressionText(inner, this.#diagnostics);
      return parsed && parseTypeExpression(parsed, { ...context, source: inner });
    }
    return parseTypeExpression(expression, context);
  }

  #default(variable: Variable, attribute: Attribute): void {
    const { expression, source } = attribute;
    variable.valuePlace = { source, start: expression.start, end: expression.end };
    const value = this.#constant(source).evaluate(expression);
    // Without a declared type, the default's type is the variable's.
    if (!(value instanceof UnknownValue)) variable.type ??= typeOf(value);
    variable.value = this.#typed(variable, value, () => [
      "Invalid default value for variable",
      "This default value is not compatible with the variable's type constraint",
    ]);
  }

  /** The value in the variable's type, UNKNOWN after a report. */
  #typed(variable: Variable, value: Value, texts: () => [string, string]): Value {
    if (value instanceof UnknownValue || variable.type === undefined) return value;
    try {
      return convert(value, variable.type);
    } catch (error) {
      if (!(error instanceof ConvertError)) throw error;
      const [summary, detail] = texts();
      this.#diagnostics.error(variable.valuePlace, summary, `${detail}: ${error.message}.`);
      return UNKNOWN;
    }
  }

  #rule(variable: Variable, inner: Block): void {
    const { source } = inner;
    const content = rawContent(inner.body, new Map(), this.#constant(source));
    const known = Object.keys(validationTable.attributes);
    const found = new Map<string, Attribute>();
    for (const attribute of content.attributes) {
      if (known.includes(attribute.name)) found.set(attribute.name, attribute);
      else this.#unknownArgument(attribute, known);
    }
    for (const nested of content.blocks) this.#unknownBlock(nested, []);
    for (const name of known) {
      if (found.has(name)) continue;
      this.#diagnostics.error(
        { source, start: inner.open, end: inner.open },
        "Missing required argument",
        `The argument "${name}" is required, but no definition was found.`,
      );
    }
    const condition = found.get("condition");
    const message = found.get("error_message");
    if (!condition || !message || !this.#refersToItself(variable, condition)) return;
    const text = this.#constant(source).evaluate(message.expression);
    if (typeof text !== "string" || text.trim() === "") {
      if (text instanceof UnknownValue) return;
      this.#diagnostics.error(
        { source: message.source, start: message.expression.start, end: message.expression.end },
        "Invalid validation error message",
        "An empty or blank string is not a valid nor useful error message.",
      );
      return;
    }
    variable.rules.push({
      condition,
      message: text,
      place: { source, start: inner.typeStart, end: inner.typeEnd },
    });
  }

  #refersToItself(variable: Variable, condition: Attribute): boolean {
    let itself = false;
    let others = false;
    visitReferences(condition.expression, (reference) => {
      const step = reference.steps[0];
      const name = step?.kind === "attribute" ? step.name : undefined;
      if (reference.root === "var" && name === variable.name) itself = true;
      else {
        others = true;
        this.#diagnostics.error(
          { source: condition.source, start: reference.start, end: reference.end },
          "Invalid reference in variable validation",
          `The condition for variable "${variable.name}" can only refer to the variable itself, using var.${variable.name}.`,
        );
      }
    });
    if (!itself && !others) {
      const { expression } = condition;
      this.#diagnostics.error(
        { source: condition.source, start: expression.start, end: expression.end },
        "Invalid variable validation condition",
        `The condition for variable "${variable.name}" must refer to var.${variable.name} in order to test incoming values.`,
      );
    }
    return itself && !others;
  }

  /** Takes the given values, in the order in which they win. */
  assign(inputs: VariableInputs): void {
    for (const [key, text] of Object.entries(inputs.environment)) {
      const variable = key.startsWith("NOMAD_VAR_") ? this.#variables.get(key.slice(10)) : undefined;
      if (variable && text !== undefined) this.#fromText(variable, text, "env");
    }
    for (const file of inputs.files) this.#fromFile(file, inputs.strict);
    for (const [name, text] of Object.entries(inputs.flags)) {
      const variable = this.#variables.get(name);
      if (variable) this.#fromText(variable, text, "cmd");
      else if (inputs.strict) {
        this.#diagnostics.error(
          undefined,
          "Undefined -var variable",
          `A "${name}" variable was passed in the command line but was not found in known variables. To declare variable "${name}", place this block in your job file:\n\n${
            declarationOf(name)
          }`,
          { suggestion: suggestName(name, this.#variables.keys()) },
        );
      }
    }
  }

  /** Values of string, number and untyped variables are the text itself; others are expressions. */
  #fromText(variable: Variable, text: string, origin: "env" | "cmd"): void {
    const from = origin === "env" ? "env" : "arguments";
    const { type } = variable;
    let value: Value = text.normalize("NFC");
    variable.valuePlace = undefined;
    variable.origin = origin;
    if (type !== undefined && type !== "string" && type !== "number") {
      const source = new SourceFile(`<value for var.${variable.name} from ${from}>`, text);
      const expression = parseExpressionText(source, this.#diagnostics);
      if (!expression) {
        variable.value = UNKNOWN;
        return;
      }
      variable.valuePlace = { source, start: expression.start, end: expression.end };
      value = this.#constant(source).evaluate(expression);
    }
    const flag = origin === "env" ? `NOMAD_VAR_${variable.name}` : "-var";
    variable.value = this.#typed(variable, value, () => [
      `Invalid argument value for ${flag} variable`,
      `The received arg value for ${variable.name} is not compatible with the variable's type constraint`,
    ]);
  }

  #fromFile(file: VariableFile, strict: boolean): void {
    const source = new SourceFile(file.name, file.source);
    const json = /^\s*\{/.test(file.source);
    const before = this.#diagnostics.errorCount;
    const body: Body = json ? parseJsonBody(source, this.#diagnostics) : parseBody(source, this.#diagnostics);
    const content = rawContent(body, new Map([["variable", 1]]), this.#constant(source));
    for (const inner of content.blocks) this.#blockInFile(inner, file.name);
    for (const attribute of content.attributes) {
      const variable = this.#variables.get(attribute.name);
      if (variable) this.#fromAttribute(variable, attribute);
      else if (strict) {
        this.#diagnostics.error(
          { source, start: attribute.nameStart, end: attribute.nameEnd },
          "Undefined variable",
          `A "${attribute.name}" variable was set but was not found in known variables. To declare variable "${attribute.name}", place this block in your job file:\n\n${
            declarationOf(attribute.name)
          }`,
          { suggestion: suggestName(attribute.name, this.#variables.keys()) },
        );
      }
    }
    if (this.#diagnostics.errorCount === before) return;
    // What the broken file would have set is not known, so nothing is called unset because of it.
    for (const variable of this.#variables.values()) variable.value ??= UNKNOWN;
  }

  #fromAttribute(variable: Variable, attribute: Attribute): void {
    const { expression, source } = attribute;
    variable.origin = "varfile";
    variable.valuePlace = { source, start: expression.start, end: expression.end };
    const value = this.#constant(source).evaluate(expression);
    variable.value = this.#typed(variable, value, () => [
      "Invalid value for variable",
      `The value for ${variable.name} is not compatible with the variable's type constraint`,
    ]);
  }

  #blockInFile(inner: Block, file: string): void {
    const place = { source: inner.source, start: inner.typeStart, end: inner.typeEnd };
    const name = inner.labels[0]?.text;
    if (inner.type !== "variable" || name === undefined) {
      this.#diagnostics.error(place, `Unexpected "${inner.type}" block`, "Blocks are not allowed here.", {
        expected: `${inner.type} = …`,
      });
      return;
    }
    this.#diagnostics.error(
      place,
      "Variable declaration in a .var file",
      `A .var file is used to assign values to variables that have already been declared in job files, not to declare new variables. To declare variable "${name}", place this block in one of your job files. To set a value for this variable in ${file}, use the definition syntax instead: ${name} = <value>`,
    );
  }

  /** Checks that every variable has a value that follows its rules, and returns them all. */
  values(): Value {
    const entries: [string, Value][] = [];
    for (const variable of this.#variables.values()) {
      if (variable.value === undefined) {
        this.#diagnostics.error(
          variable.place,
          `Unset variable "${variable.name}"`,
          `A used variable must be set or have a default value. Set it with -var ${variable.name}=…, a -var-file or NOMAD_VAR_${variable.name}, or declare a default.`,
        );
        variable.value = UNKNOWN;
      }
      for (const rule of variable.rules) this.#check(variable, rule);
      entries.push([variable.name, variable.value]);
    }
    return objectOf(entries);
  }

  #check(variable: Variable, rule: Rule): void {
    if (variable.value instanceof UnknownValue) return;
    const { condition } = rule;
    const options = { ...this.#options, files: undefined, unknownNames: "error" as const };
    const scope = {
      variables: new Map([["var", objectOf([[variable.name, variable.value!]])]]),
      parent: undefined,
    };
    const evaluator = new Evaluator(condition.source, options, scope);
    const result = evaluator.evaluate(condition.expression);
    if (result instanceof UnknownValue) return;
    const holds = this.#boolean(result, condition.expression, evaluator);
    if (holds !== false) return;
    this.#diagnostics.error(
      variable.valuePlace,
      `Invalid value for ${variable.origin} variable`,
      `${rule.message} (var.${variable.name}; checked by the validation rule at ${placeText(rule.place)}.)`,
    );
    variable.value = UNKNOWN;
  }

  #boolean(result: Value, node: Expression, evaluator: Evaluator): boolean | undefined {
    const problem = (why: string): undefined => {
      evaluator.fail(
        node,
        "Invalid variable validation result",
        `Invalid validation condition result value: ${why}.`,
      );
      return undefined;
    };
    if (result instanceof NullValue) return problem("it must not be null");
    try {
      return convert(result, "bool") as boolean;
    } catch (error) {
      if (!(error instanceof ConvertError)) throw error;
      return problem(error.message);
    }
  }
}

function declarationOf(name: string): string {
  return `variable "${name}" {\n  type = string\n  default = null\n}`;
}
