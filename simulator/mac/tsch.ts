import { uintBelow } from "../../src/util/random.ts";
import type { Engine } from "../engine/engine.ts";
import type { EnergyLedger } from "../mote/energy.ts";
import { BROADCAST, type Frame } from "../radio/frame.ts";
import type { Medium } from "../radio/medium.ts";
import { airtimeUs, PHY } from "../radio/phy.ts";
import { FrameSource } from "./frame-source.ts";
import { newMacCounters } from "./link-layer.ts";
import type { LinkLayer, MacCounters, MacParts, SendDone } from "./link-layer.ts";
import { RegularListening } from "./regular-listening.ts";

/** The minimal schedule of RFC 8180: slots of 10 ms, of which `sharedSlots` in a slotframe are everybody's. */
export interface TschParameters {
  readonly slotUs: number;
  readonly slotframe: number;
  readonly sharedSlots: number;
}

/** The default timeslot of IEEE 802.15.4-2015 (unverified): transmission begins here, a receiver listens this long around it. */
const TX_OFFSET_US = 2_120;
const RX_GUARD_US = 1_100;
const TX_ACK_DELAY_US = 1_000;
const MIN_BE = 1;
const MAX_BE = 7;

/** One schedule for all: an event only for shared slots in which somebody has something to send. */
export class TschSchedule {
  readonly #engine: Engine;
  readonly parameters: TschParameters;
  readonly #nodes: TschMac[] = [];
  #slotScheduled = false;

  constructor(engine: Engine, parameters: TschParameters) {
    this.#engine = engine;
    this.parameters = parameters;
  }

  join(node: TschMac): void {
    this.#nodes.push(node);
  }

  /** Somebody has a frame: the next shared slot takes place. */
  wake(): void {
    if (this.#slotScheduled) return;
    this.#slotScheduled = true;
    this.#engine.at(this.#nextSlotUs(), () => this.#slot());
  }

  /** Shared slots that begin in [fromUs, toUs). */
  slotsBetween(fromUs: number, toUs: number): number {
    return this.#slotsBefore(toUs) - this.#slotsBefore(fromUs);
  }

  #slotsBefore(us: number): number {
    const { slotUs, slotframe, sharedSlots } = this.parameters;
    const slot = Math.ceil(us / slotUs);
    return Math.floor(slot / slotframe) * sharedSlots + Math.min(slot % slotframe, sharedSlots);
  }

  #nextSlotUs(): number {
    const { slotUs, slotframe, sharedSlots } = this.parameters;
    const slot = Math.floor(this.#engine.nowUs() / slotUs) + 1;
    const at = slot % slotframe;
    return (at < sharedSlots ? slot : slot - at + slotframe) * slotUs;
  }

  #slot(): void {
    this.#slotScheduled = false;
    let waiting = false;
    for (const node of this.#nodes) waiting = node.onSlot() || waiting;
    if (waiting) this.wake();
  }
}

interface Outgoing {
  readonly frame: Frame;
  readonly done: SendDone | undefined;
  retries: number;
}

/** A node of a TSCH network that has only the minimal schedule's shared slots. */
export class TschMac implements LinkLayer {
  readonly id: number;
  readonly ledger: EnergyLedger | undefined;
  readonly counters: MacCounters = newMacCounters();
  onPayload: (from: number, payload: Uint8Array) => void = () => {};
  readonly #parts: MacParts;
  readonly #schedule: TschSchedule;
  readonly #queue: Outgoing[] = [];
  readonly #frames: FrameSource;
  readonly #listening: RegularListening;
  #exponent = MIN_BE;
  /** Shared slots to let pass before the next attempt. */
  #waitSlots = 0;
  #acknowledged = false;

  constructor(parts: MacParts, schedule: TschSchedule) {
    this.id = parts.id;
    this.ledger = parts.ledger;
    this.#parts = parts;
    this.#schedule = schedule;
    this.#frames = new FrameSource(parts);
    const slots = schedule.slotsBetween.bind(schedule);
    this.#listening = new RegularListening(parts.ledger, 2 * RX_GUARD_US, slots);
    parts.medium.join(this, false);
    schedule.join(this);
  }

  turnOn(): void {
    this.#listening.turn(this.#parts.engine.nowUs(), true);
  }

  turnOff(): void {
    this.#listening.turn(this.#parts.engine.nowUs(), false);
    this.#queue.length = 0;
    this.#medium.setOn(this.id, false);
  }

  send(to: number, payload: Uint8Array, done?: SendDone): boolean {
    if (!this.#listening.isOn || this.#queue.length >= this.#parts.parameters.queueFrames) {
      this.counters.queueDrops++;
      return false;
    }
    const frame = this.#frames.make("data", to, payload);
    this.#queue.push({ frame, done, retries: 0 });
    this.#schedule.wake();
    return true;
  }

  /** A shared slot begins. True when something waits for a later one. */
  onSlot(): boolean {
    if (!this.#listening.isOn) return false;
    this.#listening.used();
    const head = this.#queue[0];
    if (head !== undefined && this.#waitSlots === 0) this.#transmit(head);
    else {
      if (head !== undefined) this.#waitSlots--;
      this.#listen();
    }
    return this.#queue.length > 0;
  }

  onFrame(frame: Frame): void {
    const { from, sequence, to, kind } = frame;
    if (kind === "ack") {
      this.#acknowledged = sequence === this.#queue[0]?.frame.sequence;
      return;
    }
    if (to === this.id) this.#parts.engine.after(TX_ACK_DELAY_US, () => this.#acknowledge(from, sequence));
    if (this.#frames.isCopy(frame)) this.counters.duplicates++;
    else this.onPayload(from, frame.payload);
  }

  settle(nowUs: number): void {
    this.#listening.settle(nowUs);
  }

  get #medium(): Medium {
    return this.#parts.medium;
  }

  #transmit(head: Outgoing): void {
    const { engine } = this.#parts;
    engine.after(TX_OFFSET_US, () => {
      if (this.#queue[0] !== head) return;
      this.counters.sent++;
      this.#acknowledged = false;
      this.#medium.transmit(head.frame, () => {
        if (head.frame.to === BROADCAST) this.#next(true);
        else this.#awaitAck(head);
      });
    });
  }

  #awaitAck(head: Outgoing): void {
    const { engine } = this.#parts;
    this.#medium.setOn(this.id, true);
    engine.after(TX_ACK_DELAY_US + airtimeUs(PHY.ackPsduBytes) + 200, () => {
      this.#medium.setOn(this.id, false);
      if (this.#queue[0] === head) this.#settleHead(head);
    });
  }

  /** Back-off in shared slots: the window doubles with each failure. */
  #settleHead(head: Outgoing): void {
    if (this.#acknowledged) {
      this.#exponent = MIN_BE;
      this.#next(true);
      return;
    }
    if (head.retries >= this.#parts.parameters.maxRetries) {
      this.counters.noAck++;
      this.#next(false);
      return;
    }
    head.retries++;
    this.counters.retries++;
    this.#exponent = Math.min(MAX_BE, this.#exponent + 1);
    this.#waitSlots = uintBelow(this.#parts.random, 2 ** this.#exponent);
  }

  #next(acknowledged: boolean): void {
    const { done, retries } = this.#queue.shift()!;
    // Others wait for the same slot: all spread over the next ones.
    this.#waitSlots = uintBelow(this.#parts.random, 2 ** this.#exponent);
    done?.(acknowledged, retries + 1);
    if (this.#queue.length > 0) this.#schedule.wake();
  }

  #listen(): void {
    const { engine } = this.#parts;
    engine.after(TX_OFFSET_US - RX_GUARD_US, () => {
      if (!this.#listening.isOn) return;
      this.#medium.setOn(this.id, true);
      engine.after(2 * RX_GUARD_US, () => this.#rest());
    });
  }

  #rest(): void {
    if (!this.#medium.isOn(this.id)) return;
    if (this.#medium.isReceiving(this.id)) this.#parts.engine.after(500, () => this.#rest());
    else this.#medium.setOn(this.id, false);
  }

  #acknowledge(to: number, sequence: number): void {
    if (!this.#listening.isOn) return;
    this.#medium.transmit(this.#frames.acknowledgement(to, sequence), () => {});
  }
}
