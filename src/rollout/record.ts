import { fromUtf8, utf8 } from "../util/bytes.ts";
import { parseFilter } from "./filter.ts";
import type { RolloutSpec } from "./spec.ts";
import { GROUP, MEMBER, ROLLOUT, type GroupState, type MemberState, type RolloutState } from "./states.ts";
import { checkWindow } from "./windows.ts";

export const ROLLOUT_PREFIX = "rollout/";
export const MEMBER_PREFIX = "rollout-device/";
export const DECISION_PREFIX = "rollout-decision/";

export interface GroupRecord {
  readonly state: GroupState;
  readonly startedMs?: number | undefined;
  readonly endedMs?: number | undefined;
  /** Its success threshold was reached, or an operator said that it is well enough. */
  readonly passed: boolean;
  /** It is an operator who said so. */
  readonly accepted?: boolean | undefined;
  /** Failures that an operator has accepted by letting the rollout go on. */
  readonly tolerated: number;
}

/** A rollout without its devices, as the store keeps it. */
export interface RolloutRecord {
  readonly id: string;
  readonly spec: RolloutSpec;
  readonly state: RolloutState;
  /** Why it is in this state, in one word. */
  readonly reason: string;
  readonly createdMs: number;
  readonly createdBy: string;
  readonly approvedBy?: string | undefined;
  readonly startedMs?: number | undefined;
  readonly endedMs?: number | undefined;
  readonly groups: readonly GroupRecord[];
  /** The barrier has fallen. */
  readonly barrierFellMs?: number | undefined;
  /** With each change one more: what `If-Match` names. */
  readonly revision: number;
  /** Decisions so far. */
  readonly decisions: number;
}

/** One device of a rollout. */
export interface Member {
  readonly endpoint: string;
  readonly group: number;
  readonly state: MemberState;
  readonly attempt: number;
  readonly commandedMs?: number | undefined;
  readonly releasedMs?: number | undefined;
  readonly endedMs?: number | undefined;
  /** Since when it cannot be commanded, for the reason that stands there. */
  readonly blockedMs?: number | undefined;
  readonly reason?: string | undefined;
  readonly detail?: string | undefined;
  /** Seconds of the channel that its update was reckoned to take. */
  readonly airtimeS?: number | undefined;
}

/** Something that was decided, and why. */
export interface Decision {
  readonly number: number;
  readonly atMs: number;
  /** Whose: an operator's name, or `rollout`. */
  readonly by: string;
  /** What became so, as in `group-started`. */
  readonly what: string;
  readonly why: string;
  readonly group?: number | undefined;
  readonly endpoint?: string | undefined;
}

const ENDED: ReadonlySet<MemberState> = new Set(["succeeded", "failed", "skipped", "cancelled"]);
export const isOver = ({ state }: Pick<Member, "state">): boolean => ENDED.has(state);

const OVER: ReadonlySet<RolloutState> = new Set(["finished", "stopped", "approval-denied"]);
export const hasEnded = ({ state }: Pick<RolloutRecord, "state">): boolean => OVER.has(state);

export const rolloutKey = (id: string): string => ROLLOUT_PREFIX + id;
export const memberKey = (id: string, endpoint: string): string =>
  `${MEMBER_PREFIX}${id}/${encodeURIComponent(endpoint)}`;
export const decisionKey = (id: string, number: number): string =>
  `${DECISION_PREFIX}${id}/${String(number).padStart(8, "0")}`;

export const encodeRecord = (value: RolloutRecord | Member | Decision): Uint8Array => utf8(JSON.stringify(value));

const isStateOf = (table: { initial: string; rows: readonly { to: string }[] }, state: unknown): boolean =>
  state === table.initial || table.rows.some(({ to }) => to === state);

function parse(record: Uint8Array): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(fromUtf8(record) ?? "");
    return typeof value === "object" && value !== null ? (value as Record<string, unknown>) : undefined;
  } catch {
    return undefined;
  }
}

/** Undefined when the record is damaged. */
export function decodeRollout(record: Uint8Array): RolloutRecord | undefined {
  const value = parse(record) as Partial<RolloutRecord> | undefined;
  const whole =
    typeof value?.id === "string" &&
    isStateOf(ROLLOUT, value.state) &&
    Array.isArray(value.spec?.groups) &&
    Array.isArray(value.spec.components) &&
    Array.isArray(value.groups) &&
    value.groups.length === value.spec.groups.length &&
    value.groups.every((group: GroupRecord | null) => isStateOf(GROUP, group?.state)) &&
    [value.createdMs, value.revision, value.decisions].every(Number.isFinite) &&
    isUsable(value.spec);
  return whole ? (value as RolloutRecord) : undefined;
}

/** Whether filters and window still mean something: what an attribute or a zone is called may have changed since. */
function isUsable({ target, requires = "", window, groups }: RolloutSpec): boolean {
  try {
    for (const filter of [target, requires, ...groups.map((group) => group.filter ?? "")]) parseFilter(filter);
    if (window !== undefined) checkWindow(window);
    return true;
  } catch {
    return false;
  }
}

export function decodeMember(record: Uint8Array): Member | undefined {
  const value = parse(record) as Partial<Member> | undefined;
  const whole =
    typeof value?.endpoint === "string" &&
    isStateOf(MEMBER, value.state) &&
    Number.isInteger(value.group) &&
    value.group! >= 0 &&
    Number.isInteger(value.attempt);
  return whole ? (value as Member) : undefined;
}

export function decodeDecision(record: Uint8Array): Decision | undefined {
  const value = parse(record) as Partial<Decision> | undefined;
  const whole = Number.isInteger(value?.number) && typeof value?.what === "string" && typeof value.why === "string";
  return whole ? (value as Decision) : undefined;
}
