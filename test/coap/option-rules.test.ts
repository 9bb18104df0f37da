import { describe, expect, it } from "vitest";
import { encodeBlock } from "../../src/coap/blockwise/block.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { EMPTY_BYTES, encodeUint, optionValue, uintOption, type CoapMessage } from "../../src/coap/message.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { parseUri } from "../../src/coap/uri.ts";
import { encodeLinks } from "../../src/codec/link-format.ts";
import type { CoapResponse, IncomingRequest } from "../../src/coap/request.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { decoded, drain, plain } from "../support/coap-get.ts";
import { CLIENT, SERVER } from "../support/pair.ts";
import { pattern, routed, sha } from "../support/resources.ts";

const PATH = textOptions(Option.URI_PATH, ["x"]);
const option = (number: number, ...bytes: number[]) => ({ number, value: Uint8Array.from(bytes) });
const block2 = (num: number, szx: number) => ({
  number: Option.BLOCK2,
  value: encodeBlock({ num, more: false, szx: szx }),
});

/** What a server with one resource at /x answers, and the requests that its handler saw. */
function ask(response: CoapResponse, fields: Partial<CoapMessage>): { seen: IncomingRequest[]; answer: CoapMessage } {
  const seen: IncomingRequest[] = [];
  const take = (_nowUs: number, request: IncomingRequest): CoapResponse => {
    seen.push(request);
    return response;
  };
  const { server } = routed({ x: { get: take, put: take, maxBodyBytes: 10_000 } });
  const token = Uint8Array.of(1);
  const base = { type: MessageType.CON, code: Code.GET, messageId: 1, token, options: PATH, payload: EMPTY_BYTES };
  server.handleDatagram(0, encodeMessage({ ...base, ...fields }), CLIENT);
  return { seen, answer: decoded(server.pollTransmit()!.bytes.slice()) };
}

const codeOf = (response: CoapResponse, fields: Partial<CoapMessage>): string =>
  codeText(ask(response, fields).answer.code);
const OK: CoapResponse = { code: Code.CONTENT, payload: pattern(3) };
const CHANGED: CoapResponse = { code: Code.CHANGED };

describe("options as they come (RFC 7252 sections 3.1, 3.2 and 5.4)", () => {
  it("leave in ascending order, whatever order they were given in", () => {
    const numbers = [Option.URI_QUERY, Option.URI_PATH, 65_000, Option.ACCEPT, Option.URI_PATH];
    const options = numbers.map((number, i) => option(number, i));
    const base = { type: MessageType.CON, code: Code.GET, messageId: 1, token: EMPTY_BYTES, payload: EMPTY_BYTES };
    const sent = decoded(encodeMessage({ ...base, options })).options;
    expect(sent.map(({ number, value }) => [number, value[0]])).toEqual([
      [Option.URI_PATH, 1],
      [Option.URI_PATH, 4],
      [Option.URI_QUERY, 0],
      [Option.ACCEPT, 3],
      [65_000, 2],
    ]);
  });

  it("uints with zeros in front of them are read like those without", () => {
    const body = { bytes: pattern(500), etag: Uint8Array.of(1), contentFormat: 42 };
    const padded = [...PATH, option(Option.ACCEPT, 0, 42), option(Option.BLOCK2, 0, 0, 0x12)];
    const { answer } = ask({ code: Code.CONTENT, body }, { options: padded });
    expect(codeText(answer.code)).toBe("2.05");
    expect(answer.payload).toEqual(pattern(500).subarray(64, 128));
  });

  it("what is not defined for the method is as good as unknown: elective is ignored, critical refused 4.02", () => {
    const etag = option(Option.ETAG, 9);
    const asBody = { code: Code.CONTENT, body: { bytes: pattern(9), etag: etag.value, contentFormat: 42 } };
    expect(codeOf(asBody, { options: [...PATH, etag] })).toBe("2.03");
    expect(codeOf(asBody, { code: Code.PUT, options: [...PATH, etag] })).toBe("2.05");
    const { seen } = ask(OK, { options: [...PATH, option(Option.MAX_AGE, 1), option(Option.OBSERVE)] });
    expect(plain(seen[0]!.options)).toEqual([option(Option.OBSERVE), ...PATH]);
    expect(codeOf(OK, { options: [...PATH, option(Option.BLOCK1, 0)] })).toBe("4.02");
    expect(codeOf(OK, { options: [...PATH, option(Option.Q_BLOCK1, 0)] })).toBe("4.02");
  });

  it.each([
    ["unknown", option(65_001, 1)],
    ["only for requests", option(Option.URI_PATH, 1)],
    ["of a wrong length", option(Option.BLOCK2, 1, 2, 3, 4)],
  ])("a response with a critical option that is %s is rejected: a CON by RST, an ACK in silence", (_what, bad) => {
    for (const type of [MessageType.CON, MessageType.ACK]) {
      const client = new CoapEndpoint({ random: new SeededRandom(1, "c") });
      const id = client.request(0, SERVER, { code: Code.GET, options: PATH });
      const { token, messageId } = drain(client)[0]!;
      const answer = { type, code: Code.CONTENT, messageId, token, options: [bad], payload: pattern(1) };
      client.handleDatagram(0, encodeMessage(answer), SERVER);
      expect(client.pollEvent()).toEqual({ kind: "failed", request: id, reason: "bad-option" });
      expect(drain(client).map((sent) => sent.type)).toEqual(type === MessageType.CON ? [MessageType.RST] : []);
    }
  });

  it("an ETag is only compared, whatever it looks like (section 5.10.6)", () => {
    for (const etag of [Uint8Array.of(0), Uint8Array.of(0, 0), new Uint8Array(8).fill(0xff), Uint8Array.of(0x40, 1)]) {
      const response = { code: Code.CONTENT, body: { bytes: pattern(9), etag, contentFormat: 42 } };
      expect(codeOf(response, { options: [...PATH, { number: Option.ETAG, value: etag }] })).toBe("2.03");
      const other = Uint8Array.of(...etag.subarray(1), 7);
      expect(codeOf(response, { options: [...PATH, { number: Option.ETAG, value: other }] })).toBe("2.05");
    }
  });

  it("two states of one resource have two ETags (RFC 9175 section 3.8, RFC 9177 section 4.4)", () => {
    const list = { options: textOptions(Option.URI_PATH, [".well-known", "core"]) };
    const etags = new Set<string>();
    for (const count of [1, 2, 3]) {
      const names = Array.from({ length: count }, (_, i) => [`r${i}`, { get: () => OK, attributes: {} }]);
      const { server } = routed(Object.fromEntries(names));
      const base = { type: MessageType.CON, code: Code.GET, messageId: 1, token: EMPTY_BYTES, payload: EMPTY_BYTES };
      server.handleDatagram(0, encodeMessage({ ...base, ...list }), CLIENT);
      etags.add(String(optionValue(decoded(server.pollTransmit()!.bytes.slice()).options, Option.ETAG)));
    }
    expect(etags.size).toBe(3);
  });

  it("Uri-Path is neither . nor .. (section 5.10.1), and a coap URI has a host (section 6.1)", () => {
    for (const path of [["."], [".."], ["a", "..", "x"]])
      expect(codeOf(OK, { options: textOptions(Option.URI_PATH, path) })).toBe("4.02");
    for (const text of ["coap:///x", "coap://:5683/x", "coap://", "coap://[]/x"])
      expect(parseUri(text)).toBeUndefined();
    expect(parseUri("coap://h/x")).toMatchObject({ host: "h" });
  });

  it("diagnostics are text, and of one message (sections 4.6 and 5.5.2)", () => {
    const long = new TextEncoder().encode("é".repeat(2_000));
    const { answer } = ask({ code: Code.BAD_REQUEST, payload: long }, {});
    expect(answer.payload.length).toBeLessThanOrEqual(1_024);
    expect(() => new TextDecoder("utf-8", { fatal: true }).decode(answer.payload)).not.toThrow();
    for (const options of [
      [...PATH, option(65_001)],
      [...PATH, block2(0, 7)],
      [...PATH, block2(99, 0)],
    ]) {
      const refusal = ask(OK, { options }).answer;
      expect(refusal.payload.length).toBeGreaterThan(0);
      expect(new TextDecoder("utf-8", { fatal: true }).decode(refusal.payload)).toMatch(/^[ -~]+$/);
    }
  });

  it("a body that is too large for one message is refused with the size that would do (RFC 7959 section 2.9.3)", () => {
    const { server } = routed({ x: { put: () => CHANGED, maxBodyBytes: 20 } });
    const put = { type: MessageType.CON, code: Code.PUT, messageId: 1, token: EMPTY_BYTES, options: PATH };
    server.handleDatagram(0, encodeMessage({ ...put, payload: pattern(21) }), CLIENT);
    const [answer] = drain(server);
    expect(codeText(answer!.code)).toBe("4.13");
    expect(uintOption(answer!.options, Option.SIZE1)).toBe(20);
  });
});

describe("a handler that gives a payload and no body (RFC 7959 sections 2.1, 2.2 and 2.4)", () => {
  const large = { code: Code.CONTENT, payload: pattern(1_500), options: [option(Option.CONTENT_FORMAT, 42)] };

  it("is answered for in blocks all the same: the one that was asked for, or the first", () => {
    const first = ask(large, {}).answer;
    expect(first.payload).toEqual(pattern(1_500).subarray(0, 1_024));
    expect(optionValue(first.options, Option.BLOCK2)).toEqual(Uint8Array.of(0x0e));
    const third = ask(large, { options: [...PATH, block2(2, 4)] }).answer;
    expect(third.payload).toEqual(pattern(1_500).subarray(512, 768));
    expect(uintOption(third.options, Option.CONTENT_FORMAT)).toBe(42);
    expect(codeOf(OK, { options: [...PATH, block2(5, 4)] })).toBe("4.02");
    expect(codeOf(large, { options: [...PATH, option(Option.ACCEPT, 50)] })).toBe("4.06");
  });

  it("SZX 7 in any block option is answered 4.00 before the handler is asked, and never sent", () => {
    for (const number of [Option.BLOCK1, Option.BLOCK2, Option.Q_BLOCK1, Option.Q_BLOCK2]) {
      const { seen, answer } = ask(CHANGED, { code: Code.PUT, options: [...PATH, option(number, 0x0f)] });
      expect(codeText(answer.code)).toBe("4.00");
      expect(answer.options).toEqual([]);
      expect(seen).toEqual([]);
    }
  });

  it("Q-Block2 is answered where one message says it all, else in sets, and past the end 4.00 (RFC 9177 section 4.1)", () => {
    const q = (num: number, szx: number) => ({ ...block2(num, szx), number: Option.Q_BLOCK2 });
    expect(codeOf(OK, { options: [...PATH, q(0, 2)] })).toBe("2.05");
    expect(codeOf(OK, { options: [...PATH, q(5, 2)] })).toBe("4.00");
    const { answer } = ask(large, { options: [...PATH, q(3, 4)] });
    expect(answer.payload).toEqual(pattern(1_500).subarray(768, 1_024));
    expect(optionValue(answer.options, Option.ETAG)).toHaveLength(8);
  });

  it("an endpoint takes both Q-Block options or neither (RFC 9177 section 4.1)", () => {
    const bare = (understood?: ReadonlySet<number>): string[] =>
      [Option.Q_BLOCK1, Option.Q_BLOCK2].map((number) => {
        const handler = { handleRequest: () => CHANGED, ...(understood && { understood }) };
        const server = new CoapEndpoint({ random: new SeededRandom(1, "s"), handler });
        const options = [...PATH, option(number, 0x02)];
        const put = { type: MessageType.CON, code: Code.PUT, messageId: 1, token: EMPTY_BYTES, payload: pattern(1) };
        server.handleDatagram(0, encodeMessage({ ...put, options }), CLIENT);
        return codeText(drain(server)[0]!.code);
      });
    expect(bare()).toEqual(["4.02", "4.02"]);
    expect(bare(new Set([Option.Q_BLOCK1]))).toEqual(["2.04", "2.04"]);
  });

  it("a Q-Block1 that is there twice is refused 4.02 (RFC 9177 section 4.1)", () => {
    const twice = [option(Option.Q_BLOCK1, 0x02), option(Option.Q_BLOCK1, 0x12)];
    expect(codeOf(CHANGED, { code: Code.PUT, options: [...PATH, ...twice] })).toBe("4.02");
  });
});

describe("what a link says (RFC 7252 section 7.2.1, RFC 7641 section 6)", () => {
  it("obs stands there once and without a value, ct is a Content-Format", () => {
    expect(encodeLinks([{ target: "/x", attributes: { obs: true, ct: 42 } }])).toBe("</x>;obs;ct=42");
    for (const ct of [-1, 65_536, 1.5])
      expect(() => encodeLinks([{ target: "/x", attributes: { ct } }])).toThrow(RangeError);
    expect(encodeLinks([{ target: "/x", attributes: { ct: 0 } }])).toBe("</x>;ct=0");
  });
});

describe("Max-Age (RFC 7252 sections 5.4.4, 5.6.1)", () => {
  it("0 is sent when a handler says so, and is not left out for the default", () => {
    const { answer } = ask({ ...OK, options: [{ number: Option.MAX_AGE, value: encodeUint(0) }] }, {});
    expect(optionValue(answer.options, Option.MAX_AGE)).toEqual(EMPTY_BYTES);
    expect(sha(answer.payload)).toEqual(sha(pattern(3)));
  });
});
