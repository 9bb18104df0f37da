import { describe, expect, it } from "vitest";
import { createApi } from "../../src/http/api.ts";
import { EventLog } from "../../src/http/event-log.ts";
import type { OperationOutcome } from "../../src/lwm2m/device-queue.ts";
import { chooseQuirks, parseQuirks, STANDARD, type Evidence } from "../../src/lwm2m/quirks.ts";
import { operationOf } from "../../src/lwm2m/operation-spec.ts";
import { readRegister, type Registration } from "../../src/lwm2m/registration.ts";
import { Timelines } from "../../src/lwm2m/timeline.ts";
import { Wakefulness } from "../../src/lwm2m/wakefulness.ts";
import { BEHAVIOURS } from "../../simulator/mote/lwm2m/behaviour.ts";
import { Lwm2mSite, PROFILES } from "../support/lwm2m-site.ts";

const S = 1_000_000;
const SLEEPY = { queueMode: { wakeIntervalS: 300, awakeS: 10 }, lifetimeS: 900 };

function outcomes(site: Lwm2mSite): OperationOutcome[] {
  const { devices } = site.bench.gateway;
  const out: OperationOutcome[] = [];
  for (let one = devices.pollOutcome(); one !== undefined; one = devices.pollOutcome()) out.push(one);
  return out;
}

describe("an operator's operation", () => {
  const submit = (site: Lwm2mSite): { taken: boolean | undefined } => {
    const result: { taken: boolean | undefined } = { taken: undefined };
    const spec = { operation: "write", path: "/1/0/1", value: "600" } as const;
    site.bench.loop.call(() => {
      site.bench.gateway.devices.operations.submit("m", spec, {}, (taken) => (result.taken = taken));
    });
    return result;
  };

  it("waits on the disk for a client that sleeps, through a kill of the gateway, and is done once", () => {
    const site = new Lwm2mSite();
    site.addMote("m", {}, SLEEPY);
    site.bench.run(100);
    const result = submit(site);
    expect(result.taken).toBeUndefined(); // not before it is on the disk
    site.bench.run(1);
    expect(result.taken).toBe(true);
    site.bench.restart();
    expect(site.bench.gateway.devices.waiting("m")).toMatchObject([{ id: 1, operation: { kind: "write" } }]);
    site.bench.run(300);
    expect(outcomes(site)).toMatchObject([{ id: 1, result: { kind: "done", code: "2.04" } }]);
    expect(site.bench.gateway.devices.get("m")!.lifetimeS).toBe(600);
    site.bench.run(2);
    site.bench.restart();
    expect(site.bench.gateway.devices.waiting("m")).toEqual([]);
    expect(site.timeline("m").join("\n")).toMatch(/write \/1\/0\/1: 2\.04/);
  });

  it("is not taken when the disk does not take it", () => {
    const site = new Lwm2mSite();
    site.addMote("m", {}, SLEEPY);
    site.bench.run(100);
    site.bench.intercept = (command) =>
      command.kind === "store" && command.ops.some(({ key }) => key.startsWith("operation/"))
        ? { kind: "failed", reason: "disk-full", detail: "", retryable: false }
        : undefined;
    const result = submit(site);
    site.bench.run(1);
    expect(result.taken).toBe(false);
    expect(site.bench.gateway.devices.waiting("m")).toEqual([]);
    expect(site.bench.events).toContainEqual({ event: "store-write-failed", reason: "disk-full" });
    expect(site.bench.counters.snapshot()).toMatchObject({ "store_write_failed.disk-full": 2 }); // its record, and taking that back
  });

  it.each([
    [
      { operation: "read", path: "3/0" },
      { kind: "read", path: [3, 0] },
    ],
    [
      { operation: "observe", path: "/3/0/9,/5/0/3" },
      { kind: "observe", path: [] },
    ],
    [
      { operation: "write", path: "/1/0", value: "1=300,6=1" },
      { kind: "write", replace: false },
    ],
    [{ operation: "write-composite", path: "/", value: "/1/0/1=60,/3/0/15=UTC" }, { kind: "write-composite" }],
    [{ operation: "write-attributes", path: "/3/0/9", value: "pmin=1&pmax=9" }, { attributes: ["pmin=1", "pmax=9"] }],
    [
      { operation: "create", path: "/9", value: "0/1=x" },
      { kind: "create", path: [9] },
    ],
  ] as const)("%j is understood", (spec, meant) => {
    expect(operationOf(spec)).toMatchObject(meant);
  });

  it.each([
    { operation: "read", path: "/3/0/x" },
    { operation: "read", path: "/3/0,/5/0" },
    { operation: "execute", path: "/5/0" },
    { operation: "write", path: "/1/0/1" },
    { operation: "write", path: "/1/0/1", value: "soon" },
    { operation: "write-composite", path: "/", value: "nonsense" },
    { operation: "write-attributes", path: "/3/0/9" },
  ] as const)("%j is refused with a reason", (spec) => {
    expect(operationOf(spec)).toEqual(expect.any(String));
  });
});

describe("Queue Mode: when a client hears (section 6.5)", () => {
  const registration = { queueMode: true, lifetimeS: 900 } as Registration;

  it("for 93 s after its last message, until requests without an answer say that it is less", () => {
    const one = new Wakefulness(undefined);
    expect(one.isAwake(0, registration)).toBe(false);
    one.heard(0, true);
    expect(one.isAwake(92 * S, registration)).toBe(true);
    expect(one.isAwake(94 * S, registration)).toBe(false);
    one.heard(9 * S, false);
    one.silent(); // it heard for 9 s after it woke
    expect(one.isAwake(10 * S, registration)).toBe(false);
    one.heard(300 * S, true);
    expect(one.isAwake(309 * S, registration)).toBe(true);
    expect(one.isAwake(311 * S, registration)).toBe(false);
    expect(one.intervalUs(registration, 30 * S)).toBe(300 * S);
    one.heard(309.5 * S, false); // a little longer after all
    expect(one.isAwake(310 * S, registration)).toBe(true);
  });

  it("for as long as is configured, whatever it does not answer", () => {
    const one = new Wakefulness(20 * S);
    one.heard(0, true);
    expect(one.isAwake(19 * S, registration)).toBe(true);
    expect(one.isAwake(21 * S, registration)).toBe(false);
    one.silent();
    one.heard(100 * S, true);
    expect(one.isAwake(119 * S, registration)).toBe(true);
  });

  it("a client without Queue Mode is always asked", () => {
    expect(new Wakefulness(undefined).isAwake(0, { ...registration, queueMode: false })).toBe(true);
  });
});

describe("quirk profiles", () => {
  const evidence = (query: string[], manufacturer: string, restState: number): Evidence => ({
    registration: { ...readRegister(["ep=x", ...query]), id: "1", rootPath: [], formats: [], objects: [] } as never,
    readings: [{ path: [3, 0, 0], value: manufacturer }],
    restState,
  });

  it.each([
    [["lwm2m=1.1"], "Open Mobile Alliance", 1, "wakaama"],
    [["lwm2m=1.0"], "Zephyr", 0, "zephyr"],
    [["lwm2m=1.1"], "Anjay", 0, "anjay"],
    [["lwm2m=1.0", "b=UQ"], "Contiki-NG", 1, "contiki-ng"],
    [["lwm2m=1.1"], "RIOT", 0, "riot"],
    [["lwm2m=1.1"], "Somebody", 0, "standard"],
  ])("%j, made by %s, State %i: %s", (query, manufacturer, state, name) => {
    expect(chooseQuirks(PROFILES, evidence(query, manufacturer, state)).name).toBe(name);
  });

  it("a key that is none is an error", () => {
    expect(() => parseQuirks({ name: "x", match: [], trustsState: false })).toThrow("trustsState");
    expect(chooseQuirks([], evidence([], "x", 0))).toBe(STANDARD);
  });
});

describe("the timeline of a device", () => {
  it("has runs of blocks, not one line each; is bounded, written within a second, and comes back", () => {
    const lines = new Timelines((nowUs) => nowUs / 1_000);
    for (let i = 0; i < 10; i++) lines.block(i * 1_000, "a/b", "pull", { offset: i * 64, length: 64, repeat: false });
    lines.block(11_000, "a/b", "pull", { offset: 576, length: 64, repeat: true });
    lines.retransmitted(12_000, "a/b");
    expect(lines.of("a/b")).toMatchObject([{ from: 0, to: 640, blocks: 11, repeats: 1, retransmissions: 1 }]);
    expect(lines.pollTimeout()).toBeLessThanOrEqual(1_000_000);
    const disk = new Map<string, Uint8Array>();
    const flush = (): void => {
      for (const op of lines.takeWrites())
        if (op.kind === "put") disk.set(op.key, op.value);
        else disk.delete(op.key);
    };
    flush();
    for (let i = 0; i < 1_000; i++) {
      lines.note(20_000 + i, "a/b", "event", String(i).repeat(200));
      if (i % 50 === 0) flush();
    }
    flush();
    expect(lines.of("a/b")).toHaveLength(32 * 7 + (1_001 % 32));
    expect(disk.size).toBe(8);
    const again = new Timelines(() => 0);
    for (const [key, value] of disk) expect(again.recover(key, value)).toBe(true);
    expect(again.of("a/b")).toEqual(lines.of("a/b"));
    expect(again.recover("timeline/x/1", Uint8Array.of(1))).toBe(false);
    expect(again.recover("timeline/%ZZ/1", disk.values().next().value!)).toBe(false);
  });
});

describe("probe", () => {
  const probe = (behaviour: string): unknown => {
    const site = new Lwm2mSite();
    const mote = site.addMote("m", BEHAVIOURS[behaviour]);
    site.bench.run(2);
    let report: unknown;
    site.bench.loop.call((nowUs) => site.bench.gateway.devices.probes.start(nowUs, "m", (one) => (report = one)));
    site.bench.run(120);
    expect(mote.sequenceNumber).toBe(1);
    return report;
  };

  it("says what a client can do, and which profile fits, without changing its firmware", () => {
    expect(probe("good")).toMatchObject({
      profile: "blockferry-mote",
      firmware: { state: "0 (Idle)", delivery: "both", protocols: [0] },
      device: { manufacturer: "blockferry", firmwareVersion: "1.0.0" },
      verdict: "pull by a Package URI of this gateway; push where that fails",
    });
    expect(probe("wakaama")).toMatchObject({ profile: "wakaama", verdict: "push, block by block, to /5/0/0" });
  });
});

describe("the API for devices", () => {
  it("starts, shows and cancels an update, and says what is wrong with a request", async () => {
    const site = new Lwm2mSite(8_000);
    site.addMote("m", BEHAVIOURS["push-only"]);
    site.bench.run(2);
    const { bench } = site;
    const api = await createApi({
      events: new EventLog("t"),
      unixMs: () => Date.now(),
      gateway: bench.gateway,
      addresses: [],
      metrics: () => ({}),
      call: (action) => bench.loop.call(action),
      operate: async () => Promise.resolve(undefined),
      probe: async () => Promise.resolve(undefined),
      publish: async () => Promise.reject(new Error("not asked for")),
    });
    const ask = async (method: "GET" | "POST" | "DELETE", url: string, payload?: object) => {
      const answer = api.inject({ method, url, ...(payload === undefined ? {} : { payload }) });
      await Promise.resolve();
      const ticks = setInterval(() => bench.run(0.01), 1);
      const { statusCode, body } = await answer.finally(() => clearInterval(ticks));
      return { statusCode, body: JSON.parse(body) as Record<string, unknown> };
    };
    const update = "/v1/devices/m/update";
    expect(await ask("GET", update)).toMatchObject({ statusCode: 404, body: { title: "no-update" } });
    expect(await ask("POST", update, { components: [{ image: "9.9.9" }] })).toMatchObject({
      statusCode: 422,
      body: { title: "no-such-image" },
    });
    expect(await ask("POST", update, { components: [], soak: 1 })).toMatchObject({ statusCode: 400 });
    const target = { components: [{ image: "2.0.0" }], soakS: 60 };
    expect(await ask("POST", update, target)).toMatchObject({ statusCode: 202, body: { endpoint: "m" } });
    expect(await ask("POST", update, target)).toMatchObject({ statusCode: 409, body: { title: "update-under-way" } });
    expect(await ask("GET", "/v1/devices")).toMatchObject({ body: [{ endpoint: "m", awake: true }] });
    expect(await ask("DELETE", update)).toMatchObject({ statusCode: 200 });
    bench.run(5);
    expect(await ask("GET", update)).toMatchObject({ body: { state: "cancelled" } });
    expect(await ask("DELETE", update)).toMatchObject({ statusCode: 409, body: { title: "cannot-cancel" } });
    const entries = (await ask("GET", "/v1/devices/m/timeline")).body as unknown as { event?: string }[];
    expect(entries.map(({ event }) => event)).toContain("cancelled");
  });
});
