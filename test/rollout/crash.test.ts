import { describe, expect, it } from "vitest";
import { runCrashes } from "../../simulator/rollout/crash-run.ts";
import { CHIP, PROFILES } from "../support/lwm2m-site.ts";
import { awakeFleet, simulatedSpec } from "../support/simulated-fleet.ts";

const spec = simulatedSpec("crashes", 2_048, {
  groups: [
    { name: "canary", percent: 10, successThreshold: 100, errorThreshold: 50, onSuccess: "next" },
    { name: "rest", successThreshold: 100, errorThreshold: 50, onSuccess: "next" },
  ],
  maxConcurrent: 5,
});
const devices = awakeFleet(20, "good", 0.05);
const parts = { profile: CHIP, quirks: PROFILES, devices, kills: 200, everyS: 1, failing: 0.05 };

describe("a gateway that is killed all the time", () => {
  it.each([
    ["a rollout", {}, {}],
    ["one with a barrier", { barrier: true }, {}],
    ["one that is cancelled", {}, { cancelAt: 8, failing: 0.2 }],
    ["one that is cancelled before its barrier", { barrier: true }, { cancelAt: 15, failing: 0.2 }],
  ])("loses nothing that it has said, and updates nobody twice, nor whom it should not: %s", (_what, change, more) => {
    const result = runCrashes({ ...spec, ...change }, 1, { ...parts, ...more, lies: false });
    expect(result.findings).toEqual([]);
    expect(result).toMatchObject({ lostAcks: 0, doubleUpdates: 0, wrongImages: 0, finished: true });
    expect(result.kills).toBeGreaterThan(20);
  });

  it("a disk that says that it has what it has not is found out", () => {
    const isFound = (seed: number): boolean => runCrashes(spec, seed, { ...parts, lies: true }).lostAcks > 0;
    expect([1, 2, 3].some(isFound)).toBe(true);
  });
});
