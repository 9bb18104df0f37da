import { Commander, type CommandFacts } from "./commander.ts";
import { firstFew, planGroups, targetsOf, unknownOf } from "./group-plan.ts";
import type { Verdict } from "./fleet.ts";
import { ROLLOUT_LIMITS } from "./limits.ts";
import { Members } from "./members.ts";
import { isOver, type Member, type RolloutRecord } from "./record.ts";
import { Releases } from "./releases.ts";
import { GROUP, type RolloutState } from "./states.ts";
import type { RolloutHolder, Step } from "./step.ts";
import { isoTime } from "../util/iso-time.ts";
import { awaitsBarrier, groupError, groupPassed, outcomeOf } from "./thresholds.ts";
import { WindowClock } from "./windows.ts";

/** What a rollout needs to know of the rest when it goes on. */
export interface RolloutFacts extends CommandFacts {
  /** Puts devices in an order that has nothing to do with their names. */
  readonly order: (endpoint: string) => string;
}

const BY = "rollout";
const ENDS: ReadonlySet<Verdict["state"]> = new Set(["succeeded", "failed", "cancelled"]);
const AT_IT: ReadonlySet<RolloutState> = new Set(["running", "paused", "stopping"]);
const LOOK_MS = ROLLOUT_LIMITS.lookUs / 1_000;

/** One rollout: its groups, its devices, and what is to be done next. */
export class Rollout implements RolloutHolder {
  record: RolloutRecord;
  readonly members: Members;
  readonly #window: WindowClock | undefined;
  readonly #commander: Commander;
  readonly #releases: Releases;
  /** Devices that have turned up are not looked for again before. */
  #joinMs = 0;

  constructor(record: RolloutRecord, members: Iterable<Member> = []) {
    this.record = record;
    this.members = new Members(record.spec.groups.length);
    for (const member of members) if (member.group < record.groups.length) this.members.put(member);
    const { window } = record.spec;
    this.#window = window && new WindowClock(window);
    this.#commander = new Commander(this);
    this.#releases = new Releases(this, this.#window);
  }

  get id(): string {
    return this.record.id;
  }

  readonly originOf = ({ attempt }: Pick<Member, "attempt">): string => `rollout/${this.id}/${attempt}`;

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
    return true;
  }

  /** What comes to wait while a rollout is being stopped would wait for ever. */
  #takeHeld(step: Step, member: Member): void {
    step.moveMember(member, "held", { releasedMs: undefined });
    this.#releases.held(member.endpoint);
    if (this.record.state === "stopping") step.effects.push({ kind: "cancel", endpoint: member.endpoint });
  }

  /** After a restart of the gateway: how the updates that it had begun are now. */
  reconcile(step: Step, { fleet }: Pick<RolloutFacts, "fleet">): void {
    const { state, reason } = this.record;
    for (const member of this.members.all()) {
      const { endpoint, commandedMs = 0 } = member;
      const verdict = fleet.verdict(endpoint);
      const isOurs = verdict?.origin === this.originOf(member);
      if (member.state === "failed" || member.state === "cancelled") {
        // That it was taken back may not have got to the disk.
        if (isOurs && !ENDS.has(verdict.state)) step.effects.push({ kind: "cancel", endpoint });
        continue;
      }
      if (isOver(member) || (member.state === "pending" && !isOurs)) continue;
      // Nobody else has begun it, so it was commanded, whatever could be written of that.
      if (member.state === "pending") step.moveMember(member, "command", { commandedMs: verdict!.startedMs });
      if (isOurs) this.takeVerdict(step, verdict);
      else if (verdict !== undefined && verdict.startedMs >= commandedMs)
        this.#end(step, member, "superseded", "another update took its place");
      else this.#notGiven(step, member);
      const isLeft = isOurs && !isOver(this.members.get(endpoint)!);
      if (isLeft && state === "stopping" && (reason === "cancelled" || member.state === "downloaded"))
        step.effects.push({ kind: "cancel", endpoint });
    }
  }

  /** The command was written, and not given: nobody has heard of it. */
  #notGiven(step: Step, member: Member): void {
    const why = { reason: "not-commanded", detail: "the gateway stopped before it was" };
    if (this.record.state === "stopping") step.moveMember(member, "cancel", { ...why, endedMs: step.nowMs });
    else if (this.record.state === "paused") this.#commander.busy(step, member, why.detail);
    else step.effects.push({ kind: "start", member });
  }

  /** It could not be commanded after all. */
  takeBusy(step: Step, endpoint: string, why: string): void {
    const member = this.members.get(endpoint);
    if (member === undefined) return;
    if (this.record.state !== "stopping") return this.#commander.busy(step, member, why);
    step.moveMember(member, "cancel", { reason: "not-commanded", detail: why, endedMs: step.nowMs });
    return undefined;
  }

  /** That a device may apply what it has, or may not, could not be written. */
  notReleased(nowMs: number, endpoint: string): void {
    this.#releases.notTold(nowMs, endpoint);
  }

  /** Slots that it would take now if it had them. */
  wants(nowMs: number): number {
    return this.#mayDownload(nowMs) ? this.#commander.wants : 0;
  }

  /** Something is known of a device now that was not. */
  looked(endpoint: string): void {
    this.members.unblock(endpoint);
  }

  /** The last step could not be written: it never was. */
  undone(): void {
    this.#commander.undone();
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
    if (this.record.state === "running" && this.#mayDownload(step.nowMs)) {
      this.#commander.command(step, facts);
      this.#groups(step); // some may have been skipped
    }
    if (this.record.state === "running" || this.record.state === "paused")
      this.#releases.settle(step, facts.fleet, this.originOf);
    this.#finish(step);
  }

  #mayDownload(nowMs: number): boolean {
    return this.record.spec.window?.downloads !== "in-window" || this.#window!.at(nowMs).open;
  }

  /** Why nothing more is begun, or applied, just now; undefined where that is not so. */
  waitsFor(nowMs: number): string | undefined {
    const { state, spec } = this.record;
    const time = (ms: number | undefined): string =>
      ms === undefined ? "at no time" : isoTime(Math.floor(ms / 1_000));
    if (state === "scheduled") return `it starts ${time(spec.startAtMs)}`;
    if (state !== "running") return undefined;
    const window = this.#window?.at(nowMs);
    const isIn = spec.window?.downloads === "in-window";
    const waiting = this.members.count("downloaded") + (isIn ? this.members.count("pending") : 0);
    if (window?.open === false && waiting > 0)
      return `${waiting} devices wait for the window, which opens ${time(window.changesMs)}`;
    return this.#commander.isShort ? "the airtime of an hour is used up" : undefined;
  }

  /** When it is to be looked at again. */
  dueMs(nowMs: number): number | undefined {
    const { state, spec } = this.record;
    if (state === "scheduled") return spec.startAtMs;
    if (!AT_IT.has(state)) return undefined;
    const due = [this.#deadlineMs(nowMs), this.#releases.dueMs(nowMs)];
    if (state === "running") {
      due.push(this.#commander.dueMs(nowMs), this.#window?.at(nowMs).changesMs);
    }
    const { dynamicUntilMs = 0 } = spec;
    if (dynamicUntilMs > nowMs && state !== "stopping")
      due.push(state === "running" ? Math.min(dynamicUntilMs, nowMs + LOOK_MS) : dynamicUntilMs);
    const next = Math.min(...due.map((dueMs) => dueMs ?? Number.POSITIVE_INFINITY));
    return Number.isFinite(next) ? next : undefined;
  }

  /** When the next device is late; one that is late and installs is so once more, see below. */
  #deadlineMs(nowMs: number): number | undefined {
    const deadlineMs = this.record.spec.deadlineS * 1_000;
    let next: number | undefined;
    for (const [, sinceMs] of this.members.atIt()) {
      if (sinceMs + deadlineMs > nowMs) return Math.min(next ?? Number.POSITIVE_INFINITY, sinceMs + deadlineMs);
      next ??= sinceMs + 2 * deadlineMs;
    }
    return next;
  }

  /** Devices are put into groups when it begins, by what is known of them then. */
  #begin(step: Step, { fleet, order }: RolloutFacts): void {
    const { spec, approvedBy } = this.record;
    const { nowMs } = step;
    if (spec.approval && approvedBy === undefined) return void step.move("stop", BY, "not-approved", "nobody has");
    const targets = targetsOf(spec, fleet.devices(), nowMs);
    const groups = planGroups(spec.groups, targets, nowMs, order);
    for (const [group, endpoints] of groups.entries())
      for (const endpoint of endpoints) step.put({ endpoint, group, state: "pending", attempt: 1 });
    step.change({ startedMs: nowMs });
    const sizes = spec.groups.map(({ name }, i) => `${name} ${groups[i]!.length}`).join(", ");
    step.decide(BY, "devices-grouped", `${targets.length} devices match: ${sizes}`);
    const left = targets.length - groups.reduce((sum, group) => sum + group.length, 0);
    if (left > 0) step.decide(BY, "devices-left-out", `${left} devices are in no group`);
    const unknown = unknownOf(spec, targets);
    if (unknown !== undefined) step.decide(BY, "devices-unknown", unknown);
  }

  /** Devices that have turned up since, into the last group. */
  #join(step: Step, { fleet }: RolloutFacts): void {
    const { spec } = this.record;
    if (spec.dynamicUntilMs === undefined || step.nowMs >= spec.dynamicUntilMs) return;
    if (step.nowMs < this.#joinMs && this.#joinMs - step.nowMs <= LOOK_MS) return;
    this.#joinMs = step.nowMs + LOOK_MS;
    const group = spec.groups.length - 1;
    const names: string[] = [];
    for (const { endpoint } of targetsOf(spec, fleet.devices(), step.nowMs)) {
      if (this.members.get(endpoint) !== undefined || this.members.size >= ROLLOUT_LIMITS.maxMembers) continue;
      step.put({ endpoint, group, state: "pending", attempt: 1 });
      names.push(endpoint);
    }
    if (names.length === 0) return;
    step.decide(BY, "devices-joined", firstFew(names), { group });
    const { groups } = this.record;
    const isHeldBack = groups.slice(0, group).some(({ passed }) => !passed);
    const { state: before } = groups[group]!;
    // What runs goes on; what is over begins anew when its turn comes.
    const state = before === "finished" && isHeldBack ? GROUP.next(before, "hold") : GROUP.next(before, "join");
    if (state !== undefined) this.#changeGroup(step, group, { state, endedMs: undefined });
  }

  #changeGroup(step: Step, index: number, change: Partial<RolloutRecord["groups"][number]>): void {
    step.change({ groups: this.record.groups.map((group, i) => (i === index ? { ...group, ...change } : group)) });
  }

  /** Starts groups whose turn has come, and judges those that run. */
  #groups(step: Step): void {
    const { spec } = this.record;
    for (let i = 0; i < spec.groups.length && this.record.state === "running"; i++) {
      const { groups } = this.record;
      if (groups[i]!.state === "scheduled" && groups.slice(0, i).every(({ passed }) => passed)) {
        this.#changeGroup(step, i, { state: "running", startedMs: step.nowMs });
        step.decide(BY, "group-started", this.#whyStarted(i), { group: i });
      }
      if (this.record.groups[i]!.state === "running") this.#judge(step, i);
    }
  }

  #whyStarted(i: number): string {
    if (i === 0) return "it is the first one";
    const { name } = this.record.spec.groups[i - 1]!;
    const isAccepted = this.record.groups[i - 1]!.accepted === true;
    return `${name} ${isAccepted ? "was let go on over its failures" : "has reached its success threshold"}`;
  }

  #judge(step: Step, i: number): void {
    const { spec } = this.record;
    const { name, successThreshold, onSuccess } = spec.groups[i]!;
    const error = groupError(this.record, this.members, i);
    if (error !== undefined) {
      const [reason, detail] = error;
      this.#changeGroup(step, i, { state: GROUP.next("running", "error")! });
      step.decide(BY, "group-failed", detail, { group: i });
      step.move("pause", BY, reason, detail);
      return;
    }
    if (!this.record.groups[i]!.passed && groupPassed(this.record, this.members, i)) {
      this.#changeGroup(step, i, { passed: true });
      const done = awaitsBarrier(this.record) ? "have everything" : "have succeeded";
      const isNone = this.members.total(i) === 0;
      const why = isNone ? `no device of ${name} was to be updated` : `${successThreshold} % of ${name} ${done}`;
      step.decide(BY, "group-passed", why, { group: i });
      // Behind a barrier nobody is left to be held back.
      if (onSuccess === "pause" && i + 1 < spec.groups.length && this.record.barrierFellMs === undefined)
        step.move("pause", BY, "group-done", `${name} pauses the rollout behind its success`);
    }
    if (this.members.isGroupOver(i)) this.#changeGroup(step, i, { state: "finished", endedMs: step.nowMs });
  }

  #deadlines(step: Step, { fleet }: RolloutFacts): void {
    const deadlineMs = this.record.spec.deadlineS * 1_000;
    for (const [endpoint, sinceMs] of this.members.atIt()) {
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
    const [reason, text] = outcomeOf(this.record, this.members);
    if (!step.move("over", BY, state === "stopping" ? "stopped" : "finished", text)) return;
    step.change({
      reason: state === "stopping" ? "stopped" : reason,
      endedMs: step.nowMs,
      groups: this.record.groups.map((group) =>
        Object.assign({}, group, { state: GROUP.next(group.state, "over") ?? group.state }),
      ),
    });
  }
}
