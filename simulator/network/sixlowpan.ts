import { concatBytes } from "../../src/util/bytes.ts";

/**
 * 6LoWPAN for one hop between link-local addresses made of short MAC addresses: IPHC with both
 * addresses elided, UDP by NHC (RFC 6282 sections 3.1 and 4.3), FRAG1 and FRAGN (RFC 4944 section
 * 5.3). The bytes are the real ones, so that sizes are exact and a dissector can read them.
 */

/** A UDP datagram between two nodes of one link. */
export interface UdpDatagram {
  readonly from: number;
  readonly to: number;
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly payload: Uint8Array;
}

const IPV6_HEADER_BYTES = 40;
const UDP_HEADER_BYTES = 8;
const FRAG1_BYTES = 4;
const FRAGN_BYTES = 5;
const FRAG1_DISPATCH = 0b11000;
const FRAGN_DISPATCH = 0b11100;
/** IPHC: traffic class and flow elided, next header by NHC, hop limit 64, both addresses from the MAC. */
const IPHC_ELIDED: readonly [number, number] = [0b0111_1110, 0b0011_0011];
const NHC_UDP = 0b1111_0000;

/** The 6LoWPAN packets for a datagram: one, or fragments that each fit `maxPayloadBytes`. */
export function toPackets(datagram: UdpDatagram, tag: number, maxPayloadBytes: number): Uint8Array[] {
  const header = compressedHeader(datagram);
  const { payload } = datagram;
  if (header.length + payload.length <= maxPayloadBytes) return [concatBytes(header, payload)];
  const uncompressed = IPV6_HEADER_BYTES + UDP_HEADER_BYTES + payload.length;
  const offsetBase = IPV6_HEADER_BYTES + UDP_HEADER_BYTES;
  // The first fragment ends at a multiple of 8 bytes of the uncompressed datagram.
  const room = maxPayloadBytes - FRAG1_BYTES - header.length;
  let taken = Math.floor((offsetBase + room) / 8) * 8 - offsetBase;
  const packets = [concatBytes(fragmentHeader(FRAG1_DISPATCH, uncompressed, tag), header, payload.subarray(0, taken))];
  const step = Math.floor((maxPayloadBytes - FRAGN_BYTES) / 8) * 8;
  while (taken < payload.length) {
    const offset = (offsetBase + taken) / 8;
    const fragment = fragmentHeader(FRAGN_DISPATCH, uncompressed, tag);
    packets.push(concatBytes(fragment, Uint8Array.of(offset), payload.subarray(taken, taken + step)));
    taken += step;
  }
  return packets;
}

function compressedHeader(datagram: UdpDatagram): Uint8Array {
  const ports = compressedPorts(datagram.sourcePort, datagram.destinationPort);
  const sum = checksum(datagram);
  return Uint8Array.of(...IPHC_ELIDED, NHC_UDP | ports.mode, ...ports.bytes, sum >> 8, sum & 0xff);
}

/** RFC 6282 section 4.3.3: ports 0xf0bX take 4 bits, 0xf0XX 8. */
function compressedPorts(source: number, destination: number): { mode: number; bytes: readonly number[] } {
  const in4 = (port: number): boolean => port >> 4 === 0xf0b;
  const in8 = (port: number): boolean => port >> 8 === 0xf0;
  if (in4(source) && in4(destination)) return { mode: 0b11, bytes: [((source & 15) << 4) | (destination & 15)] };
  if (in8(destination)) return { mode: 0b01, bytes: [source >> 8, source & 0xff, destination & 0xff] };
  if (in8(source)) return { mode: 0b10, bytes: [source & 0xff, destination >> 8, destination & 0xff] };
  return { mode: 0b00, bytes: [source >> 8, source & 0xff, destination >> 8, destination & 0xff] };
}

function fragmentHeader(dispatch: number, size: number, tag: number): Uint8Array {
  return Uint8Array.of((dispatch << 3) | (size >> 8), size & 0xff, (tag >> 8) & 0xff, tag & 0xff);
}

/** UDP checksum over the pseudo-header of fe80::ff:fe00:<short> addresses (RFC 8200 section 8.1). */
function checksum({ from, to, sourcePort, destinationPort, payload }: UdpDatagram): number {
  const length = UDP_HEADER_BYTES + payload.length;
  let sum = 17 + 2 * length + sourcePort + destinationPort;
  for (const node of [from, to]) sum += 0xfe80 + 0x00ff + 0xfe00 + node;
  for (let i = 0; i < payload.length; i += 2) sum += (payload[i]! << 8) | (payload[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  const out = ~sum & 0xffff;
  return out === 0 ? 0xffff : out;
}

/** Ports and payload of an unfragmented packet, or of a first fragment's content; undefined when it is none of ours. */
export function readHeader(
  packet: Uint8Array,
): { sourcePort: number; destinationPort: number; headerBytes: number } | undefined {
  if (packet.length < 6 || packet[0] !== IPHC_ELIDED[0] || packet[1] !== IPHC_ELIDED[1]) return undefined;
  const nhc = packet[2]!;
  if ((nhc & 0b1111_1100) !== NHC_UDP) return undefined;
  const at = (i: number): number => packet[3 + i] ?? 0;
  const word = (i: number): number => (at(i) << 8) | at(i + 1);
  switch (nhc & 3) {
    case 0b00:
      return { sourcePort: word(0), destinationPort: word(2), headerBytes: 9 };
    case 0b01:
      return { sourcePort: word(0), destinationPort: 0xf000 | at(2), headerBytes: 8 };
    case 0b10:
      return { sourcePort: 0xf000 | at(0), destinationPort: word(1), headerBytes: 8 };
    default:
      return { sourcePort: 0xf0b0 | (at(0) >> 4), destinationPort: 0xf0b0 | (at(0) & 15), headerBytes: 6 };
  }
}

interface Assembly {
  readonly size: number;
  readonly data: Uint8Array;
  readonly covered: Set<number>;
  received: number;
  ports: { sourcePort: number; destinationPort: number } | undefined;
  readonly deadlineUs: number;
}

/** RFC 4944 section 5.3: fragments are kept for at most 60 s; buffers are few on a mote. */
export const REASSEMBLY_TIMEOUT_US = 60_000_000;

/** Puts fragments together, per sender and tag, in a bounded number of buffers. */
export class Reassembler {
  readonly #self: number;
  readonly #maxBuffers: number;
  readonly #assemblies = new Map<string, Assembly>();
  dropped = 0;

  constructor(self: number, maxBuffers: number) {
    this.#self = self;
    this.#maxBuffers = maxBuffers;
  }

  /** The datagram that `packet` is or completes. */
  accept(nowUs: number, from: number, packet: Uint8Array): UdpDatagram | undefined {
    const dispatch = (packet[0] ?? 0) >> 3;
    if (dispatch !== FRAG1_DISPATCH && dispatch !== FRAGN_DISPATCH) {
      const header = readHeader(packet);
      if (header === undefined) return undefined;
      const { sourcePort, destinationPort, headerBytes } = header;
      return { from, to: this.#self, sourcePort, destinationPort, payload: packet.subarray(headerBytes) };
    }
    return this.#acceptFragment(nowUs, from, packet, dispatch === FRAG1_DISPATCH);
  }

  #acceptFragment(nowUs: number, from: number, packet: Uint8Array, first: boolean): UdpDatagram | undefined {
    const size = ((packet[0]! & 7) << 8) | packet[1]!;
    const key = `${from}/${(packet[2]! << 8) | packet[3]!}/${size}`;
    const assembly = this.#assemblies.get(key) ?? this.#open(nowUs, key, size);
    let at = 0;
    let data: Uint8Array;
    if (first) {
      const content = packet.subarray(FRAG1_BYTES);
      const header = readHeader(content);
      if (header === undefined) return undefined;
      assembly.ports = header;
      data = content.subarray(header.headerBytes);
    } else {
      at = packet[4]! * 8 - IPV6_HEADER_BYTES - UDP_HEADER_BYTES;
      data = packet.subarray(FRAGN_BYTES);
    }
    if (at < 0 || at + data.length > assembly.data.length) return undefined;
    if (!assembly.covered.has(at)) {
      assembly.covered.add(at);
      assembly.received += data.length;
      assembly.data.set(data, at);
    }
    if (assembly.received < assembly.data.length || assembly.ports === undefined) return undefined;
    this.#assemblies.delete(key);
    const { sourcePort, destinationPort } = assembly.ports;
    return { from, to: this.#self, sourcePort, destinationPort, payload: assembly.data };
  }

  #open(nowUs: number, key: string, size: number): Assembly {
    for (const [other, { deadlineUs }] of this.#assemblies) if (deadlineUs <= nowUs) this.#drop(other);
    // With all buffers in use the oldest datagram is given up: its missing fragment was most likely lost.
    if (this.#assemblies.size >= this.#maxBuffers) this.#drop(this.#assemblies.keys().next().value!);
    const data = new Uint8Array(Math.max(0, size - IPV6_HEADER_BYTES - UDP_HEADER_BYTES));
    const assembly: Assembly = {
      size,
      data,
      covered: new Set(),
      received: 0,
      ports: undefined,
      deadlineUs: nowUs + REASSEMBLY_TIMEOUT_US,
    };
    this.#assemblies.set(key, assembly);
    return assembly;
  }

  #drop(key: string): void {
    this.#assemblies.delete(key);
    this.dropped++;
  }
}
