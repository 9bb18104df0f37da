import { describe, expect, it } from "vitest";
import { downloaded, ScriptedFleet, lenient, strict } from "../support/scripted-fleet.ts";

const DAY_S = 86_400;
const two = [
  { ...strict, name: "a", percent: 50 },
  { ...strict, name: "b" },
] as const;
const hourAtTwo = { schedule: "0 2 * * *", durationS: 3_600, timeZone: "UTC" } as const;

describe("what has not begun", () => {
  it.each([
    ["waits for approval", { approval: true }],
    ["waits for its time", { startAtMs: 1e9 }],
  ])("is not brought to run by a stop and a retry: one that %s", (_what, change) => {
    const fleet = new ScriptedFleet(2);
    const id = fleet.begin(change);
    expect(fleet.command(id, "stop")).toMatchObject({ ok: true });
    expect(fleet.command(id, "retry")).toMatchObject({ ok: false, reason: "wrong-state" });
    fleet.run(10);
    expect(fleet.asked).toEqual([]);
    expect(fleet.rollout(id).record.state).toBe("stopped");
  });

  it("is not replaced by another one of its id, and each who asked is told", () => {
    const fleet = new ScriptedFleet(1);
    const { spec } = fleet.rollout(fleet.begin()).record;
    const told: boolean[] = [];
    for (let i = 0; i < 2; i++) fleet.rollouts.create(fleet.nowUs, spec, "ann", ({ ok }) => told.push(ok), "same");
    fleet.write(1);
    let started: boolean | undefined;
    const asked = { command: "start", by: "ann", why: "", revision: undefined } as const;
    fleet.rollouts.command(fleet.nowUs, "same", asked, ({ ok }) => (started = ok));
    fleet.write();
    expect([...told, started]).toEqual([true, true, true]);
    expect(fleet.why("same")).toBe("running: started");
    fleet.restart();
    expect(fleet.why("same")).toBe("running: started");
  });

  it("is there again when its deletion could not be written, and cannot be made anew meanwhile", () => {
    const fleet = new ScriptedFleet(1);
    fleet.create({}, "one");
    const told: unknown[] = [];
    fleet.fails = () => true;
    fleet.rollouts.remove("one", undefined, (result) => told.push(result));
    fleet.rollouts.remove("one", undefined, (result) => told.push(result));
    const { spec } = fleet.rollout("one").record;
    fleet.rollouts.create(fleet.nowUs, spec, "ann", (result) => told.push(result), "one");
    expect(told).toMatchObject([{ ok: false, reason: "wrong-state" }]);
    fleet.write();
    expect(told).toMatchObject([{}, { reason: "store-write-failed" }, { reason: "store-write-failed" }]);
    fleet.fails = () => false;
    expect(fleet.command("one", "start")).toMatchObject({ ok: true });
  });
});

describe("a barrier", () => {
  it("goes on to the next group, or pauses, when a group has downloaded what it can", () => {
    const fleet = new ScriptedFleet(8);
    const id = fleet.begin({ barrier: true, groups: two });
    fleet.become("failed", "d0");
    fleet.become("held", "d1", "d2", "d3");
    expect(fleet.why(id)).toBe("paused: success-threshold-missed");
    expect(fleet.states(id)).toEqual({ failed: 1, downloaded: 3, pending: 4 });
    fleet.command(id, "resume");
    fleet.become("held", "d4", "d5", "d6", "d7");
    expect(fleet.countOf("release")).toBe(7);
    fleet.become("succeeded", "d1", "d2", "d3", "d4", "d5", "d6", "d7");
    expect(fleet.why(id)).toMatch(/^finished/);
  });

  it("is judged again by what has succeeded, once it has fallen", () => {
    const { fleet, id } = downloaded(4, { groups: [{ ...strict, errorThreshold: 100 }] });
    fleet.become("failed", "d0");
    fleet.become("failed", "d1");
    fleet.become("succeeded", "d2");
    expect(fleet.why(id)).toBe("running: started");
    fleet.become("succeeded", "d3");
    expect(fleet.rollouts.decisions(id).map(({ what }) => what)).toContain("success-threshold-missed");
  });

  it("lets devices go though the write that says so fails", () => {
    const fleet = new ScriptedFleet(2);
    const id = fleet.begin({ barrier: true, groups: [strict] });
    fleet.become("held", "d0");
    fleet.fails = () => true;
    fleet.become("held", "d1");
    fleet.fails = () => false;
    fleet.run(10);
    expect(fleet.names.map((name) => fleet.mayApply(name))).toEqual([true, true]);
    expect(fleet.states(id)).toEqual({ downloaded: 2 });
  });

  it("lets a device go on its second attempt as well", () => {
    const { fleet, id } = downloaded(2);
    fleet.become("failed", "d0");
    fleet.become("succeeded", "d1");
    expect(fleet.command(id, "retry")).toMatchObject({ ok: true });
    fleet.become("held", "d0");
    expect(fleet.mayApply("d0")).toBe(true);
  });

  it("is up again when a pause comes, for whoever has not begun to apply", () => {
    const { fleet, id } = downloaded(3);
    fleet.become("applying", "d0");
    expect(fleet.mayApply("d1")).toBe(true);
    fleet.command(id, "pause");
    expect(fleet.mayApply("d1")).toBe(false);
    // Nobody is late because the operator thinks.
    fleet.run(30 * DAY_S);
    expect(fleet.states(id)).toEqual({ downloaded: 2, failed: 1 });
    fleet.restart();
    expect(fleet.mayApply("d1")).toBe(false);
    fleet.command(id, "resume");
    expect(fleet.names.map((name) => fleet.mayApply(name))).toEqual([false, true, true]);
  });

  it("is up again when too many fail to apply", () => {
    const { fleet, id } = downloaded(10, { groups: [{ ...strict, errorThreshold: 10 }] });
    fleet.become("failed", "d0");
    expect(fleet.mayApply("d5")).toBe(true);
    fleet.become("failed", "d1");
    expect(fleet.why(id)).toBe("paused: error-threshold");
    expect(fleet.names.filter((name) => fleet.mayApply(name))).toEqual([]);
  });

  it("lets go again, a while later, whom the gateway could not write down", () => {
    const { fleet, id } = downloaded(1);
    fleet.asked = [];
    const { releasedUntilMs, ...job } = fleet.jobs.get("d0")!;
    expect(releasedUntilMs).toBeGreaterThan(0);
    fleet.jobs.set("d0", job);
    fleet.rollouts.notReleased(fleet.nowUs, "d0");
    fleet.rollouts.settle(fleet.nowUs);
    expect(fleet.asked).toEqual([]);
    fleet.run(6);
    expect(fleet.mayApply("d0")).toBe(true);
    expect(fleet.states(id)).toEqual({ downloaded: 1 });
  });
});

describe("a window", () => {
  it("is not missed because a write fails as it opens", () => {
    const fleet = new ScriptedFleet(1);
    fleet.begin({ window: hourAtTwo, deadlineS: DAY_S, groups: [strict] });
    fleet.become("held", "d0");
    let failures = 0;
    fleet.fails = () => failures++ < 1;
    fleet.run(7_260);
    expect(failures).toBeGreaterThan(1);
    expect(fleet.mayApply("d0")).toBe(true);
  });
});

describe("what is taken back", () => {
  it.each([[["cancel"]], [["stop", "cancel"]]] as const)("by %j is taken back behind a crash as well", (commands) => {
    const fleet = new ScriptedFleet(1);
    const id = fleet.begin();
    fleet.cancels = false; // the gateway dies before it hears of it
    for (const command of commands) expect(fleet.command(id, command)).toMatchObject({ ok: true });
    fleet.cancels = true;
    fleet.restart();
    expect(fleet.asked).toEqual(["cancel d0"]);
    expect(fleet.isBusy("d0")).toBe(false);
    fleet.run(1);
    expect(fleet.states(id)).toEqual({ cancelled: 1 });
  });

  it("behind a deadline is taken back behind a crash as well, however often", () => {
    const fleet = new ScriptedFleet(1);
    const id = fleet.begin({ deadlineS: 60 });
    fleet.cancels = false;
    fleet.run(70);
    expect(fleet.states(id)).toEqual({ failed: 1 });
    fleet.restart();
    fleet.cancels = true;
    fleet.restart();
    expect(fleet.isBusy("d0")).toBe(false);
  });

  it("is not what has succeeded, or is another's", () => {
    const fleet = new ScriptedFleet(2);
    fleet.begin();
    fleet.become("succeeded", "d0");
    fleet.become("failed", "d1");
    fleet.jobs.set("d0", { ...fleet.jobs.get("d0")!, state: "applying" }); // its end was not written
    fleet.jobs.set("d1", { endpoint: "d1", origin: "operator", state: "under-way", startedMs: 1 });
    fleet.restart();
    expect(fleet.asked).toEqual([]);
  });

  it("is not begun: a command that was written and not given dies with a stop, and waits behind a pause", () => {
    for (const [command, state] of [
      ["stop", { cancelled: 1 }],
      ["pause", { pending: 1 }],
    ] as const) {
      const fleet = new ScriptedFleet(1);
      const id = fleet.begin();
      fleet.cancels = false;
      fleet.command(id, command);
      fleet.jobs.clear(); // the update never got to the disk
      fleet.restart();
      expect(fleet.states(id)).toEqual(state);
      expect(fleet.countOf("start")).toBe(0);
      fleet.command(id, command === "stop" ? "retry" : "resume");
      expect(fleet.countOf("start")).toBe(1);
    }
  });
});

describe("shares of a group", () => {
  it("55 of 100 are 55 percent", () => {
    const fleet = new ScriptedFleet(200);
    const id = fleet.begin({
      groups: [
        { ...strict, percent: 50, successThreshold: 55, errorThreshold: 100 },
        { ...lenient, name: "rest" },
      ],
    });
    fleet.become("succeeded", ...fleet.names.slice(0, 54));
    expect(fleet.rollout(id).record.groups[0]?.passed).toBe(false);
    fleet.become("succeeded", fleet.names[54]!);
    expect(fleet.rollout(id).record.groups[0]?.passed).toBe(true);
  });

  it("29 of 100 may fail where 29 percent may", () => {
    const fleet = new ScriptedFleet(100);
    const id = fleet.begin({ groups: [{ ...lenient, errorThreshold: 29 }] });
    fleet.become("failed", ...fleet.names.slice(0, 29));
    expect(fleet.why(id)).toBe("running: started");
    fleet.become("failed", fleet.names[29]!);
    expect(fleet.why(id)).toBe("paused: error-threshold");
  });

  it.each([
    [7, 100, 7],
    [2.5, 100, 3],
    [1.1, 3_000, 33],
    [0.1, 1_000, 1],
  ])("%d percent of %d are %d", (percent, devices, size) => {
    const fleet = new ScriptedFleet(devices);
    const id = fleet.begin({ groups: [{ ...lenient, percent }, { ...lenient }] });
    expect(fleet.rollout(id).members.total(0)).toBe(size);
  });
});

describe("what a rollout waits for", () => {
  it("is said: its start, and the window for whoever has what is to be applied", () => {
    const later = new ScriptedFleet(1);
    const id = later.begin({ startAtMs: 3_600_000 });
    const nowMs = (fleet: ScriptedFleet): number => fleet.nowUs / 1_000;
    expect(later.rollout(id).waitsFor(nowMs(later))).toBe("it starts 1970-01-01T01:00:00Z");
    const fleet = new ScriptedFleet(2);
    const other = fleet.begin({ window: hourAtTwo });
    expect(fleet.rollout(other).waitsFor(nowMs(fleet))).toBeUndefined();
    fleet.become("held", "d0");
    expect(fleet.rollout(other).waitsFor(nowMs(fleet))).toBe(
      "1 devices wait for the window, which opens 1970-01-01T02:00:00Z",
    );
    const inWindow = new ScriptedFleet(2);
    const third = inWindow.begin({ window: { ...hourAtTwo, downloads: "in-window" } });
    expect(inWindow.rollout(third).waitsFor(nowMs(inWindow))).toMatch(/^2 devices wait for the window/);
    inWindow.run(7_201);
    expect(inWindow.rollout(third).waitsFor(nowMs(inWindow))).toBeUndefined();
  });
});

describe("a group of nobody", () => {
  it.each([
    ["because nobody matches", { groups: [{ ...strict, name: "canary", filter: "tag==canry" }, strict] }],
    ["because all are skipped", { requires: "version==9", groups: [{ ...strict, size: 1 }, strict] }],
  ])("does not let the others go %s, without an operator's word", (_why, change) => {
    const fleet = new ScriptedFleet(4);
    fleet.known = (endpoint) => ({ version: endpoint === "d0" ? "1" : "9" });
    const id = fleet.begin(change);
    expect(fleet.why(id)).toBe("paused: group-empty");
    expect(fleet.countOf("start")).toBe(0);
    fleet.command(id, "resume");
    expect(fleet.countOf("start")).toBeGreaterThan(2);
  });

  it("is no matter where there is nobody at all, or nobody behind", () => {
    const fleet = new ScriptedFleet(0);
    expect(fleet.why(fleet.begin({ groups: [strict, lenient] }))).toMatch(/^finished/);
  });
});

describe("a device that turns up behind a barrier that has fallen", () => {
  it("is begun, though a group before its own was over by then", () => {
    const fleet = new ScriptedFleet(4);
    const late = { barrier: true, dynamicUntilMs: 36_000_000 };
    const id = fleet.begin({
      groups: [
        { ...strict, name: "a", percent: 25 },
        { ...strict, name: "b" },
      ],
      ...late,
    });
    fleet.become("succeeded", "d0");
    fleet.run(1);
    fleet.become("held", "d1", "d2", "d3");
    fleet.become("succeeded", "d1", "d2", "d3");
    fleet.names.push("d4");
    fleet.run(60);
    fleet.become("held", "d4");
    fleet.become("succeeded", "d4");
    expect(fleet.states(id)).toEqual({ succeeded: 5 });
  });
});
