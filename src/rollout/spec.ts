import type { Component, UpdatePolicy } from "../lwm2m/update/job.ts";
import type { MaintenanceWindow } from "./windows.ts";

/** A part of a rollout's devices, and when it is well. */
export interface GroupSpec {
  readonly name: string;
  /** Share of the devices that are left, in percent; one of `percent`, `size` and `filter`, or none for all the rest. */
  readonly percent?: number | undefined;
  readonly size?: number | undefined;
  readonly filter?: string | undefined;
  /** Share of its devices in percent with which the next group begins. */
  readonly successThreshold: number;
  /** Share of its devices in percent; when more have failed, the rollout pauses. */
  readonly errorThreshold: number;
  /** What its success leads to. */
  readonly onSuccess: "next" | "pause";
}

/** What an operator asks for. */
export interface RolloutSpec {
  readonly name: string;
  readonly description?: string | undefined;
  /** Security goes before features where both want the same device, or the same air. */
  readonly priority: "security" | "feature";
  /** Which devices: see parseFilter. */
  readonly target: string;
  /** In place of `target`: just these. */
  readonly endpoints?: readonly string[] | undefined;
  readonly components: readonly Component[];
  readonly policy: UpdatePolicy;
  readonly groups: readonly GroupSpec[];
  /** Another person than who created it has to approve it. */
  readonly approval: boolean;
  /** Milliseconds since 1970: starts by itself then. */
  readonly startAtMs?: number | undefined;
  readonly window?: MaintenanceWindow | undefined;
  /** Devices that are updated at the same time. */
  readonly maxConcurrent: number;
  /** Seconds of the channel in each hour that this rollout may take. */
  readonly airtimeSPerHour?: number | undefined;
  /** A device with less is not commanded, in percent; one without a battery is. */
  readonly minBattery?: number | undefined;
  /** What has to hold of a device when its turn comes: see parseFilter. */
  readonly requires?: string | undefined;
  /** Rollouts that have to have succeeded on a device before. */
  readonly after?: readonly string[] | undefined;
  /** All download first; then all apply together. */
  readonly barrier: boolean;
  /** Takes in devices that turn up later, until then (milliseconds since 1970). */
  readonly dynamicUntilMs?: number | undefined;
  /** A device that is not done so long after its command has failed; so has one that could not be commanded for so long. */
  readonly deadlineS: number;
}

export const DEFAULT_GROUP: Omit<GroupSpec, "name"> = { successThreshold: 100, errorThreshold: 0, onSuccess: "next" };

export const SPEC_DEFAULTS: Pick<
  RolloutSpec,
  "priority" | "target" | "approval" | "maxConcurrent" | "barrier" | "deadlineS"
> = {
  priority: "feature",
  target: "",
  approval: false,
  maxConcurrent: 50,
  barrier: false,
  deadlineS: 7 * 86_400,
};
