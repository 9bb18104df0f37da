import type { Flash } from "./flash.ts";

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

function readSector<T>(flash: Flash, address: number, { magic, decode }: RecordPair<T>): T | undefined {
  const head = new DataView(flash.read(address, HEAD_BYTES).buffer);
  const length = head.getUint32(4);
  if (head.getUint32(0) !== magic || length > flash.geometry.sectorBytes - HEAD_BYTES) return undefined;
  return decode(flash.read(address + HEAD_BYTES, length));
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
 * Writes into the sector that does not hold; the magic goes in last, so that a power cut leaves one or the other. Returns
 * the time in us, or undefined when it does not fit.
 */
export function writePair<T>(flash: Flash, pair: RecordPair<T>, bytes: Uint8Array): number | undefined {
  const { sectorBytes, writeUnitBytes } = flash.geometry;
  if (HEAD_BYTES + bytes.length > sectorBytes) return undefined;
  const address = pair.addresses[current(flash, pair)?.index === 0 ? 1 : 0];
  const padded = new Uint8Array(Math.ceil(bytes.length / writeUnitBytes) * writeUnitBytes).fill(0xff);
  padded.set(bytes);
  const head = new Uint8Array(HEAD_BYTES).fill(0xff);
  const view = new DataView(head.buffer);
  view.setUint32(0, pair.magic);
  view.setUint32(4, bytes.length);
  const us = flash.erase(address) + flash.programVerified(address + HEAD_BYTES, padded);
  return us + flash.programVerified(address, head);
}
