import { z } from "zod";

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
  const after = cursor === undefined ? undefined : Buffer.from(cursor, "base64url").toString("utf8");
  if (cursor !== undefined && Buffer.from(after!, "utf8").toString("base64url") !== cursor) return undefined;
  const behind = [...all]
    .map((item) => [keyOf(item), item] as const)
    .filter(([key]) => after === undefined || key > after);
  behind.sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0));
  const items = behind.slice(0, limit);
  const last = items.at(-1);
  return {
    items: items.map(([, item]) => item),
    next: behind.length > limit && last !== undefined ? Buffer.from(last[0], "utf8").toString("base64url") : null,
  };
}
