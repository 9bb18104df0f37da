import { decodeCbor, encodeCbor, isArray, isBytes, isUint, type CborValue } from "../codec/cbor.ts";
import { CoseTag, protectPayload, verifyAttached, type Verifier } from "../codec/cose.ts";
import { Tag } from "cbor-x";
import type { Crypto, PrivateKey } from "../ports/crypto.ts";
import { bytesEqual, concatBytes } from "../util/bytes.ts";
import { DigestAlgorithm } from "./keys.ts";

/**
 * Digests of an image's sectors, signed by the image's author, beside the manifest: a forged or corrupt block costs at
 * most one sector (RFC 9124, REQ.USE.MFST.PRE_CHECK). It is bound to the image by its digest, so it fits any dialect.
 */
export interface SectorTable {
  readonly imageDigest: Uint8Array;
  readonly imageSize: number;
  readonly sectorBytes: number;
  /** SHA-256 of each sector; the last one may be shorter. */
  readonly digests: readonly Uint8Array[];
}

export const SECTOR_LIMITS = { leastSectorBytes: 256, mostSectorBytes: 65_536, maxBytes: 65_536 } as const;

const TABLE_VERSION = 1;
const DIGEST_BYTES = 32;

/** Builds and signs the table of an image. */
export function signSectorTable(crypto: Crypto, key: PrivateKey, image: Uint8Array, sectorBytes: number): Uint8Array {
  const digests: Uint8Array[] = [];
  for (let at = 0; at < image.length; at += sectorBytes)
    digests.push(crypto.sha256(image.subarray(at, at + sectorBytes)));
  const payload: CborValue = [
    TABLE_VERSION,
    crypto.sha256(image),
    image.length,
    sectorBytes,
    DigestAlgorithm.SHA_256,
    concatBytes(...digests),
  ];
  return protectPayload(crypto, key, encodeCbor(payload));
}

export type SectorTableResult =
  | { readonly ok: true; readonly table: SectorTable }
  | { readonly ok: false; readonly reason: "malformed" | "too-large" | "not-authentic" | "other-image" };

/** Opens a table that one of `keys` signed for this image; nothing is read before the signature holds. */
export function openSectorTable(
  crypto: Crypto,
  bytes: Uint8Array,
  keys: readonly Verifier[],
  image: { readonly digest: Uint8Array; readonly size: number },
): SectorTableResult {
  if (bytes.length > SECTOR_LIMITS.maxBytes) return { ok: false, reason: "too-large" };
  const block = decoded(bytes, new Set<number>([CoseTag.SIGN1]));
  if (!(block instanceof Tag)) return { ok: false, reason: "malformed" };
  const payload = verifyAttached(crypto, block.tag, block.value as CborValue, keys);
  if (payload === undefined) return { ok: false, reason: "not-authentic" };
  const table = readTable(decoded(payload));
  if (table === undefined) return { ok: false, reason: "malformed" };
  if (!bytesEqual(table.imageDigest, image.digest) || table.imageSize !== image.size)
    return { ok: false, reason: "other-image" };
  return { ok: true, table };
}

function decoded(bytes: Uint8Array, tags?: ReadonlySet<number>): CborValue | undefined {
  try {
    return decodeCbor(bytes, tags);
  } catch {
    return undefined;
  }
}

function readTable(item: CborValue | undefined): SectorTable | undefined {
  if (!isArray(item) || item.length !== 6 || item[0] !== TABLE_VERSION || item[4] !== DigestAlgorithm.SHA_256)
    return undefined;
  const [, imageDigest, imageSize, sectorBytes, , all] = item;
  if (!isBytes(imageDigest) || imageDigest.length !== DIGEST_BYTES || !isBytes(all)) return undefined;
  if (!isUint(imageSize) || imageSize === 0 || !isUint(sectorBytes)) return undefined;
  if (sectorBytes < SECTOR_LIMITS.leastSectorBytes || sectorBytes > SECTOR_LIMITS.mostSectorBytes) return undefined;
  const count = Math.ceil(imageSize / sectorBytes);
  if (all.length !== count * DIGEST_BYTES) return undefined;
  const digests = Array.from({ length: count }, (_, i) => all.subarray(i * DIGEST_BYTES, (i + 1) * DIGEST_BYTES));
  return { imageDigest, imageSize, sectorBytes, digests };
}

/** Offset and length of a sector. */
export function sectorRange(
  { imageSize, sectorBytes }: SectorTable,
  index: number,
): { readonly start: number; readonly end: number } {
  const start = index * sectorBytes;
  return { start, end: Math.min(start + sectorBytes, imageSize) };
}

/** Whether these bytes are the sector `index` of the image. */
export function isSector(crypto: Crypto, table: SectorTable, index: number, bytes: Uint8Array): boolean {
  const digest = table.digests[index];
  return digest !== undefined && bytesEqual(crypto.sha256(bytes), digest);
}

/** The first sector that is not the image's; undefined when all are. */
export function firstWrongSector(crypto: Crypto, table: SectorTable, image: Uint8Array): number | undefined {
  if (image.length !== table.imageSize) return 0;
  const wrong = table.digests.findIndex((_, index) => {
    const { start, end } = sectorRange(table, index);
    return !isSector(crypto, table, index, image.subarray(start, end));
  });
  return wrong === -1 ? undefined : wrong;
}
