import { describe, expect, it } from "vitest";
import { encodeBlock } from "../../src/coap/blockwise/block.ts";
import { QBlock1Upload } from "../../src/coap/blockwise/q-block1-client.ts";
import { QBlock2Download } from "../../src/coap/blockwise/q-block2-client.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import {
  EMPTY_BYTES,
  encodeUint,
  optionValue,
  uintOption,
  type CoapMessage,
  type CoapOption,
} from "../../src/coap/message.ts";
import { Code, codeText, ContentFormat, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { DEFAULT_PARAMETERS } from "../../src/coap/parameters.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { decoded, drain } from "../support/coap-get.ts";
import { utf8 } from "../../src/util/bytes.ts";
import { CLIENT, Pair, SERVER } from "../support/pair.ts";
import { pattern, routed, sha, sink } from "../support/resources.ts";
import { Site, age, uri } from "../support/site.ts";

// What the texts say an endpoint SHOULD do, and ours does.

const SECOND = 1_000_000;
const PATH = textOptions(Option.URI_PATH, ["x"]);
const uint = (number: number, value: number): CoapOption => ({ number, value: encodeUint(value) });

function give(server: CoapEndpoint, fields: Partial<CoapMessage>, nowUs = 0): CoapMessage[] {
  const token = Uint8Array.of(1);
  const base = { type: MessageType.CON, code: Code.GET, messageId: 1, token, options: PATH, payload: EMPTY_BYTES };
  server.handleDatagram(nowUs, encodeMessage({ ...base, ...fields }), CLIENT);
  return drain(server);
}

describe("RFC 7252", () => {
  it("a 4.02 names the option, an error says what is wrong, and one that says it all has no payload (sections 5.4.1, 5.5.2)", () => {
    const { server } = routed({ x: { get: () => ({ code: Code.CONTENT }) } });
    const text = (fields: Partial<CoapMessage>): string => new TextDecoder().decode(give(server, fields)[0]!.payload);
    expect(text({ options: [{ number: 65_001, value: EMPTY_BYTES }] })).toMatch(/65001/);
    expect(text({ options: [...PATH, { number: Option.BLOCK2, value: Uint8Array.of(7) }] })).toMatch(/SZX 7/);
    expect(text({ options: textOptions(Option.URI_PATH, ["none"]) })).toBe("");
  });

  it("what was answered 4.02 is not asked again as it was (section 5.4.1)", () => {
    const handler = { handleRequest: () => ({ code: Code.BAD_OPTION }) };
    const server = new CoapEndpoint({ random: new SeededRandom(1, "s"), handler });
    const client = new CoapEndpoint({ random: new SeededRandom(1, "c") });
    const pair = new Pair(client, server);
    client.request(0, SERVER, { code: Code.GET, options: PATH });
    expect(pair.run(SECOND)).toMatchObject({ kind: "response", response: { code: Code.BAD_OPTION } });
    pair.rest(400 * SECOND);
    expect(pair.log.filter(({ from }) => from === "client")).toHaveLength(1);
  });

  it("an error of the server says what is wrong with it (sections 5.5.2 and 5.9.3)", () => {
    const { server } = routed({ x: { get: () => ({ code: Code.CONTENT }) } });
    const proxied = { options: [...PATH, { number: Option.PROXY_SCHEME, value: utf8("coap") }] };
    const [reply] = give(server, proxied);
    expect(codeText(reply!.code)).toBe("5.05");
    expect(new TextDecoder("utf-8", { fatal: true }).decode(reply!.payload)).toMatch(/prox/i);
  });

  it("an option that would say what is meant without it is left out (section 5.4.4)", () => {
    const answers = { body: { bytes: pattern(90), etag: pattern(8), contentFormat: 0 } };
    const { server } = routed({ x: { get: () => ({ code: Code.CONTENT, ...answers }) } });
    for (const message of give(server, {})) {
      expect(optionValue(message.options, Option.MAX_AGE)).toBeUndefined(); // 60 s
      for (const { number, value } of message.options)
        if (number !== Option.CONTENT_FORMAT && number !== Option.ETAG) expect(value).not.toEqual(EMPTY_BYTES);
    }
    const client = new CoapEndpoint({ random: new SeededRandom(1, "c") });
    client.request(0, SERVER, { code: Code.GET, options: PATH });
    expect(decoded(client.pollTransmit()!.bytes.slice()).options.map(({ number }) => number)).toEqual([11]);
  });

  it("no answer is larger than a datagram of 1,280 bytes takes (section 4.6)", () => {
    const answers = [
      { code: Code.CONTENT, payload: pattern(9_000) },
      { code: Code.BAD_REQUEST, payload: pattern(9_000) },
      { code: Code.CONTENT, body: { bytes: pattern(9_000), etag: pattern(8), contentFormat: 42 } },
    ];
    for (const answer of answers) {
      const { server } = routed({ x: { get: () => answer } });
      for (const message of give(server, {})) expect(encodeMessage(message).length).toBeLessThanOrEqual(1_280 - 48);
    }
  });

  it("tokens are 4 random bytes, different in each request under way (section 5.3.1)", () => {
    const client = new CoapEndpoint({ random: new SeededRandom(3, "c") });
    const seen = new Set<string>();
    for (let i = 0; i < 60; i++) {
      client.request(i, { ...SERVER, port: i + 1 }, { code: Code.GET, options: PATH });
      for (const { token } of drain(client)) {
        expect(token).toHaveLength(4);
        seen.add(token.join());
      }
    }
    expect(seen.size).toBe(60);
  });

  it("a validation that finds another state serves the new one (section 5.6.2)", () => {
    const site = new Site();
    const state = (n: number) => ({ bytes: pattern(n), etag: Uint8Array.of(n), contentFormat: 42 });
    site.response = { code: Code.CONTENT, body: state(20), options: [age(1)] };
    site.ask(uri("coap://[fd00::3]/a"));
    site.nowUs = 9 * SECOND;
    site.response = { code: Code.CONTENT, body: state(30), options: [age(1)] };
    expect(site.ask(uri("coap://[fd00::3]/a")).payload).toHaveLength(30);
    expect(optionValue(site.asked[1]!.options, Option.ETAG)).toEqual(Uint8Array.of(20));
  });
});

describe("RFC 7959", () => {
  it("an answer to POST that a handler gave as a payload is kept for its later blocks, and the handler runs once (section 3.3)", () => {
    let runs = 0;
    const post = () => ({ code: Code.CHANGED, payload: pattern(3_000), runs: ++runs });
    const { server } = routed({ x: { post } });
    const parts: Uint8Array[] = [];
    for (const num of [0, 1, 2]) {
      const block = { number: Option.BLOCK2, value: encodeBlock({ num, more: false, szx: 6 }) };
      const [answer] = give(server, {
        code: Code.POST,
        messageId: num,
        options: [...PATH, block],
        payload: pattern(1),
      });
      expect(codeText(answer!.code)).toBe("2.04");
      parts.push(answer!.payload);
    }
    expect(Buffer.concat(parts)).toEqual(Buffer.from(pattern(3_000)));
    expect(runs).toBe(1);
  });

  it("the block size of an observing GET holds for its notifications, each with an ETag (section 2.6)", () => {
    const bytes = pattern(900);
    const body = { bytes, etag: sha(bytes).subarray(0, 8), contentFormat: 42 };
    const { server } = routed({ x: { get: () => ({ code: Code.CONTENT, body, observable: "x" }) } });
    const block = { number: Option.BLOCK2, value: encodeBlock({ num: 0, more: false, szx: 3 }) };
    give(server, { options: [...PATH, { number: Option.OBSERVE, value: EMPTY_BYTES }, block] });
    server.notify(SECOND, "x");
    const [told] = drain(server);
    expect(told!.payload).toEqual(bytes.subarray(0, 128));
    expect(optionValue(told!.options, Option.ETAG)).toEqual(body.etag);
  });
});

describe("RFC 9177", () => {
  const body = pattern(64 * 25);
  const block = (num: number, fields: Partial<CoapMessage> = {}): Partial<CoapMessage> => ({
    type: MessageType.NON,
    code: Code.PUT,
    messageId: 100 + num,
    token: Uint8Array.of(num),
    payload: body.subarray(num * 64, num * 64 + 64),
    options: [
      ...PATH,
      { number: Option.Q_BLOCK1, value: encodeBlock({ num, more: num < 24, szx: 2 }) },
      uint(Option.SIZE1, body.length),
      uint(Option.REQUEST_TAG, 1),
    ],
    ...fields,
  });

  /** Times and codes of what a server says by itself, from now to `untilS`. */
  function later(server: CoapEndpoint, untilS: number): [number, string, number][] {
    const out: [number, string, number][] = [];
    for (let at = server.pollTimeout(); at !== undefined && at < untilS * SECOND; at = server.pollTimeout()) {
      server.handleTimeout(at);
      for (const { code, payload } of drain(server)) out.push([at / SECOND, codeText(code), payload[0]!]);
    }
    return out;
  }

  it("gaps are asked for 4 s after the last block, then in doubling times, and the body is dropped after four (section 7.2)", () => {
    const { server } = routed({ x: sink(9_000).resource });
    for (const num of [0, 1, 3]) expect(give(server, block(num))).toEqual([]);
    expect(later(server, 200)).toEqual([
      [4, "4.08", 2],
      [12, "4.08", 2],
      [28, "4.08", 2],
      [60, "4.08", 2],
    ]);
    expect(give(server, block(2, { messageId: 500 }), 200 * SECOND)).toEqual([]); // it begins a new body
    expect(later(server, 210)[0]).toEqual([204, "4.08", 0]);
  });

  it("a block of the next set brings a 4.08 for gaps in the one before; silence after a 2.31 one for what is beyond (section 7.2)", () => {
    const { server } = routed({ x: sink(9_000).resource });
    for (let num = 0; num < 10; num++) if (num !== 6) give(server, block(num));
    expect(give(server, block(10)).map(({ code, payload }) => [codeText(code), payload[0]])).toEqual([["4.08", 6]]);
    const other = routed({ x: sink(9_000).resource }).server;
    for (let num = 0; num < 10; num++) give(other, block(num));
    expect(later(other, 10)).toEqual([[4, "4.08", 10]]);
  });

  it("CONs are acknowledged one by one, without 2.31 and 4.08 (sections 4.3 and 5)", () => {
    const { server } = routed({ x: sink(9_000).resource });
    for (let num = 0; num < 10; num++)
      expect(give(server, block(num, { type: MessageType.CON }))).toMatchObject([{ type: MessageType.ACK, code: 0 }]);
    expect(later(server, 100)).toEqual([]);
  });

  it("a partial body is kept for NON_PARTIAL_TIMEOUT where its blocks come slowly (section 7.2)", () => {
    const { server } = routed({ x: sink(9_000).resource });
    const codes: string[] = [];
    for (let num = 0; num < 25; num++) {
      server.handleTimeout(num * 3 * SECOND);
      codes.push(...give(server, block(num), num * 3 * SECOND).map(({ code }) => codeText(code)));
    }
    expect(codes).toEqual(["2.31", "2.31", "2.04"]);
  });

  it("a client sends missing blocks at once, ahead of the next set, and waits again before that; a bad 4.08 it ignores", () => {
    const { client } = routed({});
    const random = new SeededRandom(1, "q");
    const common = { endpoint: client, peer: SERVER, parameters: DEFAULT_PARAMETERS, random, szx: 2 as const };
    const upload = new QBlock1Upload({ ...common, code: Code.PUT, options: PATH, body });
    const nums = (): number[] => drain(client).map(({ options }) => uintOption(options, Option.Q_BLOCK1)! >> 4);
    const deliver = (nowUs: number): void => {
      for (let event = client.pollEvent(); event !== undefined; event = client.pollEvent())
        upload.handleEvent(nowUs, event);
    };
    upload.start(0);
    const [first] = drain(client);
    client.handleDatagram(0, Uint8Array.of(0x60, 0, first!.messageId >> 8, first!.messageId & 255), SERVER);
    deliver(0);
    const set = drain(client);
    expect(set).toHaveLength(9);
    const missing = (nowUs: number, payload: Uint8Array): void => {
      const answer = {
        type: MessageType.NON,
        code: Code.REQUEST_ENTITY_INCOMPLETE,
        messageId: 7,
        token: set[3]!.token,
      };
      const options = [uint(Option.CONTENT_FORMAT, ContentFormat.MISSING_BLOCKS)];
      client.handleDatagram(nowUs, encodeMessage({ ...answer, options, payload }), SERVER);
      deliver(nowUs);
    };
    missing(SECOND, Uint8Array.of(4, 2));
    missing(SECOND, Uint8Array.of(3, 3));
    expect(nums()).toEqual([]);
    missing(SECOND, Uint8Array.of(3, 7));
    expect(nums()).toEqual([3, 7]);
    const next = upload.pollTimeout()!;
    expect(next - SECOND).toBeGreaterThanOrEqual(2 * SECOND);
    expect(next - SECOND).toBeLessThanOrEqual(3 * SECOND);
    upload.handleTimeout(next);
    expect(nums()).toEqual([10, 11, 12, 13, 14, 15, 16, 17, 18, 19]);
  });

  it("a client asks for gaps when a later set begins, or 4 s after the last block, without M; after four times it gives up", () => {
    const { client } = routed({});
    const common = { endpoint: client, peer: SERVER, parameters: DEFAULT_PARAMETERS, uri: PATH, szx: 2 as const };
    const download = new QBlock2Download(common);
    const asked: [number, string][] = [];
    let token = EMPTY_BYTES;
    const note = (nowUs: number): void => {
      for (const sent of drain(client)) {
        token = sent.token;
        const blocks = sent.options.filter(({ number }) => number === Option.Q_BLOCK2);
        asked.push([
          nowUs / SECOND,
          blocks.map(({ value }) => `${(value[0] ?? 0) >> 4}${(value.at(-1) ?? 0) & 8 ? "M" : ""}`).join(),
        ]);
      }
    };
    const block2 = (nowUs: number, num: number): void => {
      const options = [
        uint(Option.ETAG, 5),
        uint(Option.SIZE2, body.length),
        { number: Option.Q_BLOCK2, value: encodeBlock({ num, more: num < 24, szx: 2 }) },
      ];
      const answer = { type: MessageType.NON, code: Code.CONTENT, messageId: num, token, options };
      client.handleDatagram(
        nowUs,
        encodeMessage({ ...answer, payload: body.subarray(num * 64, num * 64 + 64) }),
        SERVER,
      );
      for (let event = client.pollEvent(); event !== undefined; event = client.pollEvent())
        download.handleEvent(nowUs, event);
      note(nowUs);
    };
    download.start(0);
    note(0);
    for (const num of [0, 1, 2, 4, 5, 6, 7, 8, 9]) block2(SECOND, num);
    asked.length = 0;
    block2(2 * SECOND, 10);
    expect(asked).toEqual([[2, "3"]]);
    let end;
    for (let at = download.pollTimeout(); at !== undefined && end === undefined; at = download.pollTimeout()) {
      end = download.handleTimeout(at);
      note(at);
    }
    expect(asked.slice(1).map(([at, blocks]) => [at, blocks])).toEqual([
      [6, "3"],
      [14, "3"],
      [30, "3"],
      [62, "3"],
    ]);
    expect(end).toEqual({ kind: "failed", reason: "timeout" });
    expect(client.stats.requests).toBe(0);
  });
});

describe("RFC 9175", () => {
  it("Echo values have 64 bits that nobody else can predict (section 5)", () => {
    const macs = [1, 2].map((seed) => {
      const server = new CoapEndpoint({
        random: new SeededRandom(seed, "s"),
        isTrusted: () => false,
        handler: { handleRequest: () => ({ code: Code.UNAUTHORIZED, challenge: true }) },
      });
      server.handleDatagram(0, encodeMessage({ ...decoded(Uint8Array.of(0x40, 1, 0, 1)), options: PATH }), CLIENT);
      const [challenge] = drain(server);
      expect(codeText(challenge!.code)).toBe("4.01");
      const echo = optionValue(challenge!.options, Option.ECHO)!;
      expect(echo.subarray(0, 4)).toEqual(new Uint8Array(4)); // the second
      return echo.subarray(4);
    });
    expect(macs[0]).toHaveLength(8);
    expect(macs[0]).not.toEqual(macs[1]);
  });
});
