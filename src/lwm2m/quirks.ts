import { z } from "zod";
import { pathText } from "./path.ts";
import type { Reading } from "./reading.ts";
import { toText } from "./values.ts";
import type { Registration } from "./registration.ts";

/** A rule by which a client is known: all that it names must hold. */
interface MatchRule {
  readonly weight: number;
  readonly version?: string | undefined;
  /** As in b=UQ: Queue Mode in the words of 1.0, whatever the version. */
  readonly oldQueueSyntax?: boolean | undefined;
  /** A resource whose text matches a regular expression. */
  readonly resource?: { readonly path: string; readonly pattern: string } | undefined;
  /** State that it has before anything was sent to it. */
  readonly restState?: number | undefined;
}

/** What a family of clients does otherwise than the standard has it; config/profiles/README.md says what each key means. */
export interface Quirks {
  readonly name: string;
  readonly description: string;
  readonly match: readonly MatchRule[];
  readonly states: readonly number[];
  readonly trustState: boolean;
  readonly observe: boolean;
  readonly delivery?: "pull" | "push" | "both" | undefined;
  readonly reset: "uri" | "package" | "none";
  readonly keepsPackage: boolean;
  readonly forgetsPushAfterS?: number | undefined;
  readonly blockBytes: number;
  readonly ackTimeoutMs?: number | undefined;
  readonly versionPath?: string | undefined;
  readonly triggerPort?: number | undefined;
}

const QuirksSchema: z.ZodType<Quirks> = z.strictObject({
  name: z.string().regex(/^[a-z0-9-]{1,32}$/),
  description: z.string().max(500).default(""),
  match: z.array(
    z.strictObject({
      weight: z.int().min(1).max(100),
      version: z.string().optional(),
      oldQueueSyntax: z.boolean().optional(),
      resource: z.strictObject({ path: z.string(), pattern: z.string().max(200) }).optional(),
      restState: z.int().optional(),
    }),
  ),
  states: z.array(z.int().min(0).max(255)).length(4).default([0, 1, 2, 3]),
  trustState: z.boolean().default(true),
  observe: z.boolean().default(true),
  delivery: z.enum(["pull", "push", "both"]).optional(),
  reset: z.enum(["uri", "package", "none"]).default("uri"),
  keepsPackage: z.boolean().default(false),
  forgetsPushAfterS: z.number().positive().optional(),
  blockBytes: z.union([16, 32, 64, 128, 256, 512, 1024].map((size) => z.literal(size))).default(1024),
  ackTimeoutMs: z.int().min(100).max(120_000).optional(),
  versionPath: z.string().optional(),
  triggerPort: z.int().min(1).max(65_535).optional(),
});

/** Checks a profile read from JSON; throws a ZodError that names the key. */
export function parseQuirks(value: unknown): Quirks {
  return QuirksSchema.parse(value);
}

export const STANDARD: Quirks = QuirksSchema.parse({ name: "standard", match: [] });

/** What is known of a client when its profile is chosen. */
export interface Evidence {
  readonly registration: Registration;
  readonly readings: readonly Reading[];
  /** State before anything was sent. */
  readonly restState: number | undefined;
}

/** The profile that most speaks for; the standard's where nothing does. */
export function chooseQuirks(profiles: readonly Quirks[], evidence: Evidence): Quirks {
  let [best, bestScore] = [STANDARD, 0];
  for (const profile of profiles) {
    const score = scoreOf(profile, evidence);
    if (score > bestScore) [best, bestScore] = [profile, score];
  }
  return best;
}

/** The sum of the weights of what holds. */
export function scoreOf({ match }: Quirks, { registration, readings, restState }: Evidence): number {
  let score = 0;
  for (const rule of match) {
    const resource = rule.resource;
    const holds =
      (rule.version === undefined || rule.version === registration.version) &&
      (rule.oldQueueSyntax === undefined || rule.oldQueueSyntax === (registration.oldQueueSyntax === true)) &&
      (rule.restState === undefined || rule.restState === restState) &&
      (resource === undefined || readings.some((reading) => matches(resource, reading)));
    if (holds) score += rule.weight;
  }
  return score;
}

function matches({ path, pattern }: { path: string; pattern: string }, reading: Reading): boolean {
  return pathText(reading.path) === path && new RegExp(pattern, "u").test(toText(reading.value));
}
