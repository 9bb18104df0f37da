import { describe, expect, it } from "vitest";
import { decodeMessage } from "../../src/coap/decode.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { COAP_LIMITS } from "../../src/coap/limits.ts";
import {
  EMPTY_BYTES,
  encodeUint,
  optionValue,
  uintOption,
  type CoapMessage,
  type CoapOption,
} from "../../src/coap/message.ts";
import { Code, codeText, isNoCacheKey, isUnsafe, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import type { ResourceHandler } from "../../src/coap/router.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { decoded, drain } from "../support/coap-get.ts";
import { CLIENT, SERVER } from "../support/pair.ts";
import { pattern, routed } from "../support/resources.ts";

const SECOND = 1_000_000;
const PATH = textOptions(Option.URI_PATH, ["x"]);
const uint = (number: number, value: number): CoapOption => ({ number, value: encodeUint(value) });

/** What a server with one resource at /x says to one message. */
function ask(resource: ResourceHandler, fields: Partial<CoapMessage>, toGroup = false): CoapMessage[] {
  const { server } = routed({ x: resource });
  const message = {
    type: MessageType.CON,
    code: Code.GET,
    messageId: 1,
    token: Uint8Array.of(1),
    options: PATH,
    payload: EMPTY_BYTES,
  };
  server.handleDatagram(0, encodeMessage({ ...message, ...fields }), CLIENT, toGroup);
  const out: CoapMessage[] = [];
  for (let step = 0; step < 10; step++) {
    out.push(...drain(server));
    const at = server.pollTimeout();
    if (at === undefined || at > 20 * SECOND) break;
    server.handleTimeout(at);
  }
  return out;
}

const codes = (messages: CoapMessage[]): string[] => messages.map(({ type, code }) => `${type} ${codeText(code)}`);
const etag = Uint8Array.of(1, 2);
const changed = () => ({ code: Code.CHANGED });
const content = { get: () => ({ code: Code.CONTENT, body: { bytes: pattern(10), etag, contentFormat: 42 } }) };

describe("methods and representations (RFC 7252 sections 5.5 to 5.10, RFC 8132)", () => {
  it("a method that the resource does not have, or nobody knows, is answered 4.05, piggybacked (section 5.8)", () => {
    for (const code of [Code.POST, Code.DELETE, Code.FETCH, Code.PATCH, Code.IPATCH, 8, 31])
      expect(codes(ask(content, { code }))).toEqual(["2 4.05"]);
  });

  it("Accept: what is not to be had is 4.06; Content-Format: what is not understood 4.15 (section 5.10)", () => {
    expect(codes(ask(content, { options: [...PATH, uint(Option.ACCEPT, 50)] }))).toEqual(["2 4.06"]);
    expect(codes(ask(content, { options: [...PATH, uint(Option.ACCEPT, 42)] }))).toEqual(["2 2.05"]);
    const put = { put: changed, acceptedFormats: [60] };
    expect(codes(ask(put, { code: Code.PUT, options: [...PATH, uint(Option.CONTENT_FORMAT, 50)] }))).toEqual([
      "2 4.15",
    ]);
    expect(codes(ask(put, { code: Code.PUT, options: [...PATH, uint(Option.CONTENT_FORMAT, 60)] }))).toEqual([
      "2 2.04",
    ]);
  });

  it("an ETag that is still right is answered 2.03, without payload (section 5.10.6.2)", () => {
    const [valid] = ask(content, { options: [{ number: Option.ETAG, value: etag }, ...PATH] });
    expect(codeText(valid!.code)).toBe("2.03");
    expect(valid!.payload).toHaveLength(0);
    expect(optionValue(valid!.options, Option.ETAG)).toEqual(etag);
    expect(codes(ask(content, { options: [{ number: Option.ETAG, value: Uint8Array.of(9) }, ...PATH] }))).toEqual([
      "2 2.05",
    ]);
  });

  it("If-Match and If-None-Match (section 5.10.8)", () => {
    const at = (current: Uint8Array | undefined): ResourceHandler => ({ put: changed, currentEtag: () => current });
    const match = (value: Uint8Array): CoapOption => ({ number: Option.IF_MATCH, value });
    const noneMatch = { number: Option.IF_NONE_MATCH, value: EMPTY_BYTES };
    const give = (current: Uint8Array | undefined, ...options: CoapOption[]): string =>
      codeText(ask(at(current), { code: Code.PUT, options: [...options, ...PATH] })[0]!.code);
    expect(give(etag, match(etag))).toBe("2.04");
    expect(give(etag, match(Uint8Array.of(7)), match(etag))).toBe("2.04");
    expect(give(etag, match(Uint8Array.of(7)))).toBe("4.12");
    expect(give(etag, match(EMPTY_BYTES))).toBe("2.04");
    expect(give(undefined, match(EMPTY_BYTES))).toBe("4.12");
    expect(give(etag, noneMatch)).toBe("4.12");
    expect(give(undefined, noneMatch)).toBe("2.04");
  });

  it("FETCH, PATCH and iPATCH need the format of their body (RFC 8132 sections 2.2 and 3.1)", () => {
    const resource = { fetch: content.get, patch: changed, ipatch: changed };
    for (const code of [Code.FETCH, Code.PATCH, Code.IPATCH]) {
      expect(codes(ask(resource, { code, payload: pattern(3) }))).toEqual(["2 4.15"]);
      const options = [...PATH, uint(Option.CONTENT_FORMAT, 60)];
      const [reply] = ask(resource, { code, payload: pattern(3), options });
      expect(codeText(reply!.code)).toBe(code === Code.FETCH ? "2.05" : "2.04");
    }
  });

  it("a body larger than a resource takes is 4.13", () => {
    expect(codes(ask({ put: changed, maxBodyBytes: 10 }, { code: Code.PUT, payload: pattern(11) }))).toEqual([
      "2 4.13",
    ]);
  });

  it("an option that comes twice though it may not counts as unknown (section 5.4.5)", () => {
    const twice = [...PATH, uint(Option.ACCEPT, 42), uint(Option.ACCEPT, 42)];
    expect(codes(ask(content, { options: twice }))).toEqual(["2 4.02"]);
    const elective = [...PATH, uint(Option.SIZE2, 0), uint(Option.SIZE2, 0)];
    expect(codes(ask(content, { options: elective }))).toEqual(["2 2.05"]);
  });

  it("tells critical, unsafe and no-cache-key options by their numbers (section 5.4.6)", () => {
    expect([1, 3, 7, 11, 14, 35, 39].map(isUnsafe)).toEqual([false, true, true, true, true, true, true]);
    expect([28, 60, 258, 252, 292, 16, 17].map(isNoCacheKey)).toEqual([true, true, false, true, false, false, false]);
  });
});

describe("No-Response (RFC 7967)", () => {
  it.each([
    [2, Code.CHANGED, []],
    [8, Code.CHANGED, ["1 2.04"]],
    [26, Code.CHANGED, []],
    [0, Code.CHANGED, ["1 2.04"]],
    [8, Code.BAD_REQUEST, []],
    [16, Code.INTERNAL_SERVER_ERROR, []],
    [2, Code.BAD_REQUEST, ["1 4.00"]],
  ])("bits %i, response %i", (bits, code, expected) => {
    const put = () => ({ code });
    const options = [...PATH, uint(Option.NO_RESPONSE, bits)];
    expect(codes(ask({ put }, { type: MessageType.NON, code: Code.PUT, options }))).toEqual(expected);
  });

  it("a CON is acknowledged all the same", () => {
    const options = [...PATH, uint(Option.NO_RESPONSE, 26)];
    expect(codes(ask({ put: changed }, { code: Code.PUT, options }))).toEqual(["2 0.00"]);
  });
});

describe("groups (RFC 7252 section 8)", () => {
  const NON = { type: MessageType.NON } as const;

  it("a request to a group is answered within the leisure, errors are not", () => {
    const times = new Set<number>();
    for (let seed = 0; seed < 20; seed++) {
      const { server } = routed({ x: { ...content, forGroups: true } }, { seed });
      const get = {
        ...NON,
        code: Code.GET,
        messageId: 1,
        token: Uint8Array.of(1),
        options: PATH,
        payload: EMPTY_BYTES,
      };
      server.handleDatagram(0, encodeMessage(get), CLIENT, true);
      expect(server.pollTransmit()).toBeUndefined();
      const at = server.pollTimeout()!;
      expect(at).toBeLessThan(5 * SECOND);
      times.add(at);
      server.handleTimeout(at);
      expect(decoded(server.pollTransmit()!.bytes.slice()).type).toBe(MessageType.NON);
    }
    expect(times.size).toBeGreaterThan(15);
    const missing = textOptions(Option.URI_PATH, ["none"]);
    expect(ask(content, { ...NON, options: missing }, true)).toEqual([]);
    expect(codes(ask(content, { ...NON, options: [...missing, uint(Option.NO_RESPONSE, 0)] }, true))).toEqual([
      "1 4.04",
    ]);
  });

  it("reaches the resources that are for groups, and no other (section 11.3)", () => {
    expect(ask(content, NON, true)).toEqual([]);
    let calls = 0;
    const put = (): { code: number } => ({ code: (calls++, Code.CHANGED) });
    expect(ask({ put }, { ...NON, code: Code.PUT }, true)).toEqual([]);
    expect(calls).toBe(0);
    expect(codes(ask(content, NON))).toEqual(["1 2.05"]);
  });

  it("a CON, a ping, an unknown critical option or rubbish to a group is passed over in silence", () => {
    expect(ask(content, {}, true)).toEqual([]);
    expect(ask(content, { ...NON, options: [...PATH, uint(65_001, 1)] }, true)).toEqual([]);
    const { server } = routed({ x: content });
    for (const bytes of [Uint8Array.of(0x40, 0, 1, 1), Uint8Array.of(0x40, 1, 1, 1, 0xff)])
      server.handleDatagram(0, bytes, CLIENT, true);
    expect(server.pollTransmit()).toBeUndefined();
  });

  it("a client takes answers of the whole group, and knows who sent each", () => {
    const client = new CoapEndpoint({ random: new SeededRandom(1, "c") });
    const id = client.request(0, { address: "ff02::fd", port: 5683 }, { code: Code.GET, options: PATH, toGroup: true });
    const { token, type } = decoded(client.pollTransmit()!.bytes.slice());
    expect(type).toBe(MessageType.NON);
    for (const address of ["fe80::1", "fe80::2"]) {
      const reply = {
        type: MessageType.NON,
        code: Code.CONTENT,
        messageId: 9,
        token,
        options: [],
        payload: pattern(1),
      };
      client.handleDatagram(1, encodeMessage(reply), { address, port: 5683 });
      expect(client.pollEvent()).toMatchObject({ kind: "response", request: id, response: { from: { address } } });
    }
    client.handleTimeout(300 * SECOND);
    expect(client.pollEvent()).toMatchObject({ kind: "failed", reason: "timeout" });
  });
});

describe("/.well-known/core (RFC 7252 section 7.2, RFC 6690 section 4)", () => {
  function list(query: string[], toGroup = false): string | undefined {
    const { server } = routed({
      a: { ...content, attributes: { rt: "sensor temp", ct: 42, sz: 10 } },
      "b/c": { ...content, attributes: { rt: "firmware", if: "core.s" } },
      hidden: content,
    });
    const options = [...textOptions(Option.URI_PATH, [".well-known", "core"]), ...textOptions(Option.URI_QUERY, query)];
    const get = {
      type: MessageType.NON,
      code: Code.GET,
      messageId: 1,
      token: EMPTY_BYTES,
      options,
      payload: EMPTY_BYTES,
    };
    server.handleDatagram(0, encodeMessage(get), CLIENT, toGroup);
    const at = server.pollTimeout();
    if (at !== undefined && at < 10 * SECOND) server.handleTimeout(at);
    const sent = server.pollTransmit();
    return sent === undefined ? undefined : new TextDecoder().decode(decoded(sent.bytes.slice()).payload);
  }

  const A = '</a>;rt="sensor temp";ct=42;sz=10';
  const B = '</b/c>;rt="firmware";if="core.s"';

  it.each([
    [[], `${A},${B}`],
    [["rt=temp"], A],
    [["rt=firm*"], B],
    [["rt=te*", "sz=10"], A],
    [["href=/b*"], B],
    [["ct=42"], A],
    [["rt=none"], ""],
    [["rt"], ""],
  ])("filter %j", (query, expected) => expect(list(query)).toBe(expected));

  it("a group is not answered with an empty list", () => {
    expect(list(["rt=none"], true)).toBeUndefined();
    expect(list(["rt=temp"], true)).toBe(A);
  });
});

describe("extended tokens (RFC 8974)", () => {
  it("any length round-trips; the reserved one is refused", () => {
    for (const length of [0, 8, 9, 12, 13, 268, 269, 400]) {
      const message = {
        type: 0,
        code: 1,
        messageId: 2,
        token: pattern(length),
        options: PATH,
        payload: pattern(3),
      } as const;
      expect(decoded(encodeMessage(message))).toEqual(message);
    }
    expect(decodeMessage(Uint8Array.of(0x4f, 1, 0, 1)).ok).toBe(false);
  });

  it("a server echoes long tokens, and answers those past its bound 4.00, never RST (section 2.2.2)", () => {
    const [reply] = ask(content, { token: pattern(40) });
    expect(reply).toMatchObject({ code: Code.CONTENT, token: pattern(40) });
    const long = pattern(COAP_LIMITS.maxTokenBytes + 1);
    expect(ask(content, { token: long })).toMatchObject([
      { type: MessageType.ACK, code: Code.BAD_REQUEST, token: long },
    ]);
  });

  it("a client may use them", () => {
    const { pair, client } = routed({ x: content }, { client: { tokenLength: 32 } });
    client.request(0, SERVER, { code: Code.GET, options: PATH });
    expect(pair.run(SECOND)).toMatchObject({ kind: "response", response: { code: Code.CONTENT } });
    expect(decoded(pair.log[0]!.bytes).token).toHaveLength(32);
  });
});

describe("4.29 (RFC 8516) and Max-Age", () => {
  it("reach the client as they are", () => {
    const get = () => ({ code: Code.TOO_MANY_REQUESTS, options: [uint(Option.MAX_AGE, 30)] });
    const { pair, client } = routed({ x: { get } });
    client.request(0, SERVER, { code: Code.GET, options: PATH });
    const event = pair.run(SECOND);
    if (event?.kind !== "response") throw new Error("no response");
    expect(codeText(event.response.code)).toBe("4.29");
    expect(uintOption(event.response.options, Option.MAX_AGE)).toBe(30);
  });
});
