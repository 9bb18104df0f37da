import { describe, expect, it } from "vitest";
import { decodeBlock, encodeBlock } from "../../src/coap/blockwise/block.ts";
import { QBlock1Upload } from "../../src/coap/blockwise/q-block1-client.ts";
import { decodeMissingBlocks, nonReceiveTimeoutUs, nonTimeoutRandomUs } from "../../src/coap/blockwise/q-block.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
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
import { DEFAULT_PARAMETERS, type TransmissionParameters } from "../../src/coap/parameters.ts";
import type { CoapResponse, IncomingRequest } from "../../src/coap/request.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { decoded, drain } from "../support/coap-get.ts";
import { CLIENT, SERVER, type Pair } from "../support/pair.ts";
import { pattern, routed, sha, sink } from "../support/resources.ts";

const SECOND = 1_000_000;
const PATH = textOptions(Option.URI_PATH, ["x"]);
const uint = (number: number, value: number): CoapOption => ({ number, value: encodeUint(value) });
const qBlock = (number: number, num: number, more: boolean): CoapOption => ({
  number,
  value: encodeBlock({ num, more, szx: 2 }),
});

/** Block `num` of `body` by Q-Block1, as a NON unless said. */
function block(body: Uint8Array, num: number, fields: Partial<CoapMessage> & { tag?: number } = {}): Uint8Array {
  const last = Math.ceil(body.length / 64) - 1;
  const options = [
    ...PATH,
    qBlock(Option.Q_BLOCK1, num, num < last),
    uint(Option.SIZE1, body.length),
    uint(Option.REQUEST_TAG, fields.tag ?? 1),
  ];
  const message = { type: MessageType.NON, code: Code.PUT, messageId: 100 + num, token: Uint8Array.of(num), options };
  return encodeMessage({ ...message, payload: body.subarray(num * 64, num * 64 + 64), ...fields });
}

/** A server that takes bodies at /x, and what it answers to each datagram. */
function taking(respond?: (request: IncomingRequest) => CoapResponse) {
  const target = sink(1_000_000);
  const put = target.resource.put;
  const resource = respond === undefined ? target.resource : { maxBodyBytes: 100_000, put: answer, fetch: answer };
  function answer(nowUs: number, request: IncomingRequest): CoapResponse {
    put(nowUs, request);
    return respond!(request);
  }
  const { server } = routed({ x: resource });
  let messageId = 1_000;
  const give = (nowUs: number, bytes: Uint8Array): CoapMessage[] => {
    const sent = bytes.slice();
    sent[2] = messageId >> 8; // each one a request of its own
    sent[3] = messageId++ & 0xff;
    server.handleDatagram(nowUs, sent, CLIENT);
    return drain(server);
  };
  return { ...target, server, give };
}

const codes = (messages: readonly CoapMessage[]): string[] => messages.map(({ code }) => codeText(code));

function upload(body: Uint8Array, seed = 1, parameters: TransmissionParameters = DEFAULT_PARAMETERS) {
  const bench = routed({ x: sink(100_000).resource }, { seed });
  const random = new SeededRandom(seed, "q");
  const options = {
    endpoint: bench.client,
    peer: SERVER,
    parameters,
    random,
    code: Code.PUT,
    options: PATH,
    body,
    szx: 2 as const,
  };
  return { ...bench, transfer: new QBlock1Upload(options) };
}

const sentBlocks = (pair: Pair) =>
  pair.log
    .filter(({ from, bytes }) => from === "client" && bytes[1] === Code.PUT)
    .map(({ bytes, atUs }) => {
      const { options, type } = decoded(bytes);
      const num = decodeBlock(optionValue(options, Option.Q_BLOCK1)!).num;
      return { num, atUs, type, tag: String(optionValue(options, Option.REQUEST_TAG)) };
    });

describe("the client of Q-Block1 (RFC 9177 sections 4.3, 7 and 7.2)", () => {
  it("sends blocks in ascending order, all under one Request-Tag, the next body under another", () => {
    const tags = new Set<string>();
    for (const seed of [1, 2, 3]) {
      const { pair, transfer } = upload(pattern(64 * 35), seed);
      transfer.start(0);
      pair.drive(60 * SECOND, transfer);
      const sent = sentBlocks(pair);
      expect(sent.map(({ num }) => num)).toEqual(Array.from({ length: 35 }, (_, i) => i));
      expect(new Set(sent.map(({ tag }) => tag)).size).toBe(1);
      // Whether the server knows how is asked by a CON (section 4.1); the blocks after it are all NON.
      expect(sent.map(({ type }) => type)).toEqual([MessageType.CON, ...Array(34).fill(MessageType.NON)]);
      tags.add(sent[0]!.tag);
    }
    expect(tags.size).toBe(3);
  });

  it("waits for NON_TIMEOUT_RANDOM between two sets, the same each time, unless it is told to go on", () => {
    const { pair, transfer } = upload(pattern(64 * 35));
    // No 2.31 arrives.
    pair.copies = ({ from, bytes }) => (from === "server" && bytes[1] === Code.CONTINUE ? 0 : 1);
    transfer.start(0);
    pair.drive(60 * SECOND, transfer);
    const starts = [10, 20, 30].map((num) => sentBlocks(pair).find((one) => one.num === num)!.atUs);
    const pauses = starts.map((at, i) => at - (starts[i - 1] ?? 0));
    expect(pauses[0]).toBeGreaterThanOrEqual(2 * SECOND);
    expect(pauses[0]).toBeLessThanOrEqual(3 * SECOND);
    expect(new Set(pauses).size).toBe(1);
    for (const set of [0, 10, 20, 30]) {
      const within = sentBlocks(pair).filter(({ num }) => num >= set && num < set + 10);
      expect(new Set(within.map(({ atUs }) => atUs)).size).toBe(1);
    }
  });

  it("to a server that is silent only the first block goes, by the timer of a CON (section 3.2)", () => {
    const { pair, transfer } = upload(pattern(64 * 35));
    pair.copies = () => 0;
    transfer.start(0);
    expect(pair.drive(1_000 * SECOND, transfer)).toEqual({ kind: "failed", reason: "timeout" });
    expect(sentBlocks(pair).map(({ num }) => num)).toEqual([0, 0, 0, 0, 0]);
  });

  it("gives its tokens back when it gives up: a late 4.08 is rejected", () => {
    const { pair, transfer, client } = upload(pattern(64 * 35));
    pair.copies = ({ from, bytes }) => (from === "server" || bytes[1] !== Code.PUT || bytes[0]! >> 4 === 4 ? 1 : 0);
    transfer.start(0);
    pair.drive(SECOND, transfer);
    const { token } = decoded(pair.log.at(-1)!.bytes);
    transfer.cancel(pair.nowUs);
    const late = {
      type: MessageType.NON,
      code: Code.REQUEST_ENTITY_INCOMPLETE,
      messageId: 77,
      token,
      options: [uint(Option.CONTENT_FORMAT, ContentFormat.MISSING_BLOCKS)],
      payload: Uint8Array.of(1),
    };
    client.handleDatagram(pair.nowUs, encodeMessage(late), SERVER);
    expect(drain(client)).toMatchObject([{ type: MessageType.RST, messageId: 77 }]);
    expect(client.stats.requests).toBe(0);
  });

  it("NON_RECEIVE_TIMEOUT is at least a second longer than NON_TIMEOUT_RANDOM, for a short ACK_TIMEOUT too", () => {
    for (const ackTimeoutUs of [1_000, 100_000, SECOND, 2 * SECOND, 60 * SECOND]) {
      const parameters = { ...DEFAULT_PARAMETERS, ackTimeoutUs };
      for (let seed = 0; seed < 20; seed++) {
        const pauseUs = nonTimeoutRandomUs(parameters, new SeededRandom(seed, "r"));
        expect(nonReceiveTimeoutUs(parameters) - pauseUs).toBeGreaterThanOrEqual(SECOND);
      }
    }
  });
});

describe("the server of Q-Block1 (RFC 9177 sections 4.3 and 5)", () => {
  const body = pattern(64 * 25);

  it("needs Request-Tag, and needs Size1: without one of them 4.00", () => {
    const { give } = taking();
    const option = [...PATH, qBlock(Option.Q_BLOCK1, 0, true)];
    for (const extra of [[uint(Option.SIZE1, body.length)], [uint(Option.REQUEST_TAG, 1)]])
      expect(codes(give(0, block(body, 0, { type: MessageType.CON, options: [...option, ...extra] })))).toEqual([
        "4.00",
      ]);
    const both = [uint(Option.SIZE1, body.length), uint(Option.REQUEST_TAG, 1)];
    expect(codes(give(0, block(body, 0, { type: MessageType.CON, options: [...option, ...both] })))).toEqual(["0.00"]);
  });

  it("does not look at the payload of a block that it has", () => {
    const { give, bodies } = taking();
    for (let num = 0; num < 24; num++) give(0, block(body, num));
    give(0, block(body, 3, { payload: new Uint8Array(64) }));
    give(0, block(body, 24));
    expect(bodies).toEqual([body]);
  });

  it("answers a block that comes again as it answered it first: 2.31 for the one that made a set whole", () => {
    const { give } = taking();
    for (const num of [0, 1, 2, 9, 3, 4, 5, 6, 7]) expect(give(0, block(body, num))).toEqual([]);
    expect(codes(give(0, block(body, 8)))).toEqual(["2.31"]);
    expect(codes(give(0, block(body, 8)))).toEqual(["2.31"]);
    expect(give(0, block(body, 9))).toEqual([]);
    expect(give(0, block(body, 10))).toEqual([]);
  });

  it("names no more missing blocks than fit a message, the lowest first, and asks four times", () => {
    const { give, server } = taking();
    const large = pattern(64 * 5_000);
    give(0, block(large, 0));
    give(0, block(large, 4_999));
    drain(server);
    let times = 0;
    for (let at = server.pollTimeout(); at !== undefined && at < 200 * SECOND; at = server.pollTimeout()) {
      server.handleTimeout(at);
      for (const { code, payload } of drain(server)) {
        times++;
        expect(codeText(code)).toBe("4.08");
        expect(payload.length).toBeLessThan(1_024);
        expect(decodeMissingBlocks(payload)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
      }
    }
    expect(times).toBe(4);
  });

  it("answers with a large body by Q-Block2, never by Block2 (section 4.1)", () => {
    const answer = pattern(64 * 13);
    const { give } = taking(() => ({
      code: Code.CONTENT,
      body: { bytes: answer, etag: Uint8Array.of(4), contentFormat: 42 },
    }));
    const sent = [give(0, block(pattern(100), 0)), give(0, block(pattern(100), 1))].flat();
    expect(sent).toHaveLength(10); // the first set
    for (const [i, { options, payload }] of sent.entries()) {
      expect(optionValue(options, Option.BLOCK2)).toBeUndefined();
      expect(decodeBlock(optionValue(options, Option.Q_BLOCK2)!)).toEqual({ num: i, more: true, szx: 2 });
      expect(payload).toEqual(answer.subarray(i * 64, i * 64 + 64));
    }
  });
});

describe("Observe with Q-Block (RFC 9177 sections 4.3 and 4.5)", () => {
  it("a FETCH whose body came by Q-Block1 is observed: its notifications answer the whole of it, under its token", () => {
    const state = { value: 1 };
    const { give, server } = taking(({ payload }) => ({
      code: Code.CONTENT,
      payload: Uint8Array.of(payload.length & 0xff, state.value),
      observable: "x",
    }));
    const query = pattern(100);
    const fetch = (num: number): Uint8Array => {
      const options = [
        ...PATH,
        { number: Option.OBSERVE, value: EMPTY_BYTES },
        uint(Option.CONTENT_FORMAT, 60),
        qBlock(Option.Q_BLOCK1, num, num === 0),
        uint(Option.SIZE1, 100),
        uint(Option.REQUEST_TAG, 5),
      ];
      return block(query, num, { code: Code.FETCH, options });
    };
    give(0, fetch(0));
    const [first] = give(0, fetch(1));
    expect(first).toMatchObject({ code: Code.CONTENT, token: Uint8Array.of(1), payload: Uint8Array.of(100, 1) });
    for (const value of [2, 3]) {
      state.value = value;
      server.handleTimeout(value * 10 * SECOND);
      server.notify(value * 10 * SECOND, "x");
      const [told] = drain(server);
      expect(told).toMatchObject({ code: Code.CONTENT, token: Uint8Array.of(1), payload: Uint8Array.of(100, value) });
      expect(optionValue(told!.options, Option.OBSERVE)).toBeDefined();
    }
  });

  it("all blocks of a body have one Observe value, those that are asked for as missing have none", () => {
    const bytes = pattern(64 * 25);
    const response = { code: Code.CONTENT, body: { bytes, etag: sha(bytes).subarray(0, 8), contentFormat: 42 } };
    const { server } = routed({ x: { get: () => ({ ...response, observable: "x" }) } });
    let messageId = 1;
    const ask = (nowUs: number, options: CoapOption[]): (number | undefined)[] => {
      const get = { type: MessageType.NON, code: Code.GET, messageId: messageId++, token: Uint8Array.of(messageId) };
      server.handleDatagram(
        nowUs,
        encodeMessage({ ...get, options: [...PATH, ...options], payload: EMPTY_BYTES }),
        CLIENT,
      );
      return drain(server).map((sent) => uintOption(sent.options, Option.OBSERVE));
    };
    const first = ask(SECOND, [{ number: Option.OBSERVE, value: EMPTY_BYTES }, qBlock(Option.Q_BLOCK2, 0, true)]);
    const second = ask(2 * SECOND, [qBlock(Option.Q_BLOCK2, 10, true)]);
    const third = ask(3 * SECOND, [qBlock(Option.Q_BLOCK2, 20, true)]);
    const all = [...first, ...second, ...third];
    expect(all).toHaveLength(25);
    expect(first[0]).toBeDefined();
    expect(new Set(all).size).toBe(1);
    const missing = ask(4 * SECOND, [qBlock(Option.Q_BLOCK2, 3, false), qBlock(Option.Q_BLOCK2, 7, false)]);
    expect(missing).toEqual([undefined, undefined]);
  });

  it("after a change missing blocks come from the new body, with its ETag and Size2 (section 4.4)", () => {
    let bytes = pattern(64 * 25);
    const get = (): CoapResponse => ({
      code: Code.CONTENT,
      body: { bytes, etag: sha(bytes).subarray(0, 8), contentFormat: 42 },
    });
    const { server } = routed({ x: { get } });
    const ask = (messageId: number, block2: CoapOption): CoapMessage => {
      const message = {
        type: MessageType.NON,
        code: Code.GET,
        messageId,
        token: Uint8Array.of(1),
        payload: EMPTY_BYTES,
      };
      server.handleDatagram(0, encodeMessage({ ...message, options: [...PATH, block2] }), CLIENT);
      return drain(server)[0]!;
    };
    ask(1, qBlock(Option.Q_BLOCK2, 0, true));
    bytes = pattern(64 * 20).map((byte) => byte ^ 1);
    const { options, payload } = ask(2, qBlock(Option.Q_BLOCK2, 3, false));
    expect(payload).toEqual(bytes.subarray(192, 256));
    expect(optionValue(options, Option.ETAG)).toEqual(sha(bytes).subarray(0, 8));
    expect(uintOption(options, Option.SIZE2)).toBe(1_280);
  });
});
