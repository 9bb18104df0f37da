import { describe, expect, it } from "vitest";
import { DEFAULT_POLICY } from "../../src/lwm2m/update/job.ts";
import { SPEC_DEFAULTS, type RolloutSpec } from "../../src/rollout/spec.ts";
import { runCrashes, type CrashResult } from "../../simulator/rollout/crash-run.ts";
import { CHIP, PROFILES } from "../support/lwm2m-site.ts";

const spec: RolloutSpec = {
  ...SPEC_DEFAULTS,
  name: "crashes",
  components: [{ object: [5, 0], digest: "00", size: 2_048, version: "2.0.0" }],
  policy: { ...DEFAULT_POLICY, graceS: 600 },
  groups: [
    { name: "canary", percent: 10, successThreshold: 100, errorThreshold: 50, onSuccess: "next" },
    { name: "rest", successThreshold: 100, errorThreshold: 50, onSuccess: "next" },
  ],
  maxConcurrent: 5,
  deadlineS: 86_400,
};
const devices = Array.from({ length: 20 }, (_, i) => ({
  name: `m${i}`,
  behaviour: "good",
  tags: [],
  hops: 1,
  per: 0.05,
  lifetimeS: 3_600,
  queue: undefined,
}));
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
