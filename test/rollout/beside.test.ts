import { describe, expect, it } from "vitest";
import { fromUtf8, utf8 } from "../../src/util/bytes.ts";
import { downloaded, ScriptedFleet, lenient, strict } from "../support/scripted-fleet.ts";

const hourAtTwo = { schedule: "0 2 * * *", durationS: 3_600, timeZone: "UTC" } as const;

describe("rollouts that come after others", () => {
  it("wait for one that has not begun, and skip whom it is not for", () => {
    const fleet = new ScriptedFleet(3);
    const first = fleet.begin({ startAtMs: 600_000, endpoints: ["d0", "d1"] });
    const then = fleet.begin({ after: [first] });
    fleet.run(300);
    expect(fleet.states(then)).toEqual({ pending: 3 });
    fleet.run(310);
    fleet.become("succeeded", "d0", "d1");
    fleet.run(20);
    expect(fleet.states(then)).toEqual({ commanded: 2, skipped: 1 });
  });

  it("fail when their turn does not come until the deadline", () => {
    const fleet = new ScriptedFleet(1);
    const first = fleet.create();
    const then = fleet.begin({ after: [first?.ok === true ? first.record.id : ""] });
    fleet.run(3_700);
    expect(fleet.rollout(then).members.get("d0")).toMatchObject({ state: "failed", reason: "dependency" });
  });

  it("are not made after one that there is not", () => {
    const fleet = new ScriptedFleet(1);
    expect(fleet.create({ after: ["none"] })).toMatchObject({ ok: false, reason: "no-such-dependency" });
  });

  it("do not stand in the way of what they wait for, because they are urgent", () => {
    const fleet = new ScriptedFleet(4);
    const feature = fleet.begin({ maxConcurrent: 1 });
    const between = fleet.create({ after: [feature] });
    const security = fleet.begin({ priority: "security", after: [between?.ok === true ? between.record.id : ""] });
    fleet.command(between?.ok === true ? between.record.id : "", "start");
    for (let i = 0; i < 60; i++) {
      for (const name of fleet.names) if (fleet.jobs.get(name)?.state === "under-way") fleet.become("succeeded", name);
      fleet.run(11);
    }
    expect(fleet.states(security)).toEqual({ succeeded: 4 });
    expect(fleet.nowUs).toBeLessThan(1e6 * 3_600);
  });

  it("leave slots to security, which has not had its turn to take them", () => {
    const fleet = new ScriptedFleet(300, 150);
    const feature = fleet.create({ endpoints: fleet.names.slice(150) });
    const security = fleet.create({ priority: "security", endpoints: fleet.names.slice(0, 150) });
    if (feature?.ok !== true || security?.ok !== true) throw new Error("not created");
    const asked = { command: "start", by: "ann", why: "", revision: undefined } as const;
    fleet.rollouts.command(fleet.nowUs, security.record.id, asked, () => {});
    fleet.rollouts.command(fleet.nowUs, feature.record.id, asked, () => {}); // 100 of 150 are commanded by now
    fleet.write();
    expect(fleet.states(security.record.id)).toEqual({ commanded: 150 });
    expect(fleet.states(feature.record.id)).toEqual({ pending: 150 });
  });
});

describe("rollouts beside each other", () => {
  it("are not deleted while one that comes after them asks how devices did", () => {
    const fleet = new ScriptedFleet(2);
    const first = fleet.begin();
    fleet.become("succeeded", ...fleet.names);
    const then = fleet.begin({ after: [first], maxConcurrent: 1 });
    const told: unknown[] = [];
    fleet.rollouts.remove(first, undefined, (result) => told.push(result));
    expect(told).toMatchObject([{ ok: false, reason: "wrong-state" }]);
    fleet.become("succeeded", "d0");
    fleet.become("succeeded", "d1");
    expect(fleet.states(then)).toEqual({ succeeded: 2 });
    fleet.rollouts.remove(first, undefined, (result) => told.push(result));
    expect(fleet.create({ after: [first] })).toMatchObject({ ok: false, reason: "no-such-dependency" });
    expect(told).toMatchObject([{}, { ok: true }]);
  });

  it("that have ended cost nothing", () => {
    const fleet = new ScriptedFleet(1);
    for (let i = 0; i < 200; i++) {
      fleet.begin({ endpoints: [] });
    }
    let looks = 0;
    const id = fleet.begin();
    for (const rollout of fleet.rollouts.all()) {
      const { members } = rollout;
      const count = members.count.bind(members);
      if (rollout.id !== id)
        members.count = (state) => {
          looks++;
          return count(state);
        };
    }
    fleet.become("succeeded", "d0");
    expect(looks).toBe(0);
  });

  it("two operators who have seen the same do not both have their word", () => {
    const fleet = new ScriptedFleet(2);
    const id = fleet.begin({ groups: [lenient] });
    const { revision } = fleet.rollout(id).record;
    fleet.rollouts.takeVerdict({ ...fleet.jobs.get("d0")!, state: "succeeded" });
    fleet.rollouts.settle(fleet.nowUs); // being written
    const told: unknown[] = [];
    for (const [by, command] of [
      ["ann", "pause"],
      ["bob", "cancel"],
    ] as const)
      fleet.rollouts.command(fleet.nowUs, id, { command, by, why: "", revision }, (result) => told.push(result));
    fleet.write();
    expect(told).toMatchObject([{ ok: false, reason: "changed-meanwhile" }, { ok: true }]); // the refusal comes first
    expect(fleet.why(id)).toBe("paused: paused");
  });
});

describe("odd ends", () => {
  it.each([
    ["a group of null", (text: string) => text.replace(/"groups":\[\{"state".*?\}\]/, '"groups":[null]')],
    ["an attribute of another age", (text: string) => text.replace('"target":""', '"target":"colour==blue"')],
    ["a zone that is gone", (text: string) => text.replace('"timeZone":"UTC"', '"timeZone":"Mars/Base"')],
  ])("a record with %s is damaged, and keeps no gateway from its start", (_what, change) => {
    const fleet = new ScriptedFleet(1);
    const id = fleet.begin({ window: hourAtTwo, groups: [lenient] });
    const key = `rollout/${id}`;
    const before = fromUtf8(fleet.disk.get(key)!)!;
    expect(change(before)).not.toBe(before);
    fleet.disk.set(key, utf8(change(before)));
    fleet.restart();
    expect(fleet.rollouts.get(id)).toBeUndefined();
  });

  it("one whose update is lost while it waits at the barrier is begun again, or waits for its turn while paused", () => {
    for (const paused of [false, true]) {
      const { fleet, id } = downloaded(2);
      if (paused) fleet.command(id, "pause");
      fleet.jobs.delete("d0");
      fleet.restart();
      expect(fleet.countOf("start d0")).toBe(paused ? 0 : 1);
      if (paused) fleet.command(id, "resume");
      fleet.become("held", "d0");
      expect(fleet.mayApply("d0")).toBe(true);
    }
  });

  it("one that could not be commanded while a cancel came is cancelled too", () => {
    const fleet = new ScriptedFleet(1);
    const id = fleet.begin();
    fleet.rollouts.command(fleet.nowUs, id, { command: "cancel", by: "a", why: "", revision: undefined }, () => {});
    fleet.jobs.clear();
    fleet.rollouts.refused(fleet.nowUs, fleet.rollout(id).originOf({ attempt: 1 }), "d0", "the disk is full");
    fleet.write();
    expect([fleet.why(id), fleet.states(id)]).toEqual(["stopped: stopped", { cancelled: 1 }]);
  });

  it("one that is paused is over when its time to take in others is, and not by somebody else's doing", () => {
    const fleet = new ScriptedFleet(1);
    const id = fleet.begin({ dynamicUntilMs: 600_000, groups: [{ ...strict, errorThreshold: 0 }] });
    fleet.become("failed", "d0");
    expect(fleet.why(id)).toBe("paused: error-threshold");
    fleet.run(610);
    expect(fleet.why(id)).toBe("finished: error-threshold");
  });

  it("a clock that is set forwards or back moves what is due, and stops nothing", () => {
    const fleet = new ScriptedFleet(1);
    const id = fleet.begin({ startAtMs: 7_200_000 });
    fleet.run(10);
    fleet.setMs = 3 * 3_600_000;
    fleet.rollouts.clockSet(fleet.nowUs);
    fleet.write();
    expect(fleet.why(id)).toMatch(/^running/);
    const late = fleet.begin({ minBattery: 50, endpoints: ["d0"] });
    fleet.become("succeeded", "d0");
    fleet.known = () => ({ battery: 10, batteryAtMs: fleet.nowUs / 1_000 });
    fleet.run(30);
    fleet.setMs = 0;
    fleet.rollouts.clockSet(fleet.nowUs);
    fleet.write();
    fleet.known = () => ({ battery: 90, batteryAtMs: fleet.nowUs / 1_000 });
    fleet.run(15);
    expect(fleet.states(late)).toEqual({ commanded: 1 });
  });
});
