import { describe, expect, it } from "vitest";
import { decodeMessage } from "../../src/coap/decode.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { COAP_LIMITS } from "../../src/coap/limits.ts";
import { EMPTY_BYTES, type CoapMessage } from "../../src/coap/message.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { DEFAULT_PARAMETERS, exchangeLifetimeUs, nonLifetimeUs } from "../../src/coap/parameters.ts";
import type { HandlerResult, IncomingRequest } from "../../src/coap/request.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { drain } from "../support/coap-get.ts";
import { CLIENT, Pair, SERVER } from "../support/pair.ts";

const SECOND = 1_000_000;
const GET = { code: Code.GET, options: textOptions(Option.URI_PATH, ["x"]) };
const POST = { code: Code.POST, options: textOptions(Option.URI_PATH, ["x"]) };

function makePair(
  handle: (nowUs: number, request: IncomingRequest) => HandlerResult = () => ({
    code: Code.CONTENT,
    payload: Uint8Array.of(1),
  }),
) {
  const calls: IncomingRequest[] = [];
  const handler = {
    handleRequest: (nowUs: number, request: IncomingRequest): HandlerResult => {
      calls.push(request);
      return handle(nowUs, request);
    },
  };
  const client = new CoapEndpoint({ random: new SeededRandom(1, "client") });
  const server = new CoapEndpoint({ random: new SeededRandom(1, "server"), handler });
  return { pair: new Pair(client, server), client, server, calls };
}

function message(fields: Partial<CoapMessage>): CoapMessage {
  return {
    type: MessageType.CON,
    code: Code.GET,
    messageId: 1,
    token: EMPTY_BYTES,
    options: [],
    payload: EMPTY_BYTES,
    ...fields,
  };
}

function exchange(server: CoapEndpoint, bytes: Uint8Array, nowUs = 0): CoapMessage[] {
  server.handleDatagram(nowUs, bytes, CLIENT);
  return drain(server);
}

describe("the message layer (RFC 7252 section 4)", () => {
  it("lifetimes are those of section 4.8.2", () => {
    expect(exchangeLifetimeUs(DEFAULT_PARAMETERS)).toBe(247 * SECOND);
    expect(nonLifetimeUs(DEFAULT_PARAMETERS)).toBe(145 * SECOND);
  });

  it("retransmits four times with doubling time-outs of 2 to 3 seconds, then gives up", () => {
    const { pair, client } = makePair();
    pair.copies = () => 0;
    const id = client.request(0, SERVER, GET);
    expect(pair.run(1_000 * SECOND)).toEqual({ kind: "failed", request: id, reason: "timeout" });
    const gaps = pair.log.slice(1).map((flight, i) => flight.atUs - pair.log[i]!.atUs);
    expect(pair.log).toHaveLength(5);
    expect(gaps[0]).toBeGreaterThanOrEqual(2 * SECOND);
    expect(gaps[0]).toBeLessThanOrEqual(3 * SECOND);
    expect(gaps.map((gap) => gap / gaps[0]!)).toEqual([1, 2, 4, 8]);
    expect(client.pollTimeout()).toBeUndefined();
  });

  it("delivers one response however the link loses and duplicates", () => {
    const random = new SeededRandom(5, "link");
    for (let i = 0; i < 300; i++) {
      const { pair, client } = makePair();
      pair.copies = () => (random.uint32() % 10 < 3 ? 0 : (random.uint32() % 3) + 1);
      client.request(0, SERVER, GET);
      const event = pair.run(200 * SECOND);
      if (event?.kind === "failed") expect(event.reason).toBe("timeout");
      else expect(event).toMatchObject({ kind: "response", response: { code: Code.CONTENT } });
      expect(pair.run(200 * SECOND)).toBeUndefined();
    }
  });

  it("runs the handler of a POST once for all copies of it, and repeats the same reply", () => {
    const { server, calls } = makePair(() => ({ code: Code.CHANGED }));
    const post = encodeMessage(message({ ...POST, token: Uint8Array.of(9) }));
    const replies = [0, 1, 200 * SECOND].flatMap((at) => exchange(server, post, at));
    expect(calls).toHaveLength(1);
    expect(replies).toHaveLength(3);
    expect(new Set(replies.map((reply) => JSON.stringify(reply))).size).toBe(1);
    server.handleTimeout(248 * SECOND);
    exchange(server, post, 248 * SECOND);
    expect(calls).toHaveLength(2);
  });

  it("runs a deferred handler once while it works, acknowledges, and sends a CON of its own", () => {
    const { pair, client, server, calls } = makePair(() => "deferred");
    pair.copies = (flight) => (flight.from === "client" ? 3 : 1);
    const id = client.request(0, SERVER, GET);
    expect(pair.run(1 * SECOND)).toBeUndefined();
    expect(calls).toHaveLength(1);
    expect(pair.log.map(({ bytes }) => bytes[1])).toEqual([Code.GET, Code.EMPTY]);
    expect(server.respond(pair.nowUs, calls[0]!.exchange, { code: Code.CONTENT })).toBe(true);
    expect(pair.run(2 * SECOND)).toMatchObject({ kind: "response", request: id });
    pair.settle();
    expect(server.respond(pair.nowUs, calls[0]!.exchange, { code: Code.CONTENT })).toBe(false);
    const types = pair.log.slice(2).map(({ from, bytes }) => `${from} ${(bytes[0]! >> 4) & 3} ${codeText(bytes[1]!)}`);
    expect(types.slice(0, 2)).toEqual(["server 0 2.05", "client 2 0.00"]);
    expect(pair.run(1_000 * SECOND)).toBeUndefined();
  });

  it("a response in time is piggybacked even when the handler defers", () => {
    const { pair, client, server, calls } = makePair(() => "deferred");
    client.request(0, SERVER, GET);
    pair.settle();
    server.respond(100_000, calls[0]!.exchange, { code: Code.CONTENT });
    expect(pair.run(SECOND)).toMatchObject({ kind: "response" });
    expect(pair.log).toHaveLength(2);
  });

  it("answers a ping and a malformed CON by RST, and nothing else malformed (sections 4.2, 4.3)", () => {
    const { server } = makePair();
    expect(exchange(server, Uint8Array.of(0x40, 0, 0x12, 0x34))).toEqual([
      message({ type: MessageType.RST, code: 0, messageId: 0x1234 }),
    ]);
    expect(exchange(server, Uint8Array.of(0x40, 1, 0x12, 0x34, 0xff))).toMatchObject([
      { type: MessageType.RST, messageId: 0x1234 },
    ]);
    expect(exchange(server, Uint8Array.of(0x50, 1, 0x12, 0x34, 0xff))).toEqual([]);
    expect(exchange(server, Uint8Array.of(0x80, 1, 0x12, 0x34))).toEqual([]);
    expect(exchange(server, encodeMessage(message({ type: MessageType.ACK })))).toEqual([]);
  });

  it("a message ID that comes back with another token is a new request", () => {
    const { server, calls } = makePair(() => ({ code: Code.CHANGED }));
    exchange(server, encodeMessage(message({ ...POST, token: Uint8Array.of(1) })));
    exchange(server, encodeMessage(message({ ...POST, token: Uint8Array.of(2) })));
    expect(calls).toHaveLength(2);
  });

  it("a newcomer under the message ID of an exchange still worked on has to come again", () => {
    const { server, calls } = makePair(() => "deferred");
    for (let i = 0; i < 100; i++) exchange(server, encodeMessage(message({ token: Uint8Array.of(i) })));
    expect(calls).toHaveLength(1);
    expect(server.stats.openExchanges).toBe(1);
    server.handleTimeout(SECOND);
    expect(server.pollTransmit()?.bytes[1]).toBe(Code.EMPTY);
    // The empty ACK was for the first: the newcomer must not take it for its own.
    expect(exchange(server, encodeMessage(message({ token: Uint8Array.of(7) })), SECOND)).toEqual([]);
  });

  it("all deferred responses to one peer find room in its queue", () => {
    const { server, calls } = makePair(() => "deferred");
    const many = COAP_LIMITS.maxServerExchangesPerPeer;
    for (let i = 0; i < many; i++) exchange(server, encodeMessage(message({ messageId: i, token: Uint8Array.of(i) })));
    server.handleTimeout(SECOND);
    const sent = calls.map((call) => server.respond(SECOND, call.exchange, { code: Code.CONTENT }));
    expect(sent.every(Boolean)).toBe(true);
    expect(calls).toHaveLength(many);
  });

  it("uses no message ID twice within EXCHANGE_LIFETIME", () => {
    const parameters = { ...DEFAULT_PARAMETERS, probingRate: Number.POSITIVE_INFINITY };
    const client = new CoapEndpoint({ random: new SeededRandom(1, "client"), parameters });
    const seen = new Set<number>();
    let refused = 0;
    for (let i = 0; i < 70_000; i++) {
      const id = client.request(i * 1_000, SERVER, { ...GET, confirmable: false });
      const sent = client.pollTransmit();
      if (id === undefined || sent === undefined) {
        refused++;
        continue;
      }
      seen.add((sent.bytes[2]! << 8) | sent.bytes[3]!);
      client.cancel(i * 1_000, id);
    }
    expect(seen.size + refused).toBe(70_000);
    expect(refused).toBeGreaterThan(4_000);
    expect(client.request(400 * SECOND, SERVER, GET)).toBeDefined();
  });

  it("keeps to NSTART: the second request waits for the first", () => {
    const { pair, client } = makePair();
    client.request(0, SERVER, GET);
    client.request(0, SERVER, GET);
    expect(client.pollTransmit()).toBeDefined();
    expect(client.pollTransmit()).toBeUndefined();
    pair.copies = () => 1;
    pair.run(10 * SECOND); // the first was taken off the wire above and is retransmitted
    expect(pair.run(10 * SECOND)?.kind).toBe("response");
  });
});

describe("the request layer (RFC 7252 section 5)", () => {
  it("takes a reply only from the endpoint that was asked, with its token and message ID", () => {
    const { client } = makePair();
    client.request(0, SERVER, GET);
    const sent = decodeMessage(client.pollTransmit()!.bytes.slice());
    if (!sent.ok) throw new Error("unreadable");
    const { token, messageId } = sent.message;
    const reply = message({ type: MessageType.ACK, code: Code.CONTENT, token, messageId });
    const give = (fields: Partial<CoapMessage>, from = SERVER): boolean =>
      client.handleDatagram(1, encodeMessage({ ...reply, ...fields }), from);
    give({}, { ...SERVER, port: 5684 });
    give({}, { ...SERVER, address: "fd00::3" });
    give({ token: token.map((byte) => byte ^ 1) });
    give({ messageId: messageId ^ 1 });
    expect(client.pollEvent()).toBeUndefined();
    give({});
    expect(client.pollEvent()).toMatchObject({ kind: "response" });
  });

  it("a RST ends the request, an unknown CON response is reset, a repeated one acknowledged", () => {
    const { client } = makePair();
    const id = client.request(0, SERVER, GET);
    const [, , high, low] = client.pollTransmit()!.bytes;
    client.handleDatagram(1, Uint8Array.of(0x70, 0, high!, low!), SERVER);
    expect(client.pollEvent()).toEqual({ kind: "failed", request: id, reason: "reset" });
    const stray = encodeMessage(message({ code: Code.CONTENT, token: Uint8Array.of(5, 5) }));
    client.handleDatagram(1, stray, SERVER);
    expect(client.pollTransmit()!.bytes[0]).toBe(0x70);
    client.request(0, SERVER, GET);
    const token = client.pollTransmit()!.bytes.slice(4, 8);
    const separate = encodeMessage(message({ code: Code.CONTENT, token, messageId: 500 }));
    for (let i = 0; i < 2; i++) {
      client.handleDatagram(2, separate, SERVER);
      expect([...client.pollTransmit()!.bytes]).toEqual([0x60, 0, 1, 244]);
    }
    expect(client.pollEvent()?.kind).toBe("response");
    expect(client.pollEvent()).toBeUndefined();
  });

  it("rejects a NON with an unknown critical option by RST (sections 5.4.1, 4.3)", () => {
    const { server, calls } = makePair();
    const bytes = encodeMessage(message({ type: MessageType.NON, options: [{ number: 65_001, value: EMPTY_BYTES }] }));
    expect(exchange(server, bytes)).toMatchObject([{ type: MessageType.RST, messageId: 1 }]);
    expect(calls).toHaveLength(0);
  });

  it("a RST ends a NON request too, and elective options of a wrong length are dropped", () => {
    const { client } = makePair();
    const id = client.request(0, SERVER, { ...GET, confirmable: false });
    const [, , high, low] = client.pollTransmit()!.bytes;
    client.handleDatagram(1, Uint8Array.of(0x70, 0, high!, low!), SERVER);
    expect(client.pollEvent()).toEqual({ kind: "failed", request: id, reason: "reset" });
    client.request(0, SERVER, GET);
    const sent = client.pollTransmit()!.bytes;
    const options = [
      { number: Option.ETAG, value: new Uint8Array(9) },
      { number: Option.SIZE2, value: new Uint8Array(200) },
    ];
    const reply = {
      type: MessageType.ACK,
      code: Code.CONTENT,
      messageId: (sent[2]! << 8) | sent[3]!,
      token: sent.slice(4, 8),
      options,
    };
    client.handleDatagram(1, encodeMessage(message(reply)), SERVER);
    expect(client.pollEvent()).toMatchObject({ kind: "response", response: { options: [] } });
  });

  it.each([
    ["an unknown critical option", [{ number: 65_001, value: EMPTY_BYTES }], "4.02"],
    ["OSCORE, which is not spoken here yet", [{ number: 9, value: EMPTY_BYTES }], "4.02"],
    ["If-Match on what cannot be changed", [{ number: Option.IF_MATCH, value: EMPTY_BYTES }], "4.02"],
    ["an unknown elective option", [{ number: 65_000, value: EMPTY_BYTES }], "2.05"],
    ["a Uri-Path that is not UTF-8", [{ number: Option.URI_PATH, value: Uint8Array.of(0xc3, 0x28) }], "4.02"],
    ["a Uri-Host of no bytes", [{ number: Option.URI_HOST, value: EMPTY_BYTES }], "4.02"],
    ["Proxy-Uri", textOptions(Option.PROXY_URI, ["coap://x/"]), "5.05"],
    ["Proxy-Scheme", textOptions(Option.PROXY_SCHEME, ["coap"]), "5.05"],
  ])("%s", (_what, options, code) => {
    const { server } = makePair();
    const [reply] = exchange(server, encodeMessage(message({ options })));
    expect(codeText(reply!.code)).toBe(code);
  });

  it("bounds what a peer can make it remember, and never forgets an unanswered exchange", () => {
    const { server, calls } = makePair(() => "deferred");
    for (let i = 0; i < 200; i++) exchange(server, encodeMessage(message({ ...POST, messageId: i })));
    expect(calls).toHaveLength(COAP_LIMITS.maxServerExchangesPerPeer);
    expect(server.stats.openExchanges).toBe(COAP_LIMITS.maxServerExchangesPerPeer);
  });
});
