import { uintBelow } from "../../src/util/random.ts";
import type { Timer } from "../../src/util/timer-queue.ts";
import { Trace } from "../engine/trace-hash.ts";
import type { EnergyLedger } from "../mote/energy.ts";
import { BROADCAST, type Frame } from "../radio/frame.ts";
import { PHY } from "../radio/phy.ts";
import { FrameSource } from "./frame-source.ts";
import { IndirectQueue } from "./indirect.ts";
import {
  ACK_WAIT_US,
  newMacCounters,
  NOTHING,
  UNIT_BACKOFF_US,
  type LinkLayer,
  type MacCounters,
  type MacParts,
  type SendDone,
} from "./link-layer.ts";

interface Outgoing {
  readonly frame: Frame;
  readonly done: SendDone | undefined;
  readonly maxRetries: number;
  /** Sent without back-off, since its receiver is only awake now. */
  readonly atOnce: boolean;
  retries: number;
  backoffs: number;
  exponent: number;
}

/** The MAC of one node: one frame at a time from a bounded queue, and one queue for each child that sleeps. */
export class CsmaMac implements LinkLayer {
  readonly id: number;
  readonly ledger: EnergyLedger | undefined;
  readonly counters: MacCounters = newMacCounters();
  readonly indirect: IndirectQueue;
  onPayload: (from: number, payload: Uint8Array) => void = () => {};
  /** Told when a frame for this node says whether more waits at its sender. */
  onPending: (pending: boolean) => void = () => {};
  /** For a node whose receiver is off when it is idle: whether it may be off during a back-off. */
  mayRest: (() => boolean) | undefined;
  readonly #parts: MacParts;
  readonly #queue: Outgoing[] = [];
  readonly #frames: FrameSource;
  #ackTimer: Timer | undefined;
  #transmitting = false;
  #acksDue = 0;

  constructor(parts: MacParts) {
    this.id = parts.id;
    this.#parts = parts;
    this.ledger = parts.ledger;
    this.#frames = new FrameSource(parts);
    this.indirect = new IndirectQueue(parts.engine, (to, payload, more, done) =>
      this.#enqueue({ kind: "data", to, payload, pending: more }, done, { maxRetries: 0, atOnce: true, first: true }),
    );
    parts.medium.join(this);
  }

  /** Nothing is queued, on air or waits for its acknowledgement. */
  get isIdle(): boolean {
    return this.#queue.length === 0 && !this.#transmitting && this.#acksDue === 0;
  }

  turnOn(): void {
    this.#parts.medium.setOn(this.id, true);
  }

  turnOff(): void {
    this.#queue.length = 0;
    this.#ackTimer?.cancel();
    this.#ackTimer = undefined;
    this.#parts.medium.setOn(this.id, false);
  }

  send(to: number, payload: Uint8Array, done?: SendDone): boolean {
    if (!this.#parts.medium.isOn(this.id)) return false;
    const { queueFrames, maxRetries } = this.#parts.parameters;
    if (this.indirect.has(to)) return this.indirect.push(to, payload, done) || this.#drop(to);
    if (this.#queue.length >= queueFrames) return this.#drop(to);
    this.#enqueue({ kind: "data", to, payload, pending: false }, done, { maxRetries, atOnce: false, first: false });
    return true;
  }

  /** Asks the parent for what it holds. `done` says whether it answered; `onPending` whether it holds anything. */
  poll(parent: number, done: SendDone): void {
    this.counters.polls++;
    const { maxRetries } = this.#parts.parameters;
    const frame = { kind: "poll", to: parent, payload: NOTHING, pending: false } as const;
    this.#enqueue(frame, done, { maxRetries, atOnce: false, first: false });
  }

  onFrame(frame: Frame): void {
    if (frame.kind === "ack") {
      if (this.#ackTimer === undefined || frame.sequence !== this.#queue[0]?.frame.sequence) return;
      if (this.#queue[0].frame.kind === "poll") this.onPending(frame.pending);
      this.#settle(true);
      return;
    }
    const { from } = frame;
    if (frame.to === this.id) {
      this.#acksDue++;
      this.#parts.engine.after(PHY.turnaroundUs, () => this.#acknowledge(frame));
    }
    if (this.#frames.isCopy(frame)) {
      this.counters.duplicates++;
      return;
    }
    if (frame.kind === "poll") return;
    this.onPayload(from, frame.payload);
    this.onPending(frame.pending);
  }

  #drop(to: number): false {
    this.counters.queueDrops++;
    this.#parts.engine.trace.note(Trace.DROP, this.#parts.engine.nowUs(), this.id, to);
    return false;
  }

  #enqueue(
    { kind, to, payload, pending }: Pick<Frame, "to" | "payload" | "pending"> & { readonly kind: "data" | "poll" },
    done: SendDone | undefined,
    { maxRetries, atOnce, first }: { maxRetries: number; atOnce: boolean; first: boolean },
  ): void {
    const frame = this.#frames.make(kind, to, payload, pending);
    const { minBackoffExponent } = this.#parts.parameters;
    const exponent = minBackoffExponent;
    const outgoing: Outgoing = { frame, done, maxRetries, atOnce, retries: 0, backoffs: 0, exponent };
    // What a child that just polled is given goes before all but the frame that is under way.
    if (first && this.#queue.length > 1) this.#queue.splice(1, 0, outgoing);
    else this.#queue.push(outgoing);
    if (this.#queue.length === 1) this.#backOff();
  }

  #acknowledge({ kind, from, sequence }: Frame): void {
    const { medium, engine } = this.#parts;
    this.#acksDue--;
    if (this.#transmitting || !medium.isOn(this.id)) return;
    this.#transmitting = true;
    const pending = kind === "poll" && this.indirect.holds(from);
    medium.transmit(this.#frames.acknowledgement(from, sequence, pending), () => {
      this.#transmitting = false;
      if (pending) engine.after(PHY.turnaroundUs, () => this.indirect.release(from));
    });
  }

  #backOff(): void {
    const head = this.#queue[0]!;
    const units = head.atOnce && head.backoffs === 0 ? 0 : uintBelow(this.#parts.random, 2 ** head.exponent);
    const { engine, medium } = this.#parts;
    if (
      this.mayRest?.() !== true ||
      (head.frame.kind === "poll" && head.retries > 0) ||
      this.#transmitting ||
      this.#acksDue > 0 ||
      units === 0
    ) {
      engine.after(units * UNIT_BACKOFF_US + PHY.ccaUs, () => this.#onCca(head));
      return;
    }
    medium.setOn(this.id, false);
    engine.after(units * UNIT_BACKOFF_US, () => {
      if (this.#queue[0] !== head) return;
      medium.setOn(this.id, true);
      engine.after(PHY.ccaUs, () => this.#onCca(head));
    });
  }

  #onCca(head: Outgoing): void {
    if (this.#queue[0] !== head) return; // turned off meanwhile
    const { medium, engine, parameters } = this.#parts;
    if (!this.#transmitting && !medium.busy(this.id)) {
      engine.after(PHY.turnaroundUs, () => this.#transmit(head));
      return;
    }
    head.backoffs++;
    head.exponent = Math.min(head.exponent + 1, parameters.maxBackoffExponent);
    if (head.backoffs <= parameters.maxBackoffs) this.#backOff();
    else {
      this.counters.channelFailures++;
      this.#next(false);
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
    this.#parts.medium.transmit(head.frame, () => {
      this.#transmitting = false;
      if (this.#queue[0] !== head) return;
      if (head.frame.to === BROADCAST) this.#next(true);
      else this.#ackTimer = this.#parts.engine.after(ACK_WAIT_US, () => this.#settle(false));
    });
  }

  #settle(acknowledged: boolean): void {
    this.#ackTimer?.cancel();
    this.#ackTimer = undefined;
    const head = this.#queue[0];
    if (head === undefined) return;
    if (acknowledged) this.#next(true);
    else if (head.retries === head.maxRetries) {
      this.counters.noAck++;
      this.#next(false);
    } else {
      head.retries++;
      this.counters.retries++;
      head.backoffs = 0;
      head.exponent = this.#parts.parameters.minBackoffExponent;
      this.#backOff();
    }
  }

  #next(acknowledged: boolean): void {
    const { done, retries } = this.#queue.shift()!;
    if (this.#queue.length > 0) this.#backOff();
    done?.(acknowledged, retries + 1);
  }
}
