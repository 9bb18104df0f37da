import { planGroups, targetsOf } from "./group-plan.ts";
import type { Verdict } from "./fleet.ts";
import { Gates, type GateFacts } from "./gates.ts";
import { ROLLOUT_LIMITS } from "./limits.ts";
import { Members } from "./members.ts";
import { isOver, type Member, type RolloutRecord } from "./record.ts";
import { GROUP, type RolloutState } from "./states.ts";
import type { RolloutHolder, Step } from "./step.ts";
import { groupError, groupPassed } from "./thresholds.ts";
import { windowState } from "./windows.ts";

/** What a rollout needs to know of the rest when it goes on. */
export interface RolloutFacts extends GateFacts {
  /** Devices that may be commanded besides those that are under way, in all rollouts. */
  readonly free: number;
  /** Puts devices in an order that has nothing to do with their names. */
  readonly order: (endpoint: string) => string;
}

const BY = "rollout";
const AT_IT: ReadonlySet<RolloutState> = new Set(["running", "paused", "stopping"]);

/** One rollout: its groups, its devices, and what is to be done next. */
export class Rollout implements RolloutHolder {
  record: RolloutRecord;
  readonly members: Members;
  readonly #gates: Gates;
  /** Commands of the last hour, which the budget of airtime is reckoned by. */
  #airtime: { readonly atMs: number; readonly airtimeS: number }[] | undefined;
  /** All that wait are blocked: they are not looked at again before. */
  #lookMs = 0;
  /** Devices that have turned up are not looked for again before. */
  #joinMs = 0;
  /** Until when devices were told that they may, so that they are told once for each window. */
  readonly #releasedUntil = new Map<string, number>();

  constructor(record: RolloutRecord, members: Iterable<Member> = []) {
    this.record = record;
    this.members = new Members(record.spec.groups.length);
    const sinceMs = ({ releasedMs, commandedMs }: Member): number => releasedMs ?? commandedMs ?? 0;
    for (const member of Array.from(members).toSorted((a, b) => sinceMs(a) - sinceMs(b)))
      if (member.group < record.groups.length) this.members.put(member);
    this.#gates = new Gates(record.spec);
  }

  get id(): string {
    return this.record.id;
  }

  originOf({ attempt }: Member): string {
    return `rollout/${this.id}/${attempt}`;
  }

  /** How the update of a device went; false when it is none of this rollout's. */
  takeVerdict(step: Step, { endpoint, origin, state, reason, detail }: Verdict): boolean {
    const member = this.members.get(endpoint);
    if (member === undefined || origin !== this.originOf(member)) return false;
    if (isOver(member) || member.state === "pending") return false;
    const { nowMs } = step;
    const end = { reason: reason ?? state, detail: detail ?? "", endedMs: nowMs };
    if (state === "held") this.#takeHeld(step, member);
    else if (state === "succeeded") step.moveMember(member, "succeed", end);
    else if (state === "failed") step.moveMember(member, "fail", end);
    else if (state === "cancelled") step.moveMember(member, "cancel", end);
    this.#lookMs = 0;
    return true;
  }

  /** What comes to wait while a rollout is being stopped would wait for ever. */
  #takeHeld(step: Step, member: Member): void {
    if (step.moveMember(member, "held", { releasedMs: undefined }) === undefined) return;
    if (this.record.state === "stopping") step.effects.push({ kind: "cancel", endpoint: member.endpoint });
  }

  /** After a restart of the gateway: how the updates that it had begun are now. */
  reconcile(step: Step, { fleet }: Pick<RolloutFacts, "fleet">): void {
    const { state, reason } = this.record;
    for (const member of this.members.all()) {
      if (isOver(member) || member.state === "pending") continue;
      const { endpoint, commandedMs = 0 } = member;
      const verdict = fleet.verdict(endpoint);
      if (verdict?.origin === this.originOf(member)) this.takeVerdict(step, verdict);
      else if (verdict !== undefined && verdict.startedMs >= commandedMs)
        this.#end(step, member, "superseded", "another update took its place");
      // The command was written, and not given: nobody has heard of it.
      else step.effects.push({ kind: "start", member });
      const isLeft = !isOver(this.members.get(endpoint)!);
      if (isLeft && state === "stopping" && (reason === "cancelled" || member.state === "downloaded"))
        step.effects.push({ kind: "cancel", endpoint });
    }
  }

  /** It could not be commanded after all. */
  takeBusy(step: Step, endpoint: string, why: string): void {
    const member = this.members.get(endpoint);
    if (member === undefined) return;
    const { blockedMs = step.nowMs } = member;
    const change = { reason: "busy", detail: why, commandedMs: undefined, airtimeS: undefined, blockedMs };
    step.moveMember(member, "busy", change);
    this.#lookMs = step.nowMs + ROLLOUT_LIMITS.lookUs / 1_000;
  }

  /** That it may apply what it has could not be written. */
  notReleased(endpoint: string): true {
    this.#releasedUntil.delete(endpoint);
    return true;
  }

  /** Something is known now that was not. */
  lookAgain(): true {
    this.#lookMs = 0;
    return true;
  }

  /** Does whatever is to be done by now. */
  advance(step: Step, facts: RolloutFacts): void {
    if (this.record.state === "scheduled" && step.nowMs >= (this.record.spec.startAtMs ?? 0))
      step.move("start", BY, "started", "its time has come");
    if (this.record.state === "running" && this.record.startedMs === undefined) this.#begin(step, facts);
    if (AT_IT.has(this.record.state)) this.#deadlines(step, facts);
    if (this.record.state === "running") {
      this.#join(step, facts);
      this.#groups(step);
    }
    if (this.record.state === "running") {
      this.#command(step, facts);
      this.#groups(step); // some may have been skipped
      this.#release(step);
    }
    this.#finish(step);
  }

  /** When it is to be looked at again. */
  dueMs(nowMs: number): number | undefined {
    const { state, spec } = this.record;
    if (state === "scheduled") return spec.startAtMs;
    if (!AT_IT.has(state)) return undefined;
    const due: number[] = [];
    const [oldest] = this.members.atIt();
    if (oldest !== undefined) due.push(oldest[1] + spec.deadlineS * 1_000);
    if (state === "running") {
      if (this.#lookMs > nowMs) due.push(this.#lookMs);
      if (spec.dynamicUntilMs !== undefined)
        due.push(Math.min(spec.dynamicUntilMs, nowMs + ROLLOUT_LIMITS.lookUs / 1_000));
      if (spec.window !== undefined) due.push(windowState(spec.window, nowMs).changesMs ?? nowMs + 3_600_000);
      if (spec.airtimeSPerHour !== undefined) due.push(nowMs + ROLLOUT_LIMITS.lookUs / 1_000);
    }
    return due.length === 0 ? undefined : Math.min(...due);
  }

  /** Devices are put into groups when it begins, by what is known of them then. */
  #begin(step: Step, { fleet, order }: RolloutFacts): void {
    const { spec } = this.record;
    const { nowMs } = step;
    const targets = targetsOf(spec, fleet.devices(), nowMs);
    const groups = planGroups(spec.groups, targets, nowMs, order);
    for (const [group, endpoints] of groups.entries())
      for (const endpoint of endpoints) step.put({ endpoint, group, state: "pending", attempt: 1 });
    step.change({ startedMs: nowMs });
    const sizes = spec.groups.map(({ name }, i) => `${name} ${groups[i]!.length}`).join(", ");
    step.decide(BY, "devices-grouped", `${targets.length} devices match: ${sizes}`);
    const left = targets.length - groups.reduce((sum, group) => sum + group.length, 0);
    if (left > 0) step.decide(BY, "devices-left-out", `${left} devices are in no group`);
  }

  /** Devices that have turned up since, into the last group. */
  #join(step: Step, { fleet }: RolloutFacts): void {
    const { spec } = this.record;
    if (spec.dynamicUntilMs === undefined || step.nowMs >= spec.dynamicUntilMs || step.nowMs < this.#joinMs) return;
    this.#joinMs = step.nowMs + ROLLOUT_LIMITS.lookUs / 1_000;
    const group = spec.groups.length - 1;
    const names: string[] = [];
    for (const { endpoint } of targetsOf(spec, fleet.devices(), step.nowMs)) {
      if (this.members.get(endpoint) !== undefined || this.members.size >= ROLLOUT_LIMITS.maxMembers) continue;
      step.put({ endpoint, group, state: "pending", attempt: 1 });
      names.push(endpoint);
    }
    if (names.length === 0) return;
    this.#lookMs = 0;
    const some = names.slice(0, 5).join(", ");
    step.decide(BY, "devices-joined", names.length > 5 ? `${some} and ${names.length - 5} more` : some, { group });
    const state = GROUP.next(this.record.groups[group]!.state, "join");
    if (state !== undefined) this.#changeGroup(step, group, { state, endedMs: undefined });
  }

  #changeGroup(step: Step, index: number, change: Partial<RolloutRecord["groups"][number]>): void {
    step.change({ groups: this.record.groups.map((group, i) => (i === index ? { ...group, ...change } : group)) });
  }

  /** Starts groups whose turn has come, and judges those that run. */
  #groups(step: Step): void {
    const { spec } = this.record;
    for (let i = 0; i < spec.groups.length && this.record.state === "running"; i++) {
      if (this.record.groups[i]!.state === "scheduled" && (i === 0 || this.record.groups[i - 1]!.passed)) {
        this.#changeGroup(step, i, { state: "running", startedMs: step.nowMs });
        const why = i === 0 ? "it is the first one" : `${spec.groups[i - 1]!.name} has reached its success threshold`;
        step.decide(BY, "group-started", why, { group: i });
      }
      if (this.record.groups[i]!.state === "running") this.#judge(step, i);
    }
  }

  #judge(step: Step, i: number): void {
    const { spec, barrierFellMs } = this.record;
    const { name, successThreshold, onSuccess } = spec.groups[i]!;
    const error = groupError(spec, this.record.groups[i]!, this.members, i);
    if (error !== undefined) {
      const [reason, detail] = error;
      this.#changeGroup(step, i, { state: GROUP.next("running", "error")! });
      step.decide(BY, "group-failed", detail, { group: i });
      step.move("pause", BY, reason, detail);
      return;
    }
    const fell = barrierFellMs !== undefined;
    if (!this.record.groups[i]!.passed && groupPassed(spec, this.members, i, fell)) {
      this.#changeGroup(step, i, { passed: true });
      step.decide(BY, "group-passed", `${successThreshold} % of ${name} have succeeded`, { group: i });
      if (onSuccess === "pause" && i + 1 < spec.groups.length)
        step.move("pause", BY, "group-done", `${name} pauses the rollout behind its success`);
    }
    if (this.members.isGroupOver(i)) this.#changeGroup(step, i, { state: "finished", endedMs: step.nowMs });
  }

  #command(step: Step, facts: RolloutFacts): void {
    const { spec, groups } = this.record;
    const { nowMs } = step;
    if (nowMs < this.#lookMs) return;
    if (spec.window?.downloads === "in-window" && !windowState(spec.window, nowMs).open) return;
    let free = Math.min(
      facts.free,
      spec.maxConcurrent - this.members.count("commanded"),
      ROLLOUT_LIMITS.maxCommandsAtOnce,
    );
    for (let i = 0; i < groups.length; i++) {
      if (groups[i]!.state !== "running") continue;
      for (const endpoint of Array.from(this.members.pending(i))) {
        if (free <= 0) return;
        const done = this.#try(step, this.members.get(endpoint)!, facts);
        if (done === "no-air") return;
        if (done === "commanded") free--;
      }
    }
    // Whoever is left waits on account of something that takes its time.
    if (this.members.count("pending") > 0) this.#lookMs = nowMs + ROLLOUT_LIMITS.lookUs / 1_000;
  }

  #try(step: Step, member: Member, facts: RolloutFacts): "commanded" | "not-now" | "no-air" {
    const { endpoint, blockedMs } = member;
    const { nowMs } = step;
    const gate = this.#gates.of(member, facts);
    if (gate.kind === "skip") {
      const { reason, detail } = gate;
      step.moveMember(member, "skip", { reason, detail, endedMs: nowMs });
      return "not-now";
    }
    const tried = member.reason === "busy" && blockedMs !== undefined && this.#isLate(blockedMs, nowMs);
    if (gate.kind !== "open" || tried) {
      this.#block(
        step,
        member,
        gate.kind === "open" ? { ...gate, kind: "wait", reason: "busy", detail: member.detail! } : gate,
      );
      return "not-now";
    }
    const airtimeS = this.#gates.airtimeS(endpoint, facts);
    if (!this.#hasAir(airtimeS, nowMs)) return "no-air";
    const change = { commandedMs: nowMs, airtimeS, reason: undefined, detail: undefined };
    step.effects.push({ kind: "start", member: step.moveMember(member, "command", change)! });
    this.#airtime?.push({ atMs: nowMs, airtimeS });
    return "commanded";
  }

  /** It waits, and why; one that waits on its own account for too long has failed. */
  #block(
    step: Step,
    member: Member,
    gate: { readonly kind: string; readonly reason: string; readonly detail: string },
  ): void {
    const { reason, detail, kind } = gate;
    const blockedMs = kind === "wait" ? (member.blockedMs ?? step.nowMs) : member.blockedMs;
    if (blockedMs !== undefined && kind === "wait" && this.#isLate(blockedMs, step.nowMs))
      step.moveMember(member, "fail", { reason, detail: `${detail}, until its deadline`, endedMs: step.nowMs });
    else if (member.reason !== reason || member.blockedMs !== blockedMs)
      step.put({ ...member, reason, detail, blockedMs });
  }

  #isLate(sinceMs: number, nowMs: number): boolean {
    return nowMs - sinceMs >= this.record.spec.deadlineS * 1_000;
  }

  #hasAir(airtimeS: number, nowMs: number): boolean {
    const budget = this.record.spec.airtimeSPerHour;
    if (budget === undefined) return true;
    this.#airtime ??= [...this.members.all()].flatMap(({ commandedMs: atMs, airtimeS: took }) =>
      atMs === undefined || took === undefined ? [] : [{ atMs, airtimeS: took }],
    );
    this.#airtime = this.#airtime.filter(({ atMs }) => nowMs - atMs < 3_600_000);
    const taken = this.#airtime.reduce((sum, one) => sum + one.airtimeS, 0);
    // One that alone needs more than there is gets its turn when nobody else had one.
    return taken === 0 || taken + airtimeS <= budget;
  }

  /** What is downloaded may be applied: when all have it, and while the window is open. */
  #release(step: Step): void {
    const { spec, barrierFellMs } = this.record;
    if (this.members.count("downloaded") === 0) return;
    const window = spec.window === undefined ? undefined : windowState(spec.window, step.nowMs);
    if (spec.barrier && barrierFellMs === undefined) {
      if (this.members.count("pending") + this.members.count("commanded") > 0) return;
      step.change({ barrierFellMs: step.nowMs });
      step.decide(BY, "barrier-fell", `${this.members.count("downloaded")} devices have everything; none is left`);
    }
    if (window?.open === false) return;
    const untilMs = window?.changesMs ?? step.nowMs + spec.deadlineS * 1_000;
    for (const member of this.members.all()) {
      const told = this.#releasedUntil.get(member.endpoint) ?? 0;
      if (member.state !== "downloaded" || (window === undefined ? told > step.nowMs : told === untilMs)) continue;
      this.#releasedUntil.set(member.endpoint, untilMs);
      if (member.releasedMs === undefined) step.put({ ...member, releasedMs: step.nowMs });
      step.effects.push({ kind: "release", endpoint: member.endpoint, untilMs });
    }
  }

  #deadlines(step: Step, { fleet }: RolloutFacts): void {
    const deadlineMs = this.record.spec.deadlineS * 1_000;
    for (const [endpoint, sinceMs] of Array.from(this.members.atIt())) {
      const ageMs = step.nowMs - sinceMs;
      if (ageMs < deadlineMs) break; // the others began later
      const member = this.members.get(endpoint)!;
      const verdict = fleet.verdict(endpoint);
      // One that is installing cannot be called back; it has as long again.
      if (verdict?.state === "applying" && verdict.origin === this.originOf(member) && ageMs < 2 * deadlineMs) continue;
      this.#end(step, member, "deadline", `it was not done after ${this.record.spec.deadlineS} s`);
    }
  }

  #end(step: Step, member: Member, reason: string, detail: string): void {
    step.moveMember(member, "fail", { reason, detail, endedMs: step.nowMs });
    if (reason !== "superseded") step.effects.push({ kind: "cancel", endpoint: member.endpoint });
  }

  #finish(step: Step): void {
    const { state, spec, startedMs } = this.record;
    if (startedMs === undefined) {
      if (state === "stopping") step.move("over", BY, "stopped", "nothing was under way");
      return;
    }
    const underWay = this.members.count("commanded") + this.members.count("downloaded");
    const isOverNow =
      state === "stopping"
        ? underWay === 0
        : (state === "running" || state === "paused") && underWay + this.members.count("pending") === 0;
    if (!isOverNow || (state !== "stopping" && step.nowMs < (spec.dynamicUntilMs ?? 0))) return;
    const counts = ["succeeded", "failed", "skipped", "cancelled"] as const;
    const text = counts.map((one) => `${this.members.count(one)} ${one}`).join(", ");
    if (!step.move("over", BY, state === "stopping" ? "stopped" : "finished", text)) return;
    step.change({
      endedMs: step.nowMs,
      groups: this.record.groups.map((group) =>
        Object.assign({}, group, { state: GROUP.next(group.state, "over") ?? group.state }),
      ),
    });
  }
}
