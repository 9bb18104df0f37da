import { describe, expect, it, vi } from "vitest";
import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { checkBoot, checkEnergy, checkExchanges } from "../../simulator/checkers/end-checks.ts";
import { EnergyLedger } from "../../simulator/mote/energy.ts";
import { boot, runs } from "../../simulator/mote/bootloader.ts";
import { Journal } from "../../simulator/mote/journal.ts";
import { factoryFlash } from "../../simulator/mote/factory.ts";
import { writeSlotInfo } from "../../simulator/mote/layout.ts";
import { parseBattery, brownOut } from "../../simulator/mote/battery.ts";
import { FRAG1_BYTES, readFragment } from "../../simulator/network/sixlowpan.ts";
import { IidLinks } from "../../simulator/radio/links.ts";
import { ramError } from "../../simulator/report/ram.ts";
import { makeImage } from "../support/gateway.ts";
import { Line, ScriptedCore } from "../support/mesh.ts";
import { nrf52840, reportOf, small } from "../support/simulation.ts";

/*
 * Faults planted on purpose: each has to be found by a checker that knows nothing of it.
 */

/** A method as it is, to be called by what stands in its place. */
const original = (prototype: object, name: string): unknown => Object.getOwnPropertyDescriptor(prototype, name)!.value;

const NO_WORK = { flashUs: 0, leastCpuUs: 0 };

describe("an energy state that is not charged", () => {
  it.each(["flash", "cpu"] as const)("is missed where it is %s: something else has counted it", (state) => {
    const spend = original(EnergyLedger.prototype, "spend") as EnergyLedger["spend"];
    vi.spyOn(EnergyLedger.prototype, "spend").mockImplementation(function (this: EnergyLedger, of, us) {
      if (of !== state) spend.call(this, of, us);
    });
    const { violations } = reportOf(small(), 1);
    vi.restoreAllMocks();
    expect(violations.join()).toMatch(state === "flash" ? /us of flash are booked, of/ : /us of CPU are booked, of/);
    expect(reportOf(small(), 1).violations).toEqual([]);
  });

  it("is missed by its microseconds", () => {
    const honest = new EnergyLedger(nrf52840, "listen", 0);
    honest.setRadio(1_000, "tx");
    honest.setRadio(5_000, "listen");
    honest.setRadio(9_000, "listen");
    expect(checkEnergy(1, honest, 9_000, NO_WORK)).toEqual([]);
    /** Forgets what was sent. */
    class Forgetful extends EnergyLedger {
      override setRadio(nowUs: number, state: "sleep" | "listen" | "rx" | "tx"): void {
        if (this.radio !== "tx") super.setRadio(nowUs, state);
        else Object.assign(this, new Forgetful(nrf52840, state, nowUs));
      }

      override us(state: Parameters<EnergyLedger["us"]>[0]): number {
        return state === "tx" ? 0 : super.us(state);
      }
    }
    const planted = new Forgetful(nrf52840, "listen", 0);
    planted.setRadio(1_000, "tx");
    planted.setRadio(5_000, "listen");
    expect(checkEnergy(1, planted, 5_000, NO_WORK)[0]).toMatch(/radio states make \d+ us of 5000/);
  });

  it("a state left out of the total is missed too", () => {
    class Short extends EnergyLedger {
      override totalUj(): number {
        return super.totalUj() - this.uj("flash");
      }
    }
    const planted = new Short(nrf52840, "sleep", 0);
    planted.spend("flash", 1_000);
    planted.setRadio(10, "sleep");
    expect(checkEnergy(3, planted, 10, { flashUs: 1_000, leastCpuUs: 0 })).toEqual([
      "mote 3: energy of its states is not its total",
    ]);
  });
});

describe("a journal that forgets a block", () => {
  it("has the mote fetch again what is in its flash", () => {
    const mark = original(Journal.prototype, "markStored") as Journal["markStored"];
    let forgotten = 0;
    vi.spyOn(Journal.prototype, "markStored").mockImplementation(function (this: Journal, block) {
      return block === 3 && forgotten++ < 4 ? 0 : mark.call(this, block);
    });
    const { violations } = reportOf(small(), 1);
    vi.restoreAllMocks();
    expect(violations.join()).toMatch(/fetched \d+ stored blocks again/);
  });
});

describe("flash that takes nothing any more", () => {
  it.each([
    [0.5, { failed: 2, updated: 1 }],
    [1, { failed: 3 }],
  ])("is an outcome of its mote, with %d of all writes failing", (share, outcomes) => {
    const report = reportOf(small({ "faults.flashWrite": share }), 1);
    expect([report.outcomes, report.violations]).toEqual([outcomes, []]);
  });
});

describe("a lost fragment that is delivered all the same", () => {
  it("has the datagram's checksum wrong, which is counted", () => {
    const line = new Line(new IidLinks(0, [[1], [0]], new SeededRandom(1, "x")), 2);
    const sink = new ScriptedCore();
    line.nodes[0]!.run(sink);
    const source = new ScriptedCore();
    const loop = line.nodes[1]!.run(source);
    const { mac } = line.nodes[0]!;
    const up = mac.onPayload;
    let last = 0;
    // The second fragment is lost, and what was in its place is made up.
    mac.onPayload = (from, payload) => {
      const fragment = readFragment(payload);
      if (fragment !== undefined && !fragment.first && last++ === 0) payload = payload.slice().fill(0, FRAG1_BYTES + 1);
      up(from, payload);
    };
    for (let i = 0; i < 2; i++) {
      loop.call(() => source.send(makeImage(1, 300), line.address(0)));
      line.engine.run(Infinity, () => false);
    }
    expect(line.nodes[0]!.counters.corrupt).toBe(1);
    expect(sink.received).toHaveLength(1);
  });
});

describe("what a mote boots", () => {
  const [old, target] = [makeImage(1, 2_000), makeImage(2, 2_000)];
  const parts = { profile: nrf52840, crypto: nobleCrypto, blockBytes: 64, maxImageBytes: 4_096 };

  it("a mixed image under the right name is found", () => {
    const { flash, layout } = factoryFlash({ ...parts, factoryImage: { bytes: old, sequenceNumber: 1 } });
    const mixed = Uint8Array.from(target, (byte, i) => (i < 1_000 ? byte : old[i]!));
    flash.program(layout.slotAddress[1], mixed);
    // A boot loader that trusts a record which nobody should have written.
    writeSlotInfo(flash, layout, 1, { sequenceNumber: 2, size: mixed.length, digest: nobleCrypto.sha256(mixed) });
    const booted = boot(flash, layout, nobleCrypto);
    const judged = {
      sequenceNumber: booted?.info.sequenceNumber,
      runsTarget: runs(flash, layout, booted, target),
      runsFactory: runs(flash, layout, booted, old),
    };
    expect(checkBoot(4, judged, 1, true)).toEqual([
      "mote 4 runs what is neither its old image nor the new one",
      "mote 4 says updated but runs other bytes",
    ]);
  });

  it("a brick, a downgrade and a claim are found", () => {
    const of = (sequenceNumber: number | undefined, runsTarget: boolean, runsFactory: boolean, says: boolean): string =>
      checkBoot(1, { sequenceNumber, runsTarget, runsFactory }, 1, says).join("; ");
    expect(of(undefined, false, false, false)).toContain("bricked");
    expect(of(0, false, true, false)).toContain("downgraded");
    expect(of(1, false, true, true)).toContain("says updated");
    expect(of(2, true, false, true)).toBe("");
    expect(checkExchanges(1, true, 1)).toHaveLength(1);
  });
});

describe("a scenario that cannot be", () => {
  it("a mote that needs more RAM than its chip has is an error in the report", () => {
    const run = small({ "network.reassemblyBuffers": 16 });
    const tight = { ...nrf52840, ramBytes: { ...nrf52840.ramBytes, value: 16_384 } };
    expect(ramError(run, tight)).toMatch(/RAM: a mote needs \d+ bytes/);
    expect(reportOf(run, 1, { profile: tight }).violations[0]).toMatch(/RAM/);
    expect(ramError(run, nrf52840)).toBeUndefined();
  });

  it("a chip that draws more than its battery gives breaks down", () => {
    const figure = (value: number): object => ({ value, source: "test", verified: true });
    const battery = parseBattery({
      name: "a small cell",
      capacityMah: figure(100),
      volts: figure(3),
      selfDischargePerYear: figure(0.01),
      pulseLimitMa: figure(5),
      baselineUa: figure(10),
    });
    expect(brownOut(battery, nrf52840)).toMatch(/brown-out/);
    expect(reportOf(small(), 1, { battery }).violations[0]).toMatch(/brown-out/);
  });
});

describe("faults of a scenario are survived", () => {
  it.each([1, 2, 3])("seed %i: flash writes, store and upstream that fail, reboots, drifting clocks", (seed) => {
    const faults = {
      flashWrite: 0.02,
      store: 0.1,
      upstream: 0.3,
      rebootShare: 0.5,
      rebootWithinS: 20,
      clockDriftPpm: 500,
    };
    const report = reportOf(small({ motes: 6, imageBytes: 16_384, faults }), seed);
    expect(report.violations).toEqual([]);
    expect(report.outcomes).toEqual({ updated: 6 });
  });
});

describe("a reboot at any moment", () => {
  const whole = reportOf(small({ motes: 1, imageBytes: 8_192, "link.per": 0.1 }), 1).completionS.max;

  it.each(["motes", "gateway"] as const)("of %s costs no more than a pause", (who) => {
    for (let i = 0; i < 80; i++) {
      // Moments that no timer of ours falls on.
      const atS = 0.6 + ((whole - 0.6) * (i + 0.137)) / 80;
      const fault = who === "motes" ? [{ mote: 1, atS }] : [{ atS, downS: 3 }];
      const run = small({ motes: 1, imageBytes: 8_192, "link.per": 0.1, [`faults.${who}`]: fault });
      const report = reportOf(run, 1);
      expect(report.violations, `at ${atS} s`).toEqual([]);
      expect(report.outcomes, `at ${atS} s`).toEqual({ updated: 1 });
    }
  });
});
