import { describe, expect, it } from "vitest";
import { DEFAULT_POLICY } from "../../src/lwm2m/update/job.ts";
import { runRollout } from "../../simulator/rollout/rollout-run.ts";
import { CHIP, PROFILES } from "../support/lwm2m-site.ts";
import { awakeFleet, simulatedSpec } from "../support/simulated-fleet.ts";

const spec = simulatedSpec("bad image", 2_048, {
  policy: { ...DEFAULT_POLICY, graceS: 300 },
  groups: [
    { name: "canary", percent: 2, successThreshold: 100, errorThreshold: 0, onSuccess: "next" },
    { name: "rest", successThreshold: 90, errorThreshold: 5, onSuccess: "next" },
  ],
  deadlineS: 7_200,
});
const parts = { profile: CHIP, quirks: PROFILES, blockBytes: 64, maxHours: 12 };

describe("an image that boots but never confirms", () => {
  it("touches at most the canary of 500 devices, all of which are back on the old version, and says why", () => {
    const outcome = runRollout(spec, awakeFleet(500, "never-confirms", 0.1), 1, parts);
    expect(outcome).toMatchObject({ state: "paused", reason: "error-threshold" });
    const touched = outcome.devices.filter(({ boots }) => boots > 1);
    expect(touched.length).toBeGreaterThan(0);
    expect(touched.length).toBeLessThanOrEqual(10);
    for (const device of outcome.devices) expect(device.runs, device.endpoint).toBe("old");
    const failed = outcome.devices.filter(({ state }) => state === "failed");
    expect(failed.map(({ reason }) => reason)).toContain("old-version");
    const why = outcome.decisions.find(({ what }) => what === "group-failed")?.why;
    expect(why).toMatch(/of 10 devices of canary have failed; 0 % may/);
  });

  it("a good image goes to all of them", () => {
    const outcome = runRollout(spec, awakeFleet(60, "good", 0.1), 1, parts);
    expect(outcome).toMatchObject({ state: "finished", violations: [] });
    for (const device of outcome.devices)
      expect(device, device.endpoint).toMatchObject({ runs: "new", state: "succeeded" });
  });
});
