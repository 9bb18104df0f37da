import { describe, expect, it } from "vitest";
import { encodeBlock } from "../../src/coap/blockwise/block.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import {
  EMPTY_BYTES,
  encodeUint,
  optionValue,
  optionValues,
  uintOption,
  type CoapOption,
} from "../../src/coap/message.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import type { HttpRequest } from "../../src/ports/http.ts";
import type { IncomingResponse } from "../../src/coap/request.ts";
import { drain, plain } from "../support/coap-get.ts";
import { pattern } from "../support/resources.ts";
import { age, CLIENT, ORIGIN_URI, PROXY, Site, uri } from "../support/site.ts";

const SECOND = 1_000_000;
const A = `${ORIGIN_URI}/a`;
const option = (number: number, ...bytes: number[]): CoapOption => ({ number, value: Uint8Array.from(bytes) });

describe("what a proxy sends on (RFC 7252 sections 5.5, 5.7 and 5.10)", () => {
  it("no payload of a GET, and no Uri-* next to Proxy-Uri", () => {
    const site = new Site();
    site.ask(uri(A), Code.GET);
    const withPayload = {
      type: MessageType.CON,
      code: Code.GET,
      messageId: 1,
      token: Uint8Array.of(9),
      options: uri(`${ORIGIN_URI}/b`),
      payload: pattern(5),
    };
    site.gateway.handleDatagram(0, encodeMessage(withPayload), CLIENT);
    site.settle();
    expect(site.asked.map(({ path, payload }) => [path[0], payload.length])).toEqual([
      ["a", 0],
      ["b", 0],
    ]);
    for (const { options } of site.asked) expect(optionValue(options, Option.PROXY_URI)).toBeUndefined();
  });

  it("every option of a request: what it cannot carry out is refused, not dropped (section 5.7.1)", () => {
    const conditional = [...uri("http://files.example/x"), option(Option.IF_MATCH, 1)];
    expect(codeText(new Site().ask(conditional, Code.PUT, pattern(1)).code)).toBe("5.01");
    const site = new Site();
    // The origin, which knows no such ETag, got the condition and refused.
    expect(codeText(site.ask([...uri(A), option(Option.IF_MATCH, 7)], Code.PUT, pattern(1)).code)).toBe("4.12");
    expect(site.asked).toHaveLength(0);
    site.ask([...uri(A), option(Option.IF_MATCH), option(65_000, 5)], Code.PUT, pattern(1));
    expect(optionValue(site.asked[0]!.options, 65_000)).toEqual(Uint8Array.of(5));
  });

  it("a scheme that nobody forwards is 5.05, and . or .. in Uri-Path is 4.02", () => {
    const site = new Site();
    expect(codeText(site.ask(uri("ftp://[fd00::3]/a")).code)).toBe("5.05");
    const path = (...segments: string[]) => [
      ...textOptions(Option.URI_HOST, ["origin.example"]),
      ...textOptions(Option.URI_PATH, segments),
      ...textOptions(Option.PROXY_SCHEME, ["coap"]),
    ];
    expect(codeText(site.ask(path("b", "..", "a")).code)).toBe("4.02");
    expect(site.asked).toHaveLength(0);
    expect(codeText(site.ask([...path("a").slice(0, 2), ...textOptions(Option.PROXY_SCHEME, ["gopher"])]).code)).toBe(
      "5.05",
    );
  });

  it("knows itself however its address is written (section 5.10.2)", () => {
    const site = new Site();
    for (const text of ["coap://[fd00::2]/own", "coap://[fd00:0::2]/own", "coap://[FD00:0:0::0002]:5683/own"])
      expect(site.ask(uri(text)).payload).toEqual(Uint8Array.of(7));
    expect(site.asked).toHaveLength(0);
  });

  it("options of a response that are safe to forward go on, critical ones too; unsafe ones make it 5.02", () => {
    for (const number of [65_000, 64_997]) {
      const site = new Site();
      site.response = { code: Code.CONTENT, payload: pattern(1), options: [option(number, 3)] };
      site.client.request(0, PROXY, { code: Code.GET, options: uri(A) });
      site.settle();
      const event = site.client.pollEvent();
      // A client of ours does not take what is critical and unknown; what the proxy sent says it all.
      if (number === 64_997) expect(event).toMatchObject({ kind: "failed", reason: "bad-option" });
      else expect(event).toMatchObject({ response: { options: expect.arrayContaining([option(number, 3)]) } });
    }
    const site = new Site();
    site.response = { code: Code.CONTENT, payload: pattern(1), options: [option(65_003, 3)] };
    expect(codeText(site.ask(uri(A)).code)).toBe("5.02");
  });
});

describe("what a proxy keeps (RFC 7252 sections 5.6 and 5.9)", () => {
  const times = (site: Site, code: number = Code.GET): number => {
    const before = site.asked.length;
    site.ask(uri(A), code, code === Code.GET ? EMPTY_BYTES : pattern(1));
    return site.asked.length - before;
  };

  it("no success that it does not know, and none that is no representation", () => {
    for (const code of [0x5e, Code.CHANGED, Code.CREATED]) {
      const site = new Site();
      site.response = { code };
      expect([times(site), times(site)]).toEqual([1, 1]);
    }
  });

  it("nothing for another method", () => {
    const site = new Site();
    const format = option(Option.CONTENT_FORMAT, 60);
    expect(times(site)).toBe(1);
    site.ask([...uri(A), format], Code.FETCH, pattern(1));
    expect(site.asked).toHaveLength(2);
    site.ask([...uri(A), format], Code.FETCH, pattern(1));
    expect([site.asked.length, times(site)]).toEqual([2, 0]);
    site.ask([...uri(A), format], Code.FETCH, pattern(2));
    expect(site.asked).toHaveLength(3);
  });

  it("a response without Max-Age for 60 seconds", () => {
    const site = new Site();
    times(site);
    site.nowUs = 59 * SECOND;
    expect(times(site)).toBe(0);
    site.nowUs = 61 * SECOND;
    expect(times(site)).toBe(1);
  });

  it.each([Code.CREATED, Code.DELETED, Code.CHANGED])("what was kept is no longer fresh after %i", (code) => {
    const site = new Site();
    expect([times(site), times(site)]).toEqual([1, 0]);
    site.response = { code };
    times(site, Code.POST);
    site.response = { code: Code.CONTENT, payload: pattern(2) };
    expect(site.ask(uri(A)).payload).toEqual(pattern(2));
  });

  it("but fresh after an error", () => {
    const site = new Site();
    times(site);
    site.response = { code: Code.BAD_REQUEST };
    times(site, Code.POST);
    expect(times(site)).toBe(0);
  });

  it("each option of a 2.03 in place of the stored ones of its number", () => {
    const site = new Site();
    const body = { bytes: pattern(20), etag: Uint8Array.of(9), contentFormat: 42 };
    site.response = { code: Code.CONTENT, body, options: [age(10), option(65_000, 1), option(65_000, 2)] };
    site.ask(uri(A));
    site.nowUs = 20 * SECOND;
    site.response = { code: Code.VALID, options: [option(Option.ETAG, 9), age(7), option(65_000, 3)] };
    const { options } = site.ask(uri(A));
    expect(plain(options).filter(({ number }) => number === 65_000)).toEqual([option(65_000, 3)]);
    expect(uintOption(options, Option.MAX_AGE)).toBe(7);
  });

  it("an answer that is no CoAP, or none that a proxy can use, is 5.02", () => {
    const site = new Site();
    site.response = { code: Code.CONTENT, payload: pattern(1), options: [option(Option.BLOCK2, 0x1a)] };
    site.origin.handleDatagram = function (nowUs, bytes, peer) {
      // A second block where the first one was asked for.
      const reply = { type: MessageType.ACK, code: Code.CONTENT, messageId: (bytes[2]! << 8) | bytes[3]! };
      const token = bytes.slice(4, 4 + (bytes[0]! & 15));
      const block = { number: Option.BLOCK2, value: encodeBlock({ num: 1, more: true, szx: 2 }) };
      const answer = encodeMessage({ ...reply, token, options: [block], payload: pattern(64) });
      site.gateway.handleDatagram(nowUs, answer, { address: "fd00::3", port: 5683 });
      void peer;
      return false;
    };
    expect(codeText(site.ask(uri(A)).code)).toBe("5.02");
  });
});

describe("Echo through a proxy (RFC 9175 sections 2.3 and 2.4)", () => {
  it("an origin's challenge is the client's to answer, and its answer goes back; neither is kept", () => {
    const site = new Site();
    const echo = option(Option.ECHO, 1, 2, 3, 4);
    const usual = site.response;
    site.response = { code: Code.UNAUTHORIZED, options: [echo] };
    for (const code of [Code.PUT, Code.GET]) {
      site.asked.length = 0;
      const payload = code === Code.PUT ? pattern(1) : EMPTY_BYTES;
      site.client.request(0, PROXY, { code, options: uri(A), payload, forwarded: true });
      const challenge = site.answer();
      expect(optionValue(challenge.options, Option.ECHO)).toEqual(echo.value);
      expect(site.asked).toHaveLength(1); // the proxy did not answer for the client
      site.response = usual;
      expect(codeText(site.ask([...uri(A), echo], code, payload).code)).toBe("2.05");
      expect(optionValue(site.asked[1]!.options, Option.ECHO)).toEqual(echo.value);
      site.response = { code: Code.UNAUTHORIZED, options: [echo] };
    }
  });

  it("what changes something is not sent on for an address that is not proven, and is once it is", () => {
    const site = new Site(undefined, false, () => false);
    site.client.request(0, PROXY, { code: Code.PUT, options: uri(A), payload: pattern(1), forwarded: true });
    const challenge = site.answer();
    expect(codeText(challenge.code)).toBe("4.01");
    expect(site.asked).toHaveLength(0);
    const echo = { number: Option.ECHO, value: optionValue(challenge.options, Option.ECHO)! };
    expect(codeText(site.ask([...uri(A), echo], Code.PUT, pattern(1)).code)).toBe("2.05");
    expect(optionValue(site.asked[0]!.options, Option.ECHO)).toBeUndefined(); // it was this proxy's own
  });
});

describe("Q-Block2 through a proxy (RFC 9177 section 8)", () => {
  const q = (num: number, more: boolean): CoapOption => ({
    number: Option.Q_BLOCK2,
    value: encodeBlock({ num, more, szx: 6 }),
  });
  const fetched = pattern(6_000);

  it.each([
    [Code.GET, EMPTY_BYTES],
    [Code.FETCH, pattern(3)],
  ])(
    "missing blocks (method %i) come from what is kept, and else from the whole body, asked for anew",
    (code, payload) => {
      const site = new Site();
      site.response = { code: Code.CONTENT, body: { bytes: fetched, etag: Uint8Array.of(5), contentFormat: 42 } };
      const format = code === Code.FETCH ? [option(Option.CONTENT_FORMAT, 60)] : [];
      const missing = (messageId: number): Uint8Array[] => {
        const options = [...uri(A), ...format, q(1, false), q(4, false)];
        const request = { type: MessageType.NON, code, messageId, token: Uint8Array.of(messageId), options, payload };
        site.gateway.handleDatagram(site.nowUs, encodeMessage(request), CLIENT);
        const out: Uint8Array[] = [];
        const gateway = site.gateway;
        const poll = gateway.pollTransmit.bind(gateway);
        gateway.pollTransmit = () => {
          const sent = poll();
          if (sent?.peer.address !== CLIENT.address) return sent;
          out.push(sent.bytes.slice());
          return gateway.pollTransmit();
        };
        site.settle();
        gateway.pollTransmit = poll;
        return out;
      };
      for (const messageId of [1, 2]) {
        const blocks = missing(messageId);
        expect(blocks).toHaveLength(2);
        expect(blocks.map((bytes) => bytes.subarray(-8))).toEqual([
          fetched.subarray(1_024 * 2 - 8, 1_024 * 2),
          fetched.subarray(1_024 * 5 - 8, 1_024 * 5),
        ]);
      }
      expect(
        site.asked.filter(({ options }) => (optionValue(options, Option.BLOCK2)?.length ?? 0) <= 1),
      ).not.toHaveLength(0);
      const askedOnce = site.asked.length;
      missing(3);
      expect(site.asked).toHaveLength(askedOnce); // all three times it came from one fetch of the whole
    },
  );
});

describe("HTTP behind a proxy (RFC 7252 section 10)", () => {
  function http(
    code: number,
    status: number,
    headers: Record<string, string> = {},
    confirmable = true,
  ): { response: IncomingResponse; request: HttpRequest } {
    const site = new Site();
    const payload = code === Code.GET || code === Code.DELETE ? EMPTY_BYTES : pattern(1);
    site.client.request(0, PROXY, { code, options: uri("http://files.example/fw"), confirmable, payload });
    site.settle();
    const { id, request } = site.proxy.pollHttp()!;
    site.proxy.handleHttp(0, id, { status, headers, body: pattern(5) });
    site.gateway.handleTimeout(0);
    return { response: site.answer(), request };
  }

  it("whether a request is CON or NON makes no difference", () => {
    for (const confirmable of [true, false]) {
      const { response, request } = http(Code.GET, 200, {}, confirmable);
      expect([codeText(response.code), request.method]).toEqual(["2.05", "GET"]);
    }
  });

  it.each([
    [Code.POST, 200, "2.04"],
    [Code.POST, 204, "2.04"],
    [Code.POST, 201, "2.01"],
    [Code.PUT, 200, "2.04"],
    [Code.PUT, 201, "2.01"],
    [Code.DELETE, 200, "2.02"],
    [Code.DELETE, 404, "2.02"],
    [Code.DELETE, 410, "2.02"],
    [Code.DELETE, 403, "4.03"],
  ])("method %i, status %i: %s", (code, status, text) => {
    const { response } = http(code, status, { etag: '"x"', "cache-control": "max-age=9" });
    expect(codeText(response.code)).toBe(text);
    if (text.startsWith("2")) expect(response.options).toEqual([]); // no representation, nothing to keep
  });

  it.each([
    [{ "cache-control": "max-age=100", age: "90" }, 10],
    [{ "cache-control": "max-age=10, s-maxage=1000" }, 1_000],
    [{ "cache-control": "no-store, max-age=10" }, 0],
    [{ date: "Tue, 24 Nov 2026 00:00:00 GMT", expires: "Tue, 24 Nov 2026 00:00:05 GMT" }, 5],
    [{ date: "Mon, 28 Feb 2028 23:59:59 GMT", expires: "Wed, 01 Mar 2028 00:00:00 GMT" }, 86_401],
    [{ date: "Thu, 31 Dec 2026 23:59:00 GMT", expires: "Fri, 01 Jan 2027 00:00:00 GMT" }, 60],
    [{ date: "Tue, 24 Nov 2026 00:00:05 GMT", expires: "Tue, 24 Nov 2026 00:00:00 GMT" }, 0],
    [{ date: "Tue, 24 Nov 2026 00:00:00 GMT", expires: "0" }, 0],
    [{}, undefined],
  ])("%j is kept for %s seconds (RFC 9111 section 4.2)", (headers, seconds) => {
    expect(uintOption(http(Code.GET, 200, headers).response.options, Option.MAX_AGE)).toBe(seconds);
  });

  it.each([
    ["https://else.example/made/1", []],
    ["http://files.example:8080/made/1", []],
    ["http://files.example/made/a%20b?x=1&y", ["made", "a b", "?x=1", "?y"]],
    ["made", ["made"]],
    ["/made/", ["made", ""]],
    [`/${"x".repeat(300)}`, []],
    ["http://[", []],
  ])("what was made at %s is told, where the client can ask for it", (location, told) => {
    const { response } = http(Code.POST, 201, { location, "content-type": "application/json" });
    expect(uintOption(response.options, Option.CONTENT_FORMAT)).toBe(50);
    expect([
      ...optionValues(response.options, Option.LOCATION_PATH).map((one) => new TextDecoder().decode(one)),
      ...optionValues(response.options, Option.LOCATION_QUERY).map((one) => `?${new TextDecoder().decode(one)}`),
    ]).toEqual(told);
  });

  it("sends no body with a GET", () => {
    const site = new Site();
    const options = [...uri("http://files.example/fw"), { number: Option.ACCEPT, value: encodeUint(42) }];
    const get = {
      type: MessageType.NON,
      code: Code.GET,
      messageId: 1,
      token: EMPTY_BYTES,
      options,
      payload: pattern(3),
    };
    site.gateway.handleDatagram(0, encodeMessage(get), CLIENT);
    expect(drain(site.gateway)).toEqual([]);
    expect(site.proxy.pollHttp()!.request).toMatchObject({ method: "GET", body: EMPTY_BYTES });
  });
});
