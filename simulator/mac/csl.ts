import { uintBelow } from "../../src/util/random.ts";
import type { EnergyLedger } from "../mote/energy.ts";
import type { Frame } from "../radio/frame.ts";
import type { CsmaMac } from "./csma.ts";
import type { LinkLayer, MacCounters, MacParts, SendDone } from "./link-layer.ts";
import { RegularListening } from "./regular-listening.ts";

/**
 * Coordinated sampled listening (IEEE 802.15.4-2015, 6.12.2): the child looks at the channel once a period, and its
 * parent, which knows when, sends then. That they stay synchronised is taken for granted; the window has the guard
 * times in it. Samples that nobody uses are no events: they are booked when somebody asks.
 */
export class CslChild implements LinkLayer {
  readonly id: number;
  readonly ledger: EnergyLedger | undefined;
  onPayload: (from: number, payload: Uint8Array) => void = () => {};
  readonly #mac: CsmaMac;
  readonly #parts: MacParts;
  readonly #periodUs: number;
  readonly #windowUs: number;
  readonly #phaseUs: number;
  readonly #listening: RegularListening;

  constructor(mac: CsmaMac, parts: MacParts, periodUs: number, windowUs: number) {
    this.id = mac.id;
    this.ledger = parts.ledger;
    this.#mac = mac;
    this.#parts = parts;
    this.#periodUs = periodUs;
    this.#windowUs = windowUs;
    const samples = (fromUs: number, toUs: number): number => Math.floor((toUs - fromUs) / periodUs);
    this.#listening = new RegularListening(parts.ledger, windowUs, samples);
    this.#phaseUs = uintBelow(parts.random, periodUs);
    mac.onPayload = (from, payload) => this.onPayload(from, payload);
  }

  get counters(): MacCounters {
    return this.#mac.counters;
  }

  onFrame(frame: Frame): void {
    this.#mac.onFrame(frame);
  }

  /** Time to the next sample that a parent can still use; the child will be listening. */
  nextSampleUs(): number {
    const { engine } = this.#parts;
    const inUs = this.#periodUs - ((engine.nowUs() - this.#phaseUs + this.#periodUs) % this.#periodUs);
    engine.after(inUs - this.#windowUs / 4, () => this.#sample());
    return inUs;
  }

  turnOn(): void {
    this.#listening.turn(this.#parts.engine.nowUs(), true);
  }

  turnOff(): void {
    this.#listening.turn(this.#parts.engine.nowUs(), false);
    this.#mac.turnOff();
  }

  send(to: number, payload: Uint8Array, done?: SendDone): boolean {
    if (!this.#listening.isOn) return false;
    this.#mac.turnOn();
    return this.#mac.send(to, payload, (acknowledged, transmissions) => {
      done?.(acknowledged, transmissions);
      this.#rest();
    });
  }

  settle(nowUs: number): void {
    this.#listening.settle(nowUs);
  }

  #sample(): void {
    if (!this.#listening.isOn) return;
    this.#listening.used();
    this.#mac.turnOn();
    this.#parts.engine.after(this.#windowUs, () => this.#rest());
  }

  #rest(): void {
    const { medium, engine } = this.#parts;
    if (!this.#listening.isOn || !medium.isOn(this.id)) return;
    // On until the frame under way is in and acknowledged.
    if (medium.isReceiving(this.id) || !this.#mac.isIdle) engine.after(500, () => this.#rest());
    else medium.setOn(this.id, false);
  }
}
