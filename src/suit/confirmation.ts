import type { Crypto } from "../ports/crypto.ts";
import { concatBytes, constantTimeEqual, utf8 } from "../util/bytes.ts";

/*
 * How a new image proves that it still reaches its gateway, until DTLS or OSCORE carries it: the device sends its key
 * identifier and a fresh nonce, and the gateway answers with a MAC under the device's own credential (RFC 8240 section 3:
 * an update has succeeded when the new image can reach the update server).
 */

export const CONFIRMATION = { path: ["c"], kidBytes: 8, nonceBytes: 8, macBytes: 16 } as const;

const LABEL = utf8("blockferry confirm");

export function confirmationRequest(kid: Uint8Array, nonce: Uint8Array): Uint8Array {
  return concatBytes(kid, nonce);
}

export function readConfirmationRequest(
  payload: Uint8Array,
): { readonly kid: Uint8Array; readonly nonce: Uint8Array } | undefined {
  const { kidBytes, nonceBytes } = CONFIRMATION;
  if (payload.length !== kidBytes + nonceBytes) return undefined;
  return { kid: payload.slice(0, kidBytes), nonce: payload.slice(kidBytes) };
}

export function confirmationAnswer(crypto: Crypto, key: Uint8Array, kid: Uint8Array, nonce: Uint8Array): Uint8Array {
  return crypto.hmacSha256(key, concatBytes(LABEL, kid, nonce)).slice(0, CONFIRMATION.macBytes);
}

export function isConfirmation(
  crypto: Crypto,
  key: Uint8Array,
  kid: Uint8Array,
  nonce: Uint8Array,
  answer: Uint8Array,
): boolean {
  return constantTimeEqual(confirmationAnswer(crypto, key, kid, nonce), answer);
}
