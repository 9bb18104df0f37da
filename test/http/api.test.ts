import { describe, expect, it } from "vitest";
import { createApi } from "../../src/http/api.ts";
import { EventLog } from "../../src/http/event-log.ts";
import { GatewayBench, makeImage, sign } from "../support/gateway.ts";

async function setUp() {
  const bench = new GatewayBench();
  const api = await createApi({
    events: new EventLog("t"),
    unixMs: () => Date.now(),
    gateway: bench.gateway,
    addresses: ["127.0.0.1:5683"],
    metrics: () => bench.counters.snapshot(),
    call: (action) => bench.loop.call(action),
    operate: async () => Promise.resolve(undefined),
    probe: async () => Promise.resolve(undefined),
    publish: async ({ envelope, source, alias }) =>
      Promise.resolve(bench.publishEnvelope(envelope, source, alias === undefined ? {} : { alias })!),
  });
  return { bench, api };
}

/** Answered once the audit log has it on the disk, which takes time to pass. */
async function answered({ bench, api }: Awaited<ReturnType<typeof setUp>>, payload: object) {
  const state = { open: true };
  const answer = post(api, payload).finally(() => (state.open = false));
  while (state.open) {
    await new Promise((resolve) => setImmediate(resolve));
    bench.run(0.01);
  }
  return answer;
}

const post = async (api: Awaited<ReturnType<typeof createApi>>, payload: string | object) =>
  api.inject({ method: "POST", url: "/v1/images", headers: { "content-type": "application/json" }, payload });

describe("the operator's API", () => {
  const image = makeImage(1, 3_000);

  it("publishes, and lists what is offered, how far devices are, and what was counted", async () => {
    const { bench, api } = await setUp();
    bench.disk.upstream.set("sim:1", image);
    const created = await answered(
      { bench, api },
      {
        envelope: Buffer.from(sign(image, 1)).toString("base64"),
        source: "sim:1",
        alias: "fw",
      },
    );
    expect(created.statusCode).toBe(201);
    expect(created.json()).toMatchObject({ sequenceNumber: 1, bytes: 3_000, aliasPath: "/fw", state: "memory" });
    expect((await api.inject("/v1/images")).json()).toEqual([created.json()]);
    expect((await api.inject("/v1/transfers")).json()).toEqual([]);
    expect((await api.inject("/v1/metrics")).json()).toMatchObject({ "publish.published": 1 });
    expect((await api.inject("/healthz")).json()).toEqual({ status: "ok", addresses: ["127.0.0.1:5683"] });
  });

  it("shows a publication while its image is fetched", async () => {
    const { bench, api } = await setUp();
    bench.disk.upstream.set("sim:1", image);
    bench.loop.call((nowUs) => bench.gateway.publish(nowUs, 9, { envelope: sign(image, 1), source: "sim:1" }));
    expect((await api.inject("/v1/publications")).json()).toMatchObject([
      { bytes: 3_000, fetchedBytes: 0, state: "fetching" },
    ]);
    bench.run(1);
    expect((await api.inject("/v1/publications")).json()).toEqual([]);
  });

  it.each([
    ["no JSON", "{"],
    ["no envelope", {}],
    ["an envelope that is not base64", { envelope: "***" }],
    ["an unknown member", { envelope: "", colour: "blue" }],
    ["a list", "[]"],
    ["an envelope beyond the limit", { envelope: "A".repeat(100_000) }],
  ])("%s is a problem document, not a crash", async (_what, payload) => {
    const { api } = await setUp();
    const response = await post(api, payload);
    expect(response.statusCode).toBe(400);
    expect(response.headers["content-type"]).toMatch(/application\/problem\+json/);
    expect(response.json()).toMatchObject({ title: "bad-request", status: 400 });
  });

  it("a body larger than any envelope is refused unread", async () => {
    const { api } = await setUp();
    expect((await post(api, { envelope: "A".repeat(1_100_000) })).statusCode).toBe(413);
  });

  it("a refusal carries its reason as title", async () => {
    const { api } = await setUp();
    const response = await post(api, { envelope: Buffer.from("nonsense").toString("base64"), source: "sim:1" });
    expect(response.statusCode).toBe(422);
    expect(response.json()).toMatchObject({ title: "malformed" });
  });
});
