import { Tag } from "cbor-x";
import {
  decodeCbor,
  encodeCbor,
  isArray,
  isBytes,
  isMap,
  tagged,
  type CborMap,
  type CborValue,
} from "../codec/cbor.ts";
import type { Cipher, ContentCipher, EcdhKey } from "../ports/cipher.ts";
import { bytesEqual, concatBytes, utf8 } from "../util/bytes.ts";

/** COSE algorithms of draft-ietf-suit-firmware-encryption and -mti (RFC 9053, RFC 9459). */
const CONTENT: ReadonlyMap<CborValue, ContentCipher> = new Map<CborValue, ContentCipher>([
  [1, "A128GCM"],
  [2, "A192GCM"],
  [3, "A256GCM"],
  [-65_534, "A128CTR"],
  [-65_533, "A192CTR"],
  [-65_532, "A256CTR"],
]);
const Wrap = { A128KW: -3, A192KW: -4, A256KW: -5, ECDH_ES_A128KW: -29 } as const;
const KEK_BYTES: ReadonlyMap<CborValue, number> = new Map<CborValue, number>([
  [Wrap.A128KW, 16],
  [Wrap.A192KW, 24],
  [Wrap.A256KW, 32],
]);

const Header = { ALGORITHM: 1, CRITICAL: 2, KEY_ID: 4, IV: 5, EPHEMERAL: -1, SALT: -20 } as const;
const CoseKey = { TYPE: 1, CURVE: -1, X: -2, Y: -3 } as const;
const COSE_ENCRYPT = 96;
const EMPTY = new Uint8Array(0);
const MAX_RECIPIENTS = 64;

/** A key of the device that decrypts: one that is shared with the distributor, or its own P-256 key. */
export interface DecryptionKey {
  /** Key identifier that a recipient structure may name; absent: tried wherever it fits. */
  readonly kid?: Uint8Array | undefined;
  readonly kek?: Uint8Array | undefined;
  readonly ecdh?: EcdhKey | undefined;
}

export type Decrypted =
  | { readonly ok: true; readonly plaintext: Uint8Array }
  | { readonly ok: false; readonly detail: string };

const refuse = (detail: string): Decrypted & { ok: false } => ({ ok: false, detail });

/** Opens SUIT_Encryption_Info with the first recipient that one of `keys` fits, and decrypts the detached payload. */
export function decryptPayload(
  cipher: Cipher,
  info: Uint8Array,
  ciphertext: Uint8Array,
  keys: readonly DecryptionKey[],
): Decrypted {
  const parts = readEncrypt(info);
  if (typeof parts === "string") return refuse(parts);
  const cek = contentKey(cipher, parts.recipients, keys);
  if (cek === undefined) return refuse("no recipient of the encryption info is this device");
  const { algorithm, iv, aad } = parts;
  if (cek.length * 8 !== Number(algorithm.slice(1, 4))) return refuse("the content key has the wrong length");
  const plaintext = cipher.decrypt(algorithm, cek, iv, aad, ciphertext);
  return plaintext === undefined ? refuse("the payload does not authenticate") : { ok: true, plaintext };
}

interface EncryptParts {
  readonly algorithm: ContentCipher;
  readonly iv: Uint8Array;
  readonly aad: Uint8Array;
  readonly recipients: readonly CborValue[];
}

function readEncrypt(info: Uint8Array): EncryptParts | string {
  let item: CborValue;
  try {
    item = decodeCbor(info, new Set([COSE_ENCRYPT]), "any");
  } catch (error) {
    return `the encryption info is no CBOR: ${(error as Error).message}`;
  }
  const body = item instanceof Tag ? (item.value as CborValue) : undefined;
  if (!isArray(body) || body.length !== 4) return "the encryption info is no COSE_Encrypt";
  const [protectedBytes, unprotected, attached, recipients] = body;
  const header = isBytes(protectedBytes) ? headerOf(protectedBytes) : undefined;
  if (header === undefined || !isMap(unprotected) || attached !== null || !isArray(recipients))
    return "the encryption info is no COSE_Encrypt with a detached payload";
  if (recipients.length > MAX_RECIPIENTS) return `more than ${MAX_RECIPIENTS} recipients`;
  const value = (label: number): CborValue | undefined => header.get(label) ?? unprotected.get(label);
  const algorithm = CONTENT.get(value(Header.ALGORITHM) ?? null);
  if (algorithm === undefined) return "the content encryption algorithm is not supported";
  // AEADs have their algorithm authenticated; a cipher that authenticates nothing must not claim to (RFC 9459 section 6).
  const isAead = algorithm.endsWith("GCM");
  if (isAead !== header.has(Header.ALGORITHM) || (!isAead && header.size > 0))
    return "the protected header does not go with the algorithm";
  const iv = value(Header.IV);
  if (!isBytes(iv) || iv.length !== (isAead ? 12 : 16)) return "the initialisation vector has the wrong length";
  return { algorithm, iv, aad: encodeCbor(["Encrypt", protectedBytes as Uint8Array, EMPTY]), recipients };
}

/** An empty byte string is an empty map (RFC 9052 section 3). */
function headerOf(bytes: Uint8Array): CborMap | undefined {
  if (bytes.length === 0) return new Map();
  try {
    const header = decodeCbor(bytes, undefined, "any");
    return isMap(header) && !header.has(Header.CRITICAL) ? header : undefined;
  } catch {
    return undefined;
  }
}

function contentKey(
  cipher: Cipher,
  recipients: readonly CborValue[],
  keys: readonly DecryptionKey[],
): Uint8Array | undefined {
  for (const recipient of recipients) {
    if (!isArray(recipient) || recipient.length !== 3) continue;
    const [protectedBytes, unprotected, wrapped] = recipient;
    if (!isBytes(protectedBytes) || !isMap(unprotected) || !isBytes(wrapped)) continue;
    const kid = unprotected.get(Header.KEY_ID);
    for (const key of keys) {
      if (isBytes(kid) && key.kid !== undefined && !bytesEqual(kid, key.kid)) continue;
      const kek = keyEncryptionKey(cipher, protectedBytes, unprotected, key);
      const cek = kek === undefined ? undefined : cipher.unwrapKey(kek, wrapped);
      if (cek !== undefined) return cek;
    }
  }
  return undefined;
}

function keyEncryptionKey(
  cipher: Cipher,
  protectedBytes: Uint8Array,
  unprotected: CborMap,
  { kek, ecdh }: DecryptionKey,
): Uint8Array | undefined {
  const header = headerOf(protectedBytes);
  if (header === undefined) return undefined;
  const algorithm = header.get(Header.ALGORITHM) ?? unprotected.get(Header.ALGORITHM) ?? null;
  if (algorithm !== Wrap.ECDH_ES_A128KW) return kek?.length === KEK_BYTES.get(algorithm) ? kek : undefined;
  const point = pointOf(header.get(Header.EPHEMERAL) ?? unprotected.get(Header.EPHEMERAL));
  const secret = ecdh === undefined || point === undefined ? undefined : cipher.agree(ecdh, point);
  if (secret === undefined) return undefined;
  const salt = unprotected.get(Header.SALT);
  return cipher.hkdf(secret, isBytes(salt) ? salt : EMPTY, kdfContext(protectedBytes), 16);
}

/** COSE_KDF_Context as the draft's section 6.2.4 has it. */
function kdfContext(recipientProtected: Uint8Array): Uint8Array {
  const nobody: CborValue = [null, null, null];
  const supplement: CborValue = [128, recipientProtected, utf8("SUIT Payload Encryption")];
  return encodeCbor([Wrap.A128KW, nobody, nobody, supplement]);
}

function pointOf(value: CborValue | undefined): Uint8Array | undefined {
  if (!isMap(value) || value.get(CoseKey.TYPE) !== 2 || value.get(CoseKey.CURVE) !== 1) return undefined;
  const [x, y] = [value.get(CoseKey.X), value.get(CoseKey.Y)];
  if (!isBytes(x) || x.length !== 32) return undefined;
  if (isBytes(y) && y.length === 32) return concatBytes(Uint8Array.of(4), x, y);
  return typeof y === "boolean" ? concatBytes(Uint8Array.of(y ? 3 : 2), x) : undefined;
}

/** Who is to decrypt: by a shared key, or by a public P-256 point (uncompressed, 65 bytes). */
export type Recipient =
  | { readonly kid: Uint8Array; readonly kek: Uint8Array }
  | { readonly kid: Uint8Array; readonly publicPoint: Uint8Array };

/** What an author brings that must never be used twice: a content key, an IV and an ephemeral key. */
export interface EncryptionSecrets {
  readonly cek: Uint8Array;
  readonly iv: Uint8Array;
  readonly ephemeral: EcdhKey;
}

/** Encrypts a payload once for all recipients; the info goes into the manifest, the ciphertext to the gateway. */
export function encryptPayload(
  cipher: Cipher,
  algorithm: "A128GCM" | "A128CTR",
  plaintext: Uint8Array,
  recipients: readonly Recipient[],
  { cek, iv, ephemeral }: EncryptionSecrets,
): { readonly info: Uint8Array; readonly ciphertext: Uint8Array } {
  const number = algorithm === "A128GCM" ? 1 : -65_534;
  const isAead = algorithm === "A128GCM";
  const protectedBytes = isAead ? encodeCbor(new Map([[Header.ALGORITHM, number]])) : EMPTY;
  const unprotected = new Map<CborValue, CborValue>([[Header.IV, iv]]);
  if (!isAead) unprotected.set(Header.ALGORITHM, number);
  const aad = encodeCbor(["Encrypt", protectedBytes, EMPTY]);
  const ciphertext = cipher.encrypt(algorithm, cek, iv, aad, plaintext);
  const entries = recipients.map((recipient) => recipientOf(cipher, recipient, cek, ephemeral));
  return { info: encodeCbor(tagged(COSE_ENCRYPT, [protectedBytes, unprotected, null, entries])), ciphertext };
}

function recipientOf(cipher: Cipher, recipient: Recipient, cek: Uint8Array, ephemeral: EcdhKey): CborValue {
  if ("kek" in recipient) {
    const algorithm =
      recipient.kek.length === 16 ? Wrap.A128KW : recipient.kek.length === 24 ? Wrap.A192KW : Wrap.A256KW;
    const header = new Map<CborValue, CborValue>([
      [Header.ALGORITHM, algorithm],
      [Header.KEY_ID, recipient.kid],
    ]);
    return [EMPTY, header, cipher.wrapKey(recipient.kek, cek)];
  }
  const protectedBytes = encodeCbor(new Map([[Header.ALGORITHM, Wrap.ECDH_ES_A128KW]]));
  const secret = cipher.agree(ephemeral, recipient.publicPoint);
  if (secret === undefined) throw new RangeError("a recipient's public key is no point of P-256");
  const kek = cipher.hkdf(secret, EMPTY, kdfContext(protectedBytes), 16);
  const { publicPoint: point } = ephemeral;
  const key = new Map<CborValue, CborValue>([
    [CoseKey.TYPE, 2],
    [CoseKey.CURVE, 1],
    [CoseKey.X, point.slice(1, 33)],
    [CoseKey.Y, point.slice(33, 65)],
  ]);
  const header = new Map<CborValue, CborValue>([
    [Header.KEY_ID, recipient.kid],
    [Header.EPHEMERAL, key],
  ]);
  return [protectedBytes, header, cipher.wrapKey(kek, cek)];
}
