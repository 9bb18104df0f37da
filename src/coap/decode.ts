import { COAP_LIMITS } from "./limits.ts";
import { EMPTY_BYTES, type CoapMessage, type CoapOption } from "./message.ts";
import { Code, isRequestCode, isResponseCode, type MessageType } from "./numbers.ts";

export type FormatReason =
  | "too-short"
  | "too-long"
  | "bad-version"
  | "bad-token-length"
  | "empty-with-content"
  | "reserved-code"
  | "bad-option-header"
  | "option-past-end"
  | "option-number-overflow"
  | "too-many-options"
  | "marker-without-payload";

/**
 * A datagram that is no CoAP message. `header` is there when type and message ID could be read,
 * so that a CON can be rejected by RST (RFC 7252 section 4.2).
 */
export interface MessageFormatError {
  readonly reason: FormatReason;
  readonly header?: { readonly type: MessageType; readonly messageId: number };
}

export type Decoded =
  | { readonly ok: true; readonly message: CoapMessage }
  | { readonly ok: false; readonly error: MessageFormatError };

/** Strict decoding of RFC 7252 section 3. The message's parts are views of `bytes`. */
export function decodeMessage(bytes: Uint8Array): Decoded {
  if (bytes.length < 4) return failure("too-short");
  const first = bytes[0]!;
  // Section 3: a message with another version number is silently ignored.
  if (first >> 6 !== 1) return failure("bad-version");
  const type = ((first >> 4) & 3) as MessageType;
  const messageId = (bytes[2]! << 8) | bytes[3]!;
  if (bytes.length > COAP_LIMITS.maxDatagramBytes) return failure("too-long", type, messageId);
  const tokenStart = tokenOffset(bytes);
  const tokenEnd = tokenStart + tokenLength(bytes);
  // A TKL of 15 is reserved; NaN, of a length that was cut off, fails the comparison too.
  if (!(tokenEnd <= bytes.length)) return failure("bad-token-length", type, messageId);
  const code = bytes[1]!;
  if (code === Code.EMPTY) {
    // Section 4.1: nothing behind the message ID, and so no token.
    if (bytes.length !== 4 || (first & 15) !== 0) return failure("empty-with-content", type, messageId);
    return { ok: true, message: { type, code, messageId, token: EMPTY_BYTES, options: [], payload: EMPTY_BYTES } };
  }
  if (!isRequestCode(code) && !isResponseCode(code)) return failure("reserved-code", type, messageId);
  const options: CoapOption[] = [];
  const end = readOptions(bytes, tokenEnd, options);
  if (typeof end === "string") return failure(end, type, messageId);
  if (end + 1 === bytes.length) return failure("marker-without-payload", type, messageId);
  return { ok: true, message: new ReceivedMessage(bytes, options, tokenStart, tokenEnd, end + 1) };
}

/** Where the token begins: behind the extended length of RFC 8974 section 2.1, if there is one. */
function tokenOffset(bytes: Uint8Array): number {
  const tkl = bytes[0]! & 15;
  return tkl < 13 ? 4 : tkl === 13 ? 5 : 6;
}

/** Length of the token (RFC 8974 section 2.1); NaN when the field is reserved or cut off. */
function tokenLength(bytes: Uint8Array): number {
  const tkl = bytes[0]! & 15;
  if (tkl < 13) return tkl;
  if (tkl === 13) return 13 + bytes[4]!;
  return tkl === 14 ? 269 + bytes[4]! * 256 + bytes[5]! : Number.NaN;
}

/** The bytes of one part of a datagram. */
function part(bytes: Uint8Array, start: number, end: number): Uint8Array {
  const length = end - start;
  if (length <= 0) return EMPTY_BYTES;
  // As `subarray`, but never of a subclass: Node's Buffer takes three times as long to make one of its own.
  if (length > COPIED_BYTES) return new Uint8Array(bytes.buffer, bytes.byteOffset + start, length);
  const copy = new Uint8Array(length);
  for (let i = 0; i < length; i++) copy[i] = bytes[start + i]!;
  return copy;
}

/** A part up to this long is copied, which takes less than a view. */
const COPIED_BYTES = 16;

/** Token and payload are taken out of the datagram when somebody looks at them, as the options' values are. */
class ReceivedMessage implements CoapMessage {
  readonly type: MessageType;
  readonly code: number;
  readonly messageId: number;
  readonly options: readonly CoapOption[];
  readonly #bytes: Uint8Array;
  readonly #tokenStart: number;
  readonly #tokenEnd: number;
  readonly #payloadStart: number;
  #token: Uint8Array | undefined;
  #payload: Uint8Array | undefined;

  constructor(
    bytes: Uint8Array,
    options: readonly CoapOption[],
    tokenStart: number,
    tokenEnd: number,
    payloadStart: number,
  ) {
    this.type = ((bytes[0]! >> 4) & 3) as MessageType;
    this.code = bytes[1]!;
    this.messageId = (bytes[2]! << 8) | bytes[3]!;
    this.options = options;
    this.#bytes = bytes;
    this.#tokenStart = tokenStart;
    this.#tokenEnd = tokenEnd;
    this.#payloadStart = payloadStart;
  }

  get token(): Uint8Array {
    return (this.#token ??= part(this.#bytes, this.#tokenStart, this.#tokenEnd));
  }

  get payload(): Uint8Array {
    return (this.#payload ??= part(this.#bytes, this.#payloadStart, this.#bytes.length));
  }
}

/** Its value is taken out when somebody looks at it: most are not looked at, and that costs most of a message. */
class ReceivedOption implements CoapOption {
  readonly number: number;
  readonly #bytes: Uint8Array;
  readonly #start: number;
  readonly #end: number;
  #value: Uint8Array | undefined;

  constructor(number: number, bytes: Uint8Array, start: number, end: number) {
    this.number = number;
    this.#bytes = bytes;
    this.#start = start;
    this.#end = end;
  }

  get value(): Uint8Array {
    return (this.#value ??= part(this.#bytes, this.#start, this.#end));
  }
}

function failure(reason: FormatReason, type?: MessageType, messageId?: number): Decoded {
  const header = type === undefined || messageId === undefined ? undefined : { type, messageId };
  return { ok: false, error: header === undefined ? { reason } : { reason, header } };
}

/** Reads options from `at` into `out`; returns the offset of the marker or of the end. */
function readOptions(bytes: Uint8Array, start: number, out: CoapOption[]): number | FormatReason {
  let at = start;
  let optionNumber = 0;
  while (at < bytes.length && bytes[at] !== 0xff) {
    const head = bytes[at++]!;
    let delta = head >> 4;
    let length = head & 15;
    if (delta === 15 || length === 15) return "bad-option-header";
    // Extended delta, then extended length (section 3.1). Reading past the end moves `at` past the
    // end too, which is refused below.
    if (delta === 13) delta = 13 + bytes[at++]!;
    else if (delta === 14) delta = 269 + ((bytes[at++]! << 8) | bytes[at++]!);
    if (length === 13) length = 13 + bytes[at++]!;
    else if (length === 14) length = 269 + ((bytes[at++]! << 8) | bytes[at++]!);
    optionNumber += delta;
    if (at > bytes.length || at + length > bytes.length) return "option-past-end";
    if (optionNumber > 65_535) return "option-number-overflow";
    if (out.length === COAP_LIMITS.maxOptions) return "too-many-options";
    out.push(new ReceivedOption(optionNumber, bytes, at, at + length));
    at += length;
  }
  return at;
}
