import type { Random } from "../../src/ports/random.ts";
import { uintBelow } from "../../src/util/random.ts";
import type { Timer } from "../../src/util/timer-queue.ts";
import type { Engine } from "../engine/engine.ts";
import { Trace } from "../engine/trace-hash.ts";
import type { EnergyLedger } from "../mote/energy.ts";
import type { Frame, Medium, Station } from "../radio/medium.ts";
import { PHY } from "../radio/phy.ts";

/** Unslotted CSMA-CA with acknowledgement (IEEE 802.15.4, macMinBE and so on). */
export interface CsmaParameters {
  readonly minBackoffExponent: number;
  readonly maxBackoffExponent: number;
  readonly maxBackoffs: number;
  readonly maxRetries: number;
  readonly queueFrames: number;
}

export const DEFAULT_CSMA: CsmaParameters = {
  minBackoffExponent: 3,
  maxBackoffExponent: 5,
  maxBackoffs: 4,
  maxRetries: 3,
  queueFrames: 16,
};

const UNIT_BACKOFF_US = 20 * PHY.symbolUs;
const ACK_WAIT_US = 54 * PHY.symbolUs;
/** FCF 2, sequence 1, PAN 2, short addresses 2 + 2, FCS 2: a data frame within one PAN. */
export const MAC_OVERHEAD_BYTES = 11;
/** Payload that the longest frame carries. */
export const MAC_MAX_PAYLOAD_BYTES: number = PHY.maxPsduBytes - MAC_OVERHEAD_BYTES;

interface Outgoing {
  readonly frame: Frame;
  retries: number;
  backoffs: number;
  exponent: number;
}

export interface MacCounters {
  sent: number;
  retries: number;
  channelFailures: number;
  noAck: number;
  queueDrops: number;
  duplicates: number;
}

/** The MAC of one node: one frame at a time from a bounded queue. */
export class CsmaMac implements Station {
  readonly id: number;
  readonly ledger: EnergyLedger | undefined;
  readonly counters: MacCounters = { sent: 0, retries: 0, channelFailures: 0, noAck: 0, queueDrops: 0, duplicates: 0 };
  onPayload: (from: number, payload: Uint8Array) => void = () => {};
  readonly #engine: Engine;
  readonly #medium: Medium;
  readonly #random: Random;
  readonly #parameters: CsmaParameters;
  readonly #queue: Outgoing[] = [];
  readonly #lastSequence = new Map<number, number>();
  #sequence: number;
  #ackTimer: Timer | undefined;
  #transmitting = false;
  #on = true;

  constructor(parts: {
    id: number;
    engine: Engine;
    medium: Medium;
    random: Random;
    parameters: CsmaParameters;
    ledger?: EnergyLedger;
  }) {
    this.id = parts.id;
    this.#engine = parts.engine;
    this.#medium = parts.medium;
    this.#random = parts.random;
    this.#parameters = parts.parameters;
    this.ledger = parts.ledger;
    this.#sequence = uintBelow(parts.random, 256);
    parts.medium.join(this);
  }

  isListening(): boolean {
    return this.#on && !this.#transmitting;
  }

  /** Turns the radio on again. */
  turnOn(): void {
    this.#on = true;
    this.ledger?.setRadio(this.#engine.nowUs(), "listen");
  }

  /** Turns the radio off; what is queued is dropped. */
  turnOff(): void {
    this.#on = false;
    this.#queue.length = 0;
    this.#ackTimer?.cancel();
    this.ledger?.setRadio(this.#engine.nowUs(), "sleep");
  }

  /** Queues a payload for a neighbour; false when the queue is full. */
  send(to: number, payload: Uint8Array): boolean {
    if (!this.#on) return false;
    if (this.#queue.length >= this.#parameters.queueFrames) {
      this.counters.queueDrops++;
      this.#engine.trace.note(Trace.DROP, this.#engine.nowUs(), this.id, to);
      return false;
    }
    this.#sequence = (this.#sequence + 1) & 0xff;
    const psduBytes = payload.length + MAC_OVERHEAD_BYTES;
    if (psduBytes > PHY.maxPsduBytes) throw new RangeError(`a frame of ${psduBytes} bytes does not exist`);
    const frame: Frame = { kind: "data", from: this.id, to, sequence: this.#sequence, psduBytes, payload };
    this.#queue.push({ frame, retries: 0, backoffs: 0, exponent: this.#parameters.minBackoffExponent });
    if (this.#queue.length === 1) this.#backOff();
    return true;
  }

  onFrame(frame: Frame): void {
    if (frame.kind === "ack") {
      if (this.#ackTimer !== undefined && frame.sequence === this.#queue[0]?.frame.sequence) this.#settle(true);
      return;
    }
    this.#engine.after(PHY.turnaroundUs, () => this.#acknowledge(frame));
    if (this.#lastSequence.get(frame.from) === frame.sequence) this.counters.duplicates++;
    else {
      this.#lastSequence.set(frame.from, frame.sequence);
      this.onPayload(frame.from, frame.payload);
    }
  }

  #acknowledge({ from, sequence }: Frame): void {
    if (!this.isListening()) return;
    this.#transmitting = true;
    const ack: Frame = {
      kind: "ack",
      from: this.id,
      to: from,
      sequence,
      psduBytes: PHY.ackPsduBytes,
      payload: NOTHING,
    };
    this.#medium.transmit(ack, () => {
      this.#transmitting = false;
    });
  }

  #backOff(): void {
    const head = this.#queue[0]!;
    const units = uintBelow(this.#random, 2 ** head.exponent);
    this.#engine.after(units * UNIT_BACKOFF_US + PHY.ccaUs, () => this.#onCca(head));
  }

  #onCca(head: Outgoing): void {
    if (this.#queue[0] !== head) return; // turned off meanwhile
    if (!this.#medium.busy && !this.#transmitting) {
      this.#engine.after(PHY.turnaroundUs, () => this.#transmit(head));
      return;
    }
    head.backoffs++;
    head.exponent = Math.min(head.exponent + 1, this.#parameters.maxBackoffExponent);
    if (head.backoffs <= this.#parameters.maxBackoffs) this.#backOff();
    else {
      this.counters.channelFailures++;
      this.#next();
    }
  }

  #transmit(head: Outgoing): void {
    if (this.#queue[0] !== head) return;
    if (this.#transmitting) {
      this.#backOff(); // an acknowledgement of ours went first
      return;
    }
    this.#transmitting = true;
    this.counters.sent++;
    this.#medium.transmit(head.frame, () => {
      this.#transmitting = false;
      if (this.#queue[0] === head) this.#ackTimer = this.#engine.after(ACK_WAIT_US, () => this.#settle(false));
    });
  }

  #settle(acknowledged: boolean): void {
    this.#ackTimer?.cancel();
    this.#ackTimer = undefined;
    const head = this.#queue[0];
    if (head === undefined) return;
    if (acknowledged) this.#next();
    else if (head.retries === this.#parameters.maxRetries) {
      this.counters.noAck++;
      this.#next();
    } else {
      head.retries++;
      this.counters.retries++;
      head.backoffs = 0;
      head.exponent = this.#parameters.minBackoffExponent;
      this.#backOff();
    }
  }

  #next(): void {
    this.#queue.shift();
    if (this.#queue.length > 0) this.#backOff();
  }
}

const NOTHING = new Uint8Array(0);
