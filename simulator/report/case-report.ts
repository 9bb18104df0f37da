import type { EnergyState } from "../mote/energy.ts";
import type { Case } from "../scenarios/case.ts";
import type { LayerBytes } from "../world/layers.ts";
import type { Bounds } from "./limit.ts";

export interface Percentiles {
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
}

/** What one mote's update cost. Energies in mJ. */
export interface MoteReport {
  readonly id: number;
  /** Hops to its border router in the tree; -1 where there is no way. */
  readonly hops: number;
  readonly parent: number;
  readonly outcome: string;
  /** Of a mote that failed. */
  readonly why: string | undefined;
  readonly startedS: number;
  readonly finishedS: number | undefined;
  readonly energyMj: Readonly<Record<EnergyState | "total", number>>;
  /** Share of the time that its radio was on. */
  readonly dutyCycle: number;
  readonly imageBytesReceived: number;
  readonly retransmissions: { readonly mac: number; readonly coap: number };
  readonly resumes: number;
  readonly refetchedBlocks: number;
  readonly boots: number;
  /** When each 32nd of the image had arrived, in s; counts what arrived twice too. */
  readonly arrivalS: readonly number[];
  /** Power cuts and restarts, in s. */
  readonly bootS: readonly number[];
  readonly flash: { readonly maxWear: number; readonly faults: number };
  readonly forwarded: number;
  readonly airtimeS: number;
  /** Days of the battery's life at its idle power that this energy is. */
  readonly batteryDays: number;
}

/** What one case of a scenario cost. Energies are means over its motes. */
export interface CaseReport {
  readonly swept: Readonly<Record<string, string | number | boolean>>;
  readonly transport: Case["transport"];
  readonly link: Case["link"];
  readonly imageBytes: number;
  /** Those that nobody can do without sending, which is what "per byte" means: all, or what is new where a patch is sent. */
  readonly newBytes: number;
  readonly blockBytes: number;
  readonly profile: string;
  readonly traceHash: string;
  readonly motes: number;
  readonly updated: number;
  readonly outcomes: Readonly<Record<string, number>>;
  readonly energyMj: Readonly<Record<EnergyState | "total", number>>;
  readonly energyPerByteUj: number;
  readonly limitPerByteUj: number;
  /** How many times the physical limit the update costs. */
  readonly energyOverLimit: number;
  readonly timePerByteUs: number;
  readonly limitTimePerByteUs: number;
  readonly completionS: Percentiles;
  readonly energyMjOfMotes: Percentiles;
  /** Energy of the mote that paid most, over that of the median one. */
  readonly hotSpot: number;
  readonly goodputBytesPerS: number;
  /** Image bytes that motes took in, over image size: 1 is no duplicate. */
  readonly imageBytesRatio: number;
  readonly refetchedBlocks: number;
  readonly resumes: number;
  readonly retransmissions: { readonly mac: number; readonly coap: number };
  readonly air: {
    readonly frames: number;
    readonly bytes: number;
    readonly lost: number;
    readonly collisions: number;
    readonly missed: number;
    /** Share of the time in which the channel had a frame of somebody. More than 1 where many send in places far apart. */
    readonly utilisation: number;
    readonly byLayer: Readonly<LayerBytes>;
  };
  readonly batteryDays: Percentiles;
  readonly bounds: Bounds;
  readonly sleepers?: SleepersReport | undefined;
  readonly simSeconds: number;
  readonly wallSeconds: number;
  /** Checks that failed; empty in a sound run. */
  readonly violations: readonly string[];
}

/** What the update cost the motes that poll, beside the limit for pollers. */
export interface SleepersReport {
  readonly motes: number;
  /** Mean of all but sleep, in mJ: it is what the update added. */
  readonly energyMj: number;
  readonly overLimit: number;
}

/** A case with what a drawing needs of it. */
export interface CaseResult {
  readonly report: CaseReport;
  readonly motes: readonly MoteReport[];
  readonly map: CaseMap;
}

export interface CaseMap {
  readonly positions: readonly { readonly x: number; readonly y: number }[];
  readonly roots: readonly number[];
  /** From each node up; -1 for none. */
  readonly parents: readonly number[];
  /** Airtime in s that each node sent. */
  readonly airtimeS: readonly number[];
}
