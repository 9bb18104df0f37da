import type { Crypto } from "../../src/ports/crypto.ts";
import { inWholeUnits, Flash } from "./flash.ts";
import { confirmSlot, layoutFor, writeSlotInfo, type Layout } from "./layout.ts";
import type { ChipProfile } from "./profile.ts";

/** A mote's flash as it leaves the factory, with an image in its first slot. */
export function factoryFlash(parts: {
  readonly profile: ChipProfile;
  readonly crypto: Crypto;
  readonly blockBytes: number;
  /** Room for images; slots are as large. */
  readonly maxImageBytes: number;
  readonly factoryImage: { readonly bytes: Uint8Array; readonly sequenceNumber: number };
  /** An earlier image was in the other slot, and nobody has erased it. */
  readonly spareSlot?: "erased" | "used" | undefined;
}): { flash: Flash; layout: Layout } {
  const { profile, crypto, factoryImage, maxImageBytes, blockBytes } = parts;
  const [sectorBytes, writeUnitBytes] = [profile.sectorBytes.value, profile.writeUnitBytes.value];
  const layout = layoutFor(maxImageBytes, blockBytes, sectorBytes, writeUnitBytes);
  const timing = { eraseSectorUs: profile.eraseSectorUs.value, programUnitUs: profile.programUnitUs.value };
  const flash = new Flash({ sectorBytes, writeUnitBytes, sectors: layout.sectors }, timing);
  const { bytes, sequenceNumber } = factoryImage;
  const padded = inWholeUnits(bytes, writeUnitBytes);
  flash.program(layout.slotAddress[0], padded);
  writeSlotInfo(flash, layout, 0, { sequenceNumber, size: bytes.length, digest: crypto.sha256(bytes) });
  confirmSlot(flash, layout, 0);
  const [used, address] = [new Uint8Array(writeUnitBytes), layout.slotAddress[1]];
  if (parts.spareSlot === "used")
    for (let at = 0; at < layout.slotBytes; at += sectorBytes) flash.program(address + at, used);
  return { flash, layout };
}
