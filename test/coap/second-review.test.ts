import { describe, expect, it } from "vitest";
import { encodeBlock } from "../../src/coap/blockwise/block.ts";
import { QBlock1Upload } from "../../src/coap/blockwise/q-block1-client.ts";
import { QBlock2Download, type QDownloadEvent } from "../../src/coap/blockwise/q-block2-client.ts";
import { encodeEmpty, encodeMessage } from "../../src/coap/encode.ts";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { EMPTY_BYTES, encodeUint, optionValue, type CoapMessage, type CoapOption } from "../../src/coap/message.ts";
import { Code, codeText, MessageType, Option, OPTION_DEFINITIONS } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { DEFAULT_PARAMETERS } from "../../src/coap/parameters.ts";
import { fromHttpResponse } from "../../src/coap/proxy/http-mapping.ts";
import { CocoaTimer } from "../../src/coap/retransmission.ts";
import { RunLoop } from "../../src/host/run-loop.ts";
import { TransferTable } from "../../src/transfer/transfer-table.ts";
import { randomBytes, uintBelow } from "../../src/util/random.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { drain } from "../support/coap-get.ts";
import { CLIENT, SERVER } from "../support/pair.ts";
import { pattern, routed } from "../support/resources.ts";
import { ORIGIN_URI, Site, uri } from "../support/site.ts";

// What a second hostile review proved of the code as it was, each as it has to be.

const SECOND = 1_000_000;
const path = (name: string): CoapOption[] => textOptions(Option.URI_PATH, [name]);
const OBSERVE = { number: Option.OBSERVE, value: EMPTY_BYTES };
const block = (number: number, num: number, more: boolean, szx: 0 | 2): CoapOption => ({
  number,
  value: encodeBlock({ num, more, szx }),
});

function bytesOf(fields: Partial<CoapMessage>): Uint8Array {
  const token = Uint8Array.of(1);
  const base = { type: MessageType.NON, code: Code.GET, messageId: 1, token, options: path("a"), payload: EMPTY_BYTES };
  return encodeMessage({ ...base, ...fields });
}

function give(server: CoapEndpoint, nowUs: number, fields: Partial<CoapMessage>): CoapMessage[] {
  server.handleDatagram(nowUs, bytesOf(fields), CLIENT);
  return drain(server);
}

describe("no datagram throws", () => {
  it("whatever is asked of the proxy, by every method there could be", () => {
    const random = new SeededRandom(5, "proxy");
    const origins = [ORIGIN_URI, "coap://origin.example", "http://files.example"];
    const numbers = [...OPTION_DEFINITIONS.keys(), 65_000, 65_001];
    for (let i = 0; i < 3_000; i++) {
      const site = new Site();
      const options = uri(`${origins[uintBelow(random, 3)]}/a?b`);
      for (let more = uintBelow(random, 5); more > 0; more--)
        options.push({
          number: numbers[uintBelow(random, numbers.length)]!,
          value: randomBytes(random, uintBelow(random, 4)),
        });
      const code = 1 + uintBelow(random, uintBelow(random, 3) === 0 ? 31 : 7);
      const payload = pattern(uintBelow(random, 3) === 0 ? 1_030 : uintBelow(random, 2) * 20);
      const type = uintBelow(random, 2) as MessageType;
      site.gateway.handleDatagram(
        0,
        encodeMessage({ type, code, messageId: i, token: Uint8Array.of(1), options, payload }),
        CLIENT,
      );
      site.settle();
    }
    const site = new Site();
    site.client.request(
      0,
      { address: "fd00::2", port: 5683 },
      { code: 8, options: uri(`${ORIGIN_URI}/a`), payload: pattern(1_100), forwarded: true },
    );
    expect(codeText(site.answer().code)).toBe("4.05");
  });

  it("and a core that does throw does not stop the host's loop for the next one", () => {
    let calls = 0;
    const core = {
      handleDatagram: (): void => {
        if (++calls === 1) throw new Error("a defect");
      },
      handleTimeout: () => {},
      pollTransmit: () => undefined,
      pollTimeout: () => undefined,
    };
    const loop = new RunLoop(core, { clock: { nowUs: () => 0 }, send: () => {}, setTimer: () => {} });
    expect(() => loop.datagram(EMPTY_BYTES, CLIENT)).toThrow("a defect");
    loop.datagram(EMPTY_BYTES, CLIENT);
    expect(calls).toBe(2);
  });
});

describe("nothing fills up with what is answered", () => {
  it.each([Code.GET, Code.FETCH])("a hundred NON requests (method %i) with Q-Block2, each is answered", (code) => {
    const body = { bytes: pattern(80), etag: Uint8Array.of(1, 2), contentFormat: 42 };
    const get = () => ({ code: Code.CONTENT, body });
    const { server } = routed({ a: { get, fetch: get } });
    const format = code === Code.FETCH ? [{ number: Option.CONTENT_FORMAT, value: encodeUint(60) }] : [];
    const options = [...path("a"), ...format, block(Option.Q_BLOCK2, 0, true, 0)];
    for (let i = 0; i < 100; i++)
      expect(give(server, i * 1_000, { code, messageId: i, token: Uint8Array.of(i), options })).toHaveLength(5);
    expect(give(server, SECOND, { type: MessageType.CON, messageId: 999 })).toHaveLength(1);
  });

  it("a download of a hundred sets by Q-Block2 comes to its end", () => {
    const body = { bytes: pattern(16_000), etag: Uint8Array.of(1, 2), contentFormat: 42 };
    const { pair, client, server } = routed({ a: { get: () => ({ code: Code.CONTENT, body }) } });
    const common = { endpoint: client, peer: SERVER, parameters: DEFAULT_PARAMETERS, szx: 0 as const };
    const download = new QBlock2Download({ ...common, uri: path("a") });
    download.start(0);
    const end = pair.drive<QDownloadEvent>(600 * SECOND, {
      handleEvent: (nowUs, event) => download.handleEvent(nowUs, event).find(({ kind }) => kind !== "block"),
      handleTimeout: (nowUs) => download.handleTimeout(nowUs),
      pollTimeout: () => download.pollTimeout(),
    });
    expect(end).toEqual({ kind: "done", size: 16_000 });
    expect(server.stats.openExchanges).toBeLessThan(10);
  });

  it("requests to a group beyond what can wait for its leisure", () => {
    const { server } = routed({ a: { get: () => ({ code: Code.CONTENT, payload: Uint8Array.of(1) }) } });
    const from = (peer: number) => ({ address: `fd00::${(peer + 16).toString(16)}`, port: 5_683 });
    for (let peer = 0; peer < 128; peer++)
      for (let i = 0; i < 64; i++)
        server.handleDatagram(peer, bytesOf({ messageId: i, token: Uint8Array.of(i) }), from(peer), true);
    server.handleDatagram(200, bytesOf({ type: MessageType.CON, messageId: 500 }), { address: "fd00::1", port: 1 });
    expect(drain(server)).toHaveLength(1); // during the leisure too
    for (let at = server.pollTimeout(); at !== undefined && at < 20 * SECOND; at = server.pollTimeout()) {
      server.handleTimeout(at);
      drain(server);
    }
    server.handleDatagram(20 * SECOND, bytesOf({ type: MessageType.CON, messageId: 501 }), from(100));
    expect(drain(server)).toHaveLength(1);
  });
});

describe("observers", () => {
  const two = () => {
    const state: Record<string, number> = { a: 1, b: 1 };
    const get = (name: string) => () => ({
      code: Code.CONTENT,
      payload: Uint8Array.of(state[name]! & 255),
      observable: name,
    });
    const { server } = routed({ a: { get: get("a") }, b: { get: get("b") } });
    const register = (type: MessageType): void => {
      for (const [i, name] of ["a", "b"].entries())
        give(server, 0, { type, messageId: i, token: Uint8Array.of(i), options: [OBSERVE, ...path(name)] });
    };
    return { server, state, register };
  };

  it("one that changes all the time does not keep another of the same client from its turn", () => {
    const { server, state, register } = two();
    register(MessageType.NON);
    state["b"] = 9;
    server.notify(SECOND, "a");
    server.notify(SECOND, "b");
    const seen = [0, 0];
    for (let now = SECOND; now < 60 * SECOND; now += SECOND / 2) {
      server.handleTimeout(now);
      state["a"]!++;
      server.notify(now, "a");
      for (const { token } of drain(server)) seen[token[0]!]!++;
    }
    expect(seen[1]).toBe(1);
    expect(seen[0]).toBeGreaterThan(15);
  });

  it("is told of the newest state when the change and its turn fall in one microsecond", () => {
    const { server, state, register } = two();
    register(MessageType.CON);
    server.notify(5, "b");
    const [first] = drain(server);
    for (const value of [2, 3]) {
      state["a"] = value;
      server.notify(9, "a");
    }
    server.handleDatagram(9, encodeEmpty(MessageType.ACK, first!.messageId), CLIENT);
    expect(drain(server).map(({ payload }) => payload[0])).toEqual([3]);
  });

  it.each([1, 2])("with an ETag is told by 2.03 and 2.05, in whichever order (first state %i)", (first) => {
    let state = first;
    const get = () => ({
      code: Code.CONTENT,
      body: { bytes: Uint8Array.of(state), etag: Uint8Array.of(state), contentFormat: 42 },
      observable: "a",
    });
    const { server } = routed({ a: { get } });
    const options = [{ number: Option.ETAG, value: Uint8Array.of(1) }, OBSERVE, ...path("a")];
    const [registered] = give(server, 0, { type: MessageType.CON, options });
    state = 3 - first;
    server.notify(5 * SECOND, "a");
    const codes = [registered!, drain(server)[0]!].map(({ code }) => codeText(code));
    expect(codes).toEqual(first === 1 ? ["2.03", "2.05"] : ["2.05", "2.03"]);
    expect(server.stats.observations).toBe(1);
  });

  it("who joins an observation is told the state, and its end leaves the other's alone", () => {
    const { pair, client, server } = routed({
      a: { get: () => ({ code: Code.CONTENT, payload: Uint8Array.of(7), observable: "a" }) },
    });
    const GET = { code: Code.GET, options: path("a"), observe: true };
    const id = client.request(0, SERVER, GET)!;
    pair.rest(0);
    expect(client.request(0, SERVER, GET)).toBe(id);
    expect(client.pollEvent()).toMatchObject({
      kind: "notification",
      request: id,
      response: { payload: Uint8Array.of(7) },
    });
    client.cancel(0, id);
    server.notify(SECOND, "a");
    expect(pair.run(SECOND)).toMatchObject({ kind: "notification", request: id });
    expect(client.unobserve(pair.nowUs, id)).toBe(true);
    pair.rest(2 * SECOND);
    expect(server.stats.observations).toBe(0);
    expect(client.stats.requests).toBe(0);
  });
});

describe("payloads that handlers give without a body", () => {
  it("all of an answer to POST comes, in blocks that were asked for or not, and the handler runs once", () => {
    for (const [length, szx] of [
      [100, 2],
      [3_000, undefined],
    ] as const) {
      let runs = 0;
      const post = () => {
        runs++;
        return { code: Code.CHANGED, payload: pattern(length) };
      };
      const { server } = routed({ a: { post } });
      const parts: number[] = [];
      for (let num = 0, more = true; more; num++) {
        const asked =
          szx === undefined && num === 0
            ? []
            : [{ number: Option.BLOCK2, value: encodeBlock({ num, more: false, szx: szx ?? 6 }) }];
        const [answer] = give(server, num, {
          type: MessageType.CON,
          code: Code.POST,
          messageId: num,
          options: [...path("a"), ...asked],
        });
        parts.push(...answer!.payload);
        more = (optionValue(answer!.options, Option.BLOCK2)!.at(-1)! & 8) !== 0;
      }
      expect(Uint8Array.from(parts)).toEqual(pattern(length));
      expect(runs).toBe(1);
    }
  });

  it("blocks of two states have two ETags, and Q-Block1 is not answered with Block2", () => {
    let seed = 0;
    const get = () => ({ code: Code.CONTENT, payload: pattern(200).map((byte) => byte ^ seed) });
    const put = () => ({ code: Code.CHANGED, payload: pattern(1_300) });
    const { server } = routed({ a: { get, put, maxBodyBytes: 9_000 } });
    const etags = [0, 1].map((num) => {
      seed = num;
      const [answer] = give(server, num, {
        messageId: num,
        options: [...path("a"), block(Option.BLOCK2, num, false, 2)],
      });
      return String(optionValue(answer!.options, Option.ETAG));
    });
    expect(new Set(etags).size).toBe(2);
    const options = [
      ...path("a"),
      block(Option.Q_BLOCK1, 0, false, 2),
      { number: Option.SIZE1, value: encodeUint(9) },
      { number: Option.REQUEST_TAG, value: Uint8Array.of(1) },
    ];
    const sets = give(server, 9, { code: Code.PUT, messageId: 50, options, payload: pattern(9) });
    expect(sets.length).toBe(10);
    for (const { options: got } of sets) expect(optionValue(got, Option.BLOCK2)).toBeUndefined();
  });

  it("Accept is not held against what a POST has done", () => {
    const post = () => ({
      code: Code.CREATED,
      payload: pattern(3),
      options: [{ number: Option.CONTENT_FORMAT, value: EMPTY_BYTES }],
    });
    const { server } = routed({ a: { post } });
    const options = [...path("a"), { number: Option.ACCEPT, value: Uint8Array.of(42) }];
    expect(codeText(give(server, 0, { code: Code.POST, options })[0]!.code)).toBe("2.01");
  });
});

describe("timers and bounds", () => {
  it("a CoCoA peer with a long round trip keeps its retransmissions", () => {
    const timer = new CocoaTimer(DEFAULT_PARAMETERS);
    for (let i = 0; i < 40; i++) timer.measured(0, 28 * SECOND, 0);
    const client = new CoapEndpoint({ random: new SeededRandom(3, "c"), retransmission: () => timer });
    client.request(1, SERVER, { code: Code.GET, options: path("a") });
    let sent = drain(client).length;
    for (let at = client.pollTimeout(); at !== undefined; at = client.pollTimeout()) {
      client.handleTimeout(at);
      sent += drain(client).length;
    }
    expect(sent).toBe(5);
  });

  it("an upload goes on when a 4.08 comes in place of the lost ACK of its first block", () => {
    const sent: number[] = [];
    const endpoint = {
      request: (_nowUs: number, _peer: unknown, { options }: { options: readonly CoapOption[] }) =>
        sent.push(optionValue(options, Option.Q_BLOCK1)![0]! >> 4),
      cancel: () => {},
    };
    const random = new SeededRandom(1, "x");
    const common = { endpoint, peer: SERVER, parameters: DEFAULT_PARAMETERS, random, szx: 2 as const };
    const upload = new QBlock1Upload({ ...common, code: Code.PUT, options: path("a"), body: pattern(1_280) });
    upload.start(0);
    const options = [{ number: Option.CONTENT_FORMAT, value: encodeUint(272) }];
    const response = {
      code: Code.REQUEST_ENTITY_INCOMPLETE,
      options,
      payload: Uint8Array.of(0, 1),
      from: SERVER,
      token: EMPTY_BYTES,
    };
    expect(upload.handleEvent(SECOND, { kind: "response", request: 1, response })).toBeUndefined();
    expect(sent).toEqual([0, 0]);
    upload.handleTimeout(upload.pollTimeout()!);
    expect(sent.slice(2)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9]);
  });

  it("no checkpoint of 2,000 devices is older than a second when it is written", () => {
    const table = new TransferTable();
    const image = { digest: "a".repeat(64), size: 1_000_000 };
    const since = new Map<string, number>();
    let worstUs = 0;
    for (let now = 0, offset = 0; now < 10 * SECOND; now += 1_000) {
      if ((table.nextFlushUs ?? Infinity) <= now)
        for (const { key } of table.takeWrites(now)) {
          worstUs = Math.max(worstUs, now - since.get(key)!);
          since.delete(key);
        }
      if (now % 100_000 !== 0) continue;
      for (let i = 1; i <= 2_000; i++) {
        const address = `fd00::${i.toString(16)}`;
        table.record(now, { address, port: 5_683 }, image, offset, 64);
        const key = `transfer/${image.digest}/[${address}]:5683`;
        since.set(key, since.get(key) ?? now);
      }
      offset += 64;
    }
    expect(worstUs).toBeLessThanOrEqual(1_000_000);
    expect(worstUs).toBeGreaterThan(500_000);
  });

  it("HTTP: Max-Age has four bytes at the most; what was not there to be deleted has no page", () => {
    const etagOf = () => Uint8Array.of(1);
    const headers = { date: "Mon, 24 Nov 2025 10:00:00 GMT", expires: "Fri, 31 Dec 9999 23:59:59 GMT" };
    const far = fromHttpResponse(Code.GET, { status: 200, headers, body: Uint8Array.of(1) }, etagOf);
    expect(optionValue(far.options, Option.MAX_AGE)!.length).toBeLessThanOrEqual(4);
    const gone = fromHttpResponse(Code.DELETE, { status: 404, headers: {}, body: pattern(3_000) }, etagOf);
    expect([codeText(gone.code), gone.payload.length]).toEqual(["2.02", 0]);
  });

  it("an unproven client's POST passes the proxy's challenge and then the origin's", () => {
    const site = new Site(undefined, false, () => false);
    const origin = { number: Option.ECHO, value: Uint8Array.of(9, 9, 9, 9) };
    const plain = site.response;
    site.answerWith = (request) =>
      optionValue(request.options, Option.ECHO)?.[0] === 9 ? plain : { code: Code.UNAUTHORIZED, options: [origin] };
    expect(codeText(site.ask(uri(`${ORIGIN_URI}/a`), Code.POST, pattern(1)).code)).toBe("2.05");
  });
});
