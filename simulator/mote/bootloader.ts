import type { Crypto } from "../../src/ports/crypto.ts";
import { bytesEqual } from "../../src/util/bytes.ts";
import type { Flash } from "./flash.ts";
import { readSlotInfo, type Layout, type SlotIndex, type SlotInfo } from "./layout.ts";

export interface BootResult {
  readonly slot: SlotIndex;
  readonly info: SlotInfo;
  /** Bytes that were hashed to decide. */
  readonly hashedBytes: number;
}

/** Picks the slot with the higher sequence number whose image has its digest; undefined is a brick. */
export function boot(flash: Flash, layout: Layout, crypto: Crypto): BootResult | undefined {
  const candidates: { slot: SlotIndex; info: SlotInfo }[] = [];
  for (const slot of [0, 1] as const) {
    const info = readSlotInfo(flash, layout, slot);
    if (info !== undefined && info.size <= layout.slotBytes) candidates.push({ slot, info });
  }
  candidates.sort((a, b) => b.info.sequenceNumber - a.info.sequenceNumber);
  let hashedBytes = 0;
  for (const { slot, info } of candidates) {
    hashedBytes += info.size;
    const digest = crypto.sha256(flash.read(layout.slotAddress[slot], info.size));
    if (bytesEqual(digest, info.digest)) return { slot, info, hashedBytes };
  }
  return undefined;
}

/** Whether what was booted is this image, byte for byte. */
export function runs(flash: Flash, layout: Layout, booted: BootResult | undefined, image: Uint8Array): boolean {
  return booted !== undefined && bytesEqual(flash.read(layout.slotAddress[booted.slot], booted.info.size), image);
}
