/** A frame on air. An acknowledgement has no payload, and in the standard no addresses. */
export interface Frame {
  readonly kind: "data" | "ack" | "poll";
  readonly from: number;
  readonly to: number;
  readonly sequence: number;
  readonly psduBytes: number;
  readonly payload: Uint8Array;
  /** More waits for the receiver of this frame at its sender. */
  readonly pending: boolean;
}

export const BROADCAST = 0xffff;

const PAN = 0xabcd;
const FCF_DATA = 0x8841;
const FCF_COMMAND = 0x8843;
const FCF_ACK = 0x0002;
const FCF_ACK_REQUEST = 0x0020;
const FCF_PENDING = 0x0010;
const COMMAND_DATA_REQUEST = 0x04;
/** MIC-32, key by index: security control 1, frame counter 4, key index 1; the MIC has 4 bytes. */
export const MIC32_BYTES = 10;

/** The MAC frame's bytes with FCS, as a sniffer that has the keys would show them: without link security. */
export function frameBytes(frame: Frame): Uint8Array {
  const { kind, from, to, sequence, payload, pending } = frame;
  const out: number[] = [];
  const word = (value: number): void => void out.push(value & 0xff, (value >> 8) & 0xff);
  if (kind === "ack") {
    word(FCF_ACK | (pending ? FCF_PENDING : 0));
    out.push(sequence);
  } else {
    const request = to === BROADCAST ? 0 : FCF_ACK_REQUEST;
    word((kind === "poll" ? FCF_COMMAND : FCF_DATA) | request | (pending ? FCF_PENDING : 0));
    out.push(sequence);
    for (const field of [PAN, to, from]) word(field);
    if (kind === "poll") out.push(COMMAND_DATA_REQUEST);
    for (const byte of payload) out.push(byte);
  }
  word(crc16(out));
  return Uint8Array.from(out);
}

/** CRC of ITU-T, least significant bit first (IEEE 802.15.4, FCS). */
function crc16(bytes: readonly number[]): number {
  let crc = 0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >> 1) ^ 0x8408 : crc >> 1;
  }
  return crc;
}
