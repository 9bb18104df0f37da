import type { Verifier } from "../codec/cose.ts";
import type { Crypto } from "../ports/crypto.ts";
import { toHex } from "../util/bytes.ts";
import { beforeWhich } from "./delta.ts";
import { componentName, type ComponentId } from "./manifest.ts";
import { abort } from "./processor/failure.ts";
import { DONE, drive, isAction, type Action, type Answer, type Question } from "./processor/effects.ts";
import { runProcedure, type Outcome, type Procedure } from "./processor/procedure.ts";
import type { OpenManifest, PlanHooks, ProcessorOptions } from "./processor/state.ts";

/** One way that a procedure can take: what it asks, and what it has the device do, in order. */
export interface PlannedWay {
  readonly steps: readonly (Question | Action)[];
  readonly outcome: Outcome;
  /** What a device asks whether who signed may do it. */
  readonly deeds: readonly Deed[];
  /** What components hold behind it, by their name, as far as that came with the envelope. */
  readonly stored: ReadonlyMap<string, Uint8Array>;
}

/** A directive on a component. */
export interface Deed {
  readonly component: ComponentId;
  readonly code: number;
  /** Of the manifest that has it do so, where that is a dependency. */
  readonly signers: readonly Verifier[] | undefined;
}

/**
 * A manifest with more ways, or longer ones, is refused: what nobody looked at is shown to nobody as checked. `maxTried`:
 * with what turns out to be no way, since no device is of two slots. `maxCommandsInAll`: of all that is tried.
 */
export const PLAN_LIMITS = { maxWays: 128, maxTried: 4_096, maxCommands: 1_024, maxCommandsInAll: 65_536 } as const;

interface Choice {
  readonly taken: number;
  readonly of: number;
}

/**
 * Every way through a procedure: each branch of each try-each once, with conditions taken as met. Nothing is fetched;
 * dependencies that are in the envelope are followed. A way of which nobody can say beforehand what a device does is one
 * that fails. `stored`: what components hold already, by their name. `odd`: takes the ways that no device takes, or only one
 * of several classes; they are not among the others.
 */
export function planProcedure(
  crypto: Crypto,
  open: OpenManifest,
  procedure: Procedure,
  options: Partial<ProcessorOptions> = {},
  stored: ReadonlyMap<string, Uint8Array> = new Map(),
  odd?: PlannedWay[],
): PlannedWay[] {
  const ways: PlannedWay[] = [];
  const leftovers: Leftovers = { uncertain: new Set(), acted: new Set() };
  const once = { ...options, open: options.open && openingOnce(crypto, options.open) };
  const effort = { commands: 0 };
  let choices: Choice[] = [];
  for (let tried = 0; ; tried++) {
    if (ways.length >= PLAN_LIMITS.maxWays || tried >= PLAN_LIMITS.maxTried) return [...ways, failing(TOO_MANY_WAYS)];
    const made: Choice[] = [];
    const hooks: NewHooks = (ask, isNoWay) => new PlannedChoices({ choices, made, leftovers, effort, ask, isNoWay });
    const way = oneWay(crypto, open, procedure, once, hooks, new Map(stored));
    if (effort.commands > PLAN_LIMITS.maxCommandsInAll) return [...ways, failing(TOO_MUCH)];
    if (way !== undefined) (way.isOdd ? odd : ways)?.push(way);
    // The next way differs in the last choice that has a branch left.
    while (made.length > 0 && made.at(-1)!.taken + 1 >= made.at(-1)!.of) made.pop();
    if (made.length === 0) break;
    made[made.length - 1] = { ...made.at(-1)!, taken: made.at(-1)!.taken + 1 };
    choices = made;
  }
  const isAmbiguous = [...leftovers.uncertain].some((name) => leftovers.acted.has(name));
  return isAmbiguous ? [...ways, failing(AMBIGUOUS)] : ways;
}

/** Each dependency is authenticated once, however often it is come to. */
export function openingOnce(
  crypto: Crypto,
  open: (envelope: Uint8Array) => OpenManifest,
): (envelope: Uint8Array) => OpenManifest {
  const known = new Map<string, () => OpenManifest>();
  return (envelope) => {
    const key = toHex(crypto.sha256(envelope));
    let again = known.get(key);
    if (again === undefined) known.set(key, (again = outcomeOf(() => open(envelope))));
    return again();
  };
}

/** What a call comes to, value or exception, as often as it is asked for. */
function outcomeOf<T>(call: () => T): () => T {
  try {
    const value = call();
    return () => value;
  } catch (error) {
    return () => {
      throw error;
    };
  }
}

const TOO_MUCH = `more than ${PLAN_LIMITS.maxCommandsInAll} commands on all its ways together`;
const TOO_MANY_WAYS = `more than ${PLAN_LIMITS.maxWays} ways through its try-each commands`;
const AMBIGUOUS =
  "a condition behind a change, within a branch that may fail or a soft sequence: nobody can say what follows";

const failing = (detail: string): PlannedWay => ({
  steps: [],
  deeds: [],
  stored: new Map(),
  outcome: { ok: false, reason: "operation-failed", detail, section: "all", record: undefined, records: [] },
});

type NewHooks = (ask: (question: Question) => boolean, isNoWay: () => void) => PlanHooks;

function oneWay(
  crypto: Crypto,
  open: OpenManifest,
  procedure: Procedure,
  options: Partial<ProcessorOptions>,
  hooks: NewHooks,
  stored: Map<string, Uint8Array>,
): (PlannedWay & { readonly isOdd: boolean }) | undefined {
  const steps: (Question | Action)[] = [];
  const facts = new Facts();
  const ask = (question: Question): boolean => {
    steps.push(question);
    return facts.holds(question);
  };
  const plan = hooks(ask, () => (facts.areOdd = true));
  const device = {
    ask: (): Answer => "yes",
    act: (action: Action) => {
      steps.push(action);
      facts.forget(action);
      moveStored(stored, action);
      return DONE;
    },
    envelope: (component: ComponentId) => stored.get(componentName(component)),
  };
  const deeds: Deed[] = [];
  const permits = (signers: readonly Verifier[], component: ComponentId, code: number): boolean => {
    deeds.push({ component, code, signers: signers === open.signers ? undefined : signers });
    return true;
  };
  const limits = { maxCommands: PLAN_LIMITS.maxCommands };
  const outcome = drive(runProcedure(open, procedure, { ...options, crypto, plan, permits, limits }), device);
  return facts.areContradictory ? undefined : { steps, outcome, deeds, stored, isOdd: facts.areOdd };
}

/** What an action does to what components are known to hold. */
function moveStored(stored: Map<string, Uint8Array>, action: Action): void {
  if (action.kind === "invoke" || action.kind === "wait") return;
  const name = componentName(action.component);
  const put = (to: string, content: Uint8Array | undefined): void => {
    if (content === undefined) stored.delete(to);
    else stored.set(to, content);
  };
  if (action.kind === "store") put(name, action.encryption === undefined ? action.content : undefined);
  else if (action.kind === "copy" || action.kind === "swap") {
    const source = componentName(action.source);
    const [here, there] = [stored.get(name), stored.get(source)];
    put(name, action.kind === "copy" && action.encryption !== undefined ? undefined : there);
    if (action.kind === "swap") put(source, here);
  } else stored.delete(name); // fetched, or given up
}

/** Components, by name, over all ways: whose parameters a failed branch may leave behind, and which something is done to. */
interface Leftovers {
  readonly uncertain: Set<string>;
  readonly acted: Set<string>;
}

interface ChoiceParts {
  readonly choices: readonly Choice[];
  readonly made: Choice[];
  readonly leftovers: Leftovers;
  readonly effort: { commands: number };
  readonly ask: (question: Question) => boolean;
  readonly isNoWay: () => void;
}

interface Branch {
  readonly mayFail: boolean;
  readonly set: Set<string>;
  acted: boolean;
}

/**
 * Takes the branches that it is told. Once a branch has done or set something, a condition that fails there leaves that
 * behind on a device, and then another branch is taken, which no way shows. Where it was done the manifest is refused at
 * once; where it was set, if anything is ever done to that component.
 */
class PlannedChoices implements PlanHooks {
  readonly #parts: ChoiceParts;
  readonly #branches: Branch[] = [];

  constructor(parts: ChoiceParts) {
    this.#parts = parts;
  }

  branch(of: number): number {
    const taken = this.#parts.choices[this.#parts.made.length]?.taken ?? 0;
    this.#parts.made.push({ taken, of });
    return taken;
  }

  holds(question: Question): boolean {
    this.#mayLeave();
    return this.#parts.ask(question);
  }

  mismatch(): void {
    if (this.#branches.length === 0) throw abort("operation-failed", "a dependency is not the one that is meant");
    if (this.#branches.some(({ acted }) => acted)) this.ambiguous();
    this.#mayLeave();
    this.#parts.isNoWay();
  }

  /** A condition that may fail here leaves behind what its branch has done. */
  #mayLeave(): void {
    for (const { mayFail, set, acted } of this.#branches) {
      if (!mayFail) continue;
      if (acted) this.ambiguous();
      for (const name of set) this.#parts.leftovers.uncertain.add(name);
    }
  }

  enter(mayFail: boolean): void {
    this.#branches.push({ mayFail, set: new Set(), acted: false });
  }

  leave(): void {
    this.#branches.pop();
  }

  set(component: ComponentId): void {
    for (const { set } of this.#branches) set.add(componentName(component));
  }

  act(component: ComponentId): void {
    this.#parts.leftovers.acted.add(componentName(component));
    for (const branch of this.#branches) branch.acted = true;
  }

  command(): void {
    if (++this.#parts.effort.commands > PLAN_LIMITS.maxCommandsInAll) throw abort("operation-failed", TOO_MUCH);
  }

  ambiguous(): void {
    throw abort("operation-failed", AMBIGUOUS);
  }
}

/**
 * What a device does behind the update, each time that it starts and when the software is removed: by each state in which
 * the update may leave it, since that decides which dependency is there.
 */
export function planLater(
  crypto: Crypto,
  open: OpenManifest,
  ways: readonly PlannedWay[],
  options: Partial<ProcessorOptions> = {},
  odd: PlannedWay[] = [],
): Record<"invocation" | "uninstall", PlannedWay[][]> {
  const states =
    open.manifest.dependencies.size === 0 ? [new Map<string, Uint8Array>()] : statesOf(crypto, [...ways, ...odd]);
  const plan = (procedure: Procedure): PlannedWay[][] =>
    states.map((stored) => planProcedure(crypto, open, procedure, options, stored, odd));
  return { invocation: plan("invocation"), uninstall: plan("uninstall") };
}

/** What components may hold behind the update; nothing where no device comes through it. */
function statesOf(crypto: Crypto, ways: readonly PlannedWay[]): ReadonlyMap<string, Uint8Array>[] {
  const states = new Map<string, ReadonlyMap<string, Uint8Array>>();
  for (const { stored, outcome } of ways) {
    if (!outcome.ok) continue;
    const names = [...stored].map(([name, content]) => `${name} ${toHex(crypto.sha256(content))}`);
    states.set(names.toSorted().join(), stored);
  }
  return states.size === 0 ? [new Map()] : [...states.values()];
}

type Failed = Outcome & { readonly ok: false };

/**
 * The first failure among the ways; undefined where each device comes through. One that the manifest turns away before it
 * did anything (condition-abort behind all else) is no failure, as long as others are served.
 */
export function failureOf(ways: readonly PlannedWay[]): Failed | undefined {
  const failures: Failed[] = [];
  for (const { steps, outcome } of ways) {
    if (outcome.ok) continue;
    const { reason } = outcome;
    if (reason !== "condition-failed" || steps.some((step) => isAction(step))) return outcome;
    failures.push(outcome);
  }
  if (ways.length === 0) return failing("no device comes through: nothing fits together").outcome as Failed;
  return failures.length < ways.length ? undefined : failures[0];
}

/** The same of several procedures, or states that a device may be in: each has to come through by itself. */
export const firstFailure = (groups: readonly (readonly PlannedWay[])[]): Failed | undefined =>
  groups.map(failureOf).find((failed) => failed !== undefined);

const CHANGING: ReadonlySet<string> = new Set(["fetch", "store", "copy", "swap", "unlink"]);

/** Components that some device changes, as often as it does. */
export function componentsChangedBy(ways: readonly Pick<PlannedWay, "steps">[]): ComponentId[] {
  return ways
    .flatMap(({ steps }) => steps)
    .flatMap((step) => {
      if (!CHANGING.has(step.kind) || !("component" in step)) return [];
      return step.kind === "swap" ? [step.component, step.source] : [step.component];
    });
}

/** What is taken as true on one way: no device is written to two slots, of two classes, or had two images. */
class Facts {
  readonly #known = new Map<string, string>();
  areContradictory = false;
  areOdd = false;

  /** What is done to a component leaves another image there. */
  forget(action: Action): void {
    if (!("component" in action) || action.kind === "invoke") return;
    this.#known.delete(imageFact(action.component));
    if (action.kind === "swap") this.#known.delete(imageFact(action.source));
  }

  holds(question: Question): boolean {
    const fact = factOf(question);
    if (fact === undefined) return true;
    const [what, value] = fact;
    const known = this.#known.get(what);
    this.#known.set(what, known ?? value);
    if (known === undefined || known === value) return true;
    // A component may be of several classes (section 8.4.9.1), though hardly any is.
    if (question.kind === "identifier" && question.which === "class") return (this.areOdd = true);
    this.areContradictory = true;
    return false;
  }
}

const imageFact = (component: ComponentId): string => `image ${componentName(component)}`;

function factOf(question: Question): [what: string, value: string] | undefined {
  if (question.kind === "digest" && question.negated !== true && beforeWhich(question.component) !== undefined)
    return [imageFact(question.component), toHex(question.digest)];
  if (question.kind === "slot") return [`slot ${componentName(question.component)}`, String(question.slot)];
  if (question.kind !== "identifier") return undefined;
  const { which, component, value } = question;
  // Vendor and class are a component's; the device is one.
  return [which === "device" ? which : `${which} ${componentName(component)}`, toHex(value)];
}
