import type { StoreOp } from "../ports/store.ts";
import type { Members } from "./members.ts";
import {
  decisionKey,
  encodeRecord,
  memberKey,
  rolloutKey,
  type Decision,
  type Member,
  type RolloutRecord,
} from "./record.ts";
import { MEMBER, ROLLOUT, type MemberEvent, type RolloutEvent } from "./states.ts";

/** What is done once a step is on the disk, and not before. */
export type Effect =
  | { readonly kind: "start"; readonly member: Member }
  | { readonly kind: "cancel"; readonly endpoint: string }
  | { readonly kind: "release"; readonly endpoint: string; readonly untilMs: number };

/** A rollout as it is in memory. */
export interface RolloutHolder {
  record: RolloutRecord;
  readonly members: Members;
}

/** Changes of one rollout that get to the disk together, or not at all. */
export class Step {
  readonly #holder: RolloutHolder;
  readonly nowMs: number;
  readonly #recordBefore: RolloutRecord;
  readonly #membersBefore = new Map<string, Member | undefined>();
  readonly decisions: Decision[] = [];
  readonly effects: Effect[] = [];

  constructor(holder: RolloutHolder, nowMs: number) {
    this.#holder = holder;
    this.nowMs = nowMs;
    this.#recordBefore = holder.record;
  }

  /** The rollout itself is not what its revision names any more. */
  get isRevised(): boolean {
    return this.#holder.record !== this.#recordBefore;
  }

  get isEmpty(): boolean {
    return this.#holder.record === this.#recordBefore && this.#membersBefore.size === 0;
  }

  change(change: Partial<RolloutRecord>): void {
    this.#holder.record = { ...this.#holder.record, ...change };
  }

  /** False when the event means nothing in the rollout's state. */
  move(event: RolloutEvent, by: string, reason: string, why: string): boolean {
    const state = ROLLOUT.next(this.#holder.record.state, event);
    if (state === undefined) return false;
    this.change({ state, reason });
    this.decide(by, reason, why);
    return true;
  }

  /** False when the event means nothing in the device's state. */
  moveMember(member: Member, event: MemberEvent, change: Partial<Member> = {}): Member | undefined {
    const state = MEMBER.next(member.state, event);
    if (state === undefined) return undefined;
    const after: Member = { ...member, ...change, state };
    this.put(after);
    return after;
  }

  put(member: Member): void {
    const { members } = this.#holder;
    if (!this.#membersBefore.has(member.endpoint))
      this.#membersBefore.set(member.endpoint, members.get(member.endpoint));
    members.put(member);
  }

  decide(by: string, what: string, why: string, about: { group?: number; endpoint?: string } = {}): void {
    const number = this.#holder.record.decisions + 1;
    this.change({ decisions: number });
    this.decisions.push({ number, atMs: this.nowMs, by, what, why, ...about });
  }

  /** The writes of this step; what is there no longer by then is left out. */
  ops(keepDecisions: number): StoreOp[] {
    const { record, members } = this.#holder;
    const { id } = record;
    const ops: StoreOp[] = [];
    // A revision is what an operator has seen of the rollout: what one device does is none.
    if (record !== this.#recordBefore) {
      this.change({ revision: this.#recordBefore.revision + 1 });
      ops.push({ kind: "put", key: rolloutKey(id), value: encodeRecord(this.#holder.record) });
    }
    for (const endpoint of this.#membersBefore.keys())
      ops.push({ kind: "put", key: memberKey(id, endpoint), value: encodeRecord(members.get(endpoint)!) });
    for (const decision of this.decisions) {
      ops.push({ kind: "put", key: decisionKey(id, decision.number), value: encodeRecord(decision) });
      if (decision.number > keepDecisions)
        ops.push({ kind: "delete", key: decisionKey(id, decision.number - keepDecisions) });
    }
    return ops;
  }

  /** It could not be written: it never was. */
  undo(): void {
    this.#holder.record = this.#recordBefore;
    for (const [endpoint, member] of this.#membersBefore)
      if (member === undefined) this.#holder.members.remove(endpoint);
      else this.#holder.members.put(member);
  }
}
