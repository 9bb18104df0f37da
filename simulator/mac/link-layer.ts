import type { Random } from "../../src/ports/random.ts";
import type { Engine } from "../engine/engine.ts";
import type { EnergyLedger } from "../mote/energy.ts";
import type { Medium, Station } from "../radio/medium.ts";
import { PHY } from "../radio/phy.ts";

/** Unslotted CSMA-CA with acknowledgement (IEEE 802.15.4, macMinBE and so on). */
export interface CsmaParameters {
  readonly minBackoffExponent: number;
  readonly maxBackoffExponent: number;
  readonly maxBackoffs: number;
  readonly maxRetries: number;
  readonly queueFrames: number;
  /** Bytes of link security in each data frame: 0, or 10 for an auxiliary header and a MIC-32. */
  readonly securityBytes: number;
}

export const DEFAULT_CSMA: CsmaParameters = {
  minBackoffExponent: 3,
  maxBackoffExponent: 5,
  maxBackoffs: 4,
  maxRetries: 3,
  queueFrames: 16,
  securityBytes: 0,
};

export const UNIT_BACKOFF_US: number = 20 * PHY.symbolUs;
export const ACK_WAIT_US: number = 54 * PHY.symbolUs;
/** FCF 2, sequence 1, PAN 2, short addresses 2 + 2, FCS 2: a data frame within one PAN. */
export const MAC_OVERHEAD_BYTES = 11;
/** PSDU of a data request with short addresses. */
export const POLL_PSDU_BYTES = 12;
/** Payload that the longest frame carries. */
export const MAC_MAX_PAYLOAD_BYTES: number = PHY.maxPsduBytes - MAC_OVERHEAD_BYTES;
export const NOTHING: Uint8Array = new Uint8Array(0);

export interface MacCounters {
  sent: number;
  retries: number;
  channelFailures: number;
  noAck: number;
  queueDrops: number;
  duplicates: number;
  polls: number;
}

export const newMacCounters = (): MacCounters => ({
  sent: 0,
  retries: 0,
  channelFailures: 0,
  noAck: 0,
  queueDrops: 0,
  duplicates: 0,
  polls: 0,
});

/** How a payload went: whether it was acknowledged, and how often it was on air. */
export type SendDone = (acknowledged: boolean, transmissions: number) => void;

/** What the network layer sees of any MAC. */
export interface LinkLayer extends Station {
  readonly counters: MacCounters;
  onPayload: (from: number, payload: Uint8Array) => void;
  /** Queues a payload for a neighbour, or for all; false when it cannot take it. */
  send(to: number, payload: Uint8Array, done?: SendDone): boolean;
  turnOn(): void;
  /** Turns the radio off; what is queued is dropped. */
  turnOff(): void;
  /** Books what the MAC does all the time and nobody looks at, up to now. */
  settle?(nowUs: number): void;
}

export interface MacParts {
  readonly id: number;
  readonly engine: Engine;
  readonly medium: Medium;
  readonly random: Random;
  readonly parameters: CsmaParameters;
  readonly ledger?: EnergyLedger | undefined;
}
