import { hasEnded, isOver, type GroupRecord } from "./record.ts";
import type { RolloutHolder, Step } from "./step.ts";
import { GROUP } from "./states.ts";
import { isComplete } from "./thresholds.ts";

/** What an operator may ask of a rollout. `stop` lets what is under way go on, `cancel` takes back what it can. */
export const ROLLOUT_COMMANDS = ["approve", "deny", "start", "pause", "resume", "stop", "cancel", "retry"] as const;
export type RolloutCommand = (typeof ROLLOUT_COMMANDS)[number];

export interface RolloutRefusal {
  readonly reason: string;
  readonly detail: string;
}

/** Does what an operator asks, or says why not. */
export function applyCommand(
  holder: RolloutHolder,
  step: Step,
  { command, by, why }: { readonly command: RolloutCommand; readonly by: string; readonly why: string },
): RolloutRefusal | undefined {
  const { record } = holder;
  const tooLate = {
    reason: "wrong-state",
    detail: `${record.spec.name} is ${record.state}: ${command} means nothing now`,
  };
  const text = why === "" ? `${by} said so` : why;
  if (command === "approve" || command === "deny") {
    if (by === record.createdBy)
      return { reason: "same-person", detail: `${by} has created it: another person has to ${command} it` };
    if (record.state !== "waiting-for-approval") return tooLate;
    step.move(command, by, command === "approve" ? "approved" : "denied", text);
    if (command === "approve") step.change({ approvedBy: by });
    else step.change({ endedMs: step.nowMs });
    return undefined;
  }
  if (command === "start" && record.state === "ready" && (record.spec.startAtMs ?? 0) > step.nowMs) {
    step.move("schedule", by, "scheduled", text);
    return undefined;
  }
  if (command === "retry" && record.startedMs === undefined)
    return { reason: "wrong-state", detail: `${record.spec.name} has never begun: there is nothing to retry` };
  const event = command === "cancel" ? "stop" : command;
  if (command === "cancel" && record.state === "stopping") {
    step.change({ reason: "cancelled" });
    step.decide(by, "cancelled", text);
    takeBack(holder, step, by);
    return undefined;
  }
  if (!step.move(event, by, PAST[command], text)) return tooLate;
  if (command === "resume") letGoOn(holder, step);
  if (command === "retry") retry(holder, step);
  if (command === "cancel") takeBack(holder, step, by);
  if (command === "stop") takeBackHeld(holder, step);
  if (hasEnded(holder.record)) step.change({ endedMs: step.nowMs });
  return undefined;
}

const PAST = {
  start: "started",
  pause: "paused",
  resume: "resumed",
  stop: "stopping",
  cancel: "cancelled",
  retry: "retried",
} as const;

/** The failures so far are accepted: the next one stops it again. */
function letGoOn({ record, members }: RolloutHolder, step: Step): void {
  const groups = record.groups.map((group, i) => {
    const state = GROUP.next(group.state, "resume");
    if (state === undefined) return group;
    const { failed } = members.counts(i);
    const accepted = group.accepted === true || (!group.passed && isComplete(record, members, i));
    return { ...group, state, tolerated: failed, passed: group.passed || accepted, accepted };
  });
  step.change({ groups });
}

function retry(holder: RolloutHolder, step: Step): void {
  const { record, members } = holder;
  const again = new Set<number>();
  for (const member of members.all()) {
    const change = {
      attempt: member.attempt + 1,
      commandedMs: undefined,
      releasedMs: undefined,
      endedMs: undefined,
      blockedMs: undefined,
      airtimeS: undefined,
    };
    if (step.moveMember(member, "retry", change) !== undefined) again.add(member.group);
    else if (!isOver(member)) again.add(member.group);
  }
  // Group by group, as it began: one that was let go on over its failures has still to show that it succeeds.
  let isHeldBack = false;
  const groups = record.groups.map((group, i) => {
    const isConcerned = (again.has(i) || !group.passed) && group.state !== "scheduled";
    const own = isConcerned ? retriedGroup(group, isHeldBack) : group;
    isHeldBack ||= !own.passed;
    return own;
  });
  step.change({ groups, endedMs: undefined, barrierFellMs: undefined });
}

function retriedGroup(group: GroupRecord, isHeldBack: boolean): GroupRecord {
  const state = GROUP.next(group.state, isHeldBack ? "hold" : "retry") ?? group.state;
  return { ...group, state, tolerated: 0, passed: group.passed && group.accepted !== true, accepted: undefined };
}

/** Those that wait are not commanded; the updates of the others are cancelled where it is not too late. */
function takeBack({ members }: RolloutHolder, step: Step, by: string): void {
  for (const member of members.all()) {
    if (member.state === "pending")
      step.moveMember(member, "cancel", { reason: "cancelled", detail: `${by} cancelled it`, endedMs: step.nowMs });
    else if (!isOver(member)) step.effects.push({ kind: "cancel", endpoint: member.endpoint });
  }
}

/** What waits to be applied would wait for ever. */
function takeBackHeld({ members }: RolloutHolder, step: Step): void {
  for (const member of members.all())
    if (member.state === "downloaded") step.effects.push({ kind: "cancel", endpoint: member.endpoint });
}
