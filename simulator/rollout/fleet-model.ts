import type { FleetDevice } from "../../src/rollout/fleet.ts";
import type { Quirks } from "../../src/lwm2m/quirks.ts";
import type { RolloutSpec } from "../../src/rollout/spec.ts";
import { SeededRandom } from "../engine/random.ts";
import type { ChipProfile } from "../mote/profile.ts";
import { parseCase } from "../scenarios/schema.ts";
import { Lwm2mCell, type CellPlan, type ClientPlan } from "../world/lwm2m-cell.ts";
import { edgesOf } from "./fleet-links.ts";

/** A device as a run needs it. */
export interface ModelDevice extends ClientPlan {
  readonly tags: readonly string[];
  readonly class?: string | undefined;
  readonly hops: number;
  /** Loss of the longest frame on each hop. */
  readonly per: number;
  readonly battery?: number | null | undefined;
}

export interface FleetModel {
  readonly devices: readonly ModelDevice[];
  /** What is assumed because it was never measured. */
  readonly assumptions: readonly string[];
}

/** What is assumed of a device of which it is not known. */
export const ASSUMED = { hops: 1, per: 0.1, lifetimeS: 3_600, wakeIntervalS: 300, awakeS: 10 } as const;
/** macMaxFrameRetries (IEEE 802.15.4): so often a frame is sent again before CoAP has to. */
const MAC_TRIES = 4;

/**
 * Loss of a frame, from the share of messages that had to be sent again: a message and its answer each take every hop,
 * and a hop fails when the frame was lost as often as the MAC tries.
 */
export function frameLoss(resent: number, hops: number): number {
  const perHop = 1 - (1 - Math.min(0.95, resent)) ** (1 / (2 * hops));
  return Math.min(0.9, perHop ** (1 / MAC_TRIES));
}

/** A fleet as it was measured. */
export function modelOf(devices: readonly FleetDevice[]): FleetModel {
  const unknown = { hops: 0, loss: 0, awake: 0 };
  const model = devices.map((device): ModelDevice => {
    const { endpoint: name, tags, class: named, loss, queueMode, lifetimeS = ASSUMED.lifetimeS, battery } = device;
    const { hops = ASSUMED.hops, wakeIntervalS = ASSUMED.wakeIntervalS } = device;
    if (device.hops === undefined) unknown.hops++;
    if (loss === undefined) unknown.loss++;
    if (queueMode === true) unknown.awake++;
    const { awakeS } = ASSUMED;
    const queue = queueMode === true ? { wakeIntervalS: Math.max(wakeIntervalS, awakeS + 1), awakeS } : undefined;
    const per = loss === undefined ? ASSUMED.per : frameLoss(loss, hops);
    return {
      name,
      tags,
      class: named,
      hops,
      per,
      queue,
      lifetimeS: Math.max(60, lifetimeS),
      battery,
      behaviour: "good",
    };
  });
  const assumptions = [
    ...(unknown.hops > 0
      ? [`${unknown.hops} devices are taken to be at ${ASSUMED.hops} hop: say it with their hops`]
      : []),
    ...(unknown.loss > 0
      ? [`${unknown.loss} devices have had no blocks yet: a frame loss of ${ASSUMED.per} is assumed`]
      : []),
    ...(unknown.awake > 0
      ? [`${unknown.awake} devices in Queue Mode are taken to hear for ${ASSUMED.awakeS} s behind their last message`]
      : []),
    ...(devices.some(({ hops = 1 }) => hops > 1) ? ["which device forwards for which is a guess"] : []),
    ...(devices.length > 1
      ? ["which devices hear each other is a guess: each lies somewhere in the ring of its hops"]
      : []),
    "no device is taken to fail for reasons of its own: what is at risk is at risk by its link",
  ];
  return { devices: model, assumptions };
}

/** What a cell of a fleet is opened with. */
export interface FleetCellParts {
  readonly profile: ChipProfile;
  readonly quirks: readonly Quirks[];
  readonly blockBytes: number;
  readonly maxHours: number;
  /** Share of the store's writes that fail. */
  readonly failing?: number | undefined;
}

/** A cell of these devices, whose image is as long as those of the spec, and in which `direct` says what is done. */
export function openFleetCell(
  { components }: RolloutSpec,
  fleet: readonly ModelDevice[],
  seed: number,
  { profile, quirks, blockBytes, maxHours, failing = 0 }: FleetCellParts,
  direct: CellPlan["direct"],
): Lwm2mCell {
  // Motes 1 to n are the ones that forward: those that never sleep.
  const awake = fleet.filter(({ queue }) => queue === undefined);
  const devices = [...awake, ...fleet.filter(({ queue }) => queue !== undefined)];
  const imageBytes = components.reduce((sum, { size }) => sum + size, 0);
  const run = parseCase({
    name: "rollout",
    transport: "lwm2m",
    motes: devices.length,
    link: { model: "edges", file: "fleet" },
    startWithinS: 10,
    network: { routers: awake.length },
    imageBytes: Math.max(64, imageBytes),
    blockBytes,
    profile: profile.name,
    maxHours,
    faults: { store: failing },
  });
  // The fleet is the same in each run: it is what happens to it that is drawn anew.
  const files = { fleet: edgesOf(devices, new SeededRandom(1, "fleet-links")) };
  return new Lwm2mCell(run, profile, seed, { files }, quirks, { clients: devices, direct });
}
