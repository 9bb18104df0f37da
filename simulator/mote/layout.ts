import type { Flash } from "./flash.ts";
import { bytesEqual } from "../../src/util/bytes.ts";
import { checkOf, readPair, writePair, type RecordPair } from "./record-pair.ts";

/** Where things are in a mote's flash: two slots, the info sector of each, and the download journal. */
export interface Layout {
  readonly slotBytes: number;
  readonly slotAddress: readonly [number, number];
  readonly infoAddress: readonly [number, number];
  readonly journalAddress: number;
  readonly journalBytes: number;
  /** What a LwM2M client has to know after a restart. */
  readonly settingsAddress: number;
  /** The keys that it believes: two sectors, so that the last ones stay until new ones are whole. */
  readonly trustAddress: readonly [number, number];
  /** The highest sequence number that proved itself, once no slot shows it any more. */
  readonly floorAddress: readonly [number, number];
  readonly sectors: number;
}

/** So many bytes, and what is left of their last sector. */
export const inWholeSectors = (bytes: number, sectorBytes: number): number =>
  Math.ceil(bytes / sectorBytes) * sectorBytes;

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
    trustAddress: [
      (2 * slotSectors + 3 + journalSectors) * sectorBytes,
      (2 * slotSectors + 4 + journalSectors) * sectorBytes,
    ],
    floorAddress: [
      (2 * slotSectors + 5 + journalSectors) * sectorBytes,
      (2 * slotSectors + 6 + journalSectors) * sectorBytes,
    ],
    sectors: 2 * slotSectors + 7 + journalSectors,
  };
}

export const JOURNAL_HEADER_BYTES = 64;
const INFO_MAGIC = 0x0b_1c_5e_ed;
const INFO_BYTES = 56;
const INFO_CHECK_AT = 48;

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
  const isWhole = bytesEqual(checkOf(bytes.subarray(4, INFO_CHECK_AT)), bytes.subarray(INFO_CHECK_AT));
  if (view.getUint32(0) !== INFO_MAGIC || !isWhole) return undefined;
  const sequenceNumber = view.getUint32(12) * 2 ** 32 + view.getUint32(4);
  return { sequenceNumber, size: view.getUint32(8), digest: bytes.slice(16, 48) };
}

/** Erases and programs the info of a slot; returns the time in us. The magic goes in last. */
export function writeSlotInfo(flash: Flash, layout: Layout, slot: SlotIndex, info: SlotInfo): number {
  const bytes = new Uint8Array(INFO_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, INFO_MAGIC);
  view.setUint32(4, info.sequenceNumber % 2 ** 32);
  view.setUint32(12, Math.floor(info.sequenceNumber / 2 ** 32));
  view.setUint32(8, info.size);
  bytes.set(info.digest, 16);
  bytes.set(checkOf(bytes.subarray(4, INFO_CHECK_AT)), INFO_CHECK_AT);
  const address = layout.infoAddress[slot];
  const unit = Math.max(4, flash.geometry.writeUnitBytes);
  const eraseUs = flash.erase(address);
  const bodyUs = flash.programVerified(address + unit, bytes.subarray(unit));
  return eraseUs + bodyUs + flash.programVerified(address, bytes.subarray(0, unit));
}

export function eraseSlotInfo(flash: Flash, layout: Layout, slot: SlotIndex): number {
  if (flash.isErased(layout.infoAddress[slot], INFO_BYTES)) return 0;
  return keepFloor(flash, layout, slot) + flash.erase(layout.infoAddress[slot]);
}

const floorPair = ({ floorAddress }: Layout): RecordPair<number> => ({
  addresses: floorAddress,
  magic: 0x46_4c_4f_52,
  decode: (bytes) => (bytes.length === 8 ? Number(new DataView(bytes.buffer).getBigUint64(0)) : undefined),
  rankOf: (sequenceNumber) => sequenceNumber,
});

const provenNumber = (flash: Flash, layout: Layout, slot: SlotIndex): number =>
  readTrial(flash, layout, slot).confirmed ? (readSlotInfo(flash, layout, slot)?.sequenceNumber ?? 0) : 0;

/**
 * The highest sequence number that has proved itself here, whether or not its image still is what it was: nothing below
 * it is installed again (RFC 9124, REQ.SEC.SEQUENCE).
 */
export function readFloor(flash: Flash, layout: Layout): number {
  const slots = ([0, 1] as const).map((slot) => provenNumber(flash, layout, slot));
  return Math.max(readPair(flash, floorPair(layout)) ?? 0, ...slots);
}

/** A slot is about to lose the highest number: it is written down before, which happens only when its image had rotted. */
function keepFloor(flash: Flash, layout: Layout, slot: SlotIndex): number {
  const floor = readFloor(flash, layout);
  const other = provenNumber(flash, layout, slot === 0 ? 1 : 0);
  if (floor <= Math.max(other, readPair(flash, floorPair(layout)) ?? 0)) return 0;
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(floor));
  return writePair(flash, floorPair(layout), bytes) ?? 0;
}

/** Behind the info: one mark for each time that the slot was tried, and one when it has proved itself. */
const MARKS_AT = 64;
const MARK_BYTES = 32;
/** Times that an image is started without having proved itself; a power cut costs it one. */
export const TRIAL_BOOTS = 3;

export interface Trial {
  readonly boots: number;
  readonly confirmed: boolean;
}

const markAddress = (layout: Layout, slot: SlotIndex, index: number): number =>
  layout.infoAddress[slot] + MARKS_AT + index * MARK_BYTES;

export function readTrial(flash: Flash, layout: Layout, slot: SlotIndex): Trial {
  const isMarked = (index: number): boolean => flash.read(markAddress(layout, slot, index), 1)[0] === 0;
  let boots = 0;
  while (boots < TRIAL_BOOTS && isMarked(boots)) boots++;
  return { boots, confirmed: isMarked(TRIAL_BOOTS) };
}

function mark(flash: Flash, layout: Layout, slot: SlotIndex, index: number): number {
  return flash.programVerified(
    markAddress(layout, slot, index),
    new Uint8Array(Math.max(4, flash.geometry.writeUnitBytes)),
  );
}

/** Notes that a slot is being tried; returns the time in us. */
export function noteTrialBoot(flash: Flash, layout: Layout, slot: SlotIndex, boots: number): number {
  return mark(flash, layout, slot, boots);
}

/** The image has proved itself, and with it its sequence number counts (RFC 9124, REQ.SEC.SEQUENCE). */
export function confirmSlot(flash: Flash, layout: Layout, slot: SlotIndex): number {
  return readTrial(flash, layout, slot).confirmed ? 0 : mark(flash, layout, slot, TRIAL_BOOTS);
}

/** It had its time and did not prove itself: the next boot goes back. */
export function giveUpTrial(flash: Flash, layout: Layout, slot: SlotIndex): number {
  let us = 0;
  for (let boots = readTrial(flash, layout, slot).boots; boots < TRIAL_BOOTS; boots++)
    us += mark(flash, layout, slot, boots);
  return us;
}
