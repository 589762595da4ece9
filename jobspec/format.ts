// The canonical layout of HCL files, as `fmt` writes it: indentation by brackets, one space where tokens need one, equals
// signs and trailing comments of neighbouring lines in columns. Works on tokens alone, so comments and everything the
// parser would refuse to understand keep their place.
// Invariants: only spaces and tabs between tokens change; formatting the result again changes nothing.
import { Diagnostics, graphemeCount, SourceFile } from "./diagnostics.ts";
import { lex, T, type Tokens, type TokenType } from "./lexer.ts";
import { parseBody } from "./parser.ts";
import { decodeSource } from "./text.ts";

/** The file in canonical layout. Throws JobspecError when it has syntax errors. */
export function formatHcl(source: string | Uint8Array, options: { readonly filename?: string } = {}): string {
  const diagnostics = new Diagnostics();
  const filename = options.filename ?? "input.hcl";
  const text = decodeSource(source, filename, diagnostics);
  if (!diagnostics.failed) parseBody(new SourceFile(filename, text), diagnostics);
  diagnostics.throwIfFailed();
  const tokens = lex(text);
  const lines = splitLines(tokens);
  indentLines(lines);
  spaceLines(lines);
  alignCells(lines);
  // Spaces before the end of the file belong to no line and stay, as in the reference.
  const last = tokens.count - 1;
  const rest = tokens.end(last) - (last > 0 ? tokens.end(last - 1) : 0);
  return lines.map(lineText).join("") + " ".repeat(rest);
}

interface Cell {
  readonly type: TokenType;
  readonly text: string;
  spaces: number;
}

/** A line as its beginning, the equals sign with what it assigns, and a trailing comment. */
interface Line {
  lead: Cell[];
  assign: Cell[];
  comment: Cell[];
}

function lineText(line: Line): string {
  let text = "";
  for (const cell of [...line.lead, ...line.assign, ...line.comment]) {
    text += " ".repeat(cell.spaces) + cell.text;
  }
  return text;
}

function splitLines(tokens: Tokens): Line[] {
  const lines: Line[] = [];
  let cells: Cell[] = [];
  for (let i = 0; i < tokens.count - 1; i++) {
    const type = tokens.type(i);
    const text = tokens.textOf(i);
    cells.push({ type, text, spaces: 0 });
    if (type === T.Newline || (type === T.Comment && text.endsWith("\n"))) {
      lines.push(splitCells(cells));
      cells = [];
    }
  }
  if (cells.length > 0) lines.push(splitCells(cells));
  return lines;
}

function splitCells(cells: Cell[]): Line {
  const line: Line = { lead: cells, assign: [], comment: [] };
  if (cells.length > 1 && cells.at(-1)!.type === T.Comment) {
    line.comment = cells.slice(-1);
    line.lead = cells.slice(0, -1);
  }
  const equal = line.lead.findIndex((cell, i) => i > 0 && cell.type === T.Equal);
  // An assignment that goes on in the next line is not put into a column.
  if (equal > 0 && line.lead.slice(equal).reduce((net, cell) => net + bracketChange(cell.type), 0) === 0) {
    line.assign = line.lead.slice(equal);
    line.lead = line.lead.slice(0, equal);
  }
  return line;
}

function bracketChange(type: TokenType | undefined): number {
  switch (type) {
    case T.OpenBrace:
    case T.OpenBracket:
    case T.OpenParen:
    case T.OpenInterpolation:
    case T.OpenDirective:
      return 1;
    case T.CloseBrace:
    case T.CloseBracket:
    case T.CloseParen:
    case T.CloseSequence:
      return -1;
    default:
      return 0;
  }
}

/** A line that opens more than it closes indents what follows by one step, however many brackets it opens. */
function indentLines(lines: readonly Line[]): void {
  const open: number[] = [];
  for (const { lead, assign } of lines) {
    const first = lead[0];
    if (!first || first.type === T.Newline) continue;
    const net = netBrackets(lead) + netBrackets(assign);
    if (net > 0) {
      first.spaces = 2 * open.length;
      open.push(net);
      continue;
    }
    for (let closed = -net; closed > 0 && open.length > 0;) {
      const last = open.length - 1;
      if (closed < open[last]!) {
        open[last]! -= closed;
        break;
      }
      closed -= open.pop()!;
    }
    first.spaces = 2 * open.length;
  }
}

function netBrackets(cells: readonly Cell[]): number {
  let net = 0;
  for (const cell of cells) {
    net += bracketChange(cell.type);
    if (cell.type === T.OpenHeredoc) break;
  }
  return net;
}

function spaceLines(lines: readonly Line[]): void {
  for (const { lead, assign } of lines) {
    spaceCells(lead);
    if (assign[0]) assign[0].spaces = 1;
    spaceCells(assign);
  }
}

function spaceCells(cells: readonly Cell[]): void {
  for (let i = 0; i + 1 < cells.length; i++) {
    cells[i + 1]!.spaces = spaceBetween(cells[i - 1], cells[i]!, cells[i + 1]!) ? 1 : 0;
  }
}

/** Tokens after which a minus is a sign, not a subtraction. */
const BEFORE_SIGN: ReadonlySet<TokenType> = new Set([
  T.OpenParen,
  T.OpenBrace,
  T.OpenBracket,
  T.Equal,
  T.Colon,
  T.Comma,
  T.Question,
  T.Plus,
  T.Star,
  T.Slash,
  T.Percent,
  T.Minus,
  T.EqualEqual,
  T.NotEqual,
  T.Greater,
  T.GreaterEqual,
  T.Less,
  T.LessEqual,
  T.And,
  T.Or,
  T.Bang,
]);

const LITERAL_LEFT: ReadonlySet<TokenType> = new Set([
  T.QuotedText,
  T.HeredocText,
  T.OpenQuote,
  T.OpenHeredoc,
]);
const LITERAL_RIGHT: ReadonlySet<TokenType> = new Set([
  T.QuotedText,
  T.HeredocText,
  T.CloseQuote,
  T.CloseHeredoc,
]);

/** Whether a space belongs between `left` and `right`; the order of the rules matters. */
function spaceBetween(before: Cell | undefined, left: Cell, right: Cell): boolean {
  const a = left.type;
  const b = right.type;
  if (b === T.Newline) return false;
  if (a === T.Ident && b === T.OpenParen) return false;
  if ((a === T.Ident && b === T.DoubleColon) || (a === T.DoubleColon && b === T.Ident)) return false;
  if (a === T.Dot || b === T.Dot) return false;
  if (b === T.Comma || b === T.Ellipsis) return false;
  if (a === T.Comma) return true;
  if (LITERAL_LEFT.has(a) || LITERAL_RIGHT.has(b)) return false;
  // `for x in [a]`: here `in` is a word, not a name that is indexed.
  if (a === T.Ident && left.text === "in" && before?.type === T.Ident) return true;
  if (b === T.OpenBracket && (a === T.Ident || a === T.Number || bracketChange(a) < 0)) return false;
  if (a === T.Bang) return false;
  if (a === T.Minus) return before !== undefined && !BEFORE_SIGN.has(before.type);
  if (a === T.OpenBrace || b === T.CloseBrace) return !(a === T.OpenBrace && b === T.CloseBrace);
  if ((a === T.OpenInterpolation || a === T.OpenDirective) && b === T.OpenBrace) return true;
  if (a === T.CloseBrace && b === T.CloseSequence) return true;
  if (a === T.CloseSequence && (b === T.OpenInterpolation || b === T.OpenDirective)) return false;
  return bracketChange(a) <= 0 && bracketChange(b) >= 0;
}

function columns(cells: readonly Cell[]): number {
  let count = 0;
  for (const cell of cells) count += cell.spaces + graphemeCount(cell.text);
  return count;
}

/** Equals signs, then trailing comments, of consecutive lines that have one stand in one column. */
function alignCells(lines: readonly Line[]): void {
  alignChains(lines, (line) => line.assign[0], (line) => columns(line.lead));
  alignChains(lines, (line) => line.comment[0], (line) => columns(line.lead) + columns(line.assign));
}

function alignChains(
  lines: readonly Line[],
  cellOf: (line: Line) => Cell | undefined,
  widthOf: (line: Line) => number,
): void {
  let chain: { cell: Cell; width: number }[] = [];
  const close = () => {
    const widest = chain.reduce((most, entry) => Math.max(most, entry.width), 0);
    for (const { cell, width } of chain) cell.spaces = widest - width + 1;
    chain = [];
  };
  for (const line of lines) {
    const cell = cellOf(line);
    if (cell) chain.push({ cell, width: widthOf(line) });
    else if (chain.length > 0) close();
  }
  close();
}
