import { decodeCbor, encodeCbor, isArray, isBytes, isUint, type CborValue } from "../codec/cbor.ts";
import type { StoreOp } from "../ports/store.ts";
import type { Release } from "../suit/release.ts";
import { bytesEqual, toHex } from "../util/bytes.ts";
import type { Refusal } from "../lifecycle/admission.ts";

export const FLOOR_PREFIX = "floor/";

interface Floor {
  readonly sequenceNumber: number;
  /** SHA-256 over the manifest that has it. */
  readonly manifestDigest: Uint8Array;
}

/**
 * The highest sequence number that a component of each class was offered (draft -37 section 6.3, RFC 9124
 * REQ.SEC.SEQUENCE). It stays when the release has gone: left out of a later one, withdrawn, damaged, or of an
 * authority that is none any more.
 */
export class Floors {
  readonly #floors = new Map<string, Floor>();

  get size(): number {
    return this.#floors.size;
  }

  /**
   * Why a release does not go on from here. The very manifest that stands at the floor may come back where it is on
   * offer no longer, signed by somebody else for instance.
   */
  refusalOf(release: Release, isOffered: boolean): Refusal | undefined {
    const { sequenceNumber, manifestDigest } = release;
    for (const key of floorKeys(release)) {
      const floor = this.#floors.get(key);
      if (floor === undefined || sequenceNumber > floor.sequenceNumber) continue;
      const detail = `sequence number ${sequenceNumber}; the class is at ${floor.sequenceNumber}`;
      if (sequenceNumber < floor.sequenceNumber) return { reason: "older-sequence-number", detail };
      if (isOffered || !bytesEqual(floor.manifestDigest, manifestDigest)) return { reason: "replayed", detail };
    }
    return undefined;
  }

  /** A release is on the disk. */
  raise(release: Release): void {
    for (const key of floorKeys(release)) this.#raise(key, release);
  }

  /** Entries that a release would add. */
  added(release: Release): number {
    return floorKeys(release).filter((key) => !this.#floors.has(key)).length;
  }

  /** The writes that make it last; they go with those of the release. What it replaces may be from before there were any. */
  ops(release: Release, replaced?: Release): StoreOp[] {
    const own = new Set(floorKeys(release));
    const left = replaced === undefined ? [] : floorKeys(replaced).filter((key) => !own.has(key));
    const entries = [...own].map((key) => [key, release] as const);
    const others = left.map((key) => [key, this.#floors.get(key) ?? replaced!] as const);
    return [...entries, ...others].map(([key, { sequenceNumber, manifestDigest }]) => ({
      kind: "put",
      key: FLOOR_PREFIX + key,
      value: encodeCbor([sequenceNumber, manifestDigest]),
    }));
  }

  /** False for a record that is damaged. */
  recover(key: string, record: Uint8Array): boolean {
    let fields: CborValue;
    try {
      fields = decodeCbor(record);
    } catch {
      return false;
    }
    if (!isArray(fields) || !isUint(fields[0]) || !isBytes(fields[1])) return false;
    this.#raise(key.slice(FLOOR_PREFIX.length), { sequenceNumber: fields[0], manifestDigest: fields[1] });
    return true;
  }

  #raise(key: string, { sequenceNumber, manifestDigest }: Floor): void {
    const known = this.#floors.get(key);
    if (known === undefined || known.sequenceNumber < sequenceNumber)
      this.#floors.set(key, { sequenceNumber, manifestDigest });
  }
}

/** `vendor/class/component`, for each class and each component that the release changes. */
export function floorKeys({ vendorId, classIds, changes }: Release): string[] {
  return classIds.flatMap((id) => changes.map((component) => [toHex(vendorId), toHex(id), component].join("/")));
}
