import { describe, expect, it } from "vitest";
import { boundsOf, oneHopLimit, type Bound } from "../../simulator/report/limit.ts";
import { limitsOf } from "../../simulator/report/bounds.ts";
import { again, nrf52840, reportOf, scenarioNamed, small } from "../support/simulation.ts";

const facts = { hops: [1], meanPer: 0, maxDegree: 1 };
const named = (bounds: readonly Bound[], name: string): Bound => bounds.find((bound) => bound.name.startsWith(name))!;

describe("closed-form limits", () => {
  it.each([
    [32_768, 0, 23.6],
    [32_768, 0.3, 33.6],
    [102_400, 0.1, 81.8],
    [262_144, 0.3, 269],
  ])("%i bytes at p = %f take an nRF52840 %f mJ to receive", (bytes, per, mj) => {
    expect(Math.abs(oneHopLimit(nrf52840, per, bytes).energyMj / mj - 1)).toBeLessThan(0.003);
  });

  it.each([
    [500, 800],
    [1_000, 1_600],
    [5_000, 8_000],
    [30_000, 48_000],
  ])("a child that polls each %i ms for 64 bytes needs %i s for 100 KiB", (pollFastMs, seconds) => {
    const run = small({ "mac.kind": "sleepy", "mac.pollFastMs": pollFastMs, imageBytes: 102_400 });
    const { bounds } = boundsOf(run, nrf52840, facts);
    expect(named(bounds, "sleepy").timeS).toBe(seconds);
    expect(named(bounds, "sleepy").energyMj!).toBeGreaterThan(named(bounds, "one hop").energyMj!);
  });

  it("flash costs an nRF52840 0.3 uJ a byte, and the digest of an image its CPU time", () => {
    const run = small({ imageBytes: 1_048_576 });
    const { energyMj } = named(boundsOf(run, nrf52840, facts).bounds, "flash and CPU");
    expect((energyMj! * 1_000) / 1_048_576).toBeGreaterThan(0.3);
    expect((energyMj! * 1_000) / 1_048_576).toBeLessThan(0.35);
  });

  it("many motes: unicast takes the sum, an erasure code hardly more than one", () => {
    const run = small({ motes: 100, imageBytes: 32_768 });
    const { bounds } = boundsOf(run, nrf52840, {
      hops: Array.from({ length: 100 }, () => 1),
      meanPer: 0.1,
      maxDegree: 100,
    });
    const one = named(bounds, "one hop").timeS!;
    expect(named(bounds, "unicast").timeS).toBeCloseTo(100 * one, 6);
    expect(named(bounds, "multicast, erasure").timeS! / one).toBeLessThan(1.25);
    expect(named(bounds, "multicast, repeated").timeS! / (one * 0.9)).toBeCloseTo(2.74, 1);
  });

  it("a sleeper pays at most 5 times the limit for pollers, where every tenth frame is lost", () => {
    const keys = {
      "mac.kind": "sleepy",
      "mac.pollFastMs": 100,
      "mac.frameWaitMs": 7,
      adaptive: true,
      imageBytes: 32_768,
    };
    const run = small(keys);
    const { updated, sleepers } = reportOf(run, 1);
    expect(updated, again(run, 1)).toBe(3);
    expect(sleepers!.overLimit).toBeLessThan(5);
    expect(sleepers!.overLimit).toBeGreaterThan(1);
  });

  it("of a scenario come from its topology, and nothing is simulated for them", () => {
    const { run } = scenarioNamed("s4-grid-100").cases[0]!;
    const { bounds } = limitsOf(run, nrf52840, {});
    expect(bounds.maxHops).toBeGreaterThan(3);
    expect(bounds.meanPer).toBeGreaterThan(0);
    expect(bounds.meanPer).toBeLessThan(0.3);
  });
});
