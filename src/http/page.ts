import type { FastifyReply, FastifyRequest } from "fastify";
import { z } from "zod";
import { refuse } from "./problem.ts";

const MAX_LIMIT = 1_000;

/** What a list may be asked: so many, from behind that cursor on. */
export const PAGE_QUERY: {
  readonly limit: z.ZodType<number>;
  readonly cursor: z.ZodType<string | undefined>;
} = {
  limit: z.coerce.number().int().min(1).max(MAX_LIMIT).default(100),
  cursor: z.string().max(1_000).optional(),
};

export interface PageOptions {
  readonly limit: number;
  readonly cursor?: string | undefined;
}

export interface Page<T> {
  readonly items: readonly T[];
  /** For the next page; null when there is none. */
  readonly next: string | null;
}

/**
 * A page of what is ordered by a key that never changes: what comes or goes meanwhile moves nothing, is never shown twice,
 * and hides nothing. Undefined when the cursor is none of ours.
 */
export function pageOf<T>(
  all: Iterable<T>,
  keyOf: (item: T) => string,
  { limit, cursor }: PageOptions,
): Page<T> | undefined {
  const from = afterOf(cursor);
  if (from === "bad") return undefined;
  const after = from.key;
  const behind = [...all]
    .map((item) => [keyOf(item), item] as const)
    .filter(([key]) => after === undefined || key > after);
  behind.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const items = behind.slice(0, limit);
  const last = items.at(-1);
  return {
    items: items.map(([, item]) => item),
    next: behind.length > limit && last !== undefined ? cursorOf(last[0]) : null,
  };
}

const cursorOf = (key: string): string => Buffer.from(key, "utf8").toString("base64url");

/** The key that a cursor names. */
function afterOf(cursor: string | undefined): { readonly key: string | undefined } | "bad" {
  if (cursor === undefined) return { key: undefined };
  const key = Buffer.from(cursor, "base64url").toString("utf8");
  return cursorOf(key) === cursor ? { key } : "bad";
}

/** The same where the keys are sorted already, and what they name is made only for the page: for lists that are long. */
export function pageOfSorted<T>(
  keys: readonly string[],
  make: (key: string) => T | undefined,
  { limit, cursor }: PageOptions,
): Page<T> | undefined {
  const from = afterOf(cursor);
  if (from === "bad") return undefined;
  const after = from.key;
  const items: T[] = [];
  let last = "";
  for (let i = after === undefined ? 0 : firstBehind(keys, after); i < keys.length; i++) {
    const item = make(keys[i]!);
    if (item === undefined) continue;
    if (items.length === limit) return { items, next: cursorOf(last) };
    items.push(item);
    last = keys[i]!;
  }
  return { items, next: null };
}

function firstBehind(keys: readonly string[], after: string): number {
  let [low, high] = [0, keys.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (keys[middle]! <= after) low = middle + 1;
    else high = middle;
  }
  return low;
}

export interface ListOptions {
  readonly limit?: number | undefined;
  readonly cursor?: string | undefined;
}

/** What a list that is an array may be asked: a page of it, where `limit` is given. */
export const ListQuery: z.ZodType<ListOptions> = z.strictObject({
  limit: z.coerce.number().int().min(1).max(MAX_LIMIT).optional(),
  cursor: PAGE_QUERY.cursor,
});

/** Sends an array: all of it, or a page with a `Link` to the next one (RFC 8288). */
export async function sendList<T>(
  request: FastifyRequest,
  reply: FastifyReply,
  all: Iterable<T>,
  keyOf: (item: T) => string,
  view: (item: T) => unknown,
): Promise<FastifyReply> {
  const { limit, cursor } = request.query as ListOptions;
  const page = pageOf(all, keyOf, { limit: limit ?? Number.POSITIVE_INFINITY, cursor });
  if (page === undefined) return refuse(reply, 400, "bad-cursor", "cursor is what the Link of the page before had");
  const path = request.url.split("?")[0]!;
  if (page.next !== null) void reply.header("link", `<${path}?limit=${limit}&cursor=${page.next}>; rel="next"`);
  return reply.send(page.items.map(view));
}
