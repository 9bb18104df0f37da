import { describe, expect, it } from "vitest";
import { BlockUpload } from "../../src/coap/blockwise/block1-client.ts";
import { BodyAssembly } from "../../src/coap/blockwise/body-assembly.ts";
import { BodyExchange } from "../../src/coap/blockwise/body-exchange.ts";
import { decodeBlock, encodeBlock } from "../../src/coap/blockwise/block.ts";
import { COAP_LIMITS } from "../../src/coap/limits.ts";
import { encodeUint, optionValue, uintOption, type CoapOption } from "../../src/coap/message.ts";
import { Code, codeText, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import type { CoapResponse, IncomingRequest } from "../../src/coap/request.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { CLIENT, SERVER } from "../support/pair.ts";
import { pattern, routed, sha, sink } from "../support/resources.ts";

const SECOND = 1_000_000;
const PATH = textOptions(Option.URI_PATH, ["x"]);
const EMPTY = new Uint8Array(0);

function incoming(payload: Uint8Array, options: readonly CoapOption[], fields: Partial<IncomingRequest> = {}) {
  return {
    peer: CLIENT,
    confirmable: true,
    method: Code.PUT,
    path: ["x"],
    query: [],
    options,
    payload,
    token: EMPTY,
    multicast: false,
    fresh: false,
    exchange: 1,
    ...fields,
  } satisfies IncomingRequest;
}

const block1 = (num: number, more: boolean, szx = 0): CoapOption => ({
  number: Option.BLOCK1,
  value: encodeBlock({ num, more, szx }),
});
const RULES = { maxBodyBytes: 4_096, streaming: false, preferredSzx: 6 };
const codeOf = (step: ReturnType<BodyAssembly["accept"]>): string =>
  step.kind === "respond" ? codeText(step.response.code) : step.kind;

describe("Block1 as server (RFC 7959 section 2.5)", () => {
  it("puts a body together, block by block", () => {
    const assembly = new BodyAssembly(247 * SECOND);
    const body = pattern(40);
    const give = (num: number, more: boolean) =>
      assembly.accept(0, incoming(body.subarray(num * 16, num * 16 + 16), [...PATH, block1(num, more)]), RULES);
    const first = give(0, true);
    expect(first).toMatchObject({ kind: "respond", response: { code: Code.CONTINUE } });
    expect(codeOf(give(1, true))).toBe("2.31");
    const last = give(2, false);
    expect(last).toMatchObject({ kind: "whole", request: { payload: body } });
    expect(assembly.size).toBe(0);
    expect(assembly.bytes).toBe(0);
  });

  it("answers a gap 4.08, a block sent again 2.31, block 0 by a new start (section 2.9.2)", () => {
    const assembly = new BodyAssembly(247 * SECOND);
    const give = (num: number, more = true) =>
      codeOf(assembly.accept(0, incoming(pattern(16), [...PATH, block1(num, more)]), RULES));
    expect(give(1)).toBe("4.08");
    expect(give(0)).toBe("2.31");
    expect(give(2)).toBe("4.08");
    expect(give(1)).toBe("2.31");
    expect(give(1)).toBe("2.31");
    expect(give(0)).toBe("2.31");
    expect(give(2, false)).toBe("4.08");
    expect(give(1, false)).toBe("whole");
  });

  it("answers what is too large 4.13 with Size1, by its Size1 or by its length (section 2.9.3)", () => {
    const assembly = new BodyAssembly(247 * SECOND);
    const size1 = { number: Option.SIZE1, value: encodeUint(5_000) };
    const step = assembly.accept(0, incoming(pattern(16), [...PATH, block1(0, true), size1]), RULES);
    expect(codeOf(step)).toBe("4.13");
    expect(uintOption((step as { response: CoapResponse }).response.options!, Option.SIZE1)).toBe(4_096);
    const many = { ...RULES, maxBodyBytes: 32 };
    const codes = [0, 1, 2].map((num) =>
      codeOf(assembly.accept(0, incoming(pattern(16), [...PATH, block1(num, true)]), many)),
    );
    expect(codes).toEqual(["2.31", "2.31", "4.13"]);
    expect(assembly.size).toBe(0);
  });

  it("refuses a block whose payload is not of its size, and SZX 7", () => {
    const assembly = new BodyAssembly(247 * SECOND);
    const give = (payload: number, block: CoapOption) =>
      codeOf(assembly.accept(0, incoming(pattern(payload), [...PATH, block]), RULES));
    expect(give(15, block1(0, true))).toBe("4.00");
    expect(give(17, block1(0, false))).toBe("4.00");
    expect(give(16, block1(0, true, 7))).toBe("4.00");
  });

  it("keeps bodies of different peers, resources and Request-Tags apart (RFC 9175 section 3.3)", () => {
    const assembly = new BodyAssembly(247 * SECOND);
    const tag = (value: number): CoapOption => ({ number: Option.REQUEST_TAG, value: Uint8Array.of(value) });
    const variants: [CoapOption[], Partial<IncomingRequest>][] = [
      [[tag(1)], {}],
      [[tag(2)], {}],
      [[], {}],
      [[], { peer: { ...CLIENT, port: 9 } }],
      [textOptions(Option.URI_QUERY, ["a"]), {}],
      [[], { method: Code.POST, peer: { ...CLIENT, port: 10 } }],
    ];
    for (const more of [true, false]) {
      for (const [i, [options, fields]] of variants.entries()) {
        const request = incoming(pattern(16).fill(i), [...PATH, ...options, block1(more ? 0 : 1, more)], fields);
        const step = assembly.accept(0, request, RULES);
        if (more) expect(codeOf(step)).toBe("2.31");
        else expect(step).toMatchObject({ kind: "whole", request: { payload: new Uint8Array(32).fill(i) } });
      }
    }
  });

  it("bounds what is kept: per peer, in all, in bytes and in time", () => {
    const assembly = new BodyAssembly(247 * SECOND);
    const rules = { ...RULES, maxBodyBytes: 100_000_000 };
    const open = (tag: number, port: number) => {
      const options = [...PATH, block1(0, true, 6), { number: Option.REQUEST_TAG, value: encodeUint(tag) }];
      return assembly.accept(0, incoming(pattern(1_024), options, { peer: { ...CLIENT, port } }), rules);
    };
    for (let tag = 0; tag < 100; tag++) open(tag, 1);
    expect(assembly.size).toBe(COAP_LIMITS.maxBlock1ContextsPerPeer);
    for (let port = 2; port < 2_000; port++) open(0, port);
    expect(assembly.size).toBe(COAP_LIMITS.maxBlock1Contexts);
    let refused = 0;
    for (let num = 1; num < 20_000; num++) {
      const options = [...PATH, block1(num, true, 6), { number: Option.REQUEST_TAG, value: encodeUint(0) }];
      const request = incoming(pattern(1_024), options, { peer: { ...CLIENT, port: 1_999 } });
      if (codeOf(assembly.accept(0, request, rules)) !== "2.31") refused++;
      expect(assembly.bytes).toBeLessThanOrEqual(COAP_LIMITS.maxBlock1Bytes);
    }
    expect(refused).toBeGreaterThan(0);
    assembly.handleTimeout(assembly.pollTimeout()!);
    expect(assembly.size).toBe(0);
    expect(assembly.bytes).toBe(0);
    expect(assembly.pollTimeout()).toBeUndefined();
  });
});

function upload(resourceBytes: number, bodyBytes: number, szx: 0 | 2 | 6) {
  const target = sink(resourceBytes);
  const bench = routed({ x: target.resource });
  const exchange = new BodyExchange({
    endpoint: bench.client,
    peer: SERVER,
    code: Code.PUT,
    options: PATH,
    body: pattern(bodyBytes),
    szx,
    requestTag: Uint8Array.of(1),
    maxBodyBytes: 65_536,
  });
  return { ...bench, ...target, exchange };
}

describe("Block1 as client (RFC 7959 sections 2.3, 2.5 and 2.9)", () => {
  it("sends a body whole, each byte once, whatever the link loses and doubles", () => {
    for (let seed = 0; seed < 60; seed++) {
      const { pair, exchange, bodies } = upload(4_096, 700, 2);
      const random = new SeededRandom(seed, "link");
      pair.copies = () => (random.uint32() % 10 < 2 ? 0 : (random.uint32() % 2) + 1);
      exchange.start(0);
      const outcome = pair.drive(2_000 * SECOND, exchange);
      if (outcome?.kind === "response") expect(outcome.response.code).toBe(Code.CHANGED);
      else expect(outcome).toEqual({ kind: "failed", reason: "timeout" });
      expect(bodies.length).toBeLessThanOrEqual(1);
      if (outcome?.kind === "response") expect(bodies[0]).toEqual(pattern(700));
    }
  });

  it("sends a body of one block without the option, and refuses what the server finds too large", () => {
    const small = upload(4_096, 60, 2);
    small.exchange.start(0);
    expect(small.pair.drive(SECOND, small.exchange)).toMatchObject({ response: { code: Code.CHANGED } });
    expect(small.pair.log).toHaveLength(2);
    const large = upload(256, 700, 2);
    large.exchange.start(0);
    expect(large.pair.drive(SECOND, large.exchange)).toMatchObject({
      response: { code: Code.REQUEST_ENTITY_TOO_LARGE },
    });
    expect(large.pair.log).toHaveLength(2);
  });

  const make = (offset = 0) => new BlockUpload({ code: Code.PUT, options: PATH, body: pattern(1_000), szx: 4, offset });
  const reply = (code: number, ...options: CoapOption[]) => ({ code, options, payload: EMPTY });
  const asked = (up: BlockUpload) => decodeBlock(optionValue(up.request().options, Option.BLOCK1)!);

  it("takes the smaller size of a 2.31 from there on, and that of a 4.13 from the beginning", () => {
    const up = make();
    expect(asked(up)).toEqual({ num: 0, more: true, szx: 4 });
    expect(uintOption(up.request().options, Option.SIZE1)).toBe(1_000);
    expect(up.handleResponse(reply(Code.CONTINUE, block1(0, true, 2)))).toEqual({ kind: "next", sent: 256 });
    expect(asked(up)).toEqual({ num: 4, more: true, szx: 2 });
    expect(up.handleResponse(reply(Code.REQUEST_ENTITY_TOO_LARGE, block1(4, false, 0)))).toMatchObject({ sent: 0 });
    expect(asked(up)).toEqual({ num: 0, more: true, szx: 0 });
  });

  it("begins anew after 4.08, but not for ever; goes on at NUM k where it was told to", () => {
    const up = make(512);
    expect(asked(up)).toEqual({ num: 2, more: true, szx: 4 });
    const lost = reply(Code.REQUEST_ENTITY_INCOMPLETE);
    expect(up.handleResponse(lost)).toEqual({ kind: "next", sent: 0 });
    expect(up.handleResponse(lost)).toEqual({ kind: "next", sent: 0 });
    expect(up.handleResponse(lost)).toMatchObject({ kind: "failed", reason: "keeps-losing-blocks" });
  });

  it("4.13 with a Size1 below the body's, or with no smaller SZX, is final", () => {
    const size1 = { number: Option.SIZE1, value: encodeUint(500) };
    const tooLarge = reply(Code.REQUEST_ENTITY_TOO_LARGE, block1(0, false, 2), size1);
    expect(make().handleResponse(tooLarge)).toMatchObject({ kind: "failed", reason: "too-large" });
    expect(make().handleResponse(reply(Code.REQUEST_ENTITY_TOO_LARGE))).toMatchObject({ kind: "failed" });
    expect(make().handleResponse(reply(Code.CONTINUE, block1(3, true, 4)))).toMatchObject({ reason: "another-block" });
  });

  it("a server that forgets in mid-transfer gets the body from the beginning", () => {
    const { pair, exchange, bodies, router } = upload(4_096, 700, 2);
    exchange.start(0);
    let blocks = 0;
    pair.copies = ({ from }) => {
      if (from === "client" && ++blocks === 5) router.handleTimeout(1_000_000 * SECOND);
      return 1;
    };
    expect(pair.drive(100 * SECOND, exchange)).toMatchObject({ response: { code: Code.CHANGED } });
    expect(bodies).toEqual([pattern(700)]);
    expect(blocks).toBe(4 + 1 + 11);
  });
});

describe("Block1 and Block2 in one exchange (RFC 7959 section 3.3)", () => {
  it("carries both bodies, and runs the handler once", () => {
    let calls = 0;
    const answer = pattern(900).toReversed();
    const post = (_nowUs: number, request: IncomingRequest): CoapResponse => {
      calls++;
      expect(request.payload).toEqual(pattern(300));
      return { code: Code.CHANGED, body: { bytes: answer, etag: sha(answer).subarray(0, 8), contentFormat: 42 } };
    };
    const { pair, client } = routed({ x: { post, maxBodyBytes: 1_000 } }, { server: { preferredSzx: 2 } });
    const options = { endpoint: client, peer: SERVER, code: Code.POST, options: PATH, body: pattern(300) };
    const exchange = new BodyExchange({ ...options, szx: 2, maxBodyBytes: 1_000 });
    exchange.start(0);
    const outcome = pair.drive(100 * SECOND, exchange);
    expect(outcome).toMatchObject({ kind: "response", response: { code: Code.CHANGED, payload: answer } });
    expect(calls).toBe(1);
    expect(pair.log).toHaveLength(2 * (5 + 14));
  });

  it("a streaming resource gets each piece once, and none is kept", () => {
    const pieces: number[] = [];
    const resource = {
      receive: (_nowUs: number, _request: IncomingRequest, piece: { offset: number; last: boolean }): CoapResponse => {
        pieces.push(piece.offset);
        return { code: piece.last ? Code.CHANGED : Code.CONTINUE };
      },
      maxBodyBytes: 100_000,
    };
    const { pair, client } = routed({ x: resource });
    const options = { endpoint: client, peer: SERVER, code: Code.PUT, options: PATH, body: pattern(50_000) };
    const exchange = new BodyExchange({ ...options, szx: 6, maxBodyBytes: 0 });
    exchange.start(0);
    expect(pair.drive(100 * SECOND, exchange)).toMatchObject({ response: { code: Code.CHANGED } });
    expect(pieces).toEqual(Array.from({ length: 49 }, (_, i) => i * 1_024));
  });
});
