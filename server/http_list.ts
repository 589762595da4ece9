// Pages of lists: order, filter, per_page, next_token, reverse; and the checks of ids and prefixes that the API makes.
// Pure: records in, one page out.
import { compileFilter, type Filter, FilterError } from "../core/filter.ts";
import { ApiError } from "../core/errors.ts";
import type { ReadOptions } from "./http_exchange.ts";
import { linearRegexp } from "./linear_regexp.ts";

/** How a kind of record is put in order and named in tokens. */
export interface Order<T> {
  compare(a: T, b: T): number;
  token(item: T): string;
  /** Where `item` stands relative to a token: negative before, positive after. */
  compareToken(item: T, token: string): number;
}

export interface Page {
  items: unknown[];
  /** "" on the last page. */
  nextToken: string;
}

export interface PageSource<T> {
  items: Iterable<T>;
  order: Order<T>;
  /** True when `items` come in ascending order. */
  sorted?: boolean;
  /** True when `items` come in the very order that the request asks for; then no more of them is taken than shown. */
  inOrder?: boolean;
  view(item: T): unknown;
  /** What filters look at; the record itself when absent. */
  record?(item: T): unknown;
}

const text = (a: string, b: string): number => a < b ? -1 : a > b ? 1 : 0;

/** By (CreateIndex, ID), token `index.id`. */
export const byCreation: Order<{ CreateIndex: number; ID: string }> = {
  compare: (a, b) => a.CreateIndex - b.CreateIndex || text(a.ID, b.ID),
  token: (item) => `${item.CreateIndex}.${item.ID}`,
  compareToken(item, token) {
    const dot = token.indexOf(".");
    const index = Number(dot < 0 ? token : token.slice(0, dot));
    // A token that is none stands behind everything, so that nothing is shown twice.
    if (Number.isNaN(index)) return -1;
    return item.CreateIndex - index || text(item.ID, dot < 0 ? "" : token.slice(dot + 1));
  },
};

/** Where a walk by creation has to begin for this page; null at its first. */
export function creationStart({ nextToken }: ReadOptions): { index: number; id: string } | null {
  const dot = nextToken.indexOf(".");
  const index = Number(dot < 0 ? nextToken : nextToken.slice(0, dot));
  if (nextToken === "" || Number.isNaN(index)) return null;
  return { index, id: dot < 0 ? "" : nextToken.slice(dot + 1) };
}

/** By (Namespace, ID), token `namespace.id`. */
export const byNamespacedId: Order<{ Namespace: string; ID: string }> = {
  compare: (a, b) => text(a.Namespace, b.Namespace) || text(a.ID, b.ID),
  token: (item) => `${item.Namespace}.${item.ID}`,
  compareToken(item, token) {
    const dot = token.indexOf(".");
    if (dot < 0) return text(item.ID, token);
    return text(item.Namespace, token.slice(0, dot)) || text(item.ID, token.slice(dot + 1));
  },
};

/** By ID, token the ID itself. */
export const byId: Order<{ ID: string }> = {
  compare: (a, b) => text(a.ID, b.ID),
  token: (item) => item.ID,
  compareToken: (item, token) => text(item.ID, token),
};

/** By Name, token the name itself. */
export const byName: Order<{ Name: string }> = {
  compare: (a, b) => text(a.Name, b.Name),
  token: (item) => item.Name,
  compareToken: (item, token) => text(item.Name, token),
};

/** One page of a list. Throws ApiError(400) for a filter that cannot be read or applied. */
export function page<T>(options: ReadOptions, source: PageSource<T>): Page {
  const { order, view } = source;
  const accepts = readFilter(options.filter);
  const items = source.inOrder ? source.items : inOrder(options, source);
  const direction = options.reverse ? -1 : 1;
  const wanted = options.perPage === 0 ? Infinity : Math.max(options.perPage, 0);
  const found: unknown[] = [];
  for (const item of items) {
    if (options.nextToken !== "" && direction * order.compareToken(item, options.nextToken) < 0) continue;
    if (accepts && !applyFilter(accepts, source.record ? source.record(item) : item)) continue;
    if (found.length === wanted) return { items: found, nextToken: order.token(item) };
    found.push(view(item));
  }
  return { items: found, nextToken: "" };
}

function inOrder<T>(options: ReadOptions, source: PageSource<T>): T[] {
  const items = [...source.items];
  if (!source.sorted && !isSorted(items, source.order)) items.sort(source.order.compare);
  return options.reverse ? items.reverse() : items;
}

function isSorted<T>(items: readonly T[], order: Order<T>): boolean {
  for (let i = 1; i < items.length; i++) if (order.compare(items[i - 1]!, items[i]!) > 0) return false;
  return true;
}

/** The compiled filter, null for none. */
export function readFilter(expression: string): Filter | null {
  if (expression === "") return null;
  try {
    return compileFilter(expression, linearRegexp);
  } catch (error) {
    if (!(error instanceof FilterError)) throw error;
    throw new ApiError(
      400,
      `failed to create result paginator: failed to read filter expression: ${error.message}`,
    );
  }
}

export function applyFilter(accepts: Filter, record: unknown): boolean {
  try {
    return accepts(record);
  } catch (error) {
    if (!(error instanceof FilterError)) throw error;
    throw new ApiError(400, `failed to read result page: ${error.message}`);
  }
}

// --- Ids --------------------------------------------------------------------------------------------------------

/** Refuses what is not a whole UUID, as the API does: ids are never completed here. */
export function checkUuid(id: string, lead: string): void {
  if (id.length !== 36) throw new ApiError(500, `${lead}index error: UUID must be 36 characters`);
  checkHex(id, lead);
}

/** Refuses what cannot begin a UUID. */
export function checkUuidPrefix(prefix: string, lead: string): void {
  if (prefix.length > 36) {
    throw new ApiError(
      500,
      `${lead}index error: Invalid UUID length. UUID have 36 characters; got ${prefix.length}`,
    );
  }
  if (prefix.replaceAll("-", "").length % 2 === 1) {
    throw new ApiError(500, `${lead}index error: Input (without hyphens) must be even length`);
  }
  checkHex(prefix, lead);
}

function checkHex(id: string, lead: string): void {
  const wrong = /[^0-9a-fA-F-]/u.exec(id)?.[0];
  if (wrong === undefined) return;
  const point = wrong.codePointAt(0)!.toString(16).toUpperCase().padStart(4, "0");
  throw new ApiError(
    500,
    `${lead}index error: Invalid UUID: encoding/hex: invalid byte: U+${point} '${wrong}'`,
  );
}
