import type { MessageType } from "./numbers.ts";
import type { CoapMessage, CoapOption } from "./message.ts";

/** Bytes that `message` takes. */
export function encodedSize({ token, options, payload }: CoapMessage): number {
  let size = 4 + extended(token.length) + token.length + (payload.length > 0 ? 1 + payload.length : 0);
  let previous = 0;
  for (const { number, value } of sorted(options)) {
    size += 1 + extended(number - previous) + extended(value.length) + value.length;
    previous = number;
  }
  return size;
}

/** Bytes behind the nibble of a delta or a length: one for 13, two for 14. */
const extended = (value: number): number => Math.max(0, nibble(value) - 12);

/** A new datagram for `message` (RFC 7252 section 3). */
export function encodeMessage(message: CoapMessage): Uint8Array {
  const out = new Uint8Array(encodedSize(message));
  writeMessage(out, message);
  return out;
}

/** Writes `message` at the start of `out`, which must be large enough; returns its length. */
export function writeMessage(out: Uint8Array, message: CoapMessage): number {
  let at = writeHeader(out, message.type, message.code, message.messageId, message.token);
  let previous = 0;
  for (const option of sorted(message.options)) {
    at = writeOptionHeader(out, at, option.number - previous, option.value.length);
    at = copy(out, at, option.value);
    previous = option.number;
  }
  if (message.payload.length > 0) {
    out[at++] = 0xff;
    at = copy(out, at, message.payload);
  }
  return at;
}

export function writeHeader(out: Uint8Array, type: number, code: number, messageId: number, token: Uint8Array): number {
  out[0] = 0x40 | (type << 4) | nibble(token.length);
  out[1] = code;
  out[2] = messageId >> 8;
  out[3] = messageId & 0xff;
  // Tokens of more than 12 bytes have an extended length (RFC 8974 section 2.1).
  const at = writeExtended(out, 4, token.length);
  return copy(out, at, token);
}

/** Option header with extended delta and length (section 3.1); returns where the value goes. */
export function writeOptionHeader(out: Uint8Array, start: number, delta: number, length: number): number {
  out[start] = (nibble(delta) << 4) | nibble(length);
  return writeExtended(out, writeExtended(out, start + 1, delta), length);
}

/** A loop is quicker than `set` on the few bytes of an option. */
function copy(out: Uint8Array, at: number, value: Uint8Array): number {
  if (value.length > 32) out.set(value, at);
  else for (let i = 0; i < value.length; i++) out[at + i] = value[i]!;
  return at + value.length;
}

function nibble(value: number): number {
  return value < 13 ? value : value < 269 ? 13 : 14;
}

function writeExtended(out: Uint8Array, at: number, value: number): number {
  if (value < 13) return at;
  if (value < 269) {
    out[at] = value - 13;
    return at + 1;
  }
  out[at] = (value - 269) >> 8;
  out[at + 1] = (value - 269) & 0xff;
  return at + 2;
}

/** Options by number; those of one number stay in the order given (section 3.1). */
function sorted(options: readonly CoapOption[]): readonly CoapOption[] {
  for (let i = 1; i < options.length; i++) {
    if (options[i]!.number < options[i - 1]!.number) return options.toSorted((a, b) => a.number - b.number);
  }
  return options;
}

/** An empty message: ACK, RST, or as CON a ping (section 4.1). */
export function encodeEmpty(type: MessageType, messageId: number): Uint8Array {
  return Uint8Array.of(0x40 | (type << 4), 0, messageId >> 8, messageId & 0xff);
}
