import type { Flash } from "./flash.ts";

/** Where things are in a mote's flash: two slots, the info sector of each, and the download journal. */
export interface Layout {
  readonly slotBytes: number;
  readonly slotAddress: readonly [number, number];
  readonly infoAddress: readonly [number, number];
  readonly journalAddress: number;
  readonly journalBytes: number;
  /** What a LwM2M client has to know after a restart. */
  readonly settingsAddress: number;
  readonly sectors: number;
}

/** A layout for images of at most `imageBytes`, whose journal has one write unit per block of `blockBytes`. */
export function layoutFor(imageBytes: number, blockBytes: number, sectorBytes: number, writeUnitBytes: number): Layout {
  const sectorsOf = (bytes: number): number => Math.ceil(bytes / sectorBytes);
  const slotSectors = sectorsOf(imageBytes);
  const journalSectors = sectorsOf(JOURNAL_HEADER_BYTES + Math.ceil(imageBytes / blockBytes) * writeUnitBytes);
  return {
    slotBytes: slotSectors * sectorBytes,
    slotAddress: [0, slotSectors * sectorBytes],
    infoAddress: [2 * slotSectors * sectorBytes, (2 * slotSectors + 1) * sectorBytes],
    journalAddress: (2 * slotSectors + 2) * sectorBytes,
    journalBytes: journalSectors * sectorBytes,
    settingsAddress: (2 * slotSectors + 2 + journalSectors) * sectorBytes,
    sectors: 2 * slotSectors + 3 + journalSectors,
  };
}

export const JOURNAL_HEADER_BYTES = 64;
const INFO_MAGIC = 0x0b_1c_5e_ed;
const INFO_BYTES = 48;

/** What a slot holds: written last, after the image was verified, so it is the commit point. */
export interface SlotInfo {
  readonly sequenceNumber: number;
  readonly size: number;
  /** SHA-256 of the image. */
  readonly digest: Uint8Array;
}

export type SlotIndex = 0 | 1;

/** The info of a slot; undefined when it has none. */
export function readSlotInfo(flash: Flash, layout: Layout, slot: SlotIndex): SlotInfo | undefined {
  const bytes = flash.read(layout.infoAddress[slot], INFO_BYTES);
  const view = new DataView(bytes.buffer);
  if (view.getUint32(0) !== INFO_MAGIC) return undefined;
  return { sequenceNumber: view.getUint32(4), size: view.getUint32(8), digest: bytes.slice(16, 48) };
}

/** Erases and programs the info of a slot; returns the time in us. The magic goes in last. */
export function writeSlotInfo(flash: Flash, layout: Layout, slot: SlotIndex, info: SlotInfo): number {
  const bytes = new Uint8Array(INFO_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, INFO_MAGIC);
  view.setUint32(4, info.sequenceNumber);
  view.setUint32(8, info.size);
  bytes.set(info.digest, 16);
  const address = layout.infoAddress[slot];
  const unit = Math.max(4, flash.geometry.writeUnitBytes);
  const eraseUs = flash.erase(address);
  const bodyUs = flash.programVerified(address + unit, bytes.subarray(unit));
  return eraseUs + bodyUs + flash.programVerified(address, bytes.subarray(0, unit));
}

export function eraseSlotInfo(flash: Flash, layout: Layout, slot: SlotIndex): number {
  return flash.isErased(layout.infoAddress[slot], INFO_BYTES) ? 0 : flash.erase(layout.infoAddress[slot]);
}
