import { describe, expect, it } from "vitest";
import { siteOf } from "../support/rollout-site.ts";

describe("a rollout", () => {
  it("updates its canary, then the rest, and says what it decided", () => {
    const site = siteOf(10);
    const id = site.start();
    expect(site.until(id, ["finished"])).toBe("finished");
    expect(site.states(id)).toEqual({ succeeded: 10 });
    expect(site.decisions(id)).toEqual([
      "created",
      "ready",
      "started",
      "devices-grouped",
      "group-started",
      "group-passed",
      "group-started",
      "group-passed",
      "finished",
    ]);
    for (let i = 0; i < 10; i++) expect(site.mote(`m${i}`).runs(site.image)).toBe(true);
  });

  it("pauses by itself when the canary fails, and touches nobody else", () => {
    const site = siteOf(10, () => ({ bootsOld: true }));
    const id = site.start();
    expect(site.until(id, ["paused"])).toBe("paused");
    expect(site.rollout(id).record.reason).toBe("error-threshold");
    site.bench.run(10_000);
    expect(site.states(id)).toMatchObject({ pending: 8 });
    const touched = Array.from({ length: 10 }, (_, i) => site.mote(`m${i}`).boots).filter((boots) => boots > 1);
    expect(touched.length).toBeLessThanOrEqual(2);
  });
});
