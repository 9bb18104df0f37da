import { StateTable } from "../util/state-table.ts";

export type RolloutState =
  | "created"
  | "waiting-for-approval"
  | "approval-denied"
  | "ready"
  | "scheduled"
  | "running"
  | "paused"
  | "stopping"
  | "stopped"
  | "finished";

export type RolloutEvent =
  | "ask"
  | "approve"
  | "deny"
  | "schedule"
  | "start"
  | "pause"
  | "resume"
  | "stop"
  | "over"
  | "retry";

/** One rollout (src/rollout/). */
export const ROLLOUT: StateTable<RolloutState, RolloutEvent> = new StateTable("Rollout", "created", [
  ["created", "ask", "waiting-for-approval", "somebody else has to approve it"],
  ["created", "approve", "ready", "nobody has to approve it"],
  ["waiting-for-approval", "approve", "ready", "by another person than who created it"],
  ["waiting-for-approval", "deny", "approval-denied", "with a reason"],
  ["ready", "schedule", "scheduled", "its time is yet to come"],
  ["ready", "start", "running", "the operator's word; its devices are put into groups now"],
  ["scheduled", "start", "running", "its time has come, or the operator does not wait for it"],
  ["running", "pause", "paused", "the operator's word, an error threshold, or a group that pauses behind its success"],
  ["paused", "resume", "running", "the operator's word"],
  ["ready", "stop", "stopped", "the operator's word: nothing was done"],
  ["scheduled", "stop", "stopped", "the operator's word: nothing was done"],
  ["waiting-for-approval", "stop", "stopped", "the operator's word: nothing was done"],
  ["running", "stop", "stopping", "no device more is commanded"],
  ["paused", "stop", "stopping", "no device more is commanded"],
  ["stopping", "over", "stopped", "the last update under way has ended"],
  ["running", "over", "finished", "each device of each group has a verdict"],
  ["paused", "over", "finished", "each device of each group has a verdict"],
  ["finished", "retry", "running", "those that failed once more"],
  ["stopped", "retry", "running", "those that failed or were cancelled once more"],
  ["paused", "retry", "running", "those that failed once more"],
]);

export type GroupState = "scheduled" | "running" | "error" | "finished";
export type GroupEvent = "start" | "error" | "resume" | "over" | "retry" | "hold" | "join";

/** One group of a rollout. */
export const GROUP: StateTable<GroupState, GroupEvent> = new StateTable("Rollout group", "scheduled", [
  ["scheduled", "start", "running", "it is the first one, or the group before has reached its success threshold"],
  ["running", "error", "error", "more devices have failed than its error threshold allows, or too few can succeed"],
  ["error", "resume", "running", "the operator lets it go on: the next failure stops it again"],
  ["error", "over", "finished", "each of its devices has a verdict, and the operator lets the rollout go on"],
  ["running", "over", "finished", "each of its devices has a verdict"],
  ["finished", "retry", "running", "devices of it are tried once more"],
  ["finished", "join", "running", "a device has turned up later, in a rollout that takes it in"],
  ["error", "retry", "running", "devices of it are tried once more"],
  ["finished", "hold", "scheduled", "devices of it are tried once more, behind those of a group before it"],
  ["error", "hold", "scheduled", "devices of it are tried once more, behind those of a group before it"],
  ["running", "hold", "scheduled", "devices of it are tried once more, behind those of a group before it"],
]);

export type MemberState = "pending" | "commanded" | "downloaded" | "succeeded" | "failed" | "skipped" | "cancelled";
export type MemberEvent = "command" | "busy" | "held" | "succeed" | "fail" | "skip" | "cancel" | "retry";

/** One device of a rollout. */
export const MEMBER: StateTable<MemberState, MemberEvent> = new StateTable("Device of a rollout", "pending", [
  ["pending", "command", "commanded", "written before it is commanded"],
  ["pending", "skip", "skipped", "it runs the version, may never have it, or the precondition does not hold"],
  ["pending", "fail", "failed", "it could not be commanded until its deadline"],
  ["pending", "cancel", "cancelled", "the rollout was cancelled"],
  ["commanded", "busy", "pending", "somebody else updates it just now"],
  ["commanded", "held", "downloaded", "it has everything, and waits for the barrier or the window"],
  ["commanded", "succeed", "succeeded", "booted, exact version, soaked"],
  ["commanded", "fail", "failed", "whatever it says of itself; silence too"],
  ["commanded", "cancel", "cancelled", "its update was cancelled"],
  ["downloaded", "busy", "pending", "its update is gone, and cannot be begun again just now"],
  ["downloaded", "succeed", "succeeded", "booted, exact version, soaked"],
  ["downloaded", "fail", "failed", "whatever it says of itself; silence too"],
  ["downloaded", "cancel", "cancelled", "its update was cancelled"],
  ["failed", "retry", "pending", "the operator's word: another attempt"],
  ["cancelled", "retry", "pending", "the operator's word: another attempt"],
]);

export const ROLLOUT_TABLES: readonly [typeof ROLLOUT, typeof GROUP, typeof MEMBER] = [ROLLOUT, GROUP, MEMBER];
