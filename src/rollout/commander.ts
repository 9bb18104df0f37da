import { Gates, type Gate, type GateFacts } from "./gates.ts";
import { ROLLOUT_LIMITS } from "./limits.ts";
import type { Member } from "./record.ts";
import type { RolloutHolder, Step } from "./step.ts";

/** What a rollout needs to know of the rest before it commands devices. */
export interface CommandFacts extends GateFacts {
  /** Devices that may be commanded besides those that are under way, in all rollouts. */
  readonly free: number;
}

const LOOK_MS = ROLLOUT_LIMITS.lookUs / 1_000;
const HOUR_MS = 3_600_000;

/** Commands the devices of one rollout, as its gates, its slots and its air allow: each is looked at once in a while. */
export class Commander {
  readonly #holder: RolloutHolder;
  readonly #gates: Gates;
  /** Commands of the last hour, which the budget of airtime is reckoned by. */
  #airtime: { readonly atMs: number; readonly airtimeS: number }[] | undefined;
  /** Those that are blocked are looked at again then. */
  #lookMs = 0;
  /** When devices were asked for their battery. */
  readonly #askedMs = new Map<string, number>();
  /** Devices that may still be asked until the next look. */
  #asks = 0;
  /** When devices were last found blocked on their own account. */
  readonly #foundMs = new Map<string, number>();
  /** It is not slots that it lacks, but air. */
  #isShort = false;

  constructor(holder: RolloutHolder) {
    this.#holder = holder;
    this.#gates = new Gates(holder.record.spec);
  }

  /** When somebody who waits is to be looked at though nothing happens; undefined: when something happens. */
  dueMs(nowMs: number): number | undefined {
    const { members } = this.#holder;
    return (members.hasBlocked || this.#isShort) && members.count("pending") > 0 && this.#lookMs > nowMs
      ? this.#lookMs
      : undefined;
  }

  get isShort(): boolean {
    return this.#isShort;
  }

  /** Slots that it would take now if it had them. */
  get wants(): number {
    const { members, record } = this.#holder;
    if (record.state !== "running" || this.#isShort) return 0;
    const ready = record.groups.reduce(
      (sum, { state }, i) => sum + (state === "running" ? members.ready(i).size : 0),
      0,
    );
    return Math.min(ready, record.spec.maxConcurrent - members.count("commanded"));
  }

  /** A step could not be written: it never was. */
  undone(): void {
    this.#airtime = undefined;
  }

  /** Commands whoever may be. */
  command(step: Step, facts: CommandFacts): void {
    const { members, record } = this.#holder;
    const { maxConcurrent } = record.spec;
    this.#isShort = false;
    let free = Math.min(facts.free, maxConcurrent - members.count("commanded"), ROLLOUT_LIMITS.maxCommandsAtOnce);
    // By a clock that was set back the next look may be far.
    if (step.nowMs >= this.#lookMs || this.#lookMs - step.nowMs > LOOK_MS) {
      members.unblockAll();
      this.#lookMs = step.nowMs + LOOK_MS;
      // Those whose turn it may be soon: what others would say now would be old by then.
      this.#asks = Math.max(1, 2 * free);
    }
    for (const [i, { state }] of record.groups.entries()) {
      if (state !== "running") continue;
      for (const endpoint of members.ready(i)) {
        if (free <= 0) return;
        const done = this.#try(step, members.get(endpoint)!, facts);
        this.#isShort = done === "short";
        if (this.#isShort) return;
        if (done === "commanded") free--;
      }
    }
  }

  #try(step: Step, member: Member, facts: CommandFacts): "commanded" | "not-now" | "short" {
    const { endpoint, blockedMs } = member;
    const { nowMs } = step;
    const gate = this.#gates.of(member, facts);
    if (gate.kind === "skip") {
      const { reason, detail } = gate;
      step.moveMember(member, "skip", { reason, detail, endedMs: nowMs });
      return "not-now";
    }
    if (gate.kind === "ask") {
      if (this.#ask(endpoint, facts)) this.#block(step, member, { ...gate, kind: "wait" });
      else this.#holder.members.block(endpoint); // it has its turn to be asked later
      return "not-now";
    }
    const tried = member.reason === "busy" && blockedMs !== undefined && this.#isLate(blockedMs, nowMs);
    if (gate.kind !== "open" || tried) {
      this.#block(step, member, gate.kind === "open" ? { kind: "wait", reason: "busy", detail: member.detail! } : gate);
      return "not-now";
    }
    const airtimeS = this.#gates.airtimeS(endpoint, facts);
    if (!this.#hasAir(airtimeS, nowMs)) return "short";
    const change = { commandedMs: nowMs, airtimeS, reason: undefined, detail: undefined };
    step.effects.push({ kind: "start", member: step.moveMember(member, "command", change)! });
    this.#airtime?.push({ atMs: nowMs, airtimeS });
    return "commanded";
  }

  /** False when as many as may be have been asked. */
  #ask(endpoint: string, { nowMs, refresh }: CommandFacts): boolean {
    if (nowMs - (this.#askedMs.get(endpoint) ?? Number.NEGATIVE_INFINITY) < ROLLOUT_LIMITS.askAgainMs) return true;
    if (this.#asks <= 0) return false;
    this.#asks--;
    this.#askedMs.set(endpoint, nowMs);
    refresh(endpoint);
    return true;
  }

  /** It could not be commanded after all. */
  busy(step: Step, member: Member, why: string): void {
    const blockedMs = this.#sinceMs(member, step.nowMs);
    const change = { reason: "busy", detail: why, commandedMs: undefined, releasedMs: undefined, airtimeS: undefined };
    if (step.moveMember(member, "busy", { ...change, blockedMs }) !== undefined)
      this.#holder.members.block(member.endpoint);
  }

  /** It waits, and why; one that waits on its own account for too long has failed. */
  #block(step: Step, member: Member, { reason, detail, kind }: Exclude<Gate, { kind: "open" }>): void {
    const blockedMs = kind === "wait" ? this.#sinceMs(member, step.nowMs) : member.blockedMs;
    if (blockedMs !== undefined && kind === "wait" && this.#isLate(blockedMs, step.nowMs)) {
      step.moveMember(member, "fail", { reason, detail: `${detail}, until its deadline`, endedMs: step.nowMs });
      return;
    }
    if (member.reason !== reason || member.blockedMs !== blockedMs) step.put({ ...member, reason, detail, blockedMs });
    this.#holder.members.block(member.endpoint);
  }

  /** Since when it is blocked: anew where it was not found so look after look, but waited for a slot in between. */
  #sinceMs({ endpoint, blockedMs = Number.NEGATIVE_INFINITY }: Member, nowMs: number): number {
    const foundMs = this.#foundMs.get(endpoint);
    this.#foundMs.set(endpoint, nowMs);
    // Nobody knows what was while the gateway was down, or before.
    const goesOn = foundMs === undefined ? !this.#isLate(blockedMs, nowMs) : nowMs - foundMs <= 2 * LOOK_MS;
    return goesOn && Number.isFinite(blockedMs) ? blockedMs : nowMs;
  }

  #isLate(sinceMs: number, nowMs: number): boolean {
    return nowMs - sinceMs >= this.#holder.record.spec.deadlineS * 1_000;
  }

  #hasAir(airtimeS: number, nowMs: number): boolean {
    const budget = this.#holder.record.spec.airtimeSPerHour;
    if (budget === undefined) return true;
    this.#airtime ??= [...this.#holder.members.all()].flatMap(({ commandedMs: atMs, airtimeS: took }) =>
      atMs === undefined || took === undefined ? [] : [{ atMs, airtimeS: took }],
    );
    this.#airtime = this.#airtime.filter(({ atMs }) => nowMs - atMs < HOUR_MS);
    const taken = this.#airtime.reduce((sum, one) => sum + one.airtimeS, 0);
    // One that alone needs more than there is gets its turn when nobody else had one.
    return taken === 0 || taken + airtimeS <= budget;
  }
}
