import type { MessageType } from "./numbers.ts";

export interface CoapOption {
  readonly number: number;
  readonly value: Uint8Array;
}

/** One CoAP message (RFC 7252 section 3). Options are in ascending order of their numbers. */
export interface CoapMessage {
  readonly type: MessageType;
  readonly code: number;
  readonly messageId: number;
  readonly token: Uint8Array;
  readonly options: readonly CoapOption[];
  readonly payload: Uint8Array;
}

export const EMPTY_BYTES: Uint8Array = new Uint8Array(0);

export function optionValue(options: readonly CoapOption[], optionNumber: number): Uint8Array | undefined {
  for (const option of options) if (option.number === optionNumber) return option.value;
  return undefined;
}

export function optionValues(options: readonly CoapOption[], optionNumber: number): Uint8Array[] {
  return options.filter((option) => option.number === optionNumber).map((option) => option.value);
}

/** A uint option (RFC 7252 section 3.2); undefined when absent. The length is checked elsewhere. */
export function uintOption(options: readonly CoapOption[], optionNumber: number): number | undefined {
  const value = optionValue(options, optionNumber);
  return value === undefined ? undefined : decodeUint(value);
}

export function decodeUint(value: Uint8Array): number {
  let out = 0;
  for (const byte of value) out = out * 256 + byte;
  return out;
}

/** The shortest form: 0 is the empty string (RFC 7252 section 3.2). Throws a RangeError for what is no such number. */
export function encodeUint(value: number): Uint8Array {
  if (!(value >= 0 && value <= Number.MAX_SAFE_INTEGER)) throw new RangeError(`${value} is no uint`);
  let length = 0;
  for (let rest = value; rest > 0; rest = Math.floor(rest / 256)) length++;
  const out = new Uint8Array(length);
  let rest = value;
  for (let i = length - 1; i >= 0; i--) {
    out[i] = rest % 256;
    rest = Math.floor(rest / 256);
  }
  return out;
}
