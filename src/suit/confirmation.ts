import type { Crypto } from "../ports/crypto.ts";
import { concatBytes, constantTimeEqual, utf8 } from "../util/bytes.ts";

/*
 * How a new image proves that it still reaches its gateway, until DTLS or OSCORE carries it: the device sends its key
 * identifier, a fresh nonce and the sequence number that it runs under a MAC, and the gateway answers with another MAC
 * under the device's own credential (RFC 8240 section 3: an update has succeeded when the new image can reach the update server).
 */

export const CONFIRMATION = { path: ["c"], kidBytes: 8, nonceBytes: 8, macBytes: 16 } as const;

const LABEL = utf8("blockferry confirm");
const ASKED = utf8("blockferry confirm?");
const NUMBER_BYTES = 4;

export interface ConfirmationRequest {
  readonly kid: Uint8Array;
  readonly nonce: Uint8Array;
  readonly sequenceNumber: number;
}

/** What a device sends. */
export function encodeConfirmation(crypto: Crypto, key: Uint8Array, request: ConfirmationRequest): Uint8Array {
  const asked = encodeAsked(request);
  return concatBytes(asked, crypto.hmacSha256(key, concatBytes(ASKED, asked)).subarray(0, CONFIRMATION.macBytes));
}

/** Whether it was sent by who has the key. */
export function isConfirmationRequest(crypto: Crypto, key: Uint8Array, payload: Uint8Array): boolean {
  const asked = decodeConfirmation(payload);
  return asked !== undefined && constantTimeEqual(encodeConfirmation(crypto, key, asked), payload);
}

function encodeAsked({ kid, nonce, sequenceNumber }: ConfirmationRequest): Uint8Array {
  const number = new Uint8Array(NUMBER_BYTES);
  new DataView(number.buffer).setUint32(0, sequenceNumber >>> 0);
  return concatBytes(kid, nonce, number);
}

export function decodeConfirmation(payload: Uint8Array): ConfirmationRequest | undefined {
  const { kidBytes, nonceBytes, macBytes } = CONFIRMATION;
  if (payload.length !== kidBytes + nonceBytes + NUMBER_BYTES + macBytes) return undefined;
  const sequenceNumber = new DataView(payload.buffer, payload.byteOffset + kidBytes + nonceBytes).getUint32(0);
  return { kid: payload.slice(0, kidBytes), nonce: payload.slice(kidBytes, kidBytes + nonceBytes), sequenceNumber };
}

/** The MAC is over all that was asked, so an answer to another question is none to this one. */
export function confirmationAnswer(crypto: Crypto, key: Uint8Array, request: ConfirmationRequest): Uint8Array {
  return crypto.hmacSha256(key, concatBytes(LABEL, encodeAsked(request))).slice(0, CONFIRMATION.macBytes);
}

export function isConfirmation(
  crypto: Crypto,
  key: Uint8Array,
  request: ConfirmationRequest,
  answer: Uint8Array,
): boolean {
  return constantTimeEqual(confirmationAnswer(crypto, key, request), answer);
}
