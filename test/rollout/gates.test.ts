import { describe, expect, it } from "vitest";
import { Code } from "../../src/coap/numbers.ts";
import { keyRecord } from "../../src/lifecycle/classes.ts";
import { fromUtf8 } from "../../src/util/bytes.ts";
import { author } from "../support/gateway.ts";
import { canary, rest, siteOf } from "../support/rollout-site.ts";

describe("what holds a device back", () => {
  const all = { name: "all", successThreshold: 100, errorThreshold: 50, onSuccess: "next" } as const;

  it("a barrier has all download first, and then all apply together", () => {
    const site = siteOf(6);
    const id = site.start({ barrier: true, groups: [canary, rest] });
    site.bench.run(3_600);
    expect(site.states(id)).toEqual({ succeeded: 6 });
    const decisions = site.bench.gateway.fleet.rollouts.decisions(id);
    const fell = decisions.find(({ what }) => what === "barrier-fell")!;
    for (let i = 0; i < 6; i++) {
      const line = site.timeline(`m${i}`).find((text) => text.includes(" applying "))!;
      expect(Number(line.split(" ")[0]) * 1_000 + 100).toBeGreaterThanOrEqual(fell.atMs); // it tells tenths
    }
  });

  it("one that could not be let go, because the disk did not take it, is let go once more", () => {
    const site = siteOf(2);
    const id = site.start({ barrier: true, groups: [all] });
    let failures = 0;
    site.bench.intercept = (command) => {
      const isRelease =
        command.kind === "store" &&
        command.ops.some(
          (op) => op.kind === "put" && op.key === "update/m0" && fromUtf8(op.value)!.includes('"releasedUntilMs":'),
        );
      if (!isRelease || failures >= 3) return undefined;
      failures++;
      return { kind: "failed", reason: "disk-full", detail: "no space", retryable: true };
    };
    site.bench.run(3_600);
    expect(failures).toBe(3);
    expect(site.states(id)).toEqual({ succeeded: 2 });
  });

  it("a barrier falls without those that fail", () => {
    const site = siteOf(4);
    const gone = site.mote("m1");
    gone.gone = true; // before anything was asked of it
    const id = site.start({ barrier: true, groups: [{ ...all, successThreshold: 75 }], deadlineS: 900 });
    site.bench.run(100);
    expect(site.states(id)).toEqual({ downloaded: 3, commanded: 1 });
    site.bench.run(7_200);
    expect(site.states(id)).toEqual({ succeeded: 3, failed: 1 });
  });

  it("outside the window everything is downloaded, and nothing applied", () => {
    const site = siteOf(3);
    // The bench's clock begins in 1970, at midnight UTC: 01:00 in Paris.
    const window = {
      schedule: "0 3 * * *",
      durationS: 3_600,
      timeZone: "Europe/Paris",
      downloads: "any-time",
    } as const;
    const id = site.start({ window, groups: [all] });
    site.bench.run(3_600);
    expect(site.states(id)).toEqual({ downloaded: 3 });
    expect(site.mote("m0").boots).toBe(1);
    site.bench.run(3_600 + 900);
    expect(site.states(id)).toEqual({ succeeded: 3 });
    for (const line of site.timeline("m0").filter((text) => text.includes(" applying "))) {
      const seconds = Number(line.split(" ")[0]);
      expect(seconds).toBeGreaterThanOrEqual(7_200);
      expect(seconds).toBeLessThan(10_800);
    }
  });

  it("one that sleeps through the window is not told behind it", () => {
    const site = siteOf(0);
    site.addMote("sleepy", {}, { queueMode: { wakeIntervalS: 7_000, awakeS: 30 }, lifetimeS: 20_000 });
    site.bench.run(20);
    const window = { schedule: "30 2 * * *", durationS: 600, timeZone: "UTC" } as const;
    const id = site.start({ window, groups: [all], deadlineS: 30 * 86_400 });
    site.bench.run(6 * 86_400);
    for (const line of site.timeline("sleepy").filter((text) => text.includes(" applying "))) {
      const second = Number(line.split(" ")[0]) % 86_400;
      expect(second).toBeGreaterThanOrEqual(9_000);
      expect(second).toBeLessThan(9_600);
    }
    expect(["downloaded", "succeeded", "commanded"]).toContain(Object.keys(site.states(id))[0]);
  });

  it("downloads too wait, where the window says so", () => {
    const site = siteOf(2);
    const window = { schedule: "0 2 * * *", durationS: 3_600, timeZone: "UTC", downloads: "in-window" } as const;
    const id = site.start({ window, groups: [all] });
    site.bench.run(7_000);
    expect(site.states(id)).toEqual({ pending: 2 });
    site.bench.run(1_000);
    expect(site.states(id)).toEqual({ succeeded: 2 });
  });

  it("a battery is asked for, and one that is low waits until its deadline", () => {
    const site = siteOf(2);
    const { fleet } = site.bench.gateway;
    const id = site.start({ minBattery: 95, groups: [all], deadlineS: 3_600 });
    site.bench.run(60);
    expect(fleet.device("m0")?.battery).toBe(90);
    expect(site.rollout(id).members.get("m0")).toMatchObject({ state: "pending", reason: "battery-low" });
    site.bench.run(4_000);
    expect(site.states(id)).toEqual({ failed: 2 });
    const other = site.start({ minBattery: 80, groups: [all] });
    expect(site.until(other, ["finished"])).toBe("finished");
  });

  it.each([
    ["that it has none (4.04)", Code.NOT_FOUND, { succeeded: 1 }],
    ["anything else", Code.SERVICE_UNAVAILABLE, { pending: 1 }],
  ])("one that answers, asked for its battery, %s", (_what, code, states) => {
    const site = siteOf(1);
    site.answer((path) => (path === "/3/0/9" ? { code } : undefined));
    const id = site.start({ minBattery: 95, groups: [all] }); // what motes tell is under that
    site.bench.run(3_000);
    expect(site.states(id)).toEqual(states);
  });

  it("what was said of a device stays what was acknowledged, though what was said before could not be written", () => {
    const site = siteOf(1);
    const { fleet } = site.bench.gateway;
    const told: boolean[] = [];
    const sayBoth = (failing: readonly boolean[]): void => {
      let n = 0;
      site.bench.intercept = (command) => {
        const isIt =
          command.kind === "store" && command.ops[0]?.key === "inventory/m0" && command.durability === "durable";
        return isIt && failing[n++] === true
          ? { kind: "failed", reason: "disk-full", detail: "", retryable: true }
          : undefined;
      };
      site.bench.loop.call(() => {
        for (const tag of ["one", "two"])
          fleet.describe("m0", { tags: [tag], class: undefined, hops: undefined }, (done) => told.push(done));
      });
      site.bench.run(1);
    };
    sayBoth([true, true]);
    expect(fleet.device("m0")?.tags).toEqual([]);
    expect(fleet.inventory.get("m0").revision).toBe(0);
    sayBoth([true, false]);
    expect(fleet.device("m0")?.tags).toEqual(["two"]);
    sayBoth([false, true]);
    expect(fleet.device("m0")?.tags).toEqual(["one"]);
    expect(told).toEqual([false, false, false, true, false, true]); // the disk says no at once
    site.bench.intercept = ({ kind }) =>
      kind === "store" ? { kind: "failed", reason: "disk-full", detail: "", retryable: true } : undefined;
    site.bench.loop.call(() => fleet.describe("typo", { tags: ["x"], class: "c", hops: 1 }, () => {}));
    site.bench.run(1);
    expect(fleet.device("typo")).toBeUndefined();
    expect(fleet.sortedNames()).toEqual(["m0"]);
  });

  it("while the backhaul is down it works from the cache, behind a restart too", () => {
    const site = siteOf(3);
    site.bench.disk.upstream.clear();
    site.bench.restart();
    const id = site.start({ groups: [all] });
    expect(site.until(id, ["finished"])).toBe("finished");
    expect(site.states(id)).toEqual({ succeeded: 3 });
  });

  it("a precondition skips those that it does not hold for, and says why", () => {
    const site = siteOf(3);
    site.bench.loop.call(() =>
      site.bench.gateway.fleet.describe("m1", { tags: ["lab"], class: undefined, hops: undefined }, () => {}),
    );
    site.bench.run(1);
    const id = site.start({ requires: "tag==lab", groups: [all] });
    expect(site.until(id, ["finished"])).toBe("finished");
    expect(site.states(id)).toEqual({ succeeded: 1, skipped: 2 });
    expect(site.rollout(id).members.get("m0")).toMatchObject({ reason: "precondition" });
  });

  it("a device that another rollout has not succeeded on is not touched", () => {
    const site = siteOf(3, (i) => ({ bootsOld: i === 1 }));
    const first = site.start({ groups: [{ ...all, errorThreshold: 100, successThreshold: 0 }] });
    const then = site.start({ after: [first], groups: [all] });
    site.bench.run(20_000);
    expect(site.states(first)).toEqual({ succeeded: 2, failed: 1 });
    expect(site.rollout(then).members.get("m1")).toMatchObject({ state: "skipped", reason: "dependency" });
    expect(site.states(then)).toEqual({ succeeded: 2, skipped: 1 });
  });

  it("never more at once than it may, and not more air than it has", () => {
    const site = siteOf(8);
    const id = site.start({ maxConcurrent: 3, groups: [all] });
    let most = 0;
    for (let i = 0; i < 600; i++) {
      site.bench.run(1);
      most = Math.max(most, site.rollout(id).members.count("commanded"));
    }
    expect(most).toBe(3);
    // Each image takes some 0.16 s of the channel: two of them in an hour.
    const site2 = siteOf(8);
    const slow = site2.start({ airtimeSPerHour: 0.35, groups: [all] });
    site2.bench.run(1_800);
    expect(site2.states(slow)).toEqual({ succeeded: 2, pending: 6 });
    site2.bench.run(3_600);
    expect(site2.states(slow)).toEqual({ succeeded: 4, pending: 4 });
  });

  it("security goes first where both want a device", () => {
    const site = siteOf(3);
    const feature = site.create({ name: "feature", groups: [all] });
    const security = site.create({ name: "fix", priority: "security", maxConcurrent: 1, groups: [all] });
    if (!feature.ok || !security.ok) throw new Error("not created");
    site.command(security.record.id, "start");
    site.command(feature.record.id, "start");
    const waits = [...site.rollout(feature.record.id).members.all()].filter(({ reason }) => reason === "priority");
    expect(waits.length).toBe(3);
    expect(waits[0]?.detail).toContain("fix");
    expect(site.until(feature.record.id, ["finished"])).toBe("finished");
    const ends = (id: string): number[] => [...site.rollout(id).members.all()].map(({ endedMs }) => endedMs!);
    expect(Math.max(...ends(security.record.id))).toBeLessThanOrEqual(Math.max(...ends(feature.record.id)));
  });

  it("devices that turn up later are taken in, until it says so", () => {
    const site = siteOf(2);
    const id = site.start({ groups: [all], dynamicUntilMs: 7_200_000 });
    site.bench.run(600);
    expect(site.states(id)).toEqual({ succeeded: 2 });
    expect(site.rollout(id).record.state).toBe("running");
    site.addMote("late");
    site.bench.run(600);
    expect(site.states(id)).toEqual({ succeeded: 3 });
    site.bench.run(7_200);
    expect(site.rollout(id).record.state).toBe("finished");
    site.addMote("too-late");
    site.bench.run(600);
    expect(site.rollout(id).members.size).toBe(3);
  });

  it("a device in quarantine is skipped", () => {
    const site = siteOf(2);
    const { desk } = site.bench.gateway;
    const definition = {
      id: "ab".repeat(16),
      name: "sensor",
      vendorId: "cd".repeat(16),
      hardware: { rng: true, rtc: true, slots: 2, recoveryImage: false, ramBytes: 65_536 },
      authorities: [{ name: "a", ...keyRecord(author.publicKey) }],
      escrow: [],
      operators: [],
      epoch: 0,
    } as const;
    const device = "0011223344556677";
    const key = new Uint8Array(32);
    site.bench.loop.call((nowUs) => {
      desk.submit(nowUs, "t", { kind: "class-defined", definition }, () => {});
      desk.keepCredential(
        nowUs,
        "t",
        { kind: "device-provisioned", device, classId: definition.id, endpoint: "m0", stage: 2 },
        key,
        () => {},
      );
      desk.submit(nowUs, "t", { kind: "device-quarantined", device, reason: "stolen" }, () => {});
    });
    site.bench.run(1);
    const id = site.start({ groups: [all] });
    expect(site.until(id, ["finished"])).toBe("finished");
    expect(site.rollout(id).members.get("m0")).toMatchObject({ state: "skipped", reason: "held" });
    expect(site.mote("m0").boots).toBe(1);
  });
});
