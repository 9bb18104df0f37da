import type { Crypto } from "../../src/ports/crypto.ts";
import { bytesEqual } from "../../src/util/bytes.ts";
import type { Flash } from "./flash.ts";
import {
  noteTrialBoot,
  readFloor,
  readSlotInfo,
  readTrial,
  TRIAL_BOOTS,
  type Layout,
  type SlotIndex,
  type SlotInfo,
} from "./layout.ts";

export interface BootResult {
  readonly slot: SlotIndex;
  readonly info: SlotInfo;
  /** Bytes that were hashed to decide. */
  readonly hashedBytes: number;
  /** It has yet to prove itself. */
  readonly onTrial: boolean;
  /** The highest sequence number that has proved itself here; more than that of `info` where its image has rotted. */
  readonly floor: number;
  /** An image in the other slot that was tried and did not prove itself. */
  readonly rejected: SlotInfo | undefined;
}

interface Candidate {
  readonly slot: SlotIndex;
  readonly info: SlotInfo;
  readonly boots: number;
  readonly confirmed: boolean;
}

/**
 * Picks the slot with the higher sequence number whose image has its digest, and that has proved itself or may still be
 * tried; undefined is a brick.
 */
export function boot(flash: Flash, layout: Layout, crypto: Crypto): BootResult | undefined {
  const candidates: Candidate[] = [];
  for (const slot of [0, 1] as const) {
    const info = readSlotInfo(flash, layout, slot);
    if (info === undefined || info.size > layout.slotBytes) continue;
    candidates.push({ slot, info, ...readTrial(flash, layout, slot) });
  }
  const isSpent = ({ boots, confirmed }: Candidate): boolean => !confirmed && boots >= TRIAL_BOOTS;
  // One that did not prove itself is better than none at all.
  candidates.sort((a, b) => Number(isSpent(a)) - Number(isSpent(b)) || b.info.sequenceNumber - a.info.sequenceNumber);
  const rejected = candidates.find(isSpent)?.info;
  let hashedBytes = 0;
  for (const { slot, info, boots, confirmed } of candidates) {
    hashedBytes += info.size;
    const digest = crypto.sha256(flash.read(layout.slotAddress[slot], info.size));
    if (!bytesEqual(digest, info.digest)) continue;
    if (!confirmed && boots < TRIAL_BOOTS) noteTrialBoot(flash, layout, slot, boots);
    const floor = readFloor(flash, layout);
    return { slot, info, hashedBytes, floor, onTrial: !confirmed, rejected: rejected === info ? undefined : rejected };
  }
  return undefined;
}

/**
 * Whether a device that runs so goes on to a manifest of this number. That of the floor itself may come again: its image
 * has rotted where another one runs.
 */
export const goesOnTo = ({ info, floor }: Pick<BootResult, "info" | "floor">, sequenceNumber: number): boolean =>
  sequenceNumber > info.sequenceNumber && sequenceNumber >= floor;

/** Whether what was booted is this image, byte for byte. */
export function runs(flash: Flash, layout: Layout, booted: BootResult | undefined, image: Uint8Array): boolean {
  return booted !== undefined && bytesEqual(flash.read(layout.slotAddress[booted.slot], booted.info.size), image);
}
