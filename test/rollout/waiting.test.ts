import { describe, expect, it } from "vitest";
import { ScriptedFleet } from "../support/scripted-fleet.ts";

const DAY_S = 86_400;

/** Devices that answer when they are asked for their battery, so many seconds later; updates take so many as well. */
function answering(fleet: ScriptedFleet, afterS: number, updateS: number, endS: number, state: () => string): void {
  const battery = new Map<string, number>();
  const due: { atUs: number; readonly endpoint: string; readonly what: "answer" | "succeed" }[] = [];
  fleet.known = (endpoint) => ({ battery: battery.has(endpoint) ? 90 : undefined, batteryAtMs: battery.get(endpoint) });
  fleet.onRefresh = (endpoint) => due.push({ atUs: fleet.nowUs + afterS * 1e6, endpoint, what: "answer" });
  const begun = new Set<string>();
  const endUs = fleet.nowUs + endS * 1e6;
  for (let i = 0; fleet.nowUs < endUs && state() === "running" && i < 100_000; i++) {
    fleet.run(1);
    for (const [endpoint, job] of fleet.jobs) {
      if (job.state !== "under-way" || begun.has(endpoint)) continue;
      begun.add(endpoint);
      due.push({ atUs: fleet.nowUs + updateS * 1e6, endpoint, what: "succeed" });
    }
    const now = due.filter(({ atUs }) => atUs <= fleet.nowUs);
    for (const one of now) {
      due.splice(due.indexOf(one), 1);
      if (one.what === "succeed") fleet.become("succeeded", one.endpoint);
      else {
        battery.set(one.endpoint, fleet.nowUs / 1_000);
        fleet.rollouts.looked(one.endpoint);
        fleet.rollouts.settle(fleet.nowUs);
        fleet.write();
      }
    }
  }
}

describe("a device that waits", () => {
  it("for its turn in a large fleet is asked when that is near, not with all the others", () => {
    const fleet = new ScriptedFleet(400);
    const id = fleet.begin({ minBattery: 50, maxConcurrent: 1, deadlineS: DAY_S });
    answering(fleet, 0, 5, 8_000, () => fleet.rollout(id).record.state);
    expect(fleet.states(id)).toEqual({ succeeded: 400 });
    expect(fleet.countOf("refresh")).toBeLessThan(3 * 400);
  });

  it("for a slot does not fail for that, though it was asked for its battery long ago", () => {
    const fleet = new ScriptedFleet(50);
    const id = fleet.begin({ minBattery: 50, maxConcurrent: 2, deadlineS: 7_200 });
    answering(fleet, 1_800, 1_200, 60_000, () => fleet.rollout(id).record.state);
    expect(fleet.states(id)).toEqual({ succeeded: 50 });
  });

  it("for a slot does not fail for that, though others updated it before and behind", () => {
    const fleet = new ScriptedFleet(2);
    const operators = (state: "under-way" | "succeeded"): void =>
      void fleet.jobs.set("d0", { endpoint: "d0", origin: "operator", state, startedMs: fleet.nowUs / 1_000 });
    operators("under-way");
    const id = fleet.begin({ maxConcurrent: 1, deadlineS: 3_600 });
    fleet.run(300);
    operators("succeeded");
    fleet.run(3_000); // d1 has the slot
    operators("under-way");
    fleet.become("succeeded", "d1");
    fleet.run(600);
    expect(fleet.states(id)).toEqual({ succeeded: 1, pending: 1 });
    operators("succeeded");
    fleet.run(15);
    expect(fleet.states(id)).toEqual({ succeeded: 1, commanded: 1 });
  });

  it("for what it may not be given costs no write, look after look, and no slot of others", () => {
    const fleet = new ScriptedFleet(4);
    fleet.refusals.set("d0", { reason: "other-class", detail: "d0 is of another class" });
    fleet.refusals.set("d1", { reason: "release-withdrawn", detail: "it is on offer no longer" });
    fleet.refusals.set("d2", { reason: "expired", detail: "it was to be used before now" });
    const id = fleet.begin({ maxConcurrent: 1, deadlineS: 7_200 });
    expect(fleet.states(id)).toEqual({ skipped: 1, pending: 2, commanded: 1 });
    fleet.become("succeeded", "d3");
    const { revision } = fleet.rollout(id).record;
    fleet.run(3_600);
    expect(fleet.rollout(id).record.revision).toBe(revision);
    fleet.refusals.delete("d1"); // given back
    fleet.run(15);
    fleet.become("succeeded", "d1");
    fleet.run(4_000);
    expect(fleet.states(id)).toEqual({ skipped: 1, succeeded: 2, failed: 1 });
    expect(fleet.rollout(id).members.get("d2")).toMatchObject({ state: "failed", reason: "expired" });
    expect(fleet.rollout(id).record.state).toBe("finished");
    expect(fleet.countOf("start")).toBe(2);
  });

  it("on its own account fails at its deadline, whoever restarts the gateway", () => {
    for (const restarts of [0, 7]) {
      const fleet = new ScriptedFleet(1);
      fleet.known = () => ({ battery: 10, batteryAtMs: fleet.nowUs / 1_000 });
      const id = fleet.begin({ minBattery: 50, deadlineS: 3_600 });
      for (let i = 0; i < restarts; i++) {
        fleet.run(400);
        fleet.restart();
      }
      fleet.run(3_700 - restarts * 400);
      expect(fleet.states(id)).toEqual({ failed: 1 });
    }
  });
});

describe("ten thousand devices", () => {
  it("are not asked for their battery all at once, and each in the end", () => {
    const fleet = new ScriptedFleet(1_000);
    const told = new Set<string>();
    fleet.known = (endpoint) => ({
      battery: told.has(endpoint) ? 90 : undefined,
      batteryAtMs: told.has(endpoint) ? fleet.nowUs / 1_000 : undefined,
    });
    const id = fleet.begin({ minBattery: 50, maxConcurrent: 50, deadlineS: DAY_S });
    expect(fleet.countOf("refresh")).toBe(100);
    fleet.run(9);
    expect(fleet.countOf("refresh")).toBe(100);
    fleet.run(100);
    expect(fleet.countOf("refresh")).toBe(1_000);
    expect(fleet.states(id)).toEqual({ pending: 1_000 });
    for (const name of fleet.names.slice(0, 10)) {
      told.add(name);
      fleet.rollouts.looked(name);
    }
    fleet.run(1);
    expect(fleet.states(id)).toEqual({ pending: 990, commanded: 10 });
  });

  it("are looked at once in a while, not with each answer of one of them", () => {
    const fleet = new ScriptedFleet(10_000);
    let looks = 0;
    fleet.known = (endpoint) => {
      looks++;
      return { battery: Number(endpoint.slice(1)) < 100 ? 90 : 10, batteryAtMs: 1_000_000 };
    };
    const id = fleet.begin({ minBattery: 50, deadlineS: DAY_S });
    fleet.run(1);
    expect(fleet.states(id)).toEqual({ commanded: 100, pending: 9_900 });
    looks = 0;
    for (let i = 0; i < 100; i++) fleet.become("succeeded", `d${i}`);
    expect(looks).toBeLessThan(1_000);
    fleet.run(10);
    expect(looks).toBeGreaterThanOrEqual(9_900);
  });
});
describe("timers", () => {
  it("do not spin behind the end of a dynamic group", () => {
    const fleet = new ScriptedFleet(1);
    fleet.begin({ dynamicUntilMs: 60_000 });
    fleet.run(200);
    expect(fleet.wakes).toBeLessThan(20);
  });

  it("do not spin while one installs that is late, which has as long again", () => {
    const fleet = new ScriptedFleet(2);
    const id = fleet.begin({ deadlineS: 60 });
    fleet.become("applying", "d0");
    fleet.run(30);
    fleet.become("succeeded", "d1");
    fleet.run(80);
    expect(fleet.states(id)).toEqual({ commanded: 1, succeeded: 1 });
    fleet.run(20);
    expect(fleet.states(id)).toEqual({ failed: 1, succeeded: 1 });
    expect(fleet.wakes).toBeLessThan(20);
  });

  it("come again after a write that failed, though nothing else happens", () => {
    const fleet = new ScriptedFleet(250);
    let writes = 0;
    fleet.fails = () => ++writes === 3; // the second hundred of commands
    const id = fleet.begin();
    fleet.run(60);
    expect(fleet.states(id)).toEqual({ commanded: 250 });
  });

  it("keep deadlines in order behind a write that failed", () => {
    const fleet = new ScriptedFleet(3);
    const id = fleet.begin({ maxConcurrent: 2 });
    fleet.run(1_800);
    fleet.become("succeeded", "d0"); // d2 begins half an hour behind d1
    let failures = 0;
    fleet.fails = () => failures++ < 1;
    fleet.run(1_860);
    expect(failures).toBeGreaterThan(1);
    expect(fleet.states(id)).toEqual({ succeeded: 1, failed: 1, commanded: 1 });
  });
});
