// The tree that parsing makes: bodies of attributes and blocks, and expressions. Only shapes; the parser builds
// them, the evaluator and the decoders read them.
// Invariants: `start` and `end` are offsets into the source the tree was parsed from; a tree is immutable.
import type { SourceFile } from "./diagnostics.ts";
import type { JsonObject } from "./json_syntax.ts";
import type { Value } from "./value.ts";

interface Node {
  readonly start: number;
  readonly end: number;
}

/** `.name` or `[key]` with a constant key. `legacy` marks `.0`. */
export type Step =
  | Node & { readonly kind: "attribute"; readonly name: string }
  | Node & { readonly kind: "index"; readonly key: Value; readonly legacy: boolean };

export type BinaryOperator =
  | "||"
  | "&&"
  | "=="
  | "!="
  | ">"
  | ">="
  | "<"
  | "<="
  | "+"
  | "-"
  | "*"
  | "/"
  | "%";

export interface ObjectItem {
  readonly key: Expression;
  readonly value: Expression;
}

export interface ForExpression extends Node {
  readonly kind: "for";
  readonly keyName: string | undefined;
  readonly valueName: string;
  readonly collection: Expression;
  /** Present when an object is built. */
  readonly key: Expression | undefined;
  readonly value: Expression;
  readonly condition: Expression | undefined;
  readonly group: boolean;
}

export interface CallExpression extends Node {
  readonly kind: "call";
  readonly name: string;
  readonly nameEnd: number;
  readonly args: readonly Expression[];
  /** The last argument is spread (`...`). */
  readonly expand: boolean;
  readonly closeParen: number;
}

export type Expression =
  /** `textStart`: where the text of a quoted literal begins, after its quote. */
  | Node & { readonly kind: "literal"; readonly value: Value; readonly textStart?: number }
  /** Parts put together as text. `quoted` says whether quotes stood around it. */
  | Node & { readonly kind: "template"; readonly parts: readonly Expression[] }
  /** `"${x}"`: the value itself, whatever its type. */
  | Node & { readonly kind: "wrap"; readonly inner: Expression }
  /** The text of a `%{for}`: items of a tuple joined. */
  | Node & { readonly kind: "join"; readonly inner: Expression }
  | Node & {
    readonly kind: "traversal";
    readonly root: string;
    readonly rootEnd: number;
    readonly steps: readonly Step[];
  }
  | Node & { readonly kind: "relative"; readonly from: Expression; readonly steps: readonly Step[] }
  | CallExpression
  | Node & {
    readonly kind: "conditional";
    readonly condition: Expression;
    readonly whenTrue: Expression;
    readonly whenFalse: Expression;
  }
  | Node & {
    readonly kind: "index";
    readonly collection: Expression;
    readonly key: Expression;
    readonly open: number;
  }
  | Node & { readonly kind: "tuple"; readonly items: readonly Expression[] }
  | Node & { readonly kind: "object"; readonly items: readonly ObjectItem[] }
  /** A key of an object constructor: a bare word is its own name, anything in parentheses is an expression. */
  | Node & { readonly kind: "key"; readonly inner: Expression; readonly name: string | undefined }
  | ForExpression
  /** `x[*].a` or `x.*.a`: `steps` and `keys` apply to each item. */
  | Node & {
    readonly kind: "splat";
    readonly from: Expression;
    readonly each: Expression;
    readonly marker: number;
  }
  /** Stands for one item inside `each` of a splat. */
  | Node & { readonly kind: "item" }
  | Node & {
    readonly kind: "binary";
    readonly operator: BinaryOperator;
    readonly left: Expression;
    readonly right: Expression;
  }
  | Node & { readonly kind: "unary"; readonly operator: "-" | "!"; readonly operand: Expression }
  | Node & { readonly kind: "parens"; readonly inner: Expression }
  /** An expression of another source, such as a template inside a JSON string. */
  | Node & { readonly kind: "sourced"; readonly source: SourceFile; readonly inner: Expression }
  /** What could not be parsed; already reported. */
  | Node & { readonly kind: "broken" };

export interface Attribute {
  readonly name: string;
  readonly nameStart: number;
  readonly nameEnd: number;
  readonly expression: Expression;
  readonly source: SourceFile;
  readonly end: number;
}

export interface Label {
  readonly text: string;
  readonly start: number;
  readonly end: number;
}

export interface Block {
  readonly type: string;
  readonly typeStart: number;
  readonly typeEnd: number;
  readonly labels: readonly Label[];
  /** The `{`. */
  readonly open: number;
  readonly end: number;
  readonly body: Body;
  readonly source: SourceFile;
}

/** Attributes and blocks in the order of the source. */
export interface Body {
  /** Set for a body of HCL's JSON syntax, whose attributes and blocks depend on what is looked for. */
  readonly json?: JsonObject;
  readonly attributes: readonly Attribute[];
  readonly blocks: readonly Block[];
  readonly source: SourceFile;
  readonly start: number;
  /** Just after the `{`, where a missing argument is reported. */
  readonly missingAt: number;
}
