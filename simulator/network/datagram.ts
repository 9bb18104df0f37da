/** A UDP datagram, or an ICMPv6 message of the routing protocol, between two nodes by their short addresses. */
export interface Datagram {
  readonly from: number;
  /** A node, or BROADCAST: ff02::1a, all RPL nodes of the link. */
  readonly to: number;
  /** Link-local for one hop; else within the mesh's prefix, with a hop limit that routers count down. */
  readonly scope: "link" | "mesh";
  readonly hopLimit: number;
  /** Ports of UDP; undefined for ICMPv6. */
  readonly ports: { readonly source: number; readonly destination: number } | undefined;
  readonly payload: Uint8Array;
  /** Of UDP, as it came; undefined of what is still to be sent. */
  readonly checksum?: number | undefined;
}

export const HOP_LIMIT = 64;
const NEXT_HEADER = { UDP: 17, ICMPV6: 58 } as const;
export const UDP_HEADER_BYTES = 8;
export const IPV6_HEADER_BYTES = 40;

/** Length of the uncompressed IPv6 packet: what datagram_size and offsets count (RFC 4944 section 5.3). */
export function uncompressedBytes({ ports, payload }: Datagram): number {
  return IPV6_HEADER_BYTES + (ports === undefined ? 0 : UDP_HEADER_BYTES) + payload.length;
}

/** Checksum over the pseudo-header (RFC 8200 section 8.1) of a UDP datagram; 0 becomes 0xffff. */
export function udpChecksum(datagram: Datagram): number {
  const { source, destination } = datagram.ports!;
  const length = UDP_HEADER_BYTES + datagram.payload.length;
  const out = fold(
    addressSum(datagram) + NEXT_HEADER.UDP + 2 * length + source + destination + wordSum(datagram.payload),
  );
  return out === 0 ? 0xffff : out;
}

/** Sets the checksum of an ICMPv6 message, whose bytes 2 and 3 are zero. */
export function sealIcmp(datagram: Datagram): void {
  const { payload } = datagram;
  const sum = fold(addressSum(datagram) + NEXT_HEADER.ICMPV6 + payload.length + wordSum(payload));
  payload[2] = sum >> 8;
  payload[3] = sum & 0xff;
}

function wordSum(bytes: Uint8Array): number {
  let sum = 0;
  const even = bytes.length & ~1;
  for (let i = 0; i < even; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!;
  return even === bytes.length ? sum : sum + (bytes[even]! << 8);
}

function fold(sum: number): number {
  let folded = sum;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x1_0000);
  return ~folded & 0xffff;
}

/** Sum of the words of both addresses: <prefix>::ff:fe00:<short>, or ff02::1a. */
function addressSum({ from, to, scope }: Datagram): number {
  const prefix = scope === "link" ? 0xfe80 : 0xfd00;
  const interfaceSum = 0x00ff + 0xfe00;
  const target = to === 0xffff ? 0xff02 + 0x001a : prefix + interfaceSum + to;
  return prefix + interfaceSum + from + target;
}
