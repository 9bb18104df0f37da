/** Headers of recoverable fragments with their real bytes (RFC 8931 sections 5.1 and 5.2). */
export const RFRAG_BYTES = 6;
const RFRAG_DISPATCH = 0b1110_1000;
const ACK_DISPATCH = 0b1110_1010;
export const FULL_BITMAP = 0xffff_ffff;
/** Fragments that a bitmap has room for. */
export const MAX_FRAGMENTS = 32;

export interface Rfrag {
  readonly tag: number;
  readonly ackRequest: boolean;
  readonly sequence: number;
  /** Of the first fragment: length of the whole compressed datagram. Of the others: where they belong in it. */
  readonly offset: number;
  readonly data: Uint8Array;
}

export interface RfragAck {
  readonly tag: number;
  /** Bit `sequence`, from the most significant on, for each fragment that arrived. */
  readonly bitmap: number;
}

export function encodeRfrag({ tag, ackRequest, sequence, offset, data }: Rfrag): Uint8Array {
  const out = new Uint8Array(RFRAG_BYTES + data.length);
  const word = (ackRequest ? 0x8000 : 0) | (sequence << 10) | data.length;
  out.set([RFRAG_DISPATCH, tag, word >> 8, word & 0xff, offset >> 8, offset & 0xff]);
  out.set(data, RFRAG_BYTES);
  return out;
}

export function encodeRfragAck({ tag, bitmap }: RfragAck): Uint8Array {
  return Uint8Array.of(ACK_DISPATCH, tag, bitmap >>> 24, (bitmap >>> 16) & 0xff, (bitmap >>> 8) & 0xff, bitmap & 0xff);
}

export function readRfrag(packet: Uint8Array): Rfrag | undefined {
  if (packet.length <= RFRAG_BYTES || (packet[0]! & 0xfe) !== RFRAG_DISPATCH) return undefined;
  const word = (packet[2]! << 8) | packet[3]!;
  const data = packet.subarray(RFRAG_BYTES);
  if ((word & 0x3ff) !== data.length) return undefined;
  const offset = (packet[4]! << 8) | packet[5]!;
  return { tag: packet[1]!, ackRequest: (word & 0x8000) !== 0, sequence: (word >> 10) & 31, offset, data };
}

export function readRfragAck(packet: Uint8Array): RfragAck | undefined {
  if (packet.length !== RFRAG_BYTES || (packet[0]! & 0xfe) !== ACK_DISPATCH) return undefined;
  const bitmap = ((packet[2]! << 24) | (packet[3]! << 16) | (packet[4]! << 8) | packet[5]!) >>> 0;
  return { tag: packet[1]!, bitmap };
}

/** The bit of a fragment in a bitmap. */
export const bitOf = (sequence: number): number => (0x8000_0000 >>> sequence) >>> 0;
