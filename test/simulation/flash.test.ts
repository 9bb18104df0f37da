import { describe, expect, it } from "vitest";
import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { boot, goesOnTo } from "../../simulator/mote/bootloader.ts";
import { EnergyLedger } from "../../simulator/mote/energy.ts";
import { Flash, FlashFault } from "../../simulator/mote/flash.ts";
import { Journal } from "../../simulator/mote/journal.ts";
import {
  confirmSlot,
  eraseSlotInfo,
  layoutFor,
  readFloor,
  readSlotInfo,
  writeSlotInfo,
} from "../../simulator/mote/layout.ts";
import { SlotWriter } from "../../simulator/mote/slot-writer.ts";
import { readTrust, writeTrust } from "../../simulator/mote/trust-store.ts";
import { trustOf, type DeviceTrust } from "../../src/suit/trust.ts";
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

describe("the slot that is written", () => {
  const layout = layoutFor(1_000, 64, 256, 4);
  const key = nobleCrypto.sha256(Uint8Array.of(3));

  it("a download into the other slot is another one", () => {
    const flash = newFlash(layout.sectors);
    Journal.create(flash, layout, 0, key, 1_000, 64).journal.markStored(0);
    expect(Journal.open(flash, layout, 1, key, 1_000)).toBeUndefined();
  });

  it("takes other bytes than those that a power cut has left, and keeps what is around them", () => {
    const flash = newFlash(layout.sectors);
    const writer = new SlotWriter(flash, layout, 1, { key, size: 1_000, blockBytes: 64 });
    writer.store(0, new Uint8Array(64).fill(0xa5));
    flash.program(layout.slotAddress[1] + 64, new Uint8Array(64)); // a forged block, cut before its mark
    const again = new SlotWriter(flash, layout, 1, { key, size: 1_000, blockBytes: 64 });
    expect(again.missing).toBe(64);
    again.store(64, new Uint8Array(64).fill(0x5a));
    expect([...again.readPart(60, 8)]).toEqual([0xa5, 0xa5, 0xa5, 0xa5, 0x5a, 0x5a, 0x5a, 0x5a]);
  });

  it("the sequence number of a slot has all its bits", () => {
    const flash = newFlash(layout.sectors);
    const info = { sequenceNumber: 2 ** 40 + 5, size: 9, digest: key };
    writeSlotInfo(flash, layout, 1, info);
    expect(readSlotInfo(flash, layout, 1)).toEqual(info);
  });
});

describe("the keys that a mote believes", () => {
  const layout = layoutFor(1_000, 64, 1_024, 4);
  const flash = new Flash({ sectorBytes: 1_024, writeUnitBytes: 4, sectors: layout.sectors }, timing);
  const trustAt = (epoch: number): DeviceTrust => ({
    ...trustOf([{ algorithm: "Ed25519", bytes: key(epoch) }]),
    epoch,
  });
  const key = (n: number): Uint8Array => new Uint8Array(32).fill(n);

  it("are the old ones until the new ones are whole, wherever the power fails", () => {
    writeTrust(flash, layout, trustAt(1));
    let programs = 0;
    flash.programFails = () => false;
    const program = flash.program.bind(flash);
    flash.program = (address, bytes) => {
      if (++programs === 2) throw new Error("power cut");
      return program(address, bytes);
    };
    expect(() => writeTrust(flash, layout, trustAt(2))).toThrow("power cut");
    expect(readTrust(flash, layout)?.epoch).toBe(1);
    flash.program = program;
    for (const epoch of [2, 3, 4]) {
      writeTrust(flash, layout, trustAt(epoch));
      expect(readTrust(flash, layout)?.epoch).toBe(epoch);
    }
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

  it("tells its agent what has proved itself: that may come again where it rotted, and nothing between", () => {
    const flash = newFlash(layout.sectors);
    for (const [slot, number] of [2, 5].entries()) {
      install(flash, slot as 0 | 1, image(number), number);
      confirmSlot(flash, layout, slot as 0 | 1);
    }
    const goesOn = () => [1, 2, 4, 5, 6].filter((number) => goesOnTo(boot(flash, layout, nobleCrypto)!, number));
    expect(goesOn()).toEqual([6]);
    flash.program(layout.slotAddress[1], new Uint8Array(4));
    expect(goesOn()).toEqual([5, 6]);
  });
});

describe("the highest sequence number that has proved itself", () => {
  const layout = layoutFor(1_000, 64, 256, 4);
  const digest = new Uint8Array(32);
  const proven = (flash: Flash, slot: 0 | 1, sequenceNumber: number): void => {
    writeSlotInfo(flash, layout, slot, { sequenceNumber, size: 9, digest });
    confirmSlot(flash, layout, slot);
  };

  it("is that of the slots, and costs no write as long as one of them has it", () => {
    const flash = newFlash(layout.sectors);
    expect(readFloor(flash, layout)).toBe(0);
    proven(flash, 0, 1);
    writeSlotInfo(flash, layout, 1, { sequenceNumber: 9, size: 9, digest }); // on trial: counts for nothing yet
    expect(readFloor(flash, layout)).toBe(1);
    confirmSlot(flash, layout, 1);
    expect(readFloor(flash, layout)).toBe(9);
    eraseSlotInfo(flash, layout, 0);
    expect(layout.floorAddress.every((address) => flash.isErased(address, 64))).toBe(true);
  });

  it("stays when its slot is written anew, however often, and wherever the power fails", () => {
    const flash = newFlash(layout.sectors);
    proven(flash, 0, 1);
    for (const number of [2 ** 40 + 7, 2 ** 40 + 8, 2 ** 40 + 9]) {
      proven(flash, 1, number);
      const program = flash.program.bind(flash);
      for (let cut = 1; cut <= 2; cut++) {
        let programs = 0;
        flash.program = (address, bytes) => {
          if (++programs === cut) throw new Error("power cut");
          return program(address, bytes);
        };
        expect(() => eraseSlotInfo(flash, layout, 1)).toThrow("power cut");
        expect(readFloor(flash, layout)).toBe(number);
      }
      flash.program = program;
      eraseSlotInfo(flash, layout, 1);
      expect([readFloor(flash, layout), readSlotInfo(flash, layout, 1)]).toEqual([number, undefined]);
    }
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
