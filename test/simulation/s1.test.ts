import { describe, expect, it } from "vitest";
import { expand } from "../../simulator/scenarios/scenario.ts";
import type { Case } from "../../simulator/scenarios/case.ts";
import { again, nrf52840, reportOf, scenarioNamed, simulate, small } from "../support/simulation.ts";

const s1 = scenarioNamed("s1-desk");
const restart = scenarioNamed("restart");

describe("S1, one mote at one hop", () => {
  it.each(expand(s1).filter(({ transport }) => transport === "ideal-arq"))(
    "ideal ARQ of $imageBytes bytes at $link agrees with the closed form within 1 %",
    (run) => {
      const report = reportOf(run, 1);
      expect(Math.abs(report.timePerByteUs / report.limitTimePerByteUs - 1), again(run, 1)).toBeLessThan(0.01);
      expect(Math.abs(report.energyOverLimit - 1), again(run, 1)).toBeLessThan(0.01);
    },
  );

  it("the closed form is that of 36.7 us and 0.72 uJ per byte on an nRF52840", () => {
    const [first] = expand(s1);
    const report = reportOf({ ...first!, transport: "ideal-arq" }, 1);
    expect(report.limitTimePerByteUs).toBeCloseTo(36.69, 2);
    expect(report.limitPerByteUj).toBeCloseTo(0.719, 3);
  });

  it("the real protocol updates every mote, with no check violated, at a few times the limit", () => {
    for (const one of expand(s1)) {
      const run = reportOf(one, 2);
      expect(run.updated).toBe(run.motes);
      expect(run.violations, again(one, 2)).toEqual([]);
      expect(run.imageBytesRatio).toBeCloseTo(1, 6);
      expect(run.energyOverLimit).toBeLessThan(run.transport === "coap" ? 15 : 1.01);
    }
  });

  it("does not listen while its CPU or its flash is at work, and asks for nothing then", () => {
    const { energyMj, completionS, retransmissions } = reportOf(
      small({ motes: 1, link: { model: "iid", per: 0 }, imageBytes: 65_536, blockBytes: 1_024 }),
      1,
    );
    const secondsOf = (mj: number, ma: number): number => mj / (nrf52840.supplyV.value * ma);
    const busyS = secondsOf(energyMj.flash, nrf52840.flashMa.value) + secondsOf(energyMj.cpu, nrf52840.cpuMa.value);
    const onS =
      secondsOf(energyMj.listen + energyMj.rx, nrf52840.rxMa.value) + secondsOf(energyMj.tx, nrf52840.txMa.value);
    expect(onS + 0.8 * busyS).toBeLessThan(completionS.p50);
    expect(onS + busyS).toBeGreaterThan(completionS.p50 * 0.98);
    expect(retransmissions.coap).toBe(0);
  });

  it("costs more where more is lost, and a frame's loss grows with its length", () => {
    const energy = (per: number, blockBytes: number): number => {
      const run: Case = { ...expand(s1)[0]!, link: { model: "iid", per }, blockBytes, imageBytes: 102_400 };
      return reportOf(run, 3).energyPerByteUj;
    };
    expect(energy(0.1, 64)).toBeGreaterThan(energy(0, 64));
    expect(energy(0.3, 64)).toBeGreaterThan(energy(0.1, 64));
    // Fewer, larger datagrams cost less while MAC retries keep fragments whole.
    expect(energy(0, 256)).toBeLessThan(energy(0, 64));
  });
});

describe("determinism", () => {
  it.each([1, 2, 3])("seed %i takes the same course twice", (seed) => {
    const run = { ...expand(restart)[0]!, imageBytes: 8_192 };
    const [a, b] = [simulate(run, seed), simulate(run, seed)];
    expect(a).toEqual(b);
    expect(reportOf(run, seed + 100).traceHash).not.toBe(a.report.traceHash);
  });
});

it("what expires is refused without a clock, taken in time with one, and refused when it is late", () => {
  const outcomes = (keys: object): object => reportOf(small({ motes: 2, useBeforeS: 100, ...keys }), 1).outcomes;
  expect(outcomes({ rtc: false })).toEqual({ failed: 2 });
  expect(outcomes({ rtc: true })).toEqual({ updated: 2 });
  expect(outcomes({ rtc: true, useBeforeS: 1, startWithinS: 5 })).toEqual({ failed: 2 });
});

describe("crashes", () => {
  it.each([1, 2, 3, 4, 5])(
    "seed %i: gateway killed twice, motes rebooted: all resume behind block 0, none fetches a stored block",
    (seed) => {
      const [run] = expand(restart);
      const report = reportOf(run!, seed);
      expect(report.violations, again(run!, seed)).toEqual([]);
      expect(report.updated, again(run!, seed)).toBe(5);
      expect(report.refetchedBlocks).toBe(0);
      expect(report.resumes).toBeGreaterThanOrEqual(2);
    },
  );

  it("a mote that is rebooted at any second resumes at the block where it stopped", () => {
    for (let atS = 2; atS < 20; atS++) {
      const base = expand(s1)[3]!;
      const run: Case = { ...base, imageBytes: 32_768, faults: { ...base.faults, motes: [{ mote: 1, atS }] } };
      const report = reportOf(run, atS);
      expect(report.violations).toEqual([]);
      expect(report.updated).toBe(1);
      // At most the block that was on its way is received twice.
      expect(report.imageBytesRatio).toBeLessThanOrEqual(1 + 64 / 32_768);
    }
  });
});
