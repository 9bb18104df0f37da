import { uintBelow } from "../../src/util/random.ts";
import type { EnergyLedger } from "../mote/energy.ts";
import { BROADCAST, type Frame } from "../radio/frame.ts";
import { airtimeUs, PHY } from "../radio/phy.ts";
import { FrameSource } from "./frame-source.ts";
import { ACK_WAIT_US, newMacCounters } from "./link-layer.ts";
import type { LinkLayer, MacCounters, MacParts, SendDone } from "./link-layer.ts";
import { PhaseLock } from "./phase-lock.ts";
import { RegularListening } from "./regular-listening.ts";

/** Low-power listening as in ContikiMAC: how often everybody looks, and how long a look takes (two CCAs and their gap). */
export interface LplParameters {
  readonly intervalUs: number;
  readonly checkUs: number;
  /** Strobes to a neighbour begin shortly before it is known to look (ContikiMAC's phase optimisation). */
  readonly phaseLock: boolean;
}

interface Outgoing {
  readonly frame: Frame;
  readonly done: SendDone | undefined;
  retries: number;
}

/** Between two copies of a strobed frame: the time in which its acknowledgement would begin and end. */
const STROBE_GAP_US = 600;
/**
 * GUARD_TIME of contikimac.c less its six CCAs: so long before a look the first copy goes out; and MAX_PHASE_STROBE_TIME,
 * for which it is repeated then.
 */
const GUARD_US = 12_400;
const PHASE_STROBE_US = 16_667;

/**
 * Everybody sleeps and looks at the channel once an interval. A sender repeats its frame until it is acknowledged or
 * an interval is over; all in range that look meanwhile stay on for a whole copy. With a phase lock it begins shortly before
 * a neighbour looks, once that has acknowledged. Looks that nobody's strobe falls
 * into are no events: they are booked when somebody asks.
 */
export class LplMac implements LinkLayer {
  readonly id: number;
  readonly ledger: EnergyLedger | undefined;
  readonly counters: MacCounters = newMacCounters();
  onPayload: (from: number, payload: Uint8Array) => void = () => {};
  readonly #parts: MacParts;
  readonly #lpl: LplParameters;
  readonly #phaseUs: number;
  readonly #queue: Outgoing[] = [];
  readonly #frames: FrameSource;
  readonly #listening: RegularListening;
  readonly #phases: PhaseLock;
  /** Of the copy that is on air, or was last. */
  #copyUs = 0;
  #transmitting = false;
  #acksDue = 0;
  #strobing = false;
  #lookScheduled = false;
  #resting = false;
  #onUntilUs = 0;

  constructor(parts: MacParts, lpl: LplParameters) {
    this.id = parts.id;
    this.ledger = parts.ledger;
    this.#parts = parts;
    this.#lpl = lpl;
    this.#frames = new FrameSource(parts);
    const looks = (fromUs: number, toUs: number): number => Math.floor((toUs - fromUs) / lpl.intervalUs);
    this.#listening = new RegularListening(parts.ledger, lpl.checkUs, looks);
    this.#phaseUs = uintBelow(parts.random, lpl.intervalUs);
    this.#phases = new PhaseLock(lpl.intervalUs);
    parts.medium.join(this, false);
  }

  turnOn(): void {
    this.#listening.turn(this.#parts.engine.nowUs(), true);
  }

  turnOff(): void {
    this.#listening.turn(this.#parts.engine.nowUs(), false);
    this.#queue.length = 0;
    this.#strobing = false;
    this.#parts.medium.setOn(this.id, false);
  }

  send(to: number, payload: Uint8Array, done?: SendDone): boolean {
    if (!this.#listening.isOn || this.#queue.length >= this.#parts.parameters.queueFrames) {
      this.counters.queueDrops++;
      return false;
    }
    const frame = this.#frames.make("data", to, payload);
    this.#queue.push({ frame, done, retries: 0 });
    if (this.#queue.length === 1) this.#backOff(0);
    return true;
  }

  /** Something came on air here: the next look will find it, if it lasts. */
  onBusy(): void {
    if (this.#lookScheduled || !this.#listening.isOn || this.#parts.medium.isOn(this.id)) return;
    const { engine } = this.#parts;
    const { intervalUs } = this.#lpl;
    this.#lookScheduled = true;
    engine.after(intervalUs - ((engine.nowUs() - this.#phaseUs + intervalUs) % intervalUs), () => this.#look());
  }

  onFrame(frame: Frame): void {
    if (frame.kind === "ack") {
      if (!this.#strobing || frame.sequence !== this.#queue[0]?.frame.sequence) return;
      if (this.#lpl.phaseLock) this.#phases.heard(this.#queue[0].frame.to, this.#copyUs);
      this.#finish(true);
      return;
    }
    const { engine } = this.#parts;
    const { from, sequence } = frame;
    if (frame.to === this.id) {
      this.#acksDue++;
      engine.after(PHY.turnaroundUs, () => this.#acknowledge(from, sequence));
    }
    this.#onUntilUs = engine.nowUs(); // it has what it stayed on for
    engine.after(1_000, () => this.#rest());
    if (this.#frames.isCopy(frame)) this.counters.duplicates++;
    else this.onPayload(from, frame.payload);
  }

  settle(nowUs: number): void {
    this.#listening.settle(nowUs);
  }

  #look(): void {
    this.#lookScheduled = false;
    const { engine, medium } = this.#parts;
    if (!this.#listening.isOn || medium.isOn(this.id)) return;
    this.#listening.used();
    medium.setOn(this.id, true);
    // The second CCA falls behind any gap between two copies.
    let busy = medium.busy(this.id);
    engine.after(this.#lpl.checkUs, () => {
      busy ||= medium.busy(this.id);
      if (busy) this.#stay(2 * (MAX_FRAME_US + STROBE_GAP_US));
      else this.#rest();
    });
  }

  #stay(us: number): void {
    this.#onUntilUs = this.#parts.engine.nowUs() + us;
    this.#parts.engine.after(us, () => this.#rest());
  }

  /** Off, unless there is something to do; then this is looked at again soon. */
  #rest(): void {
    const { engine, medium } = this.#parts;
    if (!this.#listening.isOn || !medium.isOn(this.id) || this.#resting) return;
    const busy = this.#queue.length > 0 || this.#transmitting || this.#acksDue > 0 || medium.isReceiving(this.id);
    if (!busy && engine.nowUs() >= this.#onUntilUs) medium.setOn(this.id, false);
    else {
      this.#resting = true;
      engine.after(1_000, () => {
        this.#resting = false;
        this.#rest();
      });
    }
  }

  #acknowledge(to: number, sequence: number): void {
    this.#acksDue--;
    const { medium } = this.#parts;
    if (this.#transmitting || !medium.isOn(this.id)) return;
    this.#transmitting = true;
    medium.transmit(this.#frames.acknowledgement(to, sequence), () => {
      this.#transmitting = false;
      this.#rest();
    });
  }

  /** Listens for a while before it strobes: another's strobe has gaps that one CCA could fall into. */
  #backOff(attempt: number): void {
    const head = this.#queue[0];
    if (head === undefined) return;
    const { engine, medium, random, parameters } = this.#parts;
    const spread = 2 ** Math.min(parameters.minBackoffExponent + attempt, parameters.maxBackoffExponent + 3);
    const beginUs = engine.nowUs() + uintBelow(random, spread) * 1_000;
    const { to } = head.frame;
    const lookUs = this.#phases.nextUs(to, beginUs, GUARD_US + LISTEN_FIRST_US);
    const strobeUs = lookUs === undefined ? this.#lpl.intervalUs + MAX_FRAME_US : PHASE_STROBE_US;
    engine.at(lookUs === undefined ? beginUs : lookUs - GUARD_US - LISTEN_FIRST_US, () => {
      if (this.#queue[0] !== head || !this.#listening.isOn) return;
      medium.setOn(this.id, true);
      const before = medium.busy(this.id) || this.#transmitting;
      engine.after(LISTEN_FIRST_US, () => {
        if (this.#queue[0] !== head || !this.#listening.isOn) return;
        if (before || this.#transmitting || medium.busy(this.id) || medium.isReceiving(this.id)) {
          if (attempt < 12) this.#backOff(attempt + 1);
          else {
            this.counters.channelFailures++;
            this.#next(false);
          }
          return;
        }
        this.#strobing = true;
        this.#strobe(head, engine.nowUs() + strobeUs);
      });
    });
  }

  #strobe(head: Outgoing, untilUs: number): void {
    const { engine, medium } = this.#parts;
    if (this.#queue[0] !== head || !this.#strobing) return;
    if (engine.nowUs() >= untilUs) {
      this.#finish(head.frame.to === BROADCAST);
      return;
    }
    this.#transmitting = true;
    this.#copyUs = engine.nowUs();
    this.counters.sent++;
    medium.transmit(head.frame, () => {
      this.#transmitting = false;
      engine.after(head.frame.to === BROADCAST ? STROBE_GAP_US : ACK_WAIT_US, () => this.#strobe(head, untilUs));
    });
  }

  #finish(acknowledged: boolean): void {
    this.#strobing = false;
    const head = this.#queue[0]!;
    if (!acknowledged) this.#phases.missed(head.frame.to, this.#parts.engine.nowUs());
    if (acknowledged || head.retries >= this.#parts.parameters.maxRetries) {
      if (!acknowledged) this.counters.noAck++;
      this.#next(acknowledged);
    } else {
      head.retries++;
      this.counters.retries++;
      this.#backOff(1);
    }
  }

  #next(acknowledged: boolean): void {
    const { done, retries } = this.#queue.shift()!;
    if (this.#queue.length > 0) this.#backOff(0);
    else this.#rest();
    done?.(acknowledged, retries + 1);
  }
}

const MAX_FRAME_US = airtimeUs(PHY.maxPsduBytes);
const LISTEN_FIRST_US = STROBE_GAP_US + PHY.ccaUs;
