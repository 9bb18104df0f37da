import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { bytesEqual } from "../../src/util/bytes.ts";
import { inWholeUnits, type Flash } from "./flash.ts";

/** What two sectors keep: the one holds while the other is written. */
export interface RecordPair<T> {
  readonly addresses: readonly [number, number];
  readonly magic: number;
  /** Undefined for bytes that are no such record. */
  readonly decode: (bytes: Uint8Array) => T | undefined;
  /** The higher one holds. */
  readonly rankOf: (value: T) => number;
}

const HEAD_BYTES = 32;
/** Behind magic and length: the beginning of SHA-256 over the record, since what has rotted must not be believed. */
const CHECK_AT = 8;
const CHECK_BYTES = 8;
export const checkOf = (bytes: Uint8Array): Uint8Array => nobleCrypto.sha256(bytes).subarray(0, CHECK_BYTES);

function readSector<T>(flash: Flash, address: number, { magic, decode }: RecordPair<T>): T | undefined {
  const head = flash.read(address, HEAD_BYTES);
  const view = new DataView(head.buffer);
  const length = view.getUint32(4);
  if (view.getUint32(0) !== magic || length > flash.geometry.sectorBytes - HEAD_BYTES) return undefined;
  const bytes = flash.read(address + HEAD_BYTES, length);
  const isWhole = bytesEqual(checkOf(bytes), head.subarray(CHECK_AT, CHECK_AT + CHECK_BYTES));
  return isWhole ? decode(bytes) : undefined;
}

function current<T>(flash: Flash, pair: RecordPair<T>): { value: T; index: 0 | 1 } | undefined {
  const [first, second] = pair.addresses.map((address) => readSector(flash, address, pair));
  if (second !== undefined && (first === undefined || pair.rankOf(second) > pair.rankOf(first)))
    return { value: second, index: 1 };
  return first === undefined ? undefined : { value: first, index: 0 };
}

/** The record that was written whole last. */
export const readPair = <T>(flash: Flash, pair: RecordPair<T>): T | undefined => current(flash, pair)?.value;

/**
 * Writes into the sector that does not hold, then into the other one: a power cut leaves one or the other, and when one
 * rots later the same is in both. Returns the time in us, or undefined when it does not fit.
 */
export function writePair<T>(flash: Flash, pair: RecordPair<T>, bytes: Uint8Array): number | undefined {
  if (HEAD_BYTES + bytes.length > flash.geometry.sectorBytes) return undefined;
  const first = current(flash, pair)?.index === 0 ? 1 : 0;
  return [first, 1 - first].reduce((us, i) => us + writeSector(flash, pair.addresses[i]!, pair.magic, bytes), 0);
}

/** The magic goes in last. */
function writeSector(flash: Flash, address: number, magic: number, bytes: Uint8Array): number {
  const { writeUnitBytes } = flash.geometry;
  const padded = inWholeUnits(bytes, writeUnitBytes);
  const head = new Uint8Array(HEAD_BYTES).fill(0xff);
  const view = new DataView(head.buffer);
  view.setUint32(0, magic);
  view.setUint32(4, bytes.length);
  head.set(checkOf(bytes), CHECK_AT);
  const us = flash.erase(address) + flash.programVerified(address + HEAD_BYTES, padded);
  return us + flash.programVerified(address, head);
}
