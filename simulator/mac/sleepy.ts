import type { Timer } from "../../src/util/timer-queue.ts";
import type { Frame } from "../radio/frame.ts";
import type { EnergyLedger } from "../mote/energy.ts";
import { airtimeUs, PHY } from "../radio/phy.ts";
import type { CsmaMac } from "./csma.ts";
import type { LinkLayer, MacCounters, MacParts, SendDone } from "./link-layer.ts";

/** How a sleepy end device asks its parent for frames. */
export interface PollPeriods {
  readonly idleUs: number;
  /**
   * While something is expected: for `fastForUs` after the last frame either way. Doubled for each poll that brought
   * nothing: what did not come soon was lost, or its sender takes its time.
   */
  readonly fastUs: number;
  readonly fastForUs: number;
  /** For a frame that the parent said it holds; the parent sends it once, as soon as the channel is free. */
  readonly frameWaitUs: number;
}

/**
 * A sleepy end device: its radio is on only to send, to poll, and for the frame that a poll promised. The parent's
 * MAC has adopted it.
 */
export class SleepyChild implements LinkLayer {
  readonly id: number;
  readonly ledger: EnergyLedger | undefined;
  onPayload: (from: number, payload: Uint8Array) => void = () => {};
  readonly #mac: CsmaMac;
  readonly #parts: MacParts;
  readonly #periods: PollPeriods;
  readonly #parent: () => number | undefined;
  #pollTimer: Timer | undefined;
  #dataTimer: Timer | undefined;
  #awaitsData = false;
  #fastUntilUs = 0;
  /** Polls in a row that brought nothing. */
  #empty = 0;
  #alive = false;

  constructor(mac: CsmaMac, parts: MacParts, periods: PollPeriods, parent: () => number | undefined) {
    this.id = mac.id;
    this.ledger = parts.ledger;
    this.#mac = mac;
    this.#parts = parts;
    this.#periods = periods;
    this.#parent = parent;
    mac.onPayload = (from, payload) => this.#onPayload(from, payload);
    mac.mayRest = () => !this.#awaitsData;
    mac.onPending = (pending) => this.#onPending(pending);
  }

  get counters(): MacCounters {
    return this.#mac.counters;
  }

  onFrame(frame: Frame): void {
    this.#mac.onFrame(frame);
  }

  turnOn(): void {
    this.#alive = true;
    this.#schedulePoll();
  }

  turnOff(): void {
    this.#alive = false;
    this.#awaitsData = false;
    this.#pollTimer?.cancel();
    this.#dataTimer?.cancel();
    this.#mac.turnOff();
  }

  send(to: number, payload: Uint8Array, done?: SendDone): boolean {
    if (!this.#alive) return false;
    this.#mac.turnOn();
    this.#expect();
    return this.#mac.send(to, payload, (acknowledged, transmissions) => {
      done?.(acknowledged, transmissions);
      this.#rest();
    });
  }

  #expect(): void {
    this.#empty = 0;
    this.#fastUntilUs = this.#parts.engine.nowUs() + this.#periods.fastForUs;
    this.#schedulePoll();
  }

  #schedulePoll(): void {
    const { idleUs, fastUs } = this.#periods;
    this.#pollTimer?.cancel();
    const { engine } = this.#parts;
    const slower = Math.min(fastUs * 2 ** this.#empty, idleUs);
    this.#pollTimer = engine.after(engine.nowUs() < this.#fastUntilUs ? slower : idleUs, () => this.#poll());
  }

  #poll(): void {
    const parent = this.#parent();
    this.#empty++;
    this.#schedulePoll();
    if (!this.#alive || parent === undefined || this.#awaitsData) return;
    this.#mac.turnOn();
    this.#mac.poll(parent, () => this.#rest());
  }

  /** The parent's acknowledgement of a poll, or a frame of it, says whether it holds more. */
  #onPending(pending: boolean): void {
    this.#awaitsData = false;
    this.#dataTimer?.cancel();
    if (!pending) return;
    this.#awaitsData = true;
    this.#dataTimer = this.#parts.engine.after(this.#periods.frameWaitUs, () => {
      this.#awaitsData = false;
      // It was lost, and the parent still has it.
      this.#empty = 0;
      this.#schedulePoll();
      this.#rest();
    });
  }

  #onPayload(from: number, payload: Uint8Array): void {
    this.#expect();
    this.onPayload(from, payload);
    // A frame is given for each poll: with more to come the next poll follows at once, when this one is acknowledged.
    this.#parts.engine.after(ACKNOWLEDGED_US, () => {
      if (!this.#awaitsData) this.#rest();
      else {
        this.#awaitsData = false;
        this.#poll();
      }
    });
  }

  #rest(): void {
    if (this.#mac.isIdle && !this.#awaitsData) this.#parts.medium.setOn(this.id, false);
  }
}

/** Turnaround and acknowledgement, behind the last symbol of a frame. */
const ACKNOWLEDGED_US = PHY.turnaroundUs + airtimeUs(PHY.ackPsduBytes) + 1;
