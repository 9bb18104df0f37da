import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { StoreOp } from "../ports/store.ts";
import { factsFor } from "./facts.ts";
import type { Fleet, Verdict } from "./fleet.ts";
import { ROLLOUT_LIMITS } from "./limits.ts";
import { applyCommand } from "./operator.ts";
import { decisionKey, hasEnded, memberKey, rolloutKey, type Decision, type RolloutRecord } from "./record.ts";
import { newLane, orderOf, type Input, type Lane, type RolloutResult, type Tell } from "./lane.ts";
import { RecoveredRollouts } from "./recovered.ts";
import { Rollout, type RolloutFacts } from "./rollout.ts";
import type { RolloutSpec } from "./spec.ts";
import { Step } from "./step.ts";

export type { RolloutResult } from "./lane.ts";

/** A decision, and whose. */
export interface RolloutNews {
  readonly rollout: string;
  readonly name: string;
  readonly decision: Decision;
}

export interface RolloutsParts {
  readonly fleet: Fleet;
  /** Has records written durably, all or none; `stored` is told what became of it. */
  readonly store: (ops: readonly StoreOp[]) => number;
  readonly unixMs: (nowUs: number) => number;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly newId: () => string;
  /** Orders the devices of a rollout by something that is not their name. */
  readonly order: (rollout: string, endpoint: string) => string;
  /** Devices that are updated at the same time, in all rollouts. */
  readonly maxConcurrent: number;
}

/** All rollouts. What an operator is told, and what devices are commanded, is on the disk before. */
export class Rollouts {
  readonly #parts: RolloutsParts;
  readonly #lanes = new Map<string, Lane>();
  readonly #news: RolloutNews[] = [];
  /** Those that are not on the disk yet, and who is to be told. */
  readonly #creating = new Map<string, { readonly lane: Lane; readonly tells: Tell[] }>();
  readonly #recovered = new RecoveredRollouts();
  #dueUs: number | undefined;

  constructor(parts: RolloutsParts) {
    this.#parts = parts;
  }

  *all(): Iterable<Rollout> {
    for (const { rollout } of this.#lanes.values()) yield rollout;
  }

  get(id: string): Rollout | undefined {
    return this.#lanes.get(id)?.rollout;
  }

  decisions(id: string): readonly Decision[] {
    return this.#lanes.get(id)?.decisions ?? [];
  }

  /** Decisions that are on the disk since. */
  pollNews(): RolloutNews | undefined {
    return this.#news.shift();
  }

  /** `id`: what it is to be called; one that is there already is what was asked for before. */
  create(nowUs: number, spec: RolloutSpec, by: string, tell: Tell, id: string = this.#parts.newId()): void {
    const known = this.#lanes.get(id);
    if (known?.removing !== undefined) return tell(BEING_DELETED);
    if (known !== undefined)
      return tell(isSameSpec(known, spec) ? { ok: true, record: known.rollout.record } : KEY_REUSED);
    const begun = this.#creating.get(id);
    if (begun !== undefined) return isSameSpec(begun.lane, spec) ? void begun.tells.push(tell) : tell(KEY_REUSED);
    if (this.#lanes.size + this.#creating.size >= ROLLOUT_LIMITS.maxRollouts)
      return tell({ ok: false, reason: "too-many-rollouts", detail: "delete some that have ended" });
    const unknown = spec.after?.find((one) => !this.#isThere(one));
    if (unknown !== undefined)
      return tell({ ok: false, reason: "no-such-dependency", detail: `there is no rollout ${unknown} to come after` });
    const groups = spec.groups.map(() => ({ state: "scheduled", passed: false, tolerated: 0 }) as const);
    const fixed = { id, spec, groups, createdBy: by, createdMs: this.#parts.unixMs(nowUs), revision: 0, decisions: 0 };
    const lane = newLane(new Rollout({ ...fixed, state: "created", reason: "created" }));
    const step = new Step(lane.rollout, this.#parts.unixMs(nowUs));
    step.decide(by, "created", spec.name);
    if (spec.approval) step.move("ask", "rollout", "waiting-for-approval", "another person has to approve it");
    else step.move("approve", "rollout", "ready", "nobody has to approve it");
    const write = this.#parts.store(step.ops(ROLLOUT_LIMITS.maxDecisions));
    lane.writing = { write, step, inputs: [] };
    this.#creating.set(id, { lane, tells: [tell] });
    return undefined;
  }

  command(nowUs: number, id: string, asked: Omit<Input & { kind: "command" }, "kind" | "tell">, tell: Tell): void {
    const lane = this.#lanes.get(id);
    if (lane === undefined) return tell(noSuch(id));
    if (lane.removing !== undefined) return tell(BEING_DELETED);
    lane.inputs.push({ kind: "command", ...asked, tell });
    lane.notBeforeUs = 0;
    this.settle(nowUs);
    return undefined;
  }

  /** Forgets one that has ended. */
  remove(id: string, revision: number | undefined, tell: Tell): void {
    const lane = this.#lanes.get(id);
    if (lane === undefined) return tell(noSuch(id));
    const { record, members } = lane.rollout;
    if (revision !== undefined && revision !== record.revision) return tell(changed(record));
    if (lane.removing !== undefined) return void lane.removing.push(tell);
    if (lane.writing !== undefined || !(hasEnded(record) || record.state === "ready"))
      return tell({ ok: false, reason: "wrong-state", detail: `it is ${record.state}: stop it first` });
    const dependent = this.#dependentOn(id);
    if (dependent !== undefined)
      return tell({ ok: false, reason: "wrong-state", detail: `${dependent} comes after it, and has not ended` });
    const keys = [
      rolloutKey(id),
      ...[...members.all()].map(({ endpoint }) => memberKey(id, endpoint)),
      ...lane.decisions.map(({ number }) => decisionKey(id, number)),
    ];
    const write = this.#parts.store(keys.map((key) => ({ kind: "delete", key })));
    lane.removing = [tell];
    lane.writing = { write, step: new Step(lane.rollout, record.createdMs), inputs: [] };
    return undefined;
  }

  #isThere(id: string): boolean {
    const lane = this.#lanes.get(id);
    return lane !== undefined && lane.removing === undefined;
  }

  /** Name of a rollout that has yet to ask how devices did in this one. */
  #dependentOn(id: string): string | undefined {
    const all = [...this.#lanes.values(), ...Array.from(this.#creating.values(), ({ lane }) => lane)];
    return all.find(({ rollout: { record } }) => !hasEnded(record) && record.spec.after?.includes(id))?.rollout.record
      .spec.name;
  }

  /** The update of a device has ended, or waits to be applied. */
  takeVerdict(verdict: Verdict): void {
    const lane = this.#lanes.get(verdict.origin.split("/")[1] ?? "");
    lane?.inputs.push({ kind: "verdict", verdict });
  }

  /** A device could not be commanded after all, though it is written that it is. */
  refused(nowUs: number, origin: string, endpoint: string, why: string): void {
    const lane = this.#lanes.get(origin.split("/")[1] ?? "");
    lane?.inputs.push({ kind: "busy", endpoint, why });
    this.settle(nowUs);
  }

  /** That a device may apply what it has, or may not, could not be written: it is tried once more. */
  notReleased(nowUs: number, endpoint: string): void {
    for (const { rollout } of this.#lanes.values())
      if (rollout.members.get(endpoint)?.state === "downloaded")
        rollout.notReleased(this.#parts.unixMs(nowUs), endpoint);
    this.stir();
  }

  /** A device has told what was asked of it. */
  looked(endpoint: string): void {
    for (const lane of this.#lanes.values()) {
      if (lane.rollout.members.get(endpoint)?.state !== "pending") continue;
      lane.rollout.looked(endpoint);
      lane.stirred = true;
    }
  }

  /** Whether an image is still to get somewhere. */
  needs(digest: string): boolean {
    for (const { rollout } of this.#lanes.values())
      if (!hasEnded(rollout.record) && rollout.record.spec.components.some((one) => one.digest === digest)) return true;
    return false;
  }

  /** Devices have turned up, or told of themselves. */
  stir(): void {
    for (const lane of this.#lanes.values()) if (!hasEnded(lane.rollout.record)) lane.stirred = true;
  }

  /** The clock was set: what is due is reckoned anew. */
  clockSet(nowUs: number): void {
    for (const lane of this.#lanes.values()) lane.dueMs = undefined;
    this.stir();
    this.settle(nowUs);
  }

  stored(nowUs: number, write: number, done: boolean, detail: string): boolean {
    const failed: RolloutResult = { ok: false, reason: "store-write-failed", detail };
    for (const [id, { lane, tells }] of this.#creating) {
      if (lane.writing!.write !== write) continue;
      this.#creating.delete(id);
      if (done) this.#lanes.set(id, lane);
      if (done) this.#publish(lane);
      lane.writing = undefined;
      for (const tell of tells) tell(done ? { ok: true, record: lane.rollout.record } : failed);
      return true;
    }
    for (const [id, lane] of this.#lanes) {
      if (lane.writing?.write !== write) continue;
      if (lane.removing !== undefined) this.#removed(id, lane, done ? undefined : failed);
      else if (done) this.#written(nowUs, lane);
      else this.#notWritten(nowUs, lane, failed);
      this.settle(nowUs);
      return true;
    }
    return false;
  }

  #removed(id: string, lane: Lane, failed: RolloutResult | undefined): void {
    const tells = lane.removing!;
    lane.removing = undefined;
    lane.writing = undefined;
    if (failed === undefined) this.#lanes.delete(id);
    for (const tell of tells) tell(failed ?? { ok: true, record: lane.rollout.record });
  }

  /** Takes a record of the store back; undefined when it is of another kind, false when it is damaged. */
  recover(key: string, record: Uint8Array): boolean | undefined {
    return this.#recovered.take(key, record);
  }

  /** Goes on with what was under way before a restart, once all records and all updates are there. */
  begin(nowUs: number): void {
    for (const { record, members, decisions } of this.#recovered.all()) {
      const lane = newLane(new Rollout(record, members));
      lane.decisions.push(...decisions);
      lane.inputs.push({ kind: "reconcile" });
      this.#lanes.set(record.id, lane);
    }
    this.settle(nowUs);
  }

  handleTimeout(nowUs: number): void {
    const nowMs = this.#parts.unixMs(nowUs);
    for (const lane of this.#lanes.values()) if (lane.dueMs !== undefined && lane.dueMs <= nowMs) lane.stirred = true;
    this.settle(nowUs);
    this.#dueUs = this.#due(nowUs);
  }

  pollTimeout(): number | undefined {
    return this.#dueUs;
  }

  #due(nowUs: number): number | undefined {
    const nowMs = this.#parts.unixMs(nowUs);
    let nextUs: number | undefined;
    for (const lane of this.#lanes.values()) {
      const { rollout, writing, inputs, stirred, notBeforeUs } = lane;
      if (writing !== undefined) continue; // what comes of it wakes it
      // What is to be looked at in a while is not put off by what happens meanwhile.
      lane.dueMs ??= rollout.dueMs(nowMs);
      const { dueMs } = lane;
      let atUs = dueMs === undefined ? undefined : nowUs + Math.max(1_000, Math.ceil((dueMs - nowMs) * 1_000));
      if (inputs.length > 0 || stirred || (atUs !== undefined && atUs < notBeforeUs))
        atUs = Math.max(notBeforeUs, nowUs + 1_000);
      if (atUs !== undefined && (nextUs === undefined || atUs < nextUs)) nextUs = atUs;
    }
    return nextUs;
  }

  /** Goes on with each rollout that has something to do: security before features, then the older one. */
  settle(nowUs: number): void {
    const lanes = [...this.#lanes.values()].filter(
      (lane) => lane.writing === undefined && (lane.stirred || lane.inputs.length > 0) && lane.notBeforeUs <= nowUs,
    );
    if (lanes.length === 0) return;
    const rank = ({ rollout }: Lane): number => (rollout.record.spec.priority === "security" ? 0 : 1);
    for (const lane of lanes.toSorted((a, b) => rank(a) - rank(b))) this.#run(nowUs, lane);
    this.#dueUs = this.#due(nowUs);
  }

  #run(nowUs: number, lane: Lane): void {
    const { rollout } = lane;
    const step = new Step(rollout, this.#parts.unixMs(nowUs));
    const inputs = lane.inputs.splice(0);
    lane.stirred = false;
    lane.dueMs = undefined;
    const refresh = new Set<string>();
    const asked = { nowMs: step.nowMs, refresh: (endpoint: string) => void refresh.add(endpoint) };
    const facts = factsFor(lane, this.#lanes, this.#parts, asked);
    const taken = inputs.filter((input) => this.#take(step, lane, input, facts));
    rollout.advance(step, facts);
    for (const endpoint of refresh) this.#parts.fleet.refresh(nowUs, endpoint);
    if (!step.isEmpty) {
      const write = this.#parts.store(step.ops(ROLLOUT_LIMITS.maxDecisions));
      lane.writing = { write, step, inputs: taken };
      return;
    }
    this.#act(nowUs, lane, step);
    for (const input of taken) if (input.kind === "command") input.tell({ ok: true, record: rollout.record });
  }

  /** False for a command that was refused at once. */
  #take(step: Step, { rollout }: Lane, input: Input, facts: RolloutFacts): boolean {
    if (input.kind === "verdict") rollout.takeVerdict(step, input.verdict);
    else if (input.kind === "busy") rollout.takeBusy(step, input.endpoint, input.why);
    else if (input.kind === "reconcile") rollout.reconcile(step, facts);
    else {
      const { record } = rollout;
      const isChanged = input.revision !== undefined && (input.revision !== record.revision || step.isRevised);
      const refusal = isChanged ? changed(record) : applyCommand(rollout, step, input);
      if (refusal === undefined) return true;
      input.tell({ ok: false, reason: refusal.reason, detail: refusal.detail });
      return false;
    }
    return true;
  }

  #written(nowUs: number, lane: Lane): void {
    const { step, inputs } = lane.writing!;
    lane.writing = undefined;
    lane.decisions.push(...step.decisions);
    lane.decisions.splice(0, lane.decisions.length - ROLLOUT_LIMITS.maxDecisions);
    for (const decision of step.decisions) this.#tellOf(lane, decision);
    for (const input of inputs) if (input.kind === "command") input.tell({ ok: true, record: lane.rollout.record });
    this.#act(nowUs, lane, step);
    // Others may have waited for what has become free.
    this.stir();
  }

  #publish(lane: Lane): void {
    lane.decisions.push(...lane.writing!.step.decisions);
    for (const decision of lane.writing!.step.decisions) this.#tellOf(lane, decision);
  }

  #tellOf({ rollout }: Lane, decision: Decision): void {
    const { name } = rollout.record.spec;
    const { what, why, by } = decision;
    const failed = what === "group-failed" || what.endsWith("-threshold");
    this.#parts.log.event(failed ? "warn" : "info", "rollout", { id: rollout.id, name, what, reason: why, by });
    this.#parts.metrics.count("rollout_decisions", what);
    this.#news.push({ rollout: rollout.id, name, decision });
    if (this.#news.length > ROLLOUT_LIMITS.maxDecisions) this.#news.shift();
  }

  /** What operators asked for is told to have failed; what devices did is taken once more. */
  #notWritten(nowUs: number, lane: Lane, failed: RolloutResult): void {
    const { step, inputs } = lane.writing!;
    lane.writing = undefined;
    lane.dueMs = undefined;
    step.undo();
    lane.rollout.undone();
    for (const input of inputs)
      if (input.kind === "command") input.tell(failed);
      else lane.inputs.push(input);
    lane.stirred = true;
    lane.notBeforeUs = nowUs + ROLLOUT_LIMITS.retryUs;
    this.#dueUs = this.#due(nowUs);
  }

  #act(nowUs: number, lane: Lane, { effects }: Step): void {
    const { fleet } = this.#parts;
    const { rollout } = lane;
    for (const effect of effects) {
      if (effect.kind === "cancel") fleet.cancel(nowUs, effect.endpoint);
      else if (effect.kind === "release") fleet.release(nowUs, effect.endpoint, effect.untilMs);
      else {
        const why = fleet.start(nowUs, orderOf(rollout, effect.member));
        if (why !== undefined) lane.inputs.push({ kind: "busy", endpoint: effect.member.endpoint, why });
      }
    }
  }
}

const noSuch = (id: string): RolloutResult & { ok: false } => ({
  ok: false,
  reason: "no-such-rollout",
  detail: `there is no rollout ${id}`,
});

const KEY_REUSED = {
  ok: false,
  reason: "key-reused",
  detail: "there is a rollout by this id that says something else",
} as const;
const isSameSpec = ({ rollout }: Lane, spec: RolloutSpec): boolean =>
  JSON.stringify(rollout.record.spec) === JSON.stringify(spec);
const BEING_DELETED: RolloutResult = { ok: false, reason: "wrong-state", detail: "it is being deleted just now" };

const changed = ({ revision }: RolloutRecord): RolloutResult & { ok: false } => ({
  ok: false,
  reason: "changed-meanwhile",
  detail: `it is at revision ${revision} by now: look at it again`,
});
