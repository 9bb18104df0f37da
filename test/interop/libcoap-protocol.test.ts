import { execFile, type ChildProcess } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { BodyExchange, type BodyOutcome } from "../../src/coap/blockwise/body-exchange.ts";
import type { CoapOption } from "../../src/coap/message.ts";
import { Code, codeText, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import type { CoapResponse, IncomingRequest } from "../../src/coap/request.ts";
import { Router } from "../../src/coap/router.ts";
import { temporaryFolder } from "../support/process.ts";
import { pattern, sha } from "../support/resources.ts";
import { haveTool } from "../support/tool.ts";
import { UdpEndpoint } from "../support/udp-endpoint.ts";

const run = promisify(execFile);
const CLIENT = "coap-client-notls";
const SERVER = "coap-server-notls";
const wait = async (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

describe.skipIf(!haveTool(CLIENT, "libcoap3-bin"))("libcoap's coap-client at our endpoint", () => {
  const folder = temporaryFolder();
  const file = (name: string): string => join(folder, name);
  let stored: Uint8Array = pattern(10);
  let server: UdpEndpoint;
  const calls: number[] = [];

  beforeAll(async () => {
    const router = new Router(6, sha);
    const body = (): CoapResponse => ({
      code: Code.CONTENT,
      body: { bytes: stored, etag: sha(stored).subarray(0, 8), contentFormat: 42 },
      observable: "store",
    });
    const put = (_nowUs: number, request: IncomingRequest): CoapResponse => {
      calls.push(request.method);
      stored = request.payload;
      setTimeout(() => server.call((now) => server.endpoint.notify(now, "store")), 0);
      return { code: Code.CHANGED };
    };
    router.add(["store"], { get: body, fetch: body, put, post: put, ipatch: put, maxBodyBytes: 100_000 });
    router.add(["slow"], {
      get: (_nowUs, { exchange }) => {
        setTimeout(
          () =>
            server.call((now) => server.endpoint.respond(now, exchange, { code: Code.CONTENT, payload: pattern(3) })),
          900,
        );
        return "deferred";
      },
    });
    server = await UdpEndpoint.start({ handler: router });
  });
  afterAll(async () => await server.stop());

  const uri = (path: string): string => `coap://127.0.0.1:${server.port}${path}`;
  const client = async (...args: string[]): Promise<string> => {
    const { stdout, stderr } = await run(CLIENT, ["-B", "10", ...args], { timeout: 30_000 });
    return stdout + stderr;
  };

  it.each([16, 64, 1024])("uploads a body by Block1 in blocks of %i, and reads it back", async (size) => {
    const bytes = pattern(5_000 + size);
    writeFileSync(file("up"), bytes);
    calls.length = 0;
    await client("-m", "put", "-b", String(size), "-f", file("up"), uri("/store"));
    expect(Buffer.compare(Buffer.from(stored), bytes)).toBe(0);
    expect(calls).toEqual([Code.PUT]);
    await client("-b", String(size), "-o", file("down"), uri("/store"));
    expect(Buffer.compare(readFileSync(file("down")), bytes)).toBe(0);
  });

  it("is refused a body that is too large", async () => {
    writeFileSync(file("large"), pattern(200_000));
    expect(await client("-m", "put", "-b", "1024", "-f", file("large"), uri("/store"))).toMatch(/4\.13/);
  });

  it("observes: it hears of each change, and is off the list in the end", async () => {
    stored = new TextEncoder().encode("one");
    const watching = client("-s", "2", uri("/store"));
    await wait(500);
    for (const text of ["two", "three"]) {
      stored = new TextEncoder().encode(text);
      server.call((now) => server.endpoint.notify(now, "store"));
      await wait(300);
    }
    const seen = await watching;
    expect(seen).toMatch(/one[^]*two[^]*three/);
    await wait(300);
    expect(server.endpoint.stats.observations).toBe(0);
  });

  it("gets a separate response, and FETCH and iPATCH answers", async () => {
    await client("-o", file("slow"), uri("/slow"));
    expect(new Uint8Array(readFileSync(file("slow")))).toEqual(pattern(3));
    stored = new TextEncoder().encode("fetched");
    expect(await client("-m", "fetch", "-t", "60", "-e", "x", uri("/store"))).toMatch(/fetched/);
    await client("-m", "ipatch", "-t", "60", "-e", "patched", uri("/store"));
    expect(new TextDecoder().decode(stored)).toBe("patched");
  });
});

describe.skipIf(!haveTool(SERVER, "libcoap3-bin"))("our endpoint at libcoap's coap-server", () => {
  const port = 30_000 + (process.pid % 10_000);
  let child: ChildProcess;
  let client: UdpEndpoint;

  beforeAll(async () => {
    child = execFile(SERVER, ["-A", "127.0.0.1", "-p", String(port), "-d", "10"]);
    client = await UdpEndpoint.start();
    await wait(500);
  });
  afterAll(async () => {
    child.kill();
    await client.stop();
  });

  const peer = { address: "127.0.0.1", port };
  async function exchange(
    code: number,
    path: string,
    body: Uint8Array = new Uint8Array(0),
    szx: 2 | 4 | 6 = 4,
  ): Promise<BodyOutcome> {
    const options: CoapOption[] = textOptions(Option.URI_PATH, [path]);
    return await client.run((now, done) => {
      const one = new BodyExchange({
        endpoint: client.endpoint,
        peer,
        code,
        options,
        body,
        szx,
        maxBodyBytes: 100_000,
        requestTag: sha(body).subarray(0, 4),
      });
      one.start(now);
      return {
        handleEvent: (nowUs, event) => {
          const outcome = one.handleEvent(nowUs, event);
          if (outcome !== undefined) done(outcome);
        },
      };
    });
  }

  it.each([2, 4, 6] as const)("uploads by Block1 with SZX %i, and reads back by Block2", async (szx) => {
    const bytes = pattern(4_321 + szx);
    const put = await exchange(Code.PUT, `up${szx}`, bytes, szx);
    expect(put).toMatchObject({ kind: "response" });
    if (put.kind === "response") expect(codeText(put.response.code)).toMatch(/^2\.0[14]$/);
    expect(await exchange(Code.GET, `up${szx}`, new Uint8Array(0), szx)).toMatchObject({
      response: { code: Code.CONTENT, payload: bytes },
    });
  });

  it("observes the time", async () => {
    const seen: string[] = [];
    await client.run<void>((now, done) => {
      const options = textOptions(Option.URI_PATH, ["time"]);
      const id = client.endpoint.request(now, peer, { code: Code.GET, options, observe: true })!;
      return {
        handleEvent: (nowUs, event) => {
          seen.push(event.kind);
          if (seen.length === 3) client.endpoint.unobserve(nowUs, id);
          if (seen.length === 4) done();
        },
      };
    });
    expect(seen).toEqual(["response", "notification", "notification", "response"]);
  }, 20_000);
});
