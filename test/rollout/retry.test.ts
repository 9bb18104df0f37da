import { describe, expect, it } from "vitest";
import { ScriptedFleet, strict } from "../support/scripted-fleet.ts";

describe("a retry", () => {
  const groups = [
    { ...strict, name: "canary", percent: 25, errorThreshold: 0 },
    { ...strict, name: "half", percent: 50, errorThreshold: 0 },
    { ...strict, name: "rest" },
  ];
  const started = (fleet: ScriptedFleet): string[] =>
    fleet.asked.splice(0).flatMap((line) => (line.startsWith("start ") ? [line.split(" ")[1]!] : []));

  /** The canary has failed, and was let go on over that; the half behind it has failed too. */
  function failedOver(): { fleet: ScriptedFleet; id: string } {
    const fleet = new ScriptedFleet(8);
    const id = fleet.begin({ groups });
    expect(started(fleet)).toEqual(["d0", "d1"]);
    fleet.become("failed", "d0", "d1");
    expect(fleet.why(id)).toBe("paused: error-threshold");
    fleet.command(id, "resume");
    fleet.run(1);
    return { fleet, id };
  }

  it("goes group by group again, where a group was let go on over its failures", () => {
    const { fleet, id } = failedOver();
    expect(fleet.rollouts.decisions(id).at(-1)).toMatchObject({
      what: "group-started",
      why: "canary was let go on over its failures",
    });
    expect(started(fleet)).toEqual(["d2", "d3", "d4", "d5"]);
    fleet.become("failed", "d2", "d3", "d4", "d5");
    expect(fleet.why(id)).toBe("paused: error-threshold");
    fleet.command(id, "retry");
    fleet.run(1);
    expect(started(fleet)).toEqual(["d0", "d1"]);
    fleet.become("succeeded", "d0");
    expect(started(fleet)).toEqual([]);
    fleet.become("succeeded", "d1");
    fleet.run(1);
    expect(started(fleet)).toEqual(["d2", "d3", "d4", "d5"]);
    fleet.become("succeeded", "d2", "d3", "d4", "d5");
    fleet.run(1);
    expect(started(fleet)).toEqual(["d6", "d7"]);
    fleet.become("succeeded", "d6", "d7");
    expect([fleet.why(id), fleet.states(id)]).toEqual(["finished: finished", { succeeded: 8 }]);
  });

  const day = { dynamicUntilMs: 36_000_000 };
  it("has a device that turns up wait for the canary that is tried again", () => {
    const fleet = new ScriptedFleet(8);
    const id = fleet.begin({ groups, ...day });
    fleet.become("failed", "d0", "d1");
    fleet.command(id, "resume");
    fleet.run(1);
    fleet.become("succeeded", "d2", "d3", "d4", "d5");
    fleet.run(1);
    fleet.become("succeeded", "d6", "d7");
    for (const command of ["pause", "retry"] as const) fleet.command(id, command);
    fleet.run(1);
    started(fleet);
    fleet.names.push("d8");
    fleet.run(30);
    expect([started(fleet), fleet.states(id)]).toEqual([[], { commanded: 2, succeeded: 6, pending: 1 }]);
    fleet.become("succeeded", "d0", "d1");
    fleet.run(30);
    expect(started(fleet)).toEqual(["d8"]);
  });

  it("takes back that devices of a group behind may apply what they have", () => {
    const fleet = new ScriptedFleet(8);
    const id = fleet.begin({ groups, window: { schedule: "0 * * * *", durationS: 600, timeZone: "UTC" } });
    fleet.become("failed", "d0", "d1");
    fleet.command(id, "resume");
    fleet.run(1);
    fleet.become("held", "d2", "d3", "d4");
    expect(fleet.mayApply("d2")).toBe(true);
    fleet.become("failed", "d5");
    expect([fleet.why(id), fleet.mayApply("d2")]).toEqual(["paused: error-threshold", false]);
    fleet.command(id, "retry");
    fleet.run(1);
    expect([started(fleet).slice(-2), fleet.mayApply("d2")]).toEqual([["d0", "d1"], false]);
    fleet.become("succeeded", "d0", "d1");
    expect(fleet.mayApply("d2")).toBe(true);
  });

  it("judges a group once more that has shown too little, though none of it is tried again", () => {
    const fleet = new ScriptedFleet(8);
    fleet.known = (name) => ({ version: name < "d2" ? "9" : "1" });
    const id = fleet.begin({ groups, requires: "version==1" });
    fleet.run(1);
    expect([fleet.why(id), fleet.states(id)]).toEqual(["paused: group-empty", { skipped: 2, pending: 6 }]);
    for (const command of ["cancel", "retry"] as const) fleet.command(id, command);
    fleet.run(1);
    expect([fleet.why(id), started(fleet)]).toEqual(["paused: group-empty", []]);
    fleet.command(id, "resume");
    fleet.run(1);
    expect(started(fleet)).toEqual(["d2", "d3", "d4", "d5"]);
  });

  it("stops at the canary if that fails once more", () => {
    const { fleet, id } = failedOver();
    fleet.become("failed", "d2", "d3", "d4", "d5");
    started(fleet);
    fleet.command(id, "retry");
    fleet.run(1);
    expect(started(fleet)).toEqual(["d0", "d1"]);
    fleet.become("failed", "d0");
    fleet.run(3_600);
    expect([fleet.why(id), started(fleet)]).toEqual(["paused: error-threshold", []]);
  });
});
