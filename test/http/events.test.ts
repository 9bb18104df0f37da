import { createHash, createHmac, randomBytes } from "node:crypto";
import { request, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { describe, expect, it } from "vitest";
import { EventLog, EVENT_LIMITS } from "../../src/http/event-log.ts";
import type { Command } from "../../src/ports/commands.ts";
import { fromUtf8, utf8 } from "../../src/util/bytes.ts";
import { ApiBench } from "../support/api.ts";
import { GatewayBench, makeImage, sign } from "../support/gateway.ts";
import { Lwm2mSite } from "../support/lwm2m-site.ts";
import { temporaryUploads } from "../support/uploads.ts";

describe("events", () => {
  it("go on behind the last that was heard, and say where some are gone", () => {
    const log = new EventLog("a");
    for (let i = 1; i <= 3; i++) log.add("update", { i });
    expect(log.since("a.1")).toMatchObject({ gap: false, events: [{ id: "a.2" }, { id: "a.3" }] });
    expect(log.since("a.3")).toEqual({ gap: false, events: [] });
    expect(log.since(undefined)).toEqual({ gap: false, events: [] });
    expect(log.since("b.2")).toMatchObject({ gap: true, events: [{}, {}, {}] });
    for (let i = 0; i < EVENT_LIMITS.kept; i++) log.add("update", { i });
    expect(log.since("a.1").gap).toBe(true);
    expect(log.since("a.3").gap).toBe(false);
  });

  it("are a stream that a listener comes back to", async () => {
    const api = await ApiBench.open(new Lwm2mSite());
    await api.local.listen({ port: 0, host: "127.0.0.1" });
    const { port } = api.local.server.address() as AddressInfo;
    const listen = async (headers: Record<string, string>): Promise<IncomingMessage> =>
      new Promise((resolve) =>
        request({ port, host: "127.0.0.1", path: "/v1/events?kind=rollout", headers }, resolve).end(),
      );
    const until = async (stream: IncomingMessage, what: string): Promise<string> => {
      let text = "";
      for await (const piece of stream) {
        text += String(piece);
        if (text.includes(what)) break;
      }
      stream.destroy();
      return text;
    };
    const first = await listen({});
    expect(first.headers["content-type"]).toBe("text/event-stream");
    api.events.add("device", { endpoint: "m0" }); // not asked for
    api.events.add("rollout", { what: "created" });
    expect(await until(first, "created")).toBe(
      'retry: 2000\n\nid: run.2\nevent: rollout\ndata: {"what":"created"}\n\n',
    );
    api.events.add("rollout", { what: "meanwhile" });
    expect(await until(await listen({ "last-event-id": "run.2" }), "meanwhile")).toContain("id: run.3");
    expect(await until(await listen({ "last-event-id": "before.9" }), "meanwhile")).toContain("event: gap");
    await api.local.close();
  });
});

describe("events that were missed", () => {
  it("are had, however many they are", async () => {
    const api = await ApiBench.open(new Lwm2mSite());
    await api.local.listen({ port: 0, host: "127.0.0.1" });
    const { port } = api.local.server.address() as AddressInfo;
    for (let i = 0; i < 5_000; i++) api.events.add("rollout", { i, text: "x".repeat(400) });
    const headers = { "last-event-id": "before.1" };
    const stream = await new Promise<IncomingMessage>((resolve) =>
      request({ port, host: "127.0.0.1", path: "/v1/events", headers }, resolve).end(),
    );
    let text = "";
    for await (const piece of stream) {
      text += String(piece);
      if (text.includes("id: run.5000\n")) break;
    }
    expect(text.match(/^event: rollout$/gm)?.length).toBe(5_000);
    stream.destroy();
    await api.local.close();
  });
});

describe("uploads", () => {
  const image = makeImage(3, 20_000);
  const sha256 = createHash("sha256").update(image).digest("hex");
  const piece = async (api: ApiBench, id: string, offset: number, bytes: Uint8Array): ReturnType<ApiBench["ask"]> =>
    api.ask("PATCH", `/v1/uploads/${id}`, undefined, {
      headers: { "upload-offset": String(offset), "content-type": "application/offset+octet-stream" },
      raw: Buffer.from(bytes) as unknown as string,
    });

  it("go on where they stopped, are checked, and are published", async () => {
    const uploads = temporaryUploads();
    const bench = new GatewayBench();
    let source: string | undefined;
    const api = await ApiBench.open(new Lwm2mSite(), {
      uploads,
      publish: async (asked) => {
        source = asked.source;
        return Promise.resolve(bench.publish(image, 7)!);
      },
    });
    const { id } = (await api.ask("POST", "/v1/uploads", { bytes: image.length, sha256 })).json as { id: string };
    expect((await piece(api, id, 0, image.subarray(0, 7_000))).json).toMatchObject({ offset: 7_000, complete: false });
    expect(await piece(api, id, 6_999, image.subarray(6_999))).toMatchObject({
      status: 409,
      json: { title: "wrong-offset" },
    });
    const envelope = Buffer.from(sign(image, 7)).toString("base64");
    const early = await api.ask("POST", "/v1/images", { envelope, source: `upload:${id}` });
    expect(early).toMatchObject({ status: 422, json: { title: "no-such-upload" } });
    expect((await api.ask("GET", `/v1/uploads/${id}`)).headers["upload-offset"]).toBe("7000");
    expect((await piece(api, id, 7_000, image.subarray(7_000))).json).toMatchObject({ complete: true });
    expect((await api.ask("POST", "/v1/images", { envelope, source: `upload:${id}` })).status).toBe(201);
    expect(source).toMatch(/^file:/);
  });

  it("of other bytes than were announced, or of more, are thrown away or refused", async () => {
    const api = await ApiBench.open(new Lwm2mSite(), { uploads: temporaryUploads() });
    const create = async (bytes: number): Promise<string> =>
      ((await api.ask("POST", "/v1/uploads", { bytes, sha256 })).json as { id: string }).id;
    const wrong = await create(100);
    expect(await piece(api, wrong, 0, randomBytes(100))).toMatchObject({
      status: 422,
      json: { title: "wrong-digest" },
    });
    expect((await api.ask("GET", `/v1/uploads/${wrong}`)).status).toBe(404);
    expect(await piece(api, await create(100), 0, randomBytes(101))).toMatchObject({ status: 413 });
    expect(await api.ask("POST", "/v1/uploads", { bytes: 1e6, sha256 })).toMatchObject({ status: 413 });
  });

  it("outlive the process", async () => {
    const uploads = temporaryUploads();
    const api = await ApiBench.open(new Lwm2mSite(), { uploads });
    const { id } = (await api.ask("POST", "/v1/uploads", { bytes: image.length, sha256 })).json as { id: string };
    await piece(api, id, 0, image.subarray(0, 7_000));
    const again = new (uploads.constructor as new (folder: string, max: number) => typeof uploads)(
      uploads.folder,
      100_000,
    );
    const result = await again.append(
      id,
      7_000,
      (async function* () {
        yield image.subarray(7_000);
      })(),
    );
    expect(result).toMatchObject({ complete: true, offset: image.length });
  });
});

describe("webhooks", () => {
  const secret = utf8("a secret of sixteen or more");
  const target = { url: "https://hooks.example/x", secret };

  function setUp(answer: () => number): { bench: GatewayBench; sent: Extract<Command, { kind: "http" }>["request"][] } {
    const bench = new GatewayBench({ webhooks: [target] });
    const sent: Extract<Command, { kind: "http" }>["request"][] = [];
    bench.intercept = (command) => {
      if (command.kind !== "http") return undefined;
      sent.push(command.request);
      const status = answer();
      if (status === 0) return { kind: "failed", reason: "failed", detail: "no route to host", retryable: true };
      return { kind: "http-response", response: { status, headers: {}, body: new Uint8Array() } };
    };
    return { bench, sent };
  }
  const tell = (bench: GatewayBench, what: string): void =>
    bench.loop.call((nowUs) => bench.gateway.webhooks.add(nowUs, { kind: "rollout", data: { what } }));

  it("are signed, in order, and told until they are heard", () => {
    let answers = [503, 0, 200, 200];
    const { bench, sent } = setUp(() => answers.shift() ?? 200);
    tell(bench, "one");
    tell(bench, "two");
    bench.run(60);
    const bodies = sent.map(({ body }) => (JSON.parse(fromUtf8(body)!) as { data: { what: string } }).data.what);
    expect(bodies).toEqual(["one", "one", "one", "two"]);
    answers = [];
    for (const { headers, body } of sent) {
      const [, seconds, mac] = /^t=(\d+),v1=([0-9a-f]{64})$/.exec(headers["blockferry-signature"]!)!;
      expect(
        createHmac("sha256", secret)
          .update(`${seconds}.${fromUtf8(body)}`)
          .digest("hex"),
      ).toBe(mac);
    }
    expect([...bench.disk.entries.keys()].filter((key) => key.startsWith("webhook/"))).toEqual([]);
  });

  it("that were not heard are told after a restart", () => {
    let status = 0;
    const { bench, sent } = setUp(() => status);
    tell(bench, "one");
    bench.run(1);
    status = 200;
    bench.restart();
    bench.run(10);
    expect(sent.length).toBe(2);
    expect(fromUtf8(sent[0]!.body)).toBe(fromUtf8(sent[1]!.body));
  });

  it("that a target refuses for good do not keep the next waiting; a dozen of one instant stay in order behind a restart", () => {
    let status = 0;
    const { bench, sent } = setUp(() => status);
    for (let i = 0; i < 12; i++) tell(bench, String(i));
    bench.run(1);
    status = 400;
    bench.restart();
    bench.run(10);
    const told = sent
      .slice(-12)
      .map(({ body }) => (JSON.parse(fromUtf8(body)!) as { data: { what: string } }).data.what);
    expect(told).toEqual(Array.from({ length: 12 }, (_, i) => String(i)));
  });

  it("are given up after days, so that the next has its turn", () => {
    const { bench, sent } = setUp(() => 500);
    tell(bench, "one");
    bench.run(4 * 86_400);
    const tries = sent.length;
    expect(tries).toBeGreaterThan(20);
    expect([...bench.disk.entries.keys()].filter((key) => key.startsWith("webhook/"))).toEqual([]);
    bench.run(86_400);
    expect(sent.length).toBe(tries);
  });
});
