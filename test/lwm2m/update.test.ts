import { describe, expect, it } from "vitest";
import { encodeUint } from "../../src/coap/message.ts";
import { Code, Option } from "../../src/coap/numbers.ts";
import { fromUtf8, utf8 } from "../../src/util/bytes.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { BEHAVIOURS } from "../../simulator/mote/lwm2m/behaviour.ts";
import { Lwm2mSite } from "../support/lwm2m-site.ts";
import { effort } from "../support/effort.ts";

const QUEUE = { queueMode: { wakeIntervalS: 300, awakeS: 10, fixed: true }, lifetimeS: 900 };

function siteWith(behaviour: string, parts = {}, imageBytes = 2_000): Lwm2mSite {
  const site = new Lwm2mSite(imageBytes);
  site.addMote("m", BEHAVIOURS[behaviour], parts);
  site.bench.run(2);
  return site;
}

describe("an update of a client (LwM2M 1.1 Core, section E.6)", () => {
  it.each([
    ["pull-only", "pull"],
    ["push-only", "push"],
    ["wakaama", "push"],
    ["good", "pull"],
  ])("%s, by %s: it boots the new image, registers again, and reads the version", (behaviour, method) => {
    const site = siteWith(behaviour);
    site.update("m");
    site.settle(["m"]);
    expect(site.job("m"), site.timeline("m").join("\n")).toMatchObject({
      state: "succeeded",
      method,
      versionBefore: "1.0.0",
      versionAfter: "2.0.0",
    });
  });

  it.each([
    ["pull-only", "pull"],
    ["push-only", "push"],
  ])("%s in Queue Mode, awake 10 s of 300: goes on at each wake", (behaviour, method) => {
    const site = siteWith(behaviour, { ...QUEUE, maxImageBytes: 65_536 }, 60_000);
    site.update("m");
    const asleep = { sent: 0 };
    site.fate = ({ from }) => {
      const sinceS = (site.bench.engine.nowUs() / 1e6) % 300; // it began at 1 s
      if (from === "gateway" && sinceS > 12 && sinceS < 300) asleep.sent++;
      return 1;
    };
    site.settle(["m"], 20_000);
    expect(site.job("m"), site.timeline("m").join("\n")).toMatchObject({ state: "succeeded", method });
    expect(asleep.sent).toBeLessThan(20); // while the window is being learnt
  });

  it.each(["pull-only", "push-only"])(
    "%s in Queue Mode hears behind its last message: one wake is enough",
    (behaviour) => {
      const queueMode = { wakeIntervalS: 300, awakeS: 10 };
      const site = siteWith(behaviour, { queueMode, lifetimeS: 900, maxImageBytes: 65_536 }, 60_000);
      site.update("m");
      site.settle(["m"], 200);
      expect(site.job("m").state, site.timeline("m").join("\n")).toBe("succeeded");
    },
  );

  it("what a client asked for before it slept keeps nothing back when it wakes", () => {
    const site = siteWith("pull-only", { ...QUEUE, maxImageBytes: 65_536 }, 60_000);
    site.update("m");
    // From here to its sleep nothing arrives: its request is under way yet when it wakes 290 s later.
    const cut = site.bench.engine.nowUs() + 6e6;
    site.fate = () => (site.bench.engine.nowUs() > cut && site.bench.engine.nowUs() < cut + 280e6 ? 0 : 1);
    site.bench.run(300);
    const had = site.mote("m").imageBytesReceived;
    site.bench.run(5); // within NSTART of the request before
    expect(site.mote("m").imageBytesReceived).toBeGreaterThan(had);
  });

  it("a client that says success and boots the old image has failed", () => {
    const site = siteWith("boots-old");
    site.update("m");
    site.settle(["m"]);
    const job = site.job("m");
    expect(job).toMatchObject({ state: "failed", reason: "old-version", versionAfter: "1.0.0", result: 1 });
    expect(job.detail).toBe("it runs 1.0.0, not 2.0.0, though its Update Result is 1 (success)");
  });

  it("one that never comes back has failed after its lifetime and the grace, not before", () => {
    const site = siteWith("vanishes");
    site.update("m");
    site.settle(["m"]);
    expect(site.job("m")).toMatchObject({ state: "failed", reason: "silent" });
    const { executedMs, endedMs } = site.job("m");
    expect(endedMs! - executedMs!).toBeGreaterThanOrEqual((300 + 120) * 1_000);
    expect(endedMs! - executedMs!).toBeLessThan((300 + 120 + 60) * 1_000);
  });

  it("the version has to stay for the soak: one that rolls back has failed", () => {
    const site = siteWith("good");
    site.update("m", { soakS: 600 });
    site.settle(["m"], 300);
    expect(site.job("m").state).toBe("soaking");
    site.settle(["m"]);
    expect(site.job("m")).toMatchObject({ state: "succeeded" });
    expect(site.job("m").endedMs! - site.job("m").executedMs!).toBeGreaterThanOrEqual(600_000);

    const other = siteWith("good");
    other.update("m", { soakS: 600 });
    other.settle(["m"], 300);
    expect(other.job("m").state).toBe("soaking");
    other.replaceMote("m"); // as new from the factory, at the same address
    other.settle(["m"]);
    expect(other.job("m")).toMatchObject({ state: "failed", reason: "rolled-back", versionAfter: "1.0.0" });
  });

  it("the version is compared exactly: 2.0.0 is not 2.0.0.1", () => {
    const site = siteWith("good");
    site.update("m", {}, { version: "2.0.0.1" });
    site.settle(["m"]);
    expect(site.job("m")).toMatchObject({ state: "failed", reason: "other-version", versionAfter: "2.0.0" });
  });

  it("a client that runs the version already is left alone, unless it is forced", () => {
    const site = siteWith("good");
    site.update("m", {}, { version: "1.0.0" });
    site.settle(["m"]);
    expect(site.job("m")).toMatchObject({ state: "succeeded", reason: "already-current", executes: 0 });
  });

  it("falls back from pull to push where the client cannot fetch, and says so", () => {
    const site = siteWith("good");
    site.fate = ({ from, bytes }) => (from === "mote" && isPull(bytes) ? 0 : 1); // its requests do not get through
    site.update("m", { activeIntervalS: 10 });
    site.settle(["m"], 2_000);
    const job = site.job("m");
    expect(site.timeline("m").join("\n")).toMatch(/method-failed pull: stalled at 0 of 2000 bytes/);
    expect(job.tried).toContain("pull");
    site.fate = () => 1;
    site.settle(["m"]);
    expect(site.job("m"), site.timeline("m").join("\n")).toMatchObject({ state: "succeeded", method: "push" });
  });

  it("is cancelled before it is executed, and not after", () => {
    const site = siteWith("push-only", {}, 8_000);
    const mote = site.mote("m");
    site.update("m");
    site.settle(["m"], 0.5);
    expect(site.job("m").state).toBe("transferring");
    expect(site.cancel("m")).toBe(true);
    site.settle(["m"]);
    expect(site.job("m")).toMatchObject({ state: "cancelled", reason: "cancelled" });
    expect(mote.client.firmware!.state).toBe(0);
    site.update("m");
    for (let i = 0; i < 500 && site.job("m").state !== "applying"; i++) site.settle(["m"], 0.1);
    expect(site.job("m").state, site.timeline("m").join("\n")).toBe("applying");
    expect(site.cancel("m")).toBe(false);
    site.settle(["m"]);
    expect(site.job("m").state).toBe("succeeded");
  });
});

describe("object 33629 and what object version 1.1 brought", () => {
  it("an instance of 33629 is updated, and its own version resource is what counts", () => {
    const site = siteWith("good", { object: [33_629, 1] });
    site.update("m", {}, { object: [33_629, 1] });
    site.settle(["m"]);
    expect(site.job("m"), site.timeline("m").join("\n")).toMatchObject({ state: "succeeded", versionAfter: "2.0.0" });
  });

  it("several components are downloaded one after the other, and applied by one Update with the others linked", () => {
    const site = siteWith("pull-only", { object: [33_629, 0] });
    const radio = { state: 0, version: "4.0.0" }; // /33629/1, which the mote does not have
    const executed: string[] = [];
    const said = (value: string | number) => ({
      code: Code.CONTENT,
      options: [{ number: Option.CONTENT_FORMAT, value: encodeUint(0) }],
      payload: utf8(String(value)),
    });
    site.answer((path, { code, payload }) => {
      if (path.endsWith("/2") && code === Code.POST) {
        executed.push(`${path} ${fromUtf8(payload)}`);
        radio.version = "5.0.0";
      }
      if (path === "/33629/1/1" && code === Code.PUT) radio.state = 2;
      if (path === "/33629/1/3") return said(radio.state);
      if (path === "/33629/1/5") return said(0);
      if (path === "/33629/1/15") return said(radio.version);
      return path.startsWith("/33629/1") ? { code: code === Code.GET ? Code.NOT_FOUND : Code.CHANGED } : undefined;
    });
    const { target } = site;
    const components = [
      { ...target, object: [33_629, 1], version: "5.0.0" },
      { ...target, object: [33_629, 0] },
    ];
    site.updateAll("m", components);
    site.settle(["m"]);
    expect(site.job("m"), site.timeline("m").join("\n")).toMatchObject({
      state: "succeeded",
      versionAfter: "5.0.0 2.0.0",
    });
    expect(executed).toEqual(["/33629/0/2 0='</33629/1>'"]); // a value of an argument is quoted
  });

  it("a client may put the update off (Result 11), until the maximum defer period is over", () => {
    const site = siteWith("defers");
    site.update("m", { maxDeferS: 600, severity: 2 });
    site.settle(["m"], 300);
    expect(site.job("m").state).toBe("deferred");
    site.settle(["m"], 3_000);
    const job = site.job("m");
    expect(job, site.timeline("m").join("\n")).toMatchObject({ state: "succeeded", executes: 2 });
    expect(job.endedMs! - job.startedMs).toBeGreaterThan(600_000);
  });
});

/** A GET of `/u/...`. */
const isPull = (bytes: Uint8Array): boolean =>
  bytes[1] === 1 && bytes.some((byte, i) => byte === 0xb1 && bytes[i + 1] === 0x75);

describe("whatever is lost, doubled, delayed or restarted", () => {
  it.each(["pull-only", "push-only"])(
    "%s: a restart of either side at any point of the way costs no more than a pause",
    (behaviour) => {
      const verdicts: string[] = [];
      for (let step = 0; step < 60; step += effort(2, 1)) {
        for (const side of ["gateway", "mote"] as const) {
          const site = siteWith(behaviour);
          site.update("m");
          let datagrams = 0;
          const due = { now: false };
          site.fate = () => {
            if (datagrams++ === step * 2) due.now = true;
            return 1;
          };
          const end = site.bench.engine.nowUs() + 600e6;
          while (!due.now && site.job("m").endedMs === undefined && site.bench.engine.nowUs() < end)
            site.bench.run(0.01);
          if (side === "gateway") site.bench.restart();
          else site.rebootMote("m");
          site.settle(["m"]);
          const { state, reason, versionAfter } = site.job("m");
          verdicts.push(`${state} ${versionAfter}`);
          const right = site.mote("m").runs(site.image) && state === "succeeded";
          if (!right) throw new Error(`${side} at ${step}: ${state} ${reason}\n${site.timeline("m").join("\n")}`);
        }
      }
      expect(new Set(verdicts)).toEqual(new Set(["succeeded 2.0.0"]));
    },
  );

  it.each(["pull-only", "push-only"])("%s: all fates of any three datagrams one behind the other", (behaviour) => {
    const FATES = [1, 0, 2, "late"] as const;
    let longest = 0;
    for (let first = 0; first === 0 || first < longest; first += effort(18, 3)) {
      for (let code = 0; code < FATES.length ** 3; code++) {
        const site = siteWith(behaviour, {}, 500);
        let sent = 0;
        site.fate = () => {
          const at = sent++ - first;
          return at < 0 || at > 2 ? 1 : FATES[Math.floor(code / FATES.length ** at) % FATES.length]!;
        };
        site.update("m");
        site.settle(["m"], 5_000);
        longest = Math.max(longest, code === 0 ? sent : 0);
        const right = site.job("m").state === "succeeded" && site.mote("m").runs(site.image);
        if (!right) throw new Error(`${first}/${code}: ${site.job("m").state}\n${site.timeline("m").join("\n")}`);
      }
    }
    expect(longest).toBeGreaterThan(30);
  });

  it.each(["pull-only", "push-only", "wakaama"])(
    "%s: with a fifth of all datagrams lost, and a tenth doubled",
    (behaviour) => {
      for (let seed = 0; seed < effort(8, 20); seed++) {
        const random = new SeededRandom(seed, "losses");
        const site = siteWith(behaviour);
        site.fate = () => {
          const draw = random.uint32() % 100;
          return draw < 20 ? 0 : draw < 30 ? 2 : 1;
        };
        site.update("m");
        site.settle(["m"], 40_000);
        const { state, reason } = site.job("m");
        // Either the right image, or a reason; never a wrong verdict.
        const runs = site.mote("m").runs(site.image);
        if ((state === "succeeded") !== runs)
          throw new Error(`seed ${seed}: ${state} ${reason}\n${site.timeline("m").join("\n")}`);
        expect(`${seed} ${state}`, site.timeline("m").join("\n")).toBe(`${seed} succeeded`);
      }
    },
  );
});
