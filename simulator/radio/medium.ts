import type { EnergyLedger } from "../mote/energy.ts";
import type { Engine } from "../engine/engine.ts";
import { Trace } from "../engine/trace-hash.ts";
import { receptionRatio, toMilliwatts } from "./ber.ts";
import { DEFAULT_RECEIVER, type Channel, type ReceiverModel } from "./channel.ts";
import { BROADCAST, type Frame } from "./frame.ts";
import { airtimeUs, PHY } from "./phy.ts";
import { powerAt, reachOf, type Reach } from "./reach.ts";

const ON = 1;
const SENDING = 2;

/** What the medium needs of a node. */
export interface Station {
  readonly id: number;
  onFrame(frame: Frame): void;
  readonly ledger: EnergyLedger | undefined;
}

interface Transmission {
  readonly frame: Frame;
  readonly reach: Reach;
}

export interface AirCounters {
  frames: number;
  acks: number;
  bytes: number;
  /** Not received by whom it was for: link and noise; others on air; receiver off, sending or taken by another frame. */
  lost: number;
  collisions: number;
  missed: number;
  airtimeUs: number;
}

/**
 * One channel. A receiver locks on the first preamble that it can hear while it listens, or on one that is louder
 * than what it has by the capture ratio; what arrives is decided by the worst SINR of the frame's whole length.
 * Another frame spoils more than as much noise: it counts as louder by the capture ratio, so that of two that are
 * equally loud none arrives (co-channel rejection; without it the formula for noise would let most of them through).
 */
export class Medium {
  readonly #engine: Engine;
  readonly #channel: Channel;
  readonly #noiseMw: number;
  readonly #sensitivityMw: number;
  readonly #ccaMw: number;
  readonly #capture: number;
  readonly #stations: (Station | undefined)[] = [];
  /** Whether its receiver is on, and whether it sends: only one that is `ON` and nothing else can be locked. */
  #flags = new Uint8Array(0);
  /** What is on air, in the order in which it began. How loud all of it is at a node is added up when somebody asks. */
  readonly #onAir: Transmission[] = [];
  /** By sender, for the powers that it has had last. */
  readonly #reaches: (Reach | undefined)[] = [];
  /** What a node is locked on, its power there, and the worst SINR so far. */
  readonly #locked: (Transmission | undefined)[] = [];
  #lockedMw = new Float64Array(0);
  #worst = new Float64Array(0);
  readonly counters: AirCounters = { frames: 0, acks: 0, bytes: 0, lost: 0, collisions: 0, missed: 0, airtimeUs: 0 };
  /** Airtime by sender, in us: the load of a map. */
  readonly sentUs: number[] = [];
  /** Told of every frame as its first symbol goes out. */
  onSend: ((nowUs: number, frame: Frame) => void) | undefined;
  /** By node, told when something comes on air there that it could receive, or a CCA finds: low-power listening is only looked at then. */
  readonly onBusy: (() => void)[] = [];

  constructor(engine: Engine, channel: Channel, receiver: ReceiverModel = DEFAULT_RECEIVER) {
    this.#engine = engine;
    this.#channel = channel;
    this.#noiseMw = toMilliwatts(receiver.noiseDbm);
    this.#sensitivityMw = toMilliwatts(receiver.sensitivityDbm);
    this.#ccaMw = toMilliwatts(receiver.ccaDbm);
    this.#capture = 10 ** (receiver.captureDb / 10);
  }

  join(station: Station, listening = true): void {
    const { id } = station;
    if (id >= this.#flags.length) this.#grow(2 * id + 1);
    this.#stations[id] = station;
    this.#flags[id] = listening ? ON : 0;
    this.#lockedMw[id] = this.#worst[id] = this.sentUs[id] = 0;
    this.#locked[id] = undefined;
  }

  #grow(length: number): void {
    const grown = <T extends Uint8Array | Float64Array>(to: T, from: T): T => (to.set(from), to);
    this.#flags = grown(new Uint8Array(length), this.#flags);
    this.#lockedMw = grown(new Float64Array(length), this.#lockedMw);
    this.#worst = grown(new Float64Array(length), this.#worst);
  }

  /** A receiver goes on or off; off, it loses what it was receiving. The ledger is told too. */
  setOn(id: number, on: boolean): void {
    if (this.isOn(id) === on) return;
    this.#flags[id]! ^= ON;
    this.#locked[id] = undefined;
    if ((this.#flags[id]! & SENDING) === 0)
      this.#stations[id]!.ledger?.setRadio(this.#engine.nowUs(), on ? "listen" : "sleep");
  }

  isOn(id: number): boolean {
    return (this.#flags[id]! & ON) !== 0;
  }

  /** True while a node is locked on a frame. */
  isReceiving(id: number): boolean {
    return this.#locked[id] !== undefined;
  }

  /** What a CCA of this node finds. */
  busy(id: number): boolean {
    return this.#onAir.length > 0 && this.#totalMw(id) >= this.#ccaMw;
  }

  /** Power of all that is on air at a node. */
  #totalMw(id: number): number {
    let totalMw = 0;
    for (const { reach } of this.#onAir) totalMw += powerAt(reach, id);
    return totalMw;
  }

  /** Puts a frame on air; `sent` is called when its last symbol is out. The sender hears nothing meanwhile. */
  transmit(frame: Frame, sent: () => void): void {
    const nowUs = this.#engine.nowUs();
    const { from, psduBytes } = frame;
    const durationUs = airtimeUs(psduBytes);
    const transmission: Transmission = { frame, reach: this.#reachOf(from, nowUs) };
    this.#count(frame, durationUs);
    this.#locked[from] = undefined;
    this.#flags[from]! |= SENDING;
    this.#stations[from]?.ledger?.setRadio(nowUs, "tx");
    this.#reachAll(transmission, nowUs);
    this.#engine.trace.frame(Trace.SEND, nowUs, from, frame.to, psduBytes, frame.sequence);
    this.onSend?.(nowUs, frame);
    this.#engine.at(nowUs + durationUs, () => {
      this.#flags[from]! &= ~SENDING;
      this.#stations[from]?.ledger?.setRadio(nowUs + durationUs, this.isOn(from) ? "listen" : "sleep");
      this.#end(transmission, sent);
    });
  }

  #reachOf(from: number, nowUs: number): Reach {
    const neighbours = this.#channel.neighbours(from);
    const powersMw =
      this.#channel.steadyPowersMw(from, nowUs) ??
      Float64Array.from(neighbours, (to) => this.#channel.powerMw(from, to, nowUs));
    const known = this.#reaches[from];
    return known?.powersMw === powersMw
      ? known
      : (this.#reaches[from] = reachOf(neighbours, powersMw, this.#sensitivityMw));
  }

  /** The first symbol arrives at all neighbours. */
  #reachAll(transmission: Transmission, nowUs: number): void {
    const { reach } = transmission;
    this.#onAir.push(transmission);
    if (this.onBusy.length > 0) return this.#reachWatched(transmission, nowUs);
    for (const id of reach.audible) if (this.#flags[id] === ON) this.#hear(transmission, id, powerAt(reach, id), nowUs);
    // Where it is too weak to be received, it only spoils what somebody is receiving.
    for (const other of this.#onAir) {
      if (other === transmission) continue;
      for (const id of other.reach.audible) {
        if (this.#locked[id] !== other) continue;
        const powerMw = powerAt(reach, id);
        if (powerMw > 0 && powerMw < this.#sensitivityMw) this.#hear(transmission, id, powerMw, nowUs);
      }
    }
  }

  /** The same where somebody is told of whatever a CCA finds. */
  #reachWatched(transmission: Transmission, nowUs: number): void {
    const { neighbours, powersMw } = transmission.reach;
    for (let i = 0; i < neighbours.length; i++) {
      const powerMw = powersMw[i]!;
      if (powerMw === 0) continue;
      const id = neighbours[i]!;
      const isAudible = powerMw >= this.#sensitivityMw;
      if (this.#flags[id] === ON && (isAudible || this.#locked[id] !== undefined))
        this.#hear(transmission, id, powerMw, nowUs);
      if (isAudible || this.busy(id)) this.onBusy[id]?.();
    }
  }

  /** It begins at one that listens. */
  #hear(transmission: Transmission, id: number, powerMw: number, nowUs: number): void {
    const total = this.#totalMw(id);
    const locked = this.#locked[id];
    const captures = locked === undefined || powerMw > this.#lockedMw[id]! * this.#capture;
    if (captures && powerMw >= this.#sensitivityMw) {
      this.#locked[id] = transmission;
      this.#lockedMw[id] = powerMw;
      this.#worst[id] = powerMw / (this.#noiseMw + (total - powerMw) * this.#capture);
      if (transmission.frame.to === id) this.#stations[id]!.ledger?.setRadio(nowUs, "rx");
    } else if (locked !== undefined) {
      const mine = this.#lockedMw[id]!;
      const sinr = mine / (this.#noiseMw + (total - mine) * this.#capture);
      if (sinr < this.#worst[id]!) this.#worst[id] = sinr;
    }
  }

  #end(transmission: Transmission, sent: () => void): void {
    const { frame, reach } = transmission;
    const { to } = frame;
    this.#onAir.splice(this.#onAir.indexOf(transmission), 1);
    const received: number[] = [];
    const arrive = (id: number, powerMw: number): void => {
      if (powerMw > 0 && this.#arrives(transmission, id, powerMw)) received.push(id);
    };
    if (to === BROADCAST) for (const [i, id] of reach.neighbours.entries()) arrive(id, reach.powersMw[i]!);
    else if (powerAt(reach, to) > 0) arrive(to, powerAt(reach, to));
    else this.#lose(frame, "lost");
    for (const id of reach.audible) if (this.#locked[id] === transmission) this.#unlock(id);
    sent();
    for (const id of received) this.#stations[id]!.onFrame(frame);
  }

  /** Whether a frame arrives. Losses are drawn whoever listens, so that a sleeping node leaves the channel as it was. */
  #arrives(transmission: Transmission, id: number, powerMw: number): boolean {
    const { frame } = transmission;
    const nowUs = this.#engine.nowUs();
    const bytes = PHY.headerBytes + frame.psduBytes;
    const lost = this.#channel.isLost(frame.from, id, bytes, nowUs);
    const drawn = this.#channel.draw(frame.from, id);
    if (this.#locked[id] !== transmission) return this.#lose(frame, "missed");
    if (lost || drawn >= receptionRatio(powerMw / this.#noiseMw, bytes)) return this.#lose(frame, "lost");
    if (drawn >= receptionRatio(this.#worst[id]!, bytes)) return this.#lose(frame, "collisions");
    this.#engine.trace.frame(Trace.RECEIVE, nowUs, frame.from, id, frame.psduBytes, frame.sequence);
    return true;
  }

  #lose(frame: Frame, why: "lost" | "collisions" | "missed"): false {
    this.counters[why]++;
    this.#engine.trace.frame(Trace.LOSE, this.#engine.nowUs(), frame.from, frame.to, frame.psduBytes, frame.sequence);
    return false;
  }

  #unlock(id: number): void {
    if (this.#locked[id] === undefined) return;
    this.#locked[id] = undefined;
    const ledger = this.#stations[id]!.ledger;
    if (ledger?.radio === "rx") ledger.setRadio(this.#engine.nowUs(), "listen");
  }

  #count(frame: Frame, durationUs: number): void {
    if (frame.kind === "ack") this.counters.acks++;
    else this.counters.frames++;
    this.counters.bytes += PHY.headerBytes + frame.psduBytes;
    this.counters.airtimeUs += durationUs;
    this.sentUs[frame.from]! += durationUs;
  }
}
