import {
  DECISION_PREFIX,
  decodeDecision,
  decodeMember,
  decodeRollout,
  MEMBER_PREFIX,
  ROLLOUT_PREFIX,
  type Decision,
  type Member,
  type RolloutRecord,
} from "./record.ts";

/** Records of rollouts as the store gives them back, in any order. */
export class RecoveredRollouts {
  readonly #records: RolloutRecord[] = [];
  readonly #members = new Map<string, Member[]>();
  readonly #decisions = new Map<string, Decision[]>();

  /** Undefined when the record is of another kind, false when it is damaged. */
  take(key: string, bytes: Uint8Array): boolean | undefined {
    const slash = key.lastIndexOf("/");
    if (key.startsWith(ROLLOUT_PREFIX)) {
      const record = decodeRollout(bytes);
      if (record !== undefined) this.#records.push(record);
      return record !== undefined;
    }
    if (key.startsWith(MEMBER_PREFIX))
      return collect(this.#members, key.slice(MEMBER_PREFIX.length, slash), decodeMember(bytes));
    if (key.startsWith(DECISION_PREFIX))
      return collect(this.#decisions, key.slice(DECISION_PREFIX.length, slash), decodeDecision(bytes));
    return undefined;
  }

  /** All of them, the oldest first, and forgets them. */
  *all(): Iterable<{
    readonly record: RolloutRecord;
    readonly members: readonly Member[];
    readonly decisions: readonly Decision[];
  }> {
    for (const record of this.#records.splice(0).toSorted((a, b) => a.createdMs - b.createdMs)) {
      const decisions = this.#decisions.get(record.id) ?? [];
      const members = this.#members.get(record.id) ?? [];
      yield { record, members, decisions: decisions.toSorted((a, b) => a.number - b.number) };
    }
    this.#members.clear();
    this.#decisions.clear();
  }
}

function collect<T>(into: Map<string, T[]>, id: string, value: T | undefined): boolean {
  if (value === undefined) return false;
  const list = into.get(id);
  if (list === undefined) into.set(id, [value]);
  else list.push(value);
  return true;
}
