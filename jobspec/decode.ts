// Bodies → JSON records, led by the tables. Checks names, labels, repetition, requirement and types; reports all that is
// wrong and goes on.
// Invariants: the record has every field its table knows; a value that could not be read leaves the field at its
// absent value (the diagnostics then say why); nothing of an UNKNOWN value is reported.
import { checkLabels, type Content, type FoundBlock, readContent, reportMissing } from "./body_content.ts";
import { decodeAttribute } from "./decode_value.ts";
import { decodeFreeForm, decodeTextMap } from "./decode_free.ts";
import { Diagnostics, type Place, placeText, suggestName } from "./diagnostics.ts";
import { Evaluator } from "./expression.ts";
import type { Json } from "./json.ts";
import type { Attribute, Block, Body } from "./syntax.ts";
import type { BlockTable, ChildSpec, FreeSpec } from "./table.ts";

/** What decoding a block counts for: a dynamic block may make thousands of them. */
const BLOCK_STEPS = 25;

type JsonRecord = Record<string, Json>;

interface BlockNamesOf {
  readonly native: ReadonlyMap<string, number>;
  /** In JSON syntax what may be either is an attribute. */
  readonly json: ReadonlyMap<string, number>;
}

const namesOf = new WeakMap<BlockTable, BlockNamesOf>();

/** Block types of a table with the number of their labels. */
function blockNames(table: BlockTable, json = false): ReadonlyMap<string, number> {
  let names = namesOf.get(table);
  if (!names) {
    const counts = Object.entries(table.blocks).map(([name, spec]) =>
      [name, spec.table().labels.length] as const
    );
    const free = Object.entries(table.free);
    const onlyBlocks = free.filter(([, spec]) => !spec.alsoAttribute);
    names = {
      native: new Map([...counts, ...free.map(([name]) => [name, 0] as const)]),
      json: new Map([...counts, ...onlyBlocks.map(([name]) => [name, 0] as const)]),
    };
    namesOf.set(table, names);
  }
  return json ? names.json : names.native;
}

export function headerPlace(block: Block): Place {
  return { source: block.source, start: block.typeStart, end: block.typeEnd };
}

/** Decodes one block whose type and labels were already checked. */
export function decodeBlock(found: FoundBlock, table: BlockTable): JsonRecord {
  const { block, evaluator } = found;
  return new BlockDecoder(table, block.body, evaluator.forSource(block.source), block).decode();
}

class BlockDecoder {
  readonly #record: JsonRecord = {};
  readonly #given = new Map<string, Attribute>();
  /** Where a block (or attribute in its stead) of each kind stood first. */
  readonly #seen = new Map<string, Place>();
  readonly #byAttribute = new Set<string>();

  constructor(
    readonly table: BlockTable,
    readonly body: Body,
    readonly evaluator: Evaluator,
    readonly block: Block,
  ) {}

  get #diagnostics(): Diagnostics {
    return this.evaluator.options.diagnostics;
  }

  decode(): JsonRecord {
    const { table, block } = this;
    this.evaluator.budget.steps(BLOCK_STEPS);
    const content = readContent(this.body, blockNames(table, this.body.json !== undefined), this.evaluator);
    this.#defaults();
    table.labels.forEach((label, i) => {
      if (label.field) this.#record[label.field] = block.labels[i]!.text;
    });
    for (const attribute of content.attributes) this.#attribute(attribute);
    this.#blocks(content);
    for (const [name, spec] of Object.entries(table.attributes)) {
      if (spec.required && !content.attributes.some((attribute) => attribute.name === name)) {
        reportMissing(this.body, name, this.evaluator);
      }
    }
    if (!table.finish) return this.#record;
    return table.finish(this.#record, {
      given: new Set(this.#given.keys()),
      labels: block.labels.map((label) => label.text),
      error: (name, summary, detail) => {
        const attribute = name === undefined ? undefined : this.#given.get(name);
        const label = block.labels[0];
        const place = attribute
          ? { source: attribute.source, start: attribute.expression.start, end: attribute.expression.end }
          : label
          ? { source: block.source, start: label.start, end: label.end }
          : headerPlace(block);
        this.#diagnostics.error(place, summary, detail);
      },
    });
  }

  #defaults(): void {
    const { table } = this;
    for (const [name, spec] of Object.entries(table.attributes)) {
      this.#record[spec.field || name] = spec.absent;
    }
    for (const spec of Object.values(table.blocks)) this.#record[spec.field] = null;
    for (const spec of Object.values(table.free)) this.#record[spec.field] = null;
    Object.assign(this.#record, table.constants);
  }

  #attribute(attribute: Attribute): void {
    const { table } = this;
    const { name } = attribute;
    const spec = Object.hasOwn(table.attributes, name) ? table.attributes[name] : undefined;
    const free = Object.hasOwn(table.free, name) ? table.free[name] : undefined;
    if (spec) {
      const value = decodeAttribute(attribute, spec, this.evaluator, table.generic);
      if (value === undefined) return;
      // null says "as if it were not there", also where something else than null stands for that.
      this.#record[spec.field || name] = value ?? spec.absent;
      if (value !== null) this.#given.set(name, attribute);
    } else if (free?.alsoAttribute) {
      this.#seen.set(name, { source: attribute.source, start: attribute.nameStart, end: attribute.end });
      this.#byAttribute.add(name);
      const value = decodeAttribute(
        attribute,
        {
          field: free.field,
          kind: "stringMap",
          nullable: true,
          absent: null,
          required: false,
          doc: free.doc,
        },
        this.evaluator,
        false,
      );
      if (value !== undefined) this.#record[free.field] = value;
    } else this.#unknownArgument(attribute);
  }

  #unknownArgument(attribute: Attribute): void {
    const { table } = this;
    const { name } = attribute;
    const isBlock = Object.hasOwn(table.blocks, name) || Object.hasOwn(table.free, name);
    const known = [
      ...Object.keys(table.attributes),
      ...Object.keys(table.free).filter((free) => table.free[free]!.alsoAttribute),
    ];
    const summary = this.body.json ? "Extraneous JSON object property" : "Unsupported argument";
    const detail = this.body.json
      ? `No argument or block type is named "${name}".`
      : `An argument named "${name}" is not expected here.`;
    const candidates = this.body.json ? [...known, ...blockNames(table).keys()] : known;
    this.#diagnostics.error(
      { source: attribute.source, start: attribute.nameStart, end: attribute.nameEnd },
      summary,
      isBlock ? `${detail} Did you mean to define a block of type "${name}"?` : detail,
      {
        suggestion: isBlock ? undefined : suggestName(name, candidates),
        ...(isBlock && { expected: `${name} { … }` }),
      },
    );
  }

  #blocks(content: Content): void {
    for (const found of content.blocks) {
      const { type } = found.block;
      const spec = Object.hasOwn(this.table.blocks, type) ? this.table.blocks[type] : undefined;
      const free = Object.hasOwn(this.table.free, type) ? this.table.free[type] : undefined;
      if (spec) this.#child(found, spec);
      else if (free) this.#free(found, free);
      else this.#unknownBlock(found.block);
    }
  }

  #unknownBlock(block: Block): void {
    const { type } = block;
    const isAttribute = Object.hasOwn(this.table.attributes, type);
    const detail = `Blocks of type "${type}" are not expected here.`;
    const hint =
      ` Did you mean to define argument "${type}"? If so, use the equals sign to assign it a value.`;
    this.#diagnostics.error(
      headerPlace(block),
      "Unsupported block type",
      isAttribute ? detail + hint : detail,
      {
        suggestion: isAttribute ? undefined : suggestName(type, blockNames(this.table).keys()),
        ...(isAttribute && { expected: `${type} = …` }),
      },
    );
  }

  /** Reports a second block where one is allowed; true if it is one. */
  #repeated(block: Block, key: string, what: string): boolean {
    const earlier = this.#seen.get(key);
    if (!earlier) {
      this.#seen.set(key, headerPlace(block));
      return false;
    }
    this.#diagnostics.error(
      headerPlace(block),
      `Duplicate ${what} block`,
      `Only one ${what} block is allowed. Another was defined at ${placeText(earlier)}.`,
    );
    return true;
  }

  #child(found: FoundBlock, spec: ChildSpec): void {
    const table = spec.table();
    const { block } = found;
    const evaluator = spec.lenient ? silent(found.evaluator) : found.evaluator;
    if (!checkLabels(block, table.labels.map((label) => label.name), found.evaluator)) return;
    if (spec.form === "one" && !spec.lenient && this.#repeated(block, block.type, block.type)) return;
    if (spec.uniqueLabels) {
      const label = block.labels[0]!.text;
      if (this.#repeated(block, `${block.type} ${label}`, `${block.type} "${label}"`)) return;
    }
    const record = decodeBlock({ block, evaluator }, table);
    if (spec.form === "one") this.#record[spec.field] = record;
    else if (spec.form === "list") {
      const list = this.#record[spec.field] as Json[] | null;
      if (list) list.push(record);
      else this.#record[spec.field] = [record];
    } else {
      const map = (this.#record[spec.field] ??= {}) as JsonRecord;
      map[block.labels[0]!.text] = record;
    }
  }

  #free(found: FoundBlock, spec: FreeSpec): void {
    const { block } = found;
    if (!checkLabels(block, [], found.evaluator)) return;
    const earlier = this.#seen.get(block.type);
    if (earlier && this.#byAttribute.has(block.type)) {
      this.#diagnostics.error(
        headerPlace(block),
        `Duplicate ${block.type} block`,
        `${block.type} may not be defined more than once. Another definition is defined at ${
          placeText(earlier)
        }.`,
      );
      return;
    }
    if (this.#repeated(block, block.type, block.type)) return;
    const evaluator = found.evaluator.forSource(block.source);
    this.#record[spec.field] = spec.kind === "any"
      ? decodeFreeForm(block.body, evaluator)
      : decodeTextMap(block.body, evaluator, spec.kind);
  }
}

function silent(evaluator: Evaluator): Evaluator {
  return new Evaluator(
    evaluator.source,
    { ...evaluator.options, diagnostics: new Diagnostics() },
    evaluator.scope,
  );
}
