import type { Case } from "./case.ts";
import { LIST_KEYS, parseCase } from "./schema.ts";

/** A scenario's cases: one, or one for each combination of the values of its lists. */
export interface Scenario {
  readonly name: string;
  readonly description: string;
  readonly profile: string;
  readonly cases: readonly SweptCase[];
}

/** A case, and what sets it apart from the others: swept keys in dots, with their values. */
export interface SweptCase {
  readonly run: Case;
  readonly swept: Readonly<Record<string, string | number | boolean>>;
}

const MAX_CASES = 1_024;

/** Checks a scenario read from YAML; throws a ZodError that names the key, or a RangeError for too many cases. */
export function parseScenario(value: unknown): Scenario {
  const cases: SweptCase[] = [];
  for (const { value: single, swept } of combinations(value)) {
    if (cases.length === MAX_CASES) throw new RangeError(`more than ${MAX_CASES} cases: shorten the lists`);
    cases.push({ run: parseCase(single), swept });
  }
  if (cases.length === 0) throw new RangeError("an empty list leaves no case: give it a value");
  const { name, description, profile } = cases[0]!.run;
  return { name, description, profile, cases };
}

/** The cases of a scenario, in the order in which its lists are written: the last one varies fastest. */
export function expand({ cases }: Scenario): Case[] {
  return cases.map(({ run }) => run);
}

/** Sets a key given in dots, as in `link.per`, of a scenario read from YAML. */
export function setKey(scenario: unknown, key: string, value: unknown): void {
  const path = key.split(".");
  let at = scenario as Record<string, unknown>;
  for (const part of path.slice(0, -1)) {
    const next = Object.hasOwn(at, part) ? at[part] : undefined;
    if (typeof next === "object" && next !== null && !Array.isArray(next)) at = next as Record<string, unknown>;
    else at = at[part] = Object.create(null) as Record<string, unknown>;
  }
  at[path.at(-1)!] = value;
}

interface Combination {
  readonly value: unknown;
  readonly swept: Record<string, string | number | boolean>;
}

/** Every combination of one value for each list in it. */
function* combinations(value: unknown, path = ""): Generator<Combination> {
  if (Array.isArray(value) && !LIST_KEYS.has(path)) {
    for (const item of value) {
      const label = ["string", "number", "boolean"].includes(typeof item) ? item : JSON.stringify(item);
      yield { value: item, swept: value.length > 1 ? { [path]: label } : {} };
    }
  } else if (typeof value === "object" && value !== null && !Array.isArray(value)) {
    yield* ofKeys(Object.entries(value), path);
  } else yield { value, swept: {} };
}

function* ofKeys(entries: readonly [string, unknown][], path: string): Generator<Combination> {
  const [first, ...rest] = entries;
  if (first === undefined) {
    yield { value: {}, swept: {} };
    return;
  }
  const [key, value] = first;
  for (const here of combinations(value, path === "" ? key : `${path}.${key}`)) {
    for (const others of ofKeys(rest, path))
      yield { value: { [key]: here.value, ...(others.value as object) }, swept: { ...here.swept, ...others.swept } };
  }
}
