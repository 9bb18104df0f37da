import { StateTable } from "../util/state-table.ts";

export type UpdateState =
  | "waiting"
  | "inspecting"
  | "resetting"
  | "offering"
  | "transferring"
  | "downloaded"
  | "deferred"
  | "applying"
  | "verifying"
  | "soaking"
  | "cancelling"
  | "succeeded"
  | "failed"
  | "cancelled";

export type UpdateEvent =
  | "ready"
  | "inspected"
  | "reset"
  | "current"
  | "offered"
  | "other method"
  | "lost"
  | "downloaded"
  | "component"
  | "execute"
  | "defer"
  | "back"
  | "not yet"
  | "right version"
  | "soaked"
  | "fail"
  | "cancel"
  | "gone";

/** One update of one client (src/lwm2m/update/). */
export const UPDATE: StateTable<UpdateState, UpdateEvent> = new StateTable("Firmware update", "waiting", [
  ["waiting", "ready", "inspecting", "the image is at hand and the client is registered"],
  ["inspecting", "current", "succeeded", "it runs the expected version already"],
  ["inspecting", "inspected", "resetting", "State is not Idle: what is left of an earlier attempt goes first"],
  ["inspecting", "reset", "offering", "State is Idle, or the reset was tried"],
  ["inspecting", "downloaded", "downloaded", "taken up again: the package had arrived"],
  ["inspecting", "lost", "transferring", "taken up again in mid-transfer"],
  ["resetting", "reset", "offering", "whatever the client said to the reset"],
  ["offering", "offered", "transferring", "the URI was written, or the first block is due"],
  ["offering", "other method", "resetting", "refused: the next way of delivery"],
  ["transferring", "other method", "resetting", "this way has stalled or failed: the next one"],
  ["resetting", "lost", "inspecting", "the client restarted: what does it still have?"],
  ["offering", "lost", "inspecting", "the client restarted: has it heard of the offer?"],
  ["transferring", "lost", "inspecting", "the client restarted: what does it still have?"],
  ["transferring", "downloaded", "downloaded", "State 2, or all bytes arrived at a client whose State means nothing"],
  ["transferring", "execute", "applying", "it installs on its own: a SUIT worker, or State is 3 already"],
  ["downloaded", "component", "inspecting", "the next component of several"],
  ["downloaded", "execute", "applying", "Update is executed, once that is on our disk"],
  ["applying", "defer", "deferred", "Result 11: its user has put it off"],
  ["applying", "execute", "applying", "it never heard the Execute: once more"],
  ["deferred", "execute", "applying", "the defer period is over, or it went on by itself"],
  ["deferred", "back", "verifying", "it went on by itself and has registered again"],
  ["applying", "back", "verifying", "registered again"],
  ["verifying", "not yet", "applying", "State says it is still updating, or had never begun"],
  ["verifying", "right version", "soaking", "exactly the expected version"],
  ["soaking", "back", "verifying", "registered again: the version is read once more"],
  ["soaking", "soaked", "succeeded", "it stayed so for the soak"],
  ...(["waiting", "inspecting", "resetting", "offering", "transferring", "downloaded", "deferred"] as const).map(
    (state) => [state, "cancel", "cancelling", "the operator's word; before Updating only"] as const,
  ),
  ["cancelling", "gone", "cancelled", "the client was told, or had nothing to tell it"],
  ...(
    [
      "waiting",
      "inspecting",
      "resetting",
      "offering",
      "transferring",
      "downloaded",
      "deferred",
      "applying",
      "verifying",
      "soaking",
    ] as const
  ).map((state) => [state, "fail", "failed", "for a reason with advice"] as const),
]);
