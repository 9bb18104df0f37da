import type { Crypto } from "../ports/crypto.ts";
import { bytesEqual, concatBytes } from "../util/bytes.ts";

/*
 * Verification of HSS/LMS signatures with SHA-256 (RFC 8554; in COSE RFC 8778). Signing has state that must never be
 * used twice, so it is left to the author's own tool.
 */

interface LmsType {
  readonly bytes: number;
  readonly height: number;
}
interface OtsType {
  readonly bytes: number;
  readonly width: number;
  readonly chains: number;
  readonly shift: number;
}

/** RFC 8554 table 2; n = m = 32. */
const LMS_TYPES: ReadonlyMap<number, LmsType> = new Map(
  [5, 10, 15, 20, 25].map((height, i) => [5 + i, { bytes: 32, height }]),
);
/** RFC 8554 table 1. */
const OTS_TYPES: ReadonlyMap<number, OtsType> = new Map([
  [1, { bytes: 32, width: 1, chains: 265, shift: 7 }],
  [2, { bytes: 32, width: 2, chains: 133, shift: 6 }],
  [3, { bytes: 32, width: 4, chains: 67, shift: 4 }],
  [4, { bytes: 32, width: 8, chains: 34, shift: 0 }],
]);
const D_PBLC = 0x8080;
const D_MESG = 0x8181;
const D_LEAF = 0x8282;
const D_INTR = 0x8383;
const MAX_LEVELS = 8;

/** Reads from front to back; what is too short is told once, at the end. */
class Reader {
  #at = 0;
  #short = false;
  readonly #bytes: Uint8Array;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  take(length: number): Uint8Array {
    const part = this.#bytes.subarray(this.#at, this.#at + length);
    this.#short ||= part.length < length;
    this.#at += length;
    return part;
  }

  u32(): number {
    const part = this.take(4);
    return part.length < 4 ? -1 : new DataView(part.buffer, part.byteOffset).getUint32(0);
  }

  get at(): number {
    return this.#at;
  }

  get isShort(): boolean {
    return this.#short;
  }

  get isAtEnd(): boolean {
    return !this.#short && this.#at === this.#bytes.length;
  }
}

/** Whether an HSS signature over `message` is by `publicKey` (RFC 8554 section 6.3); false for all that is malformed. */
export function verifyHss(crypto: Crypto, publicKey: Uint8Array, message: Uint8Array, signature: Uint8Array): boolean {
  const key = new Reader(publicKey);
  const levels = key.u32();
  const reader = new Reader(signature);
  if (levels < 1 || levels > MAX_LEVELS || reader.u32() !== levels - 1) return false;
  let current = publicKey.subarray(4);
  for (let level = 1; level < levels; level++) {
    const one = takeLmsSignature(reader);
    const next = one === undefined ? undefined : takeLmsKey(reader);
    if (one === undefined || next === undefined || !verifyLms(crypto, current, next, one)) return false;
    current = next;
  }
  const last = takeLmsSignature(reader);
  return last !== undefined && reader.isAtEnd && verifyLms(crypto, current, message, last);
}

interface LmsSignature {
  readonly leaf: number;
  readonly ots: OtsType;
  readonly otsNumber: number;
  readonly randomizer: Uint8Array;
  readonly chains: Uint8Array;
  readonly lmsNumber: number;
  readonly path: Uint8Array;
}

function takeLmsSignature(reader: Reader): LmsSignature | undefined {
  const leaf = reader.u32();
  const otsNumber = reader.u32();
  const ots = OTS_TYPES.get(otsNumber);
  if (ots === undefined) return undefined;
  const randomizer = reader.take(ots.bytes);
  const chains = reader.take(ots.chains * ots.bytes);
  const lmsNumber = reader.u32();
  const lms = LMS_TYPES.get(lmsNumber);
  if (lms === undefined || leaf < 0 || leaf >= 2 ** lms.height) return undefined;
  const path = reader.take(lms.height * lms.bytes);
  return reader.isShort ? undefined : { leaf, ots, otsNumber, randomizer, chains, lmsNumber, path };
}

/** An LMS public key: two type numbers, an identifier of 16 bytes and the root. */
function takeLmsKey(reader: Reader): Uint8Array | undefined {
  const key = reader.take(8 + 16 + 32);
  return reader.isShort ? undefined : key;
}

const u32 = (value: number): Uint8Array => Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value);
const u16 = (value: number): Uint8Array => Uint8Array.of(value >>> 8, value);

/** RFC 8554 algorithm 6a: the root that a signature leads to is the key's. */
function verifyLms(crypto: Crypto, key: Uint8Array, message: Uint8Array, signature: LmsSignature): boolean {
  const reader = new Reader(key);
  const [lmsNumber, otsNumber] = [reader.u32(), reader.u32()];
  const identifier = reader.take(16);
  const root = reader.take(32);
  const lms = LMS_TYPES.get(lmsNumber);
  if (lms === undefined || !reader.isAtEnd) return false;
  if (lmsNumber !== signature.lmsNumber || otsNumber !== signature.otsNumber) return false;
  const { leaf, path } = signature;
  const candidate = otsCandidate(crypto, identifier, leaf, message, signature);
  let node = 2 ** lms.height + leaf;
  let value = crypto.sha256(concatBytes(identifier, u32(node), u16(D_LEAF), candidate));
  for (let level = 0; level < lms.height; level++) {
    const sibling = path.subarray(level * lms.bytes, (level + 1) * lms.bytes);
    const pair = node % 2 === 1 ? [sibling, value] : [value, sibling];
    node = Math.floor(node / 2);
    value = crypto.sha256(concatBytes(identifier, u32(node), u16(D_INTR), ...pair));
  }
  return bytesEqual(value, root);
}

/** RFC 8554 algorithm 4b. */
function otsCandidate(
  crypto: Crypto,
  identifier: Uint8Array,
  leaf: number,
  message: Uint8Array,
  { ots, randomizer, chains }: LmsSignature,
): Uint8Array {
  const { width, bytes, shift } = ots;
  const digest = crypto.sha256(concatBytes(identifier, u32(leaf), u16(D_MESG), randomizer, message));
  const most = 2 ** width - 1;
  const digits = (source: Uint8Array, i: number): number =>
    (source[Math.floor((i * width) / 8)]! >> (8 - width - ((i * width) % 8))) & most;
  let checksum = 0;
  for (let i = 0; i < (bytes * 8) / width; i++) checksum += most - digits(digest, i);
  const checked = concatBytes(digest, u16((checksum << shift) & 0xffff));
  const ends: Uint8Array[] = [];
  for (let i = 0; i < ots.chains; i++) {
    let value = chains.subarray(i * bytes, (i + 1) * bytes);
    for (let step = digits(checked, i); step < most; step++)
      value = crypto.sha256(concatBytes(identifier, u32(leaf), u16(i), Uint8Array.of(step), value));
    ends.push(value);
  }
  return crypto.sha256(concatBytes(identifier, u32(leaf), u16(D_PBLC), ...ends));
}
