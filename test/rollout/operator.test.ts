import { describe, expect, it } from "vitest";
import { siteOf } from "../support/rollout-site.ts";

describe("an operator", () => {
  const all = { name: "all", successThreshold: 100, errorThreshold: 0, onSuccess: "next" } as const;

  it("lets it go on with the failures so far, and the next one stops it again", () => {
    const site = siteOf(6, (i) => ({ bootsOld: i < 3 }));
    const id = site.start({ groups: [all], maxConcurrent: 1 });
    expect(site.until(id, ["paused"])).toBe("paused");
    expect(site.states(id)).toMatchObject({ failed: 1 });
    site.command(id, "resume");
    expect(site.until(id, ["paused", "finished"])).toBe("paused");
    expect(site.states(id)).toMatchObject({ failed: 2 });
    site.command(id, "resume");
    expect(site.until(id, ["paused", "finished"])).toMatch(/finished|paused/);
    expect(site.states(id)).toMatchObject({ failed: 3 });
  });

  it("retries those that failed, and them only", () => {
    const site = siteOf(4);
    const through = site.bench.route;
    site.answer((path) => (path === "/5/0/2" ? "drop" : undefined)); // nobody hears of Update
    const id = site.start({ groups: [{ ...all, errorThreshold: 100, successThreshold: 0 }], deadlineS: 1_000 });
    site.until(id, ["finished", "paused"]);
    expect(site.states(id)).toEqual({ failed: 4 });
    site.bench.route = through;
    site.command(id, "retry");
    expect(site.until(id, ["finished"])).toBe("finished");
    expect(site.states(id)).toEqual({ succeeded: 4 });
    for (const { attempt } of site.rollout(id).members.all()) expect(attempt).toBe(2);
  });

  it("stops softly: what is under way goes on; or hard: it is taken back", () => {
    const soft = siteOf(8);
    const id = soft.start({ groups: [all], maxConcurrent: 2 });
    soft.command(id, "stop");
    expect(soft.until(id, ["stopped"])).toBe("stopped");
    const { succeeded, pending, ...others } = soft.states(id);
    expect(others).toEqual({});
    expect(pending).toBeGreaterThanOrEqual(4);
    expect(succeeded! + pending!).toBe(8);
    soft.command(id, "retry");
    expect(soft.until(id, ["finished"])).toBe("finished");
    expect(soft.states(id)).toEqual({ succeeded: 8 });
    const hard = siteOf(8);
    hard.delayUs = 1e6;
    const other = hard.start({ groups: [all], maxConcurrent: 2 });
    hard.command(other, "cancel");
    expect(hard.until(other, ["stopped"])).toBe("stopped");
    expect(hard.states(other)).toEqual({ cancelled: 8 });
    for (let i = 0; i < 8; i++) expect(hard.mote(`m${i}`).boots).toBe(1);
  });

  it("schedules it, and it starts by itself, behind a restart too", () => {
    const site = siteOf(2);
    const id = site.start({ groups: [all], startAtMs: 3_600_000 });
    expect(site.rollout(id).record.state).toBe("scheduled");
    site.bench.restart();
    site.bench.run(3_000);
    expect(site.rollout(id).record.state).toBe("scheduled");
    expect(site.until(id, ["finished"])).toBe("finished");
    expect(site.rollout(id).record.startedMs).toBeGreaterThanOrEqual(3_600_000);
  });

  it("silence trips the threshold in the end", () => {
    const site = siteOf(3, () => ({ vanishes: true }));
    const id = site.start({ groups: [all] });
    expect(site.until(id, ["paused", "finished"])).toMatch(/paused|finished/);
    expect(site.rollout(id).record.reason).toMatch(/threshold|finished/);
    site.bench.run(600); // the others are told of as well
    expect(site.states(id)).toMatchObject({ failed: 3 });
  });
});
