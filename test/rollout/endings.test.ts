import { describe, expect, it } from "vitest";
import { lenient, ScriptedFleet, strict } from "../support/scripted-fleet.ts";

const why = (fleet: ScriptedFleet, id: string, what: string): string | undefined =>
  fleet.rollouts.decisions(id).findLast((one) => one.what === what)?.why;

describe("how a rollout has ended", () => {
  it("is by its thresholds: failures that may be are none", () => {
    const fleet = new ScriptedFleet(4);
    const id = fleet.begin({ groups: [{ ...strict, successThreshold: 50 }] });
    fleet.become("failed", "d0");
    fleet.become("succeeded", "d1", "d2", "d3");
    expect(fleet.why(id)).toBe("finished: finished");
    expect(why(fleet, id, "finished")).toBe("3 succeeded, 1 failed, 0 skipped, 0 cancelled");
  });

  it("keeps the threshold for which it paused where that was the last of it", () => {
    const fleet = new ScriptedFleet(2);
    const id = fleet.begin({ groups: [strict] });
    fleet.become("failed", "d0", "d1");
    expect(fleet.why(id)).toBe("finished: error-threshold");
    expect(why(fleet, id, "finished")).toMatch(/2 failed.*: 2 of 2 devices of all have failed; 50 % may/);
    expect(fleet.command(id, "retry")).toMatchObject({ ok: true });
    fleet.become("succeeded", "d0", "d1");
    expect(fleet.why(id)).toBe("finished: finished");
  });

  it("misses success where devices were cancelled", () => {
    const fleet = new ScriptedFleet(2);
    const id = fleet.begin({ groups: [strict] });
    fleet.become("succeeded", "d0");
    fleet.become("cancelled", "d1");
    expect(fleet.why(id)).toBe("finished: success-threshold-missed");
  });

  it("says that nobody matched, and which names nobody knows", () => {
    const fleet = new ScriptedFleet(2);
    const none = fleet.begin({ target: "endpoint==no-*" });
    expect(fleet.why(none)).toBe("finished: no-device-matched");
    expect(why(fleet, none, "group-passed")).toBe("no device of all was to be updated");
    const names = ["d0", "typo", "e1", "e2", "e3", "e4", "e5"];
    const id = fleet.begin({ endpoints: names });
    expect(why(fleet, id, "devices-unknown")).toBe("not known here: typo, e1, e2, e3, e4 and 1 more");
    fleet.become("succeeded", "d0");
    expect(fleet.why(id)).toBe("finished: finished");
    expect(why(fleet, fleet.begin({ endpoints: ["d1"] }), "devices-unknown")).toBeUndefined();
  });

  it("says so where each was skipped", () => {
    const fleet = new ScriptedFleet(2);
    for (const name of fleet.names) fleet.refusals.set(name, { reason: "other-class", detail: "it is of another" });
    const id = fleet.begin({ groups: [lenient] });
    expect(fleet.why(id)).toBe("finished: none-to-update");
    expect(why(fleet, id, "finished")).toBe("0 succeeded, 0 failed, 2 skipped, 0 cancelled: each device says why");
  });
});
