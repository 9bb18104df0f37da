import { describe, expect, it } from "vitest";
import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { boot } from "../../simulator/mote/bootloader.ts";
import { EnergyLedger } from "../../simulator/mote/energy.ts";
import { Flash, FlashFault } from "../../simulator/mote/flash.ts";
import { Journal } from "../../simulator/mote/journal.ts";
import { layoutFor, writeSlotInfo } from "../../simulator/mote/layout.ts";
import { parseProfile } from "../../simulator/mote/profile.ts";
import { readFileSync } from "node:fs";

const timing = { eraseSectorUs: 85_000, programUnitUs: 41 };
const newFlash = (sectors = 8): Flash => new Flash({ sectorBytes: 256, writeUnitBytes: 4, sectors }, timing);

describe("flash", () => {
  it("programming clears bits, erasing sets a sector, and both take their time", () => {
    const flash = newFlash();
    let busy = 0;
    flash.onBusy = (us) => (busy += us);
    expect(flash.program(8, Uint8Array.of(0xf0, 0xff, 0x0f, 0x00))).toBe(41);
    expect([...flash.read(8, 4)]).toEqual([0xf0, 0xff, 0x0f, 0x00]);
    flash.program(8, Uint8Array.of(0x30, 0xff, 0x0f, 0x00));
    expect(() => flash.program(8, Uint8Array.of(0xf0, 0xff, 0x0f, 0x00))).toThrow(FlashFault);
    expect(() => flash.program(2, Uint8Array.of(0, 0, 0, 0))).toThrow(FlashFault);
    expect(() => flash.program(8 * 256 - 4, new Uint8Array(8))).toThrow(FlashFault);
    expect(flash.erase(8)).toBe(85_000);
    expect(flash.isErased(0, 256)).toBe(true);
    expect(busy).toBe(2 * 41 + 85_000);
    expect(flash.maxWear).toBe(1);
  });
});

describe("the download journal", () => {
  const digest = nobleCrypto.sha256(Uint8Array.of(1));
  const layout = layoutFor(1_000, 64, 256, 4);

  it("survives, and belongs to one image", () => {
    const flash = newFlash(layout.sectors);
    const { journal } = Journal.create(flash, layout, 1, digest, 1_000, 64);
    expect(journal.blocks).toBe(16);
    for (const block of [0, 1, 2, 9]) journal.markStored(block);
    const again = Journal.open(flash, layout, 1, digest, 1_000)!;
    expect(again.storedCount).toBe(4);
    expect(again.firstMissing()).toBe(3);
    expect(Journal.open(flash, layout, 1, digest, 999)).toBeUndefined();
    expect(Journal.open(flash, layout, 1, nobleCrypto.sha256(Uint8Array.of(2)), 1_000)).toBeUndefined();
    for (let block = 0; block < 16; block++) again.markStored(block);
    expect(again.firstMissing()).toBeUndefined();
  });
});

describe("the bootloader", () => {
  const layout = layoutFor(1_000, 64, 256, 4);
  const image = (fill: number): Uint8Array => new Uint8Array(1_000).fill(fill);
  const install = (flash: Flash, slot: 0 | 1, bytes: Uint8Array, sequenceNumber: number): void => {
    flash.program(layout.slotAddress[slot], bytes);
    writeSlotInfo(flash, layout, slot, { sequenceNumber, size: bytes.length, digest: nobleCrypto.sha256(bytes) });
  };

  it("boots the higher sequence number that is whole, and nothing when none is", () => {
    const flash = newFlash(layout.sectors);
    expect(boot(flash, layout, nobleCrypto)).toBeUndefined();
    install(flash, 0, image(1), 1);
    install(flash, 1, image(2), 2);
    expect(boot(flash, layout, nobleCrypto)).toMatchObject({ slot: 1, info: { sequenceNumber: 2 } });
    flash.program(layout.slotAddress[1], new Uint8Array(4)); // a bit that rotted
    expect(boot(flash, layout, nobleCrypto)).toMatchObject({ slot: 0, info: { sequenceNumber: 1 } });
  });
});

it("the ledger adds up to the microsecond, and its total is the sum of its states", () => {
  const profile = parseProfile(
    JSON.parse(readFileSync(new URL("../../simulator/profiles/nrf52840.json", import.meta.url), "utf8")),
  );
  const ledger = new EnergyLedger(profile, "sleep", 100);
  ledger.setRadio(1_100, "listen");
  ledger.setRadio(1_350, "rx");
  ledger.setRadio(5_606, "tx");
  ledger.setRadio(6_000, "sleep");
  ledger.spend("flash", 85_000);
  ledger.setRadio(10_100, "sleep");
  expect(["sleep", "listen", "rx", "tx"].map((state) => ledger.us(state as "rx"))).toEqual([5_100, 250, 4_256, 394]);
  expect(ledger.uj("rx")).toBeCloseTo((3 * 6.53 * 4_256) / 1_000, 9);
  expect(ledger.totalUj()).toBe(Object.values(ledger.byState()).reduce((a, b) => a + b));
});
