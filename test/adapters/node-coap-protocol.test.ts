import { Agent, createServer, request as coapRequest, type ObserveReadStream } from "coap";
import { once } from "node:events";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BodyExchange, type BodyOutcome } from "../../src/coap/blockwise/body-exchange.ts";
import { Code, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import type { CoapResponse, IncomingRequest } from "../../src/coap/request.ts";
import { Router } from "../../src/coap/router.ts";
import { pattern, sha } from "../support/resources.ts";
import { UdpEndpoint } from "../support/udp-endpoint.ts";

type OptionName = "Block1" | "Block2" | "ETag" | "Content-Format";

describe("node-coap as a client of our endpoint", () => {
  const agent = new Agent({ type: "udp4" });
  let stored: Uint8Array = pattern(10);
  let server: UdpEndpoint;

  beforeAll(async () => {
    const router = new Router(6, sha);
    const get = (): CoapResponse => ({
      code: Code.CONTENT,
      body: { bytes: stored, etag: sha(stored).subarray(0, 8), contentFormat: 42 },
      observable: "store",
    });
    const put = (_nowUs: number, { payload }: IncomingRequest): CoapResponse => {
      stored = payload;
      return { code: Code.CHANGED };
    };
    router.add(["store"], { get, put, fetch: get, ipatch: put, maxBodyBytes: 100_000 });
    server = await UdpEndpoint.start({ handler: router });
  });
  afterAll(async () => {
    agent.close();
    await server.stop();
  });

  async function ask(
    method: "GET" | "PUT" | "FETCH" | "iPATCH",
    body?: Uint8Array,
    options: [OptionName, Buffer][] = [],
    fields: object = {},
  ): Promise<ObserveReadStream> {
    const target = { hostname: "127.0.0.1", port: server.port, pathname: "/store", method, agent };
    const message = coapRequest({ ...target, ...fields });
    for (const [name, value] of options) message.setOption(name, value);
    const answered = once(message, "response");
    message.end(body === undefined ? undefined : Buffer.from(body));
    return (await answered)[0] as ObserveReadStream;
  }

  it.each([16, 64, 1024])("uploads by Block1 in blocks of %i, and fetches by Block2", async (size) => {
    const body = pattern(3_000 + size);
    const szx = Buffer.of(Math.log2(size) - 4);
    expect((await ask("PUT", body, [["Block1", szx]])).code).toBe("2.04");
    expect(stored).toEqual(body);
    const response = await ask("GET", undefined, [["Block2", szx]]);
    expect(new Uint8Array(response.payload)).toEqual(body);
  });

  it("is told by 2.03 that what it has is current, by FETCH and iPATCH what these do", async () => {
    const etag = Buffer.from(sha(stored).subarray(0, 8));
    expect((await ask("GET", undefined, [["ETag", etag]])).code).toBe("2.03");
    const format: [OptionName, Buffer][] = [["Content-Format", Buffer.of(60)]];
    expect((await ask("iPATCH", pattern(7), format)).code).toBe("2.04");
    expect(stored).toEqual(pattern(7));
    expect(new Uint8Array((await ask("FETCH", pattern(1), format)).payload)).toEqual(pattern(7));
  });

  it("observes: it hears of each change", async () => {
    const seen: number[] = [];
    stored = pattern(1);
    const stream = await ask("GET", undefined, [], { observe: true });
    stream.on("data", (bytes: Buffer) => void seen.push(bytes.length));
    for (const length of [2, 3]) {
      await new Promise((resolve) => setTimeout(resolve, 100));
      stored = pattern(length);
      server.call((now) => server.endpoint.notify(now, "store"));
    }
    await expect.poll(() => seen.at(-1), { timeout: 5_000 }).toBe(3);
    expect(server.endpoint.stats.observations).toBe(1);
  });
});

describe("node-coap as a server for our endpoint", () => {
  const bodies: Uint8Array[] = [];
  const large = pattern(5_000);
  const watchers: { write(bytes: Buffer): void }[] = [];
  const server = createServer({ type: "udp4" }, (incoming, outgoing) => {
    if (incoming.method === "PUT") {
      bodies.push(new Uint8Array(incoming.payload));
      outgoing.code = "2.04";
      outgoing.end();
    } else if (incoming.headers["Observe"] === 0) {
      watchers.push(outgoing);
      outgoing.write(Buffer.from("one"));
    } else outgoing.end(Buffer.from(large));
  });
  let client: UdpEndpoint;
  let port = 0;

  beforeAll(async () => {
    await new Promise<void>((resolve) => void server.listen(0, "127.0.0.1", () => resolve()));
    port = (server as unknown as { _sock: { address(): { port: number } } })._sock.address().port;
    client = await UdpEndpoint.start();
  });
  afterAll(async () => {
    await client.stop();
    server.close();
  });

  const exchange = async (code: number, body: Uint8Array, szx: 2 | 6): Promise<BodyOutcome> =>
    client.run((now, done) => {
      const peer = { address: "127.0.0.1", port };
      const options = textOptions(Option.URI_PATH, [`x${szx}`]);
      const one = new BodyExchange({
        endpoint: client.endpoint,
        peer,
        code,
        options,
        body,
        szx,
        maxBodyBytes: 100_000,
      });
      one.start(now);
      return {
        handleEvent: (nowUs, event) => {
          const outcome = one.handleEvent(nowUs, event);
          if (outcome !== undefined) done(outcome);
        },
      };
    });

  it.each([2, 6] as const)("fetches by Block2, SZX %i, and uploads what fits one block", async (szx) => {
    expect(await exchange(Code.GET, new Uint8Array(0), szx)).toMatchObject({ response: { payload: large } });
    bodies.length = 0;
    expect(await exchange(Code.PUT, pattern(60), szx)).toMatchObject({ response: { code: Code.CHANGED } });
    expect(bodies).toEqual([pattern(60)]);
  });

  it("uploads in blocks under one token, by which node-coap knows a body", async () => {
    bodies.length = 0;
    expect(await exchange(Code.PUT, pattern(2_500), 6)).toMatchObject({ response: { code: Code.CHANGED } });
    expect(bodies).toEqual([pattern(2_500)]);
  });

  it("observes what it writes", async () => {
    const texts: string[] = [];
    await client.run<void>((now, done) => {
      const options = textOptions(Option.URI_PATH, ["watched"]);
      client.endpoint.request(now, { address: "127.0.0.1", port }, { code: Code.GET, options, observe: true });
      return {
        handleEvent: (_nowUs, event) => {
          if (event.kind === "response" || event.kind === "notification")
            texts.push(new TextDecoder().decode(event.response.payload));
          if (texts.length < 3) watchers[0]!.write(Buffer.from(["two", "three"][texts.length - 1]!));
          else done();
        },
      };
    });
    expect(texts).toEqual(["one", "two", "three"]);
  });
});
