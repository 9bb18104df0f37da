import type { Crypto, PrivateKey, PublicKey, SignatureAlgorithm } from "../ports/crypto.ts";
import { bytesEqual, constantTimeEqual } from "../util/bytes.ts";
import { encodeCbor, decodeCbor, isArray, isBytes, isMap, tagged, type CborMap, type CborValue } from "./cbor.ts";
import { verifyHss } from "./hss-lms.ts";

/** COSE message tags (RFC 9052 table 1). */
export const CoseTag = { MAC0: 17, SIGN1: 18, MAC: 97, SIGN: 98 } as const;

/** COSE algorithms (RFC 9053, RFC 9864): the fully-specified ones and the older polymorphic pair. */
export const CoseAlgorithm = { HMAC_256: 5, ES256: -7, EDDSA: -8, ESP256: -9, ED25519: -19, HSS_LMS: -46 } as const;

const SIGNATURE_ALGORITHMS: ReadonlyMap<number, SignatureAlgorithm | "HSS-LMS"> = new Map<
  number,
  SignatureAlgorithm | "HSS-LMS"
>([
  [CoseAlgorithm.ES256, "ES256"],
  [CoseAlgorithm.ESP256, "ES256"],
  [CoseAlgorithm.EDDSA, "Ed25519"],
  [CoseAlgorithm.ED25519, "Ed25519"],
  [CoseAlgorithm.HSS_LMS, "HSS-LMS"],
]);

const HEADER_ALGORITHM = 1;
const HEADER_CRITICAL = 2;
const HEADER_KEY_ID = 4;
const EMPTY = new Uint8Array(0);

/** A key that may authenticate: a signer's public key (that of HSS-LMS as RFC 8554 has it), or a secret shared with one device. */
export type Verifier =
  | PublicKey
  | { readonly algorithm: "HMAC-256"; readonly bytes: Uint8Array }
  | { readonly algorithm: "HSS-LMS"; readonly bytes: Uint8Array };

export type CoseResult =
  | { readonly ok: true; readonly keys: readonly Verifier[] }
  | { readonly ok: false; readonly reason: "malformed" | "algorithm-unsupported" | "no-key-matches" };

/**
 * Checks a COSE_Sign1, COSE_Sign, COSE_Mac0 or COSE_Mac with detached payload against each key that fits its algorithm
 * (RFC 9052 sections 4.4 and 6.3). `block` is the item inside the tag. The keys are those that made it.
 */
export function verifyDetached(
  crypto: Crypto,
  tag: number,
  block: CborValue,
  payload: Uint8Array,
  keys: readonly Verifier[],
): CoseResult {
  const isMac = tag === CoseTag.MAC0 || tag === CoseTag.MAC;
  const fields = tag === CoseTag.MAC ? 5 : 4;
  if (!isArray(block) || block.length !== fields) return MALFORMED;
  const [protectedBytes, unprotected, attached, authenticator] = block;
  if (!isBytes(protectedBytes) || !isMap(unprotected)) return MALFORMED;
  // The payload is detached (nil), or must be the very bytes that are authenticated.
  if (attached !== null && !(isBytes(attached) && bytesEqual(attached, payload))) return MALFORMED;
  if (tag === CoseTag.SIGN) return verifyMany(crypto, protectedBytes, authenticator!, payload, keys);
  if (!isBytes(authenticator)) return MALFORMED;
  const context = tag === CoseTag.MAC ? "MAC" : isMac ? "MAC0" : "Signature1";
  const toBeChecked = encodeCbor([context, authenticated(protectedBytes), EMPTY, payload]);
  return verifyOne(crypto, isMac, protectedBytes, toBeChecked, authenticator, keys);
}

/** A tagged COSE_Sign1 over a payload that goes along, with the older EdDSA identifier that RIOT's tools write. */
export function signAttached(crypto: Crypto, key: PrivateKey, payload: Uint8Array): Uint8Array {
  const algorithm = key.algorithm === "ES256" ? CoseAlgorithm.ES256 : CoseAlgorithm.EDDSA;
  const protectedBytes = encodeCbor(new Map([[HEADER_ALGORITHM, algorithm]]));
  const signature = crypto.sign(key, encodeCbor(["Signature1", protectedBytes, EMPTY, payload]));
  return encodeCbor(tagged(CoseTag.SIGN1, [protectedBytes, new Map(), payload, signature]));
}

/** The name of the key that a COSE structure says it is made with: a hint, which nothing authenticates. */
export function keyIdOf(block: CborValue): Uint8Array | undefined {
  const header = isArray(block) ? block[1] : undefined;
  const kid = isMap(header) ? header.get(HEADER_KEY_ID) : undefined;
  return isBytes(kid) ? kid : undefined;
}

/** The payload that goes along in a COSE_Sign1 or COSE_Mac0 by one of `keys`; undefined when it is by none. */
export function verifyAttached(
  crypto: Crypto,
  tag: number,
  block: CborValue,
  keys: readonly Verifier[],
): Uint8Array | undefined {
  const payload = isArray(block) ? block[2] : undefined;
  if (!isBytes(payload) || (tag !== CoseTag.SIGN1 && tag !== CoseTag.MAC0)) return undefined;
  return verifyDetached(crypto, tag, block, payload, keys).ok ? payload : undefined;
}

export const isSameKey = (a: Verifier, b: Verifier): boolean =>
  a.algorithm === b.algorithm && bytesEqual(a.bytes, b.bytes);

/** Adds what is not there yet: a key that signs twice is still one. */
export function addKeys(to: Verifier[], keys: readonly Verifier[]): void {
  for (const key of keys) if (!to.some((other) => isSameKey(other, key))) to.push(key);
}

/** RFC 9052 section 4.4: an empty header is authenticated as no bytes, however it came. */
const authenticated = (header: Uint8Array): Uint8Array => (header.length === 1 && header[0] === 0xa0 ? EMPTY : header);

const MALFORMED: CoseResult = { ok: false, reason: "malformed" };
const MAX_SIGNATURES = 8;

/** Each signature of a COSE_Sign; those of keys that are not trusted here do not matter. */
function verifyMany(
  crypto: Crypto,
  bodyProtected: Uint8Array,
  signatures: CborValue,
  payload: Uint8Array,
  keys: readonly Verifier[],
): CoseResult {
  if (!isArray(signatures) || signatures.length === 0 || signatures.length > MAX_SIGNATURES) return MALFORMED;
  if (readHeader(bodyProtected) === undefined) return MALFORMED;
  const good: Verifier[] = [];
  let worst: CoseResult = { ok: false, reason: "no-key-matches" };
  for (const entry of signatures) {
    if (!isArray(entry) || entry.length !== 3) return MALFORMED;
    const [protectedBytes, unprotected, signature] = entry;
    if (!isBytes(protectedBytes) || !isMap(unprotected) || !isBytes(signature)) return MALFORMED;
    const toBeChecked = encodeCbor([
      "Signature",
      authenticated(bodyProtected),
      authenticated(protectedBytes),
      EMPTY,
      payload,
    ]);
    const result = verifyOne(crypto, false, protectedBytes, toBeChecked, signature, keys);
    if (result.ok) addKeys(good, result.keys);
    else worst = result;
  }
  return good.length > 0 ? { ok: true, keys: good } : worst;
}

function verifyOne(
  crypto: Crypto,
  isMac: boolean,
  protectedBytes: Uint8Array,
  toBeChecked: Uint8Array,
  authenticator: Uint8Array,
  keys: readonly Verifier[],
): CoseResult {
  const algorithm = readAlgorithm(protectedBytes);
  if (algorithm === undefined) return MALFORMED;
  const kind = isMac ? macOf(algorithm) : SIGNATURE_ALGORITHMS.get(algorithm);
  if (kind === undefined) return { ok: false, reason: "algorithm-unsupported" };
  for (const key of keys)
    if (key.algorithm === kind && isGood(crypto, key, toBeChecked, authenticator)) return { ok: true, keys: [key] };
  return { ok: false, reason: "no-key-matches" };
}

const macOf = (algorithm: number): "HMAC-256" | undefined =>
  algorithm === CoseAlgorithm.HMAC_256 ? "HMAC-256" : undefined;

function isGood(crypto: Crypto, key: Verifier, bytes: Uint8Array, authenticator: Uint8Array): boolean {
  if (key.algorithm === "HMAC-256") return constantTimeEqual(crypto.hmacSha256(key.bytes, bytes), authenticator);
  if (key.algorithm === "HSS-LMS") return verifyHss(crypto, key.bytes, bytes, authenticator);
  return crypto.verify(key, bytes, authenticator);
}

/** A tagged COSE_Sign1 over a detached payload, with the fully-specified algorithm identifier. */
export function signDetached(crypto: Crypto, key: PrivateKey, payload: Uint8Array): Uint8Array {
  const protectedBytes = encodeCbor(new Map([[HEADER_ALGORITHM, algorithmOf(key.algorithm)]]));
  const signature = crypto.sign(key, encodeCbor(["Signature1", protectedBytes, EMPTY, payload]));
  return encodeCbor(tagged(CoseTag.SIGN1, [protectedBytes, new Map(), null, signature]));
}

/** Signs or authenticates a payload that goes along (RFC 9052 sections 4.2 and 6.2): what a mote's report is in. */
export function protectPayload(
  crypto: Crypto,
  key: PrivateKey | (Verifier & { algorithm: "HMAC-256" }),
  payload: Uint8Array,
  kid?: Uint8Array,
): Uint8Array {
  const isMac = key.algorithm === "HMAC-256";
  const algorithm = isMac ? CoseAlgorithm.HMAC_256 : algorithmOf(key.algorithm);
  const protectedBytes = encodeCbor(new Map([[HEADER_ALGORITHM, algorithm]]));
  const header = new Map<CborValue, CborValue>(kid === undefined ? [] : [[HEADER_KEY_ID, kid]]);
  const bytes = encodeCbor([isMac ? "MAC0" : "Signature1", protectedBytes, EMPTY, payload]);
  const authenticator = isMac ? crypto.hmacSha256(key.bytes, bytes) : crypto.sign(key, bytes);
  return encodeCbor(tagged(isMac ? CoseTag.MAC0 : CoseTag.SIGN1, [protectedBytes, header, payload, authenticator]));
}

const algorithmOf = (algorithm: SignatureAlgorithm): number =>
  algorithm === "ES256" ? CoseAlgorithm.ESP256 : CoseAlgorithm.ED25519;

/** A protected header; undefined when it is malformed or has `crit` (RFC 9052 section 3.1). */
function readHeader(bytes: Uint8Array): CborMap | undefined {
  if (bytes.length === 0) return new Map();
  try {
    const header = decodeCbor(bytes, undefined, "any");
    return isMap(header) && !header.has(HEADER_CRITICAL) ? header : undefined;
  } catch {
    return undefined;
  }
}

function readAlgorithm(protectedBytes: Uint8Array): number | undefined {
  const algorithm = readHeader(protectedBytes)?.get(HEADER_ALGORITHM);
  return typeof algorithm === "number" ? algorithm : undefined;
}
