import type { EnergyLedger } from "../mote/energy.ts";
import type { Engine } from "../engine/engine.ts";
import { Trace } from "../engine/trace-hash.ts";
import type { LinkModel } from "./links.ts";
import { airtimeUs, PHY } from "./phy.ts";

/** A frame on air. Acknowledgements have no payload and no destination of their own in the standard. */
export interface Frame {
  readonly kind: "data" | "ack";
  readonly from: number;
  readonly to: number;
  readonly sequence: number;
  readonly psduBytes: number;
  readonly payload: Uint8Array;
}

/** What the medium needs of a node. */
export interface Station {
  readonly id: number;
  /** False while the radio is off: nothing is received then. */
  isListening(): boolean;
  onFrame(frame: Frame): void;
  readonly ledger: EnergyLedger | undefined;
}

interface Transmission {
  readonly frame: Frame;
  readonly endUs: number;
  collided: boolean;
}

export interface AirCounters {
  frames: number;
  acks: number;
  bytes: number;
  lost: number;
  collisions: number;
  airtimeUs: number;
}

/** One channel in one cell: every station hears every other, two at once spoil each other. */
export class Medium {
  readonly #engine: Engine;
  readonly #links: LinkModel;
  readonly #stations = new Map<number, Station>();
  readonly #active = new Set<Transmission>();
  readonly counters: AirCounters = { frames: 0, acks: 0, bytes: 0, lost: 0, collisions: 0, airtimeUs: 0 };

  constructor(engine: Engine, links: LinkModel) {
    this.#engine = engine;
    this.#links = links;
  }

  join(station: Station): void {
    this.#stations.set(station.id, station);
  }

  /** True while anything is on air: what a CCA at this instant finds. */
  get busy(): boolean {
    return this.#active.size > 0;
  }

  /** Puts a frame on air; `sent` is called when its last symbol is out. */
  transmit(frame: Frame, sent: () => void): void {
    const durationUs = airtimeUs(frame.psduBytes);
    const nowUs = this.#engine.nowUs();
    const transmission: Transmission = { frame, endUs: nowUs + durationUs, collided: this.#active.size > 0 };
    for (const other of this.#active) other.collided = true;
    this.#active.add(transmission);
    this.#count(frame, durationUs);
    const sender = this.#stations.get(frame.from);
    const receiver = this.#stations.get(frame.to);
    sender?.ledger?.setRadio(nowUs, "tx");
    const heard = receiver?.isListening() ?? false;
    if (heard) receiver?.ledger?.setRadio(nowUs, "rx");
    this.#engine.trace.note(Trace.SEND, nowUs, frame.from, frame.to, frame.psduBytes, frame.sequence);
    this.#engine.at(transmission.endUs, () => this.#end(transmission, heard, sent));
  }

  #end(transmission: Transmission, heard: boolean, sent: () => void): void {
    this.#active.delete(transmission);
    const nowUs = this.#engine.nowUs();
    const { frame } = transmission;
    const sender = this.#stations.get(frame.from);
    const receiver = this.#stations.get(frame.to);
    if (sender?.ledger?.radio === "tx") sender.ledger.setRadio(nowUs, "listen");
    if (receiver?.ledger?.radio === "rx") receiver.ledger.setRadio(nowUs, "listen");
    // The loss is drawn whether or not anybody listens, so that a sleeping node leaves the channel as it was.
    const lost = this.#links.isLost(frame.from, frame.to, PHY.headerBytes + frame.psduBytes);
    const received = heard && !transmission.collided && !lost && (receiver?.isListening() ?? false);
    if (transmission.collided) this.counters.collisions++;
    else if (lost) this.counters.lost++;
    this.#engine.trace.note(received ? Trace.RECEIVE : Trace.LOSE, nowUs, frame.from, frame.to, frame.sequence);
    sent();
    if (received) receiver!.onFrame(frame);
  }

  #count(frame: Frame, durationUs: number): void {
    if (frame.kind === "ack") this.counters.acks++;
    else this.counters.frames++;
    this.counters.bytes += PHY.headerBytes + frame.psduBytes;
    this.counters.airtimeUs += durationUs;
  }
}
