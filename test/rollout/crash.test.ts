import { describe, expect, it } from "vitest";
import { runCrashes, type CrashResult } from "../../simulator/rollout/crash-run.ts";
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
const crash = (seed: number, lies: boolean): CrashResult =>
  runCrashes(spec, seed, { profile: CHIP, quirks: PROFILES, devices, kills: 200, everyS: 1, failing: 0.05, lies });

describe("a gateway that is killed all the time", () => {
  it("loses nothing that it has said, and updates nobody twice", () => {
    const result = crash(1, false);
    expect(result.findings).toEqual([]);
    expect(result).toMatchObject({ lostAcks: 0, doubleUpdates: 0, wrongImages: 0, finished: true });
    expect(result.kills).toBeGreaterThan(20);
  });

  it("a disk that says that it has what it has not is found out", () => {
    const lost = [1, 2, 3].map((seed) => crash(seed, true).lostAcks);
    expect(Math.max(...lost)).toBeGreaterThan(0);
  });
});
