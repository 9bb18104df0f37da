import { BROADCAST } from "../radio/frame.ts";
import { concatBytes } from "../../src/util/bytes.ts";
import {
  HOP_LIMIT,
  IPV6_HEADER_BYTES,
  udpChecksum,
  uncompressedBytes,
  UDP_HEADER_BYTES,
  type Datagram,
} from "./datagram.ts";

/**
 * 6LoWPAN with its real bytes: IPHC and NHC (RFC 6282 sections 3.1 and 4.3), FRAG1 and FRAGN (RFC 4944 section 5.3).
 * Link-local addresses are elided, those of the mesh have context 0 and 16 bits each, so that sizes are exact and a
 * dissector can read them.
 */
export const FRAG1_BYTES = 4;
export const FRAGN_BYTES = 5;
export const FRAG1_DISPATCH = 0b11000;
export const FRAGN_DISPATCH = 0b11100;
/** In a compressed header of the mesh: behind the two bytes of IPHC. */
export const HOP_LIMIT_AT = 2;
const NHC_UDP = 0b1111_0000;
const NEXT_HEADER_ICMPV6 = 58;
/** Traffic class and flow label elided. Then: next header by NHC or inline; hop limit 64 or inline. */
const IPHC = { NHC_64: 0x7e, NHC_INLINE: 0x7c, INLINE_64: 0x7a } as const;
/** Address modes: both elided; context 0 with 16 bits each; ff02::XX from an elided one. */
const ADDRESSES = { ELIDED: 0x33, MESH: 0x66, MULTICAST: 0x3b } as const;

/** The 6LoWPAN packets for a datagram: one, or fragments that each fit `maxPayloadBytes`. */
export function toPackets(datagram: Datagram, tag: number, maxPayloadBytes: number): Uint8Array[] {
  const header = compressedHeader(datagram);
  const { payload } = datagram;
  if (header.length + payload.length <= maxPayloadBytes) return [concatBytes(header, payload)];
  const size = uncompressedBytes(datagram);
  const offsetBase = size - payload.length;
  const room = maxPayloadBytes - FRAG1_BYTES - header.length;
  // The first fragment ends at a multiple of 8 bytes of the uncompressed datagram.
  let taken = Math.floor((offsetBase + room) / 8) * 8 - offsetBase;
  const step = Math.floor((maxPayloadBytes - FRAGN_BYTES) / 8) * 8;
  const others = Math.ceil((payload.length - taken) / step);
  // One piece of memory for all of them: a hop of a large datagram is a dozen.
  const memory = new Uint8Array(FRAG1_BYTES + header.length + others * FRAGN_BYTES + payload.length);
  let at = writeFragmentHeader(memory, 0, { dispatch: FRAG1_DISPATCH, size, tag });
  memory.set(header, at);
  memory.set(payload.subarray(0, taken), at + header.length);
  at += header.length + taken;
  const packets = [memory.subarray(0, at)];
  while (taken < payload.length) {
    const start = at;
    at = writeFragmentHeader(memory, start, { dispatch: FRAGN_DISPATCH, size, tag });
    memory[at++] = (offsetBase + taken) / 8;
    const chunk = payload.subarray(taken, taken + step);
    memory.set(chunk, at);
    at += chunk.length;
    taken += step;
    packets.push(memory.subarray(start, at));
  }
  return packets;
}

/** The header that stands before the payload of an unfragmented packet. */
export function compressedHeader(datagram: Datagram): Uint8Array {
  const { from, to, scope, hopLimit, ports } = datagram;
  if (ports === undefined) {
    if (to === BROADCAST) return Uint8Array.of(IPHC.INLINE_64, ADDRESSES.MULTICAST, NEXT_HEADER_ICMPV6, 0x1a);
    return Uint8Array.of(IPHC.INLINE_64, ADDRESSES.ELIDED, NEXT_HEADER_ICMPV6);
  }
  const { mode, bytes } = compressedPorts(ports.source, ports.destination);
  const sum = datagram.checksum ?? udpChecksum(datagram); // a router leaves it as it came
  const udp = [NHC_UDP | mode, ...bytes, sum >> 8, sum & 0xff];
  if (scope === "link") return Uint8Array.of(IPHC.NHC_64, ADDRESSES.ELIDED, ...udp);
  return Uint8Array.of(IPHC.NHC_INLINE, ADDRESSES.MESH, hopLimit, from >> 8, from & 0xff, to >> 8, to & 0xff, ...udp);
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

/** Returns where it ends. */
function writeFragmentHeader(
  out: Uint8Array,
  at: number,
  { dispatch, size, tag }: { dispatch: number; size: number; tag: number },
): number {
  out[at] = (dispatch << 3) | (size >> 8);
  out[at + 1] = size;
  out[at + 2] = tag >> 8;
  out[at + 3] = tag;
  return at + 4;
}

/** A datagram's headers as a packet of ours has them, its payload still to come. */
export interface Header extends Omit<Datagram, "payload"> {
  readonly headerBytes: number;
}

/** Reads the headers of an unfragmented packet, or of a first fragment's content; undefined when it is none of ours. */
export function readHeader(packet: Uint8Array, linkFrom: number, linkTo: number): Header | undefined {
  const [first, modes] = packet;
  const link = { from: linkFrom, to: linkTo, scope: "link", hopLimit: HOP_LIMIT } as const;
  if (first === IPHC.INLINE_64 && packet[2] === NEXT_HEADER_ICMPV6) {
    if (modes === ADDRESSES.ELIDED) return { ...link, ports: undefined, headerBytes: 3 };
    if (modes === ADDRESSES.MULTICAST) return { ...link, to: BROADCAST, ports: undefined, headerBytes: 4 };
    return undefined;
  }
  if (first === IPHC.NHC_64 && modes === ADDRESSES.ELIDED) return withPorts(packet, 2, link);
  if (first !== IPHC.NHC_INLINE || modes !== ADDRESSES.MESH || packet.length < 7) return undefined;
  const word = (i: number): number => (packet[i]! << 8) | packet[i + 1]!;
  return withPorts(packet, 7, { from: word(3), to: word(5), scope: "mesh", hopLimit: packet[2]! });
}

function withPorts(
  packet: Uint8Array,
  nhcAt: number,
  ends: Pick<Header, "from" | "to" | "scope" | "hopLimit">,
): Header | undefined {
  const nhc = packet[nhcAt] ?? 0;
  if ((nhc & 0b1111_1100) !== NHC_UDP) return undefined;
  const at = (i: number): number => packet[nhcAt + 1 + i] ?? 0;
  const word = (i: number): number => (at(i) << 8) | at(i + 1);
  const { from, to, scope, hopLimit } = ends;
  const header = (source: number, destination: number, portBytes: number): Header | undefined => {
    const headerBytes = nhcAt + 1 + portBytes + 2;
    if (packet.length < headerBytes) return undefined;
    const checksum = (packet[headerBytes - 2]! << 8) | packet[headerBytes - 1]!;
    return { from, to, scope, hopLimit, ports: { source, destination }, checksum, headerBytes };
  };
  switch (nhc & 3) {
    case 0b00:
      return header(word(0), word(2), 4);
    case 0b01:
      return header(word(0), 0xf000 | at(2), 3);
    case 0b10:
      return header(0xf000 | at(0), word(1), 3);
    default:
      return header(0xf0b0 | (at(0) >> 4), 0xf0b0 | (at(0) & 15), 1);
  }
}

/** What a fragment is part of; `undefined` where the packet is no fragment. */
export function readFragment(
  packet: Uint8Array,
): { readonly first: boolean; readonly size: number; readonly tag: number; readonly offset: number } | undefined {
  const dispatch = (packet[0] ?? 0) >> 3;
  if (dispatch !== FRAG1_DISPATCH && dispatch !== FRAGN_DISPATCH) return undefined;
  const first = dispatch === FRAG1_DISPATCH;
  if (packet.length < (first ? FRAG1_BYTES : FRAGN_BYTES)) return undefined;
  return {
    first,
    size: ((packet[0]! & 7) << 8) | packet[1]!,
    tag: (packet[2]! << 8) | packet[3]!,
    offset: first ? 0 : packet[4]! * 8,
  };
}

/** Bytes before the payload in the uncompressed packet: IPv6, and UDP. */
export const UNCOMPRESSED_UDP_BYTES: number = IPV6_HEADER_BYTES + UDP_HEADER_BYTES;
