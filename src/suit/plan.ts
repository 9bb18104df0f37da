import type { Crypto } from "../ports/crypto.ts";
import { bytesEqual, toHex } from "../util/bytes.ts";
import { componentName, type ComponentId } from "./manifest.ts";
import { DONE, drive, type Action, type Answer, type Question } from "./processor/effects.ts";
import { runProcedure, type Outcome, type Procedure } from "./processor/procedure.ts";
import type { OpenManifest, ProcessorOptions } from "./processor/state.ts";

/** One way that a procedure can take: what it asks, and what it has the device do, in order. */
export interface PlannedWay {
  readonly steps: readonly (Question | Action)[];
  readonly outcome: Outcome;
}

/** Ways beyond these are not looked at. */
export const PLAN_LIMITS = { maxWays: 256 } as const;

/**
 * Every way through a procedure: each branch of each try-each once, with conditions taken as met. Nothing is fetched;
 * dependencies that are in the envelope are followed.
 */
export function planProcedure(
  crypto: Crypto,
  open: OpenManifest,
  procedure: Procedure,
  options: Partial<ProcessorOptions> = {},
): PlannedWay[] {
  const ways: PlannedWay[] = [];
  let choices: { taken: number; of: number }[] = [];
  for (let more = true; more && ways.length < PLAN_LIMITS.maxWays;) {
    const made: { taken: number; of: number }[] = [];
    const way = oneWay(crypto, open, procedure, options, choices, made);
    if (way !== undefined) ways.push(way);
    // The next way differs in the last choice that has a branch left.
    while (made.length > 0 && made.at(-1)!.taken + 1 >= made.at(-1)!.of) made.pop();
    more = made.length > 0;
    if (more) made[made.length - 1] = { ...made.at(-1)!, taken: made.at(-1)!.taken + 1 };
    choices = made;
  }
  return ways;
}

function oneWay(
  crypto: Crypto,
  open: OpenManifest,
  procedure: Procedure,
  options: Partial<ProcessorOptions>,
  choices: readonly { taken: number; of: number }[],
  made: { taken: number; of: number }[],
): PlannedWay | undefined {
  const steps: (Question | Action)[] = [];
  const stored = new Map<string, Uint8Array>();
  const branch = (of: number): number => {
    const taken = choices[made.length]?.taken ?? 0;
    made.push({ taken, of });
    return taken;
  };
  const facts = new Facts();
  const holds = (question: Question): boolean => {
    steps.push(question);
    return facts.holds(question);
  };
  const plan = { branch, holds };
  const device = {
    ask: (): Answer => "yes",
    act: (action: Action) => {
      steps.push(action);
      if (action.kind === "store") stored.set(componentName(action.component), action.content);
      return DONE;
    },
    envelope: (component: ComponentId) => stored.get(componentName(component)),
  };
  const outcome = drive(runProcedure(open, procedure, { ...options, crypto, plan }), device);
  return facts.areContradictory ? undefined : { steps, outcome };
}

/** What is taken as true on one way: no device is written to two slots, or of two classes. */
class Facts {
  readonly #known = new Map<string, string>();
  areContradictory = false;

  holds(question: Question): boolean {
    const fact = factOf(question);
    if (fact === undefined) return true;
    const [what, value] = fact;
    const known = this.#known.get(what);
    this.#known.set(what, known ?? value);
    if (known === undefined || known === value) return true;
    this.areContradictory = true;
    return false;
  }
}

function factOf(question: Question): [what: string, value: string] | undefined {
  if (question.kind === "slot") return [`slot ${componentName(question.component)}`, String(question.slot)];
  return question.kind === "identifier" ? [question.which, toHex(question.value)] : undefined;
}

/** A payload that a device fetches. */
export interface PlannedPayload {
  readonly component: ComponentId;
  readonly uri: string;
  readonly digest: Uint8Array | undefined;
  readonly size: number | undefined;
  readonly encrypted: boolean;
  readonly integrated: boolean;
}

/** What the ways have a device fetch, each payload once; `copy` with encryption marks the one it reads as encrypted. */
export function payloadsOf(ways: readonly PlannedWay[]): PlannedPayload[] {
  const payloads: PlannedPayload[] = [];
  for (const { steps } of ways) {
    for (const step of steps) {
      if (step.kind !== "fetch") continue;
      const { component, uri, digest, size } = step;
      const isSame = (other: PlannedPayload): boolean =>
        other.uri === uri &&
        (digest === undefined
          ? other.digest === undefined
          : other.digest !== undefined && bytesEqual(other.digest, digest));
      const encrypted = step.encryption !== undefined;
      if (!payloads.some(isSame)) payloads.push({ component, uri, digest, size, encrypted, integrated: false });
    }
  }
  return payloads;
}
