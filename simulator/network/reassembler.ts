import type { Datagram } from "./datagram.ts";
import {
  FRAG1_BYTES,
  FRAGN_BYTES,
  readFragment,
  readHeader,
  UNCOMPRESSED_UDP_BYTES,
  type Header,
} from "./sixlowpan.ts";

interface Assembly {
  readonly data: Uint8Array;
  /** Offsets that have come: a dozen at most, as fragments go. */
  readonly covered: number[];
  received: number;
  header: Header | undefined;
  readonly deadlineUs: number;
}

/** RFC 4944 section 5.3: fragments are kept for at most 60 s; buffers are few on a mote. */
export const REASSEMBLY_TIMEOUT_US = 60_000_000;

/** Puts fragments together, per sender and tag, in a bounded number of buffers. */
export class Reassembler {
  readonly #self: number;
  readonly #maxBuffers: number;
  readonly #assemblies = new Map<number, Assembly>();
  dropped = 0;

  constructor(self: number, maxBuffers: number) {
    this.#self = self;
    this.#maxBuffers = maxBuffers;
  }

  /** The datagram that a packet from a neighbour is or completes. */
  accept(nowUs: number, from: number, packet: Uint8Array): Datagram | undefined {
    const fragment = readFragment(packet);
    if (fragment !== undefined) return this.#acceptFragment(nowUs, from, packet, fragment);
    const header = readHeader(packet, from, this.#self);
    return header === undefined ? undefined : withPayload(header, packet.subarray(header.headerBytes));
  }

  #acceptFragment(
    nowUs: number,
    from: number,
    packet: Uint8Array,
    { first, size, tag, offset }: { first: boolean; size: number; tag: number; offset: number },
  ): Datagram | undefined {
    if (size < UNCOMPRESSED_UDP_BYTES) return undefined;
    const key = (from * 65_536 + tag) * 2_048 + size;
    const assembly = this.#assemblies.get(key) ?? this.#open(nowUs, key, size);
    let at = 0;
    let data: Uint8Array;
    if (first) {
      const content = packet.subarray(FRAG1_BYTES);
      const header = readHeader(content, from, this.#self);
      if (header?.ports === undefined) return undefined;
      assembly.header = header;
      data = content.subarray(header.headerBytes);
    } else {
      at = offset - UNCOMPRESSED_UDP_BYTES;
      data = packet.subarray(FRAGN_BYTES);
    }
    if (at < 0 || at + data.length > assembly.data.length) return undefined;
    if (!assembly.covered.includes(at)) {
      assembly.covered.push(at);
      assembly.received += data.length;
      assembly.data.set(data, at);
    }
    if (assembly.received < assembly.data.length || assembly.header === undefined) return undefined;
    this.#assemblies.delete(key);
    return withPayload(assembly.header, assembly.data);
  }

  #open(nowUs: number, key: number, size: number): Assembly {
    for (const [other, { deadlineUs }] of this.#assemblies) if (deadlineUs <= nowUs) this.#drop(other);
    // With all buffers in use the oldest datagram is given up: its missing fragment was most likely lost.
    if (this.#assemblies.size >= this.#maxBuffers) this.#drop(this.#assemblies.keys().next().value!);
    const data = new Uint8Array(size - UNCOMPRESSED_UDP_BYTES);
    const deadlineUs = nowUs + REASSEMBLY_TIMEOUT_US;
    const assembly: Assembly = { data, covered: [], received: 0, header: undefined, deadlineUs };
    this.#assemblies.set(key, assembly);
    return assembly;
  }

  #drop(key: number): void {
    this.#assemblies.delete(key);
    this.dropped++;
  }
}

function withPayload({ from, to, scope, hopLimit, ports, checksum }: Header, payload: Uint8Array): Datagram {
  return { from, to, scope, hopLimit, ports, payload, checksum };
}
