import { concatBytes } from "../../src/util/bytes.ts";
import type { Timer } from "../../src/util/timer-queue.ts";
import type { Engine } from "../engine/engine.ts";
import type { Datagram } from "./datagram.ts";
import {
  bitOf,
  encodeRfrag,
  encodeRfragAck,
  FULL_BITMAP,
  MAX_FRAGMENTS,
  readRfrag,
  readRfragAck,
  RFRAG_BYTES,
  type Rfrag,
  type RfragAck,
} from "./rfrag.ts";
import { compressedHeader, HOP_LIMIT_AT, readHeader } from "./sixlowpan.ts";

/** RFC 8931 section 7.1, within the ack time-outs of CoAP: one request for acknowledgement, on the last fragment. */
const ARQ_TIMEOUT_US = 700_000;
const MAX_RETRIES = 3;
/** Between two fragments to one next hop: a frame's progress by a hop or two (section 6). */
const GAP_US = 25_000;
const VRB_US = 10_000_000;
const LINGER_US = 1_500_000;
const MAX_VRB = 16;

interface Outgoing {
  readonly fragments: readonly Rfrag[];
  readonly nextHop: number;
  acknowledged: number;
  tries: number;
  timer: Timer | undefined;
}

interface Assembly {
  readonly bytes: Uint8Array;
  bitmap: number;
  received: number;
  complete: boolean;
  readonly untilUs: number;
}

interface Path {
  readonly nextHop: number;
  readonly tag: number;
  readonly untilUs: number;
}

export interface RecoverableParts {
  readonly self: number;
  readonly engine: Engine;
  readonly maxBuffers: number;
  readonly transmit: (nextHop: number, packet: Uint8Array) => boolean;
  /** Which datagrams are put together at this node. */
  readonly isHere: (to: number) => boolean;
  readonly route: (to: number) => number | undefined;
  readonly deliver: (datagram: Datagram) => void;
}

/** Recoverable fragments (RFC 8931): forwarded as they come, and those that a bitmap says are missing sent again. */
export class RecoverableFragments {
  readonly #parts: RecoverableParts;
  readonly #outgoing = new Map<number, Outgoing>();
  readonly #assemblies = new Map<number, Assembly>();
  /** Ways onward by (previous hop, tag), and back by (next hop, tag). */
  readonly #onward = new Map<number, Path>();
  readonly #back = new Map<number, Path>();
  #tag = 0;
  #running = true;
  recovered = 0;

  constructor(parts: RecoverableParts) {
    this.#parts = parts;
  }

  stop(): void {
    this.#running = false;
    for (const { timer } of this.#outgoing.values()) timer?.cancel();
  }

  /** Sends a datagram in recoverable fragments; false when it needs none, or more than a bitmap has room for. */
  send(datagram: Datagram, nextHop: number, maxPayloadBytes: number): boolean {
    const compressed = concatBytes(compressedHeader(datagram), datagram.payload);
    if (compressed.length <= maxPayloadBytes) return false;
    const step = maxPayloadBytes - RFRAG_BYTES;
    const count = Math.ceil(compressed.length / step);
    if (count > MAX_FRAGMENTS) return false;
    const tag = this.#newTag();
    const fragments = Array.from({ length: count }, (_, sequence): Rfrag => {
      const at = sequence * step;
      const offset = sequence === 0 ? compressed.length : at;
      return { tag, sequence, offset, ackRequest: sequence === count - 1, data: compressed.subarray(at, at + step) };
    });
    const outgoing: Outgoing = { fragments, nextHop, acknowledged: 0, tries: 0, timer: undefined };
    this.#outgoing.get(tag)?.timer?.cancel();
    this.#outgoing.set(tag, outgoing);
    this.#sendMissing(tag, outgoing);
    return true;
  }

  /** Takes a packet from a neighbour; false when it is no recoverable fragment or its acknowledgement. */
  accept(from: number, packet: Uint8Array): boolean {
    const ack = readRfragAck(packet);
    if (ack !== undefined) this.#onAck(from, ack);
    else {
      const fragment = readRfrag(packet);
      if (fragment === undefined) return false;
      this.#onFragment(from, fragment);
    }
    return true;
  }

  #newTag(): number {
    this.#tag = (this.#tag + 1) & 0xff;
    return this.#tag;
  }

  #sendMissing(tag: number, outgoing: Outgoing): void {
    const { engine, transmit } = this.#parts;
    const missing = outgoing.fragments.filter(({ sequence }) => (outgoing.acknowledged & bitOf(sequence)) === 0);
    for (const [i, fragment] of missing.entries()) {
      const packet = encodeRfrag({ ...fragment, ackRequest: i === missing.length - 1 });
      engine.after(i * GAP_US, () => {
        if (this.#running && this.#outgoing.get(tag) === outgoing) transmit(outgoing.nextHop, packet);
      });
    }
    const waitUs = missing.length * GAP_US + ARQ_TIMEOUT_US * 2 ** outgoing.tries;
    outgoing.timer = engine.after(waitUs, () => this.#retry(tag, outgoing));
  }

  #retry(tag: number, outgoing: Outgoing): void {
    if (this.#outgoing.get(tag) !== outgoing) return;
    outgoing.timer?.cancel();
    if (++outgoing.tries > MAX_RETRIES) this.#outgoing.delete(tag);
    else {
      this.recovered++;
      this.#sendMissing(tag, outgoing);
    }
  }

  #onAck(from: number, { tag, bitmap }: RfragAck): void {
    const path = this.#back.get(from * 256 + tag);
    if (path !== undefined) {
      this.#parts.transmit(path.nextHop, encodeRfragAck({ tag: path.tag, bitmap }));
      if (bitmap === FULL_BITMAP || bitmap === 0) this.#endPath(from * 256 + tag, path);
      return;
    }
    const outgoing = this.#outgoing.get(tag);
    if (outgoing === undefined || outgoing.nextHop !== from) return;
    if (bitmap === FULL_BITMAP || bitmap === 0) {
      outgoing.timer?.cancel();
      this.#outgoing.delete(tag);
    } else {
      outgoing.acknowledged |= bitmap;
      this.#retry(tag, outgoing);
    }
  }

  /** The datagram is through, or given up: its way is kept for what is still on it (section 6.2), and no longer. */
  #endPath(backKey: number, back: Path): void {
    const untilUs = this.#parts.engine.nowUs() + LINGER_US;
    this.#back.set(backKey, { ...back, untilUs });
    const key = back.nextHop * 256 + back.tag;
    const onward = this.#onward.get(key);
    if (onward !== undefined) this.#onward.set(key, { ...onward, untilUs });
  }

  #onFragment(from: number, fragment: Rfrag): void {
    const nowUs = this.#parts.engine.nowUs();
    const key = from * 256 + fragment.tag;
    if (fragment.sequence === 0 && !this.#assemblies.has(key)) this.#open(nowUs, key, from, fragment);
    const path = this.#onward.get(key);
    if (path !== undefined && path.untilUs > nowUs) {
      const data = fragment.data.slice();
      if (fragment.sequence === 0) data[HOP_LIMIT_AT]!--;
      this.#parts.transmit(path.nextHop, encodeRfrag({ ...fragment, tag: path.tag, data }));
      return;
    }
    const assembly = this.#assemblies.get(key);
    if (assembly === undefined) this.#acknowledge(from, fragment.tag, 0);
    else this.#assemble(from, fragment, assembly);
  }

  #open(nowUs: number, key: number, from: number, { tag, offset, data }: Rfrag): void {
    const { self, route, isHere } = this.#parts;
    const header = readHeader(data, from, self);
    if (header === undefined) return;
    sweep(this.#onward, nowUs);
    sweep(this.#back, nowUs);
    sweep(this.#assemblies, nowUs);
    const untilUs = nowUs + VRB_US;
    if (isHere(header.to)) {
      if (this.#assemblies.size >= this.#parts.maxBuffers) this.#giveUpOne();
      this.#assemblies.set(key, { bytes: new Uint8Array(offset), bitmap: 0, received: 0, complete: false, untilUs });
      return;
    }
    const nextHop = route(header.to);
    if (nextHop === undefined || header.hopLimit <= 1 || this.#onward.size >= MAX_VRB) return;
    const newTag = this.#onward.get(key)?.tag ?? this.#newTag();
    this.#onward.set(key, { nextHop, tag: newTag, untilUs });
    this.#back.set(nextHop * 256 + newTag, { nextHop: from, tag, untilUs });
  }

  /** A datagram that is complete goes first, else the oldest. */
  #giveUpOne(): void {
    const done = [...this.#assemblies].find(([, { complete }]) => complete);
    this.#assemblies.delete(done?.[0] ?? this.#assemblies.keys().next().value!);
  }

  #assemble(from: number, { tag, sequence, offset, data, ackRequest }: Rfrag, assembly: Assembly): void {
    const at = sequence === 0 ? 0 : offset;
    if ((assembly.bitmap & bitOf(sequence)) === 0 && at + data.length <= assembly.bytes.length) {
      assembly.bitmap = (assembly.bitmap | bitOf(sequence)) >>> 0;
      assembly.bytes.set(data, at);
      assembly.received += data.length;
    }
    const done = assembly.received === assembly.bytes.length;
    if (ackRequest || (done && !assembly.complete)) this.#acknowledge(from, tag, done ? FULL_BITMAP : assembly.bitmap);
    if (!done || assembly.complete) return;
    assembly.complete = true; // kept for a while: it absorbs what is still on its way
    const header = readHeader(assembly.bytes, from, this.#parts.self);
    if (header === undefined) return;
    const { headerBytes, ...rest } = header;
    this.#parts.deliver({ ...rest, payload: assembly.bytes.subarray(headerBytes) });
  }

  #acknowledge(to: number, tag: number, bitmap: number): void {
    this.#parts.transmit(to, encodeRfragAck({ tag, bitmap }));
  }
}

function sweep(map: Map<number, { readonly untilUs: number }>, nowUs: number): void {
  for (const [key, { untilUs }] of map) if (untilUs <= nowUs) map.delete(key);
}
