import type { Crypto, PrivateKey, PublicKey, SignatureAlgorithm } from "../ports/crypto.ts";
import { bytesEqual, constantTimeEqual } from "../util/bytes.ts";
import { encodeCbor, decodeCbor, isArray, isBytes, isMap, tagged, type CborValue } from "./cbor.ts";

/** COSE message tags (RFC 9052 table 1). */
export const CoseTag = { MAC0: 17, SIGN1: 18, MAC: 97, SIGN: 98 } as const;

/** COSE algorithms (RFC 9053, RFC 9864): the fully-specified ones and the older polymorphic pair. */
export const CoseAlgorithm = { HMAC_256: 5, ES256: -7, EDDSA: -8, ESP256: -9, ED25519: -19 } as const;

const SIGNATURE_ALGORITHMS: ReadonlyMap<number, SignatureAlgorithm> = new Map([
  [CoseAlgorithm.ES256, "ES256"],
  [CoseAlgorithm.ESP256, "ES256"],
  [CoseAlgorithm.EDDSA, "Ed25519"],
  [CoseAlgorithm.ED25519, "Ed25519"],
]);

const HEADER_ALGORITHM = 1;
const HEADER_CRITICAL = 2;
const EMPTY = new Uint8Array(0);

/** A key that may authenticate: a signer's public key, or a secret shared with one device. */
export type Verifier = PublicKey | { readonly algorithm: "HMAC-256"; readonly bytes: Uint8Array };

export type CoseResult =
  | { readonly ok: true; readonly key: Verifier }
  | { readonly ok: false; readonly reason: "malformed" | "algorithm-unsupported" | "no-key-matches" };

/**
 * Checks a COSE_Sign1 or COSE_Mac0 with detached payload against each key that fits its algorithm
 * (RFC 9052 sections 4.4 and 6.3). `block` is the item inside the tag.
 */
export function verifyDetached(
  crypto: Crypto,
  tag: number,
  block: CborValue,
  payload: Uint8Array,
  keys: readonly Verifier[],
): CoseResult {
  if (!isArray(block) || block.length !== 4) return { ok: false, reason: "malformed" };
  const [protectedBytes, unprotected, attached, authenticator] = block;
  if (!isBytes(protectedBytes) || !isMap(unprotected) || !isBytes(authenticator))
    return { ok: false, reason: "malformed" };
  // The payload is detached (nil), or must be the very bytes that are authenticated.
  if (attached !== null && !(isBytes(attached) && bytesEqual(attached, payload)))
    return { ok: false, reason: "malformed" };
  const algorithm = readAlgorithm(protectedBytes);
  if (algorithm === undefined) return { ok: false, reason: "malformed" };
  const isMac = tag === CoseTag.MAC0;
  const kind = isMac
    ? algorithm === CoseAlgorithm.HMAC_256
      ? "HMAC-256"
      : undefined
    : SIGNATURE_ALGORITHMS.get(algorithm);
  if (kind === undefined || (!isMac && tag !== CoseTag.SIGN1)) return { ok: false, reason: "algorithm-unsupported" };
  const toBeChecked = encodeCbor([isMac ? "MAC0" : "Signature1", protectedBytes, EMPTY, payload]);
  for (const key of keys) {
    if (key.algorithm !== kind) continue;
    const good =
      key.algorithm === "HMAC-256"
        ? constantTimeEqual(crypto.hmacSha256(key.bytes, toBeChecked), authenticator)
        : crypto.verify(key, toBeChecked, authenticator);
    if (good) return { ok: true, key };
  }
  return { ok: false, reason: "no-key-matches" };
}

/** A tagged COSE_Sign1 over a detached payload, with the fully-specified algorithm identifier. */
export function signDetached(crypto: Crypto, key: PrivateKey, payload: Uint8Array): Uint8Array {
  const algorithm = key.algorithm === "ES256" ? CoseAlgorithm.ESP256 : CoseAlgorithm.ED25519;
  const protectedBytes = encodeCbor(new Map([[HEADER_ALGORITHM, algorithm]]));
  const signature = crypto.sign(key, encodeCbor(["Signature1", protectedBytes, EMPTY, payload]));
  return encodeCbor(tagged(CoseTag.SIGN1, [protectedBytes, new Map(), null, signature]));
}

/** The algorithm of a protected header; undefined when it is malformed or has `crit` (RFC 9052 section 3.1). */
function readAlgorithm(protectedBytes: Uint8Array): number | undefined {
  let header: CborValue;
  try {
    header = decodeCbor(protectedBytes);
  } catch {
    return undefined;
  }
  if (!isMap(header) || header.has(HEADER_CRITICAL)) return undefined;
  const algorithm = header.get(HEADER_ALGORITHM);
  return typeof algorithm === "number" ? algorithm : undefined;
}
