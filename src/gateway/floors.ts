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
  /** The highest of a release that is known by this very key; 0 where it is of releases known by another. */
  readonly released: number;
}

/** What stands for a component without a record of its own. */
const NONE: Floor = { sequenceNumber: -1, manifestDigest: new Uint8Array(0), released: 0 };

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
      const isSame = bytesEqual(floor.manifestDigest, manifestDigest);
      if (isOffered && isSame)
        return { reason: "replayed", detail: `${detail} by this very release, which is on offer` };
      if (isOffered || !isSame) return { reason: "replayed", detail: `${detail} by another release` };
    }
    return undefined;
  }

  /**
   * Whether a record is older than one that the store had by the same key: a damaged store has brought it back. That
   * another release has gone further with one of its components is no reason to take it off the air.
   */
  isStale({ key, sequenceNumber }: Release): boolean {
    return sequenceNumber < (this.#floors.get(key) ?? NONE).released;
  }

  /** A release is on the disk. True when that is news. */
  raise(release: Release): boolean {
    return floorKeys(release)
      .map((key) => this.#raise(key, floorOf(release, key)))
      .includes(true);
  }

  /** Entries that a release would add. */
  added(release: Release): number {
    return floorKeys(release).filter((key) => !this.#floors.has(key)).length;
  }

  /** The writes that make it last; they go with those of the release. What it replaces may be from before there were any. */
  ops(release: Release, replaced?: Release): StoreOp[] {
    const last = new Map<string, Floor>();
    for (const one of replaced === undefined ? [release] : [replaced, release])
      for (const key of floorKeys(one))
        last.set(key, higher(last.get(key) ?? this.#floors.get(key) ?? NONE, floorOf(one, key)));
    return Array.from(last, ([key, { sequenceNumber, manifestDigest, released }]) => ({
      kind: "put",
      key: FLOOR_PREFIX + key,
      value: encodeCbor([sequenceNumber, manifestDigest, released]),
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
    const [sequenceNumber, manifestDigest, released = 0] = fields;
    if (!isUint(released)) return false;
    this.#raise(key.slice(FLOOR_PREFIX.length), { sequenceNumber, manifestDigest, released });
    return true;
  }

  #raise(key: string, floor: Floor): boolean {
    const known = this.#floors.get(key) ?? NONE;
    const raised = higher(known, floor);
    this.#floors.set(key, raised);
    return raised.sequenceNumber !== known.sequenceNumber || raised.released !== known.released;
  }
}

const floorOf = ({ key: own, sequenceNumber, manifestDigest }: Release, key: string): Floor => ({
  sequenceNumber,
  manifestDigest,
  released: key === own ? sequenceNumber : 0,
});

const higher = (a: Floor, b: Floor): Floor => ({
  ...(a.sequenceNumber < b.sequenceNumber ? b : a),
  released: Math.max(a.released, b.released),
});

/** `vendor/class/component`, for each class and each component that the release changes. */
export function floorKeys({ vendorId, classIds, changes }: Release): string[] {
  return classIds.flatMap((id) => changes.map((component) => [toHex(vendorId), toHex(id), component].join("/")));
}
