import { describe, expect, it } from "vitest";
import { encodeEmpty, encodeMessage } from "../../src/coap/encode.ts";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { COAP_LIMITS } from "../../src/coap/limits.ts";
import { EMPTY_BYTES, encodeUint, optionValue, type CoapMessage } from "../../src/coap/message.ts";
import { MessageIds } from "../../src/coap/message-ids.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { DEFAULT_PARAMETERS, exchangeLifetimeUs } from "../../src/coap/parameters.ts";
import { PollPeriodTimer } from "../../src/coap/retransmission.ts";
import type { HandlerResult, IncomingRequest } from "../../src/coap/request.ts";
import type { PeerAddress } from "../../src/ports/datagram.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { decoded, drain } from "../support/coap-get.ts";
import { CLIENT, SERVER } from "../support/pair.ts";
import { pattern } from "../support/resources.ts";

const SECOND = 1_000_000;
const OTHER: PeerAddress = { address: "fd00::7", port: 5683 };
const PATH = textOptions(Option.URI_PATH, ["x"]);
const GET = { code: Code.GET, options: PATH };

function message(fields: Partial<CoapMessage> = {}): Uint8Array {
  const token = Uint8Array.of(1);
  const base = { type: MessageType.CON, code: Code.GET, messageId: 1, token, options: PATH, payload: EMPTY_BYTES };
  return encodeMessage({ ...base, ...fields });
}

/** A server whose handler defers, and what it sends for each thing that is done to it. */
function deferring(options: { isTrusted?: () => boolean } = {}) {
  const calls: IncomingRequest[] = [];
  const handleRequest = (_nowUs: number, request: IncomingRequest): HandlerResult => {
    calls.push(request);
    return "deferred";
  };
  const server = new CoapEndpoint({ random: new SeededRandom(1, "s"), handler: { handleRequest }, ...options });
  const give = (nowUs: number, bytes: Uint8Array, from: PeerAddress = CLIENT): CoapMessage[] => {
    server.handleDatagram(nowUs, bytes, from);
    return drain(server);
  };
  const later = (nowUs: number): CoapMessage[] => {
    server.handleTimeout(nowUs);
    return drain(server);
  };
  return { server, calls, give, later };
}

const kinds = (messages: readonly CoapMessage[]): string[] =>
  messages.map(({ type, code }) => `${type} ${codeText(code)}`);

function newClient(): CoapEndpoint {
  return new CoapEndpoint({ random: new SeededRandom(1, "c") });
}

describe("empty messages and rejections (RFC 7252 sections 4.1 to 4.3)", () => {
  it("an empty message is four bytes without token, and none is a NON", () => {
    const { give, later } = deferring();
    const ping = give(0, encodeEmpty(MessageType.CON, 7));
    give(0, message());
    const sent = [...ping, ...later(SECOND)];
    expect(kinds(sent)).toEqual(["3 0.00", "2 0.00"]);
    for (const one of sent) expect(encodeMessage(one)).toHaveLength(4);
    for (const type of [MessageType.ACK, MessageType.RST, MessageType.CON])
      expect(encodeEmpty(type, 258)).toEqual(Uint8Array.of(0x40 | (type << 4), 0, 1, 2));
  });

  it("each CON is acknowledged or rejected: empty, of a reserved class, malformed, or a response nobody awaits", () => {
    const { give, later } = deferring();
    const bad = [
      [0x40, 0, 0, 1],
      [0x40, 0x20, 0, 2],
      [0x40, 0xe1, 0, 3],
      [0x40, 1, 0, 4, 0xff],
      [0x40, 0x45, 0, 5],
    ];
    for (const [i, bytes] of bad.entries()) {
      const [rst, ...more] = give(0, Uint8Array.from(bytes));
      expect(rst).toMatchObject({ type: MessageType.RST, code: 0, messageId: i + 1 });
      expect(more).toEqual([]);
    }
    give(0, message({ messageId: 9 }));
    expect(later(SECOND)).toMatchObject([{ type: MessageType.ACK, code: 0, messageId: 9 }]);
  });

  it("a NON of that kind has no effect, and is never acknowledged", () => {
    const { give, calls, later } = deferring();
    for (const bytes of [
      [0x50, 0, 0, 1],
      [0x50, 0x20, 0, 2],
      [0x50, 0xe1, 0, 3],
      [0x50, 1, 0, 4, 0xff],
    ])
      expect(give(0, Uint8Array.from(bytes))).toEqual([]);
    expect(kinds(give(0, Uint8Array.of(0x50, 0x45, 0, 5)))).toEqual(["3 0.00"]);
    expect(calls).toHaveLength(0);
    give(0, message({ type: MessageType.NON }));
    expect(calls).toHaveLength(1);
    expect(later(10 * SECOND)).toEqual([]);
  });

  it("an empty ACK or a RST counts only from the endpoint that the CON went to, with its message ID (section 4.4)", () => {
    const client = newClient();
    const id = client.request(0, SERVER, GET);
    const { messageId } = drain(client)[0]!;
    for (const type of [MessageType.ACK, MessageType.RST]) {
      client.handleDatagram(0, encodeEmpty(type, messageId), OTHER);
      client.handleDatagram(0, encodeEmpty(type, messageId), { ...SERVER, port: 5684 });
      client.handleDatagram(0, encodeEmpty(type, messageId ^ 1), SERVER);
    }
    expect(client.pollEvent()).toBeUndefined();
    client.handleTimeout(3 * SECOND);
    expect(drain(client)).toMatchObject([{ messageId }]); // it is still sent again
    client.handleDatagram(4 * SECOND, encodeEmpty(MessageType.RST, messageId), SERVER);
    expect(client.pollEvent()).toEqual({ kind: "failed", request: id, reason: "reset" });
  });
});

describe("separate responses (RFC 7252 sections 4.2, 5.2.2, 5.2.3 and 5.3.2)", () => {
  it("a repeated request is acknowledged anew, empty, also once its separate response was acknowledged", () => {
    const { server, give, later, calls } = deferring();
    give(0, message());
    expect(kinds(later(SECOND))).toEqual(["2 0.00"]);
    server.respond(2 * SECOND, calls[0]!.exchange, { code: Code.CONTENT, payload: pattern(3) });
    const [response] = drain(server);
    expect(response).toMatchObject({ type: MessageType.CON, code: Code.CONTENT, payload: pattern(3) });
    expect(kinds(give(3 * SECOND, message()))).toEqual(["2 0.00"]);
    expect(give(4 * SECOND, encodeEmpty(MessageType.ACK, response!.messageId))).toEqual([]);
    expect(kinds(give(5 * SECOND, message()))).toEqual(["2 0.00"]);
    expect(kinds(give(240 * SECOND, message()))).toEqual(["2 0.00"]);
    expect(calls).toHaveLength(1);
  });

  it("so is one that was challenged after its empty ACK, and the challenge is no CON (RFC 9175 section 2.4)", () => {
    const { server, give, later, calls } = deferring({ isTrusted: () => false });
    give(0, message());
    expect(kinds(later(SECOND))).toEqual(["2 0.00"]);
    for (let i = 0; i < 4; i++) give(SECOND, message()); // more than came before may go out now
    server.respond(2 * SECOND, calls[0]!.exchange, { code: Code.CONTENT, payload: pattern(1_000) });
    expect(kinds(drain(server))).toEqual(["1 4.01"]);
    expect(kinds(give(3 * SECOND, message()))).toEqual(["2 0.00"]);
  });

  it("any ACK with its message ID stops a separate response, whatever else it carries", () => {
    for (const ack of [{ code: Code.CONTENT, payload: pattern(3) }, { code: Code.NOT_FOUND }]) {
      const { server, give, later, calls } = deferring();
      give(0, message());
      later(SECOND);
      server.respond(2 * SECOND, calls[0]!.exchange, { code: Code.CONTENT });
      const { messageId } = drain(server)[0]!;
      expect(give(3 * SECOND, message({ type: MessageType.ACK, messageId, options: [], ...ack }))).toEqual([]);
      expect(later(100 * SECOND)).toEqual([]);
    }
  });

  it.each([
    [true, MessageType.NON],
    [false, MessageType.CON],
    [false, MessageType.NON],
    [true, MessageType.CON],
  ])("a request that is confirmable (%s) may be answered by type %i, found by its token alone", (confirmable, type) => {
    const client = newClient();
    const id = client.request(0, SERVER, { ...GET, confirmable });
    const { token, messageId } = drain(client)[0]!;
    const answer = { type, code: Code.CONTENT, messageId: messageId ^ 0x55, options: [], payload: pattern(2) };
    client.handleDatagram(0, message({ ...answer, token: Uint8Array.of(...token, 1) }), SERVER);
    expect(client.pollEvent()).toBeUndefined();
    drain(client);
    client.handleDatagram(0, message({ ...answer, token }), SERVER);
    expect(client.pollEvent()).toMatchObject({ kind: "response", request: id, response: { payload: pattern(2) } });
    expect(kinds(drain(client))).toEqual(type === MessageType.CON ? ["2 0.00"] : []);
  });
});

describe("message IDs (RFC 7252 sections 4.4 and 8.1)", () => {
  const lifetimeUs = exchangeLifetimeUs(DEFAULT_PARAMETERS);

  it("none is used twice for one peer within EXCHANGE_LIFETIME, for requests and responses alike", () => {
    const ids = new MessageIds(new SeededRandom(1, "ids"), lifetimeUs);
    const seen = new Set<number>();
    for (let id = ids.take(0, "a"); id !== undefined; id = ids.take(0, "a")) {
      expect(seen.has(id)).toBe(false);
      seen.add(id);
    }
    expect(seen.size).toBeGreaterThan(50_000);
    expect(ids.take(lifetimeUs - 1, "a")).toBeUndefined();
    expect(ids.take(lifetimeUs, "a")).toBeDefined();
    expect(ids.take(0, "b")).toBeDefined();
  });

  it("a server that has no ID left for a peer does not answer its NON", () => {
    const handler = { handleRequest: (): HandlerResult => ({ code: Code.CONTENT }) };
    const server = new CoapEndpoint({ random: new SeededRandom(1, "s"), handler });
    const used = new Set<number>();
    let answers = 0;
    for (let i = 0; i < 70_000; i++) {
      server.handleDatagram(i, message({ type: MessageType.NON, messageId: i & 0xffff }), CLIENT);
      for (const { messageId } of drain(server)) {
        expect(used.has(messageId)).toBe(false);
        used.add(messageId);
        answers++;
      }
    }
    expect(answers).toBeGreaterThan(50_000);
    expect(answers).toBeLessThan(65_536);
  });

  it("a request to a group has an ID that no unicast request or response has", () => {
    const ids = new MessageIds(new SeededRandom(2, "ids"), lifetimeUs);
    const unicast = new Set(Array.from({ length: 65_536 }, () => ids.take(0, "a")));
    for (let i = 0; i < 1_000; i++) expect(unicast.has(ids.take(0, "*"))).toBe(false);
    const client = newClient();
    const seen = new Set<number>();
    for (let i = 0; i < 3; i++) {
      client.request(i * 100 * SECOND, { address: "ff02::fd", port: 5683 }, { ...GET, toGroup: true });
      seen.add(drain(client)[0]!.messageId);
    }
    expect([...seen].every((id) => id >= 0xf000)).toBe(true);
    expect(seen.size).toBe(3);
  });
});

describe("transmission parameters (RFC 7252 section 4.8)", () => {
  it("no copy leaves later than MAX_TRANSMIT_SPAN after the first, on a late host too (section 4.2)", () => {
    const client = newClient();
    const id = client.request(0, SERVER, GET);
    drain(client);
    client.handleTimeout(44 * SECOND);
    expect(drain(client)).toHaveLength(1);
    client.handleTimeout(46 * SECOND + 3_000_000);
    client.handleTimeout(60 * SECOND);
    expect(drain(client)).toHaveLength(0);
    expect(client.pollEvent()).toEqual({ kind: "failed", request: id, reason: "timeout" });
  });

  it("a peer that polls has a span of its own, within which its two copies stay", () => {
    const timer = new PollPeriodTimer(DEFAULT_PARAMETERS, 60 * SECOND);
    const client = new CoapEndpoint({ random: new SeededRandom(1, "c"), retransmission: () => timer });
    client.request(0, SERVER, GET);
    const times: number[] = [];
    for (let at: number | undefined = 0; at !== undefined && at < 1_000 * SECOND; at = client.pollTimeout()) {
      client.handleTimeout(at);
      times.push(...drain(client).map(() => at));
    }
    expect(times).toHaveLength(3);
    expect(times.at(-1)).toBeLessThanOrEqual(timer.plan().spanUs);
  });

  it("NSTART and ACK_RANDOM_FACTOR: more than one at once, or dithering below 1, is refused (section 4.8.1)", () => {
    const make = (changed: object) => () =>
      new CoapEndpoint({ random: new SeededRandom(1, "c"), parameters: { ...DEFAULT_PARAMETERS, ...changed } });
    expect(make({ ackRandomFactor: 0.9 })).toThrow(RangeError);
    expect(make({ nstart: 2 })).toThrow(/congestion/);
    expect(make({ nstart: 1, ackRandomFactor: 1 })).not.toThrow();
  });
});

describe("who sends what (RFC 7252 sections 5.4, 5.5, 5.10.2, 8.2.1)", () => {
  it.each([
    ["a payload with GET", { ...GET, payload: pattern(1) }],
    ["a payload with DELETE", { code: Code.DELETE, options: PATH, payload: pattern(1) }],
    ["an option of responses", { code: Code.PUT, options: textOptions(Option.LOCATION_PATH, ["x"]) }],
    ["Block1 with GET", { code: Code.GET, options: [{ number: Option.BLOCK1, value: EMPTY_BYTES }] }],
    [
      "an option twice",
      { code: Code.GET, options: [1, 2].map((n) => ({ number: Option.ACCEPT, value: encodeUint(n) })) },
    ],
    [
      "Uri-Path next to Proxy-Uri",
      { code: Code.GET, options: [...PATH, ...textOptions(Option.PROXY_URI, ["coap://a/"])] },
    ],
    ["an ETag to a group", { code: Code.GET, options: [{ number: Option.ETAG, value: pattern(1) }], toGroup: true }],
    ["a response as a request", { code: Code.CONTENT, options: [] }],
  ])("a client does not send %s", (_what, request) => {
    expect(() => newClient().request(0, SERVER, request)).toThrow(RangeError);
  });

  it("the payload of a GET or a DELETE is not looked at", () => {
    const { give, calls } = deferring();
    give(0, message({ payload: pattern(5) }));
    give(0, message({ code: Code.DELETE, messageId: 2, payload: pattern(5) }));
    give(0, message({ code: Code.POST, messageId: 3, payload: pattern(5) }));
    expect(calls.map(({ payload }) => payload.length)).toEqual([0, 0, 5]);
  });

  it("that of a 2.03 is neither sent nor looked at", () => {
    const handler = { handleRequest: (): HandlerResult => ({ code: Code.VALID, payload: pattern(5) }) };
    const server = new CoapEndpoint({ random: new SeededRandom(1, "s"), handler });
    server.handleDatagram(0, message(), CLIENT);
    expect(decoded(server.pollTransmit()!.bytes.slice()).payload).toHaveLength(0);
    const client = newClient();
    client.request(0, SERVER, GET);
    const { token, messageId } = drain(client)[0]!;
    const answer = { type: MessageType.ACK, code: Code.VALID, messageId, token, options: [], payload: pattern(5) };
    client.handleDatagram(0, message(answer), SERVER);
    expect(client.pollEvent()).toMatchObject({ response: { code: Code.VALID, payload: EMPTY_BYTES } });
  });

  it("a response goes out with no option that means nothing there, and with none twice, one ETag among them", () => {
    const twice = [Option.MAX_AGE, Option.ETAG, Option.SIZE2].flatMap((number) =>
      [1, 2].map((n) => ({ number, value: Uint8Array.of(n) })),
    );
    const stray = [Option.URI_PATH, Option.REQUEST_TAG, Option.IF_MATCH].map((number) => ({
      number,
      value: pattern(1),
    }));
    for (const payload of [undefined, pattern(4)]) {
      const answer = { code: Code.CONTENT, options: [...stray, ...twice], ...(payload && { payload }) };
      const server = new CoapEndpoint({ random: new SeededRandom(1, "s"), handler: { handleRequest: () => answer } });
      server.handleDatagram(0, message({ options: [{ number: Option.REQUEST_TAG, value: pattern(2) }] }), CLIENT);
      const { options } = decoded(server.pollTransmit()!.bytes.slice());
      expect(options.map(({ number }) => number)).toEqual([Option.ETAG, Option.MAX_AGE, Option.SIZE2]);
      expect(optionValue(options, Option.ETAG)).toEqual(Uint8Array.of(1));
    }
  });
});

describe("what is remembered (RFC 7252 section 4.5)", () => {
  it("a full table makes room among answered exchanges, also behind many that are still worked on", () => {
    const handleRequest = (_nowUs: number, { method }: IncomingRequest): HandlerResult =>
      method === Code.POST ? "deferred" : { code: Code.CHANGED };
    const server = new CoapEndpoint({ random: new SeededRandom(1, "s"), handler: { handleRequest } });
    const ask = (i: number, code: number): CoapMessage[] => {
      server.handleDatagram(i, message({ code, messageId: i & 0xffff }), {
        address: `fd00::${i.toString(16)}`,
        port: 9,
      });
      return drain(server);
    };
    for (let i = 0; i < 500; i++) ask(i, Code.POST);
    for (let i = 500; i < COAP_LIMITS.maxServerExchanges; i++) ask(i, Code.PUT);
    expect(server.stats.openExchanges).toBe(COAP_LIMITS.maxServerExchanges);
    const answered = Array.from({ length: 1_000 }, (_, i) => ask(20_000 + i, Code.PUT).length);
    // At most a few newcomers are turned away while the line is sorted.
    expect(answered.filter((count) => count === 0).length).toBeLessThanOrEqual(500 / 64 + 1);
    expect(answered.slice(10).every((count) => count === 1)).toBe(true);
    expect(server.stats.openExchanges).toBeLessThanOrEqual(COAP_LIMITS.maxServerExchanges);
  });
});
