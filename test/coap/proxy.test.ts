import { describe, expect, it } from "vitest";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { COAP_LIMITS } from "../../src/coap/limits.ts";
import { encodeUint, optionValue, uintOption, type CoapOption } from "../../src/coap/message.ts";
import { Code, codeText, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import type { IncomingResponse } from "../../src/coap/request.ts";
import { BodyExchange } from "../../src/coap/blockwise/body-exchange.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { pattern } from "../support/resources.ts";
import { age, ORIGIN_URI, PROXY, Site, uri } from "../support/site.ts";
import { plain } from "../support/coap-get.ts";

const SECOND = 1_000_000;

describe("forward proxy to CoAP (RFC 7252 section 5.7)", () => {
  it("forwards by Proxy-Uri and by Proxy-Scheme with Uri-*", () => {
    const site = new Site();
    expect(site.ask(uri("coap://[fd00::3]/a?x=1")).payload).toEqual(Uint8Array.of(1));
    expect(site.asked[0]).toMatchObject({ path: ["a"], query: ["x=1"] });
    const scheme = [
      ...textOptions(Option.URI_HOST, ["ORIGIN.example"]),
      ...textOptions(Option.URI_PATH, ["b"]),
      ...textOptions(Option.PROXY_SCHEME, ["coap"]),
    ];
    expect(site.ask(scheme).code).toBe(Code.CONTENT);
    expect(site.asked[1]).toMatchObject({ path: ["b"] });
    expect(new TextDecoder().decode(optionValue(site.asked[1]!.options, Option.URI_HOST))).toBe("origin.example");
  });

  it("forwards only to origins that are allowed, and answers what is its own itself", () => {
    const site = new Site();
    expect(codeText(site.ask(uri("coap://[fd00::4]/a")).code)).toBe("5.05");
    expect(codeText(site.ask(uri("coap://[fd00::3]:5684/a")).code)).toBe("5.05");
    expect(codeText(site.ask(uri("ftp://[fd00::3]/a")).code)).toBe("5.05");
    expect(codeText(site.ask(uri("coap://[fd00::3/a")).code)).toBe("4.00");
    expect(site.ask(uri("coap://[fd00::2]/own")).payload).toEqual(Uint8Array.of(7));
    expect(site.asked).toHaveLength(0);
  });

  it("serves from its cache while a response is fresh, with what is left of its Max-Age (section 5.6)", () => {
    const site = new Site();
    site.response = { code: Code.CONTENT, payload: Uint8Array.of(1), options: [age(100)] };
    site.ask(uri("coap://[fd00::3]/a"));
    site.nowUs = 40 * SECOND;
    const cached = site.ask(uri("coap://[fd00::3]/a"));
    expect(uintOption(cached.options, Option.MAX_AGE)).toBe(60);
    expect(site.asked).toHaveLength(1);
    site.nowUs = 101 * SECOND;
    site.ask(uri("coap://[fd00::3]/a"));
    expect(site.asked).toHaveLength(2);
    site.ask([...uri("coap://[fd00::3]/a"), { number: Option.ACCEPT, value: encodeUint(42) }]);
    expect(site.asked).toHaveLength(3); // another cache key
    site.ask(uri("coap://[fd00::3]/a"), Code.PUT, Uint8Array.of(5));
    site.ask(uri("coap://[fd00::3]/a"));
    expect(site.asked).toHaveLength(5); // what changed the resource made the stored response stale
  });

  it("asks whether a stale response is still valid, by its ETag (section 5.6.2)", () => {
    const site = new Site();
    const bytes = pattern(500);
    site.response = {
      code: Code.CONTENT,
      body: { bytes, etag: Uint8Array.of(9), contentFormat: 42 },
      options: [age(10)],
    };
    site.ask(uri("coap://[fd00::3]/a"));
    site.nowUs = 20 * SECOND;
    const again = site.ask(uri("coap://[fd00::3]/a"));
    expect(again.payload).toEqual(bytes);
    expect(optionValue(site.asked[1]!.options, Option.ETAG)).toEqual(Uint8Array.of(9));
    site.ask(uri("coap://[fd00::3]/a"));
    expect(site.asked).toHaveLength(2);
  });

  it("what a 2.03 says replaces what was stored, and an answer from before a change is not kept (sections 5.9.1, 5.6)", () => {
    const site = new Site();
    const body = { bytes: pattern(20), etag: Uint8Array.of(9), contentFormat: 42 };
    site.response = { code: Code.CONTENT, body, options: [age(3_600)] };
    site.ask(uri("coap://[fd00::3]/a"));
    site.nowUs = 4_000 * SECOND;
    site.response = { code: Code.VALID, options: [{ number: Option.ETAG, value: Uint8Array.of(9) }, age(5)] };
    expect(uintOption(site.ask(uri("coap://[fd00::3]/a")).options, Option.MAX_AGE)).toBe(5);
    const missing = { code: Code.NOT_FOUND, options: [age(1_000)] };
    site.response = missing;
    expect(codeText(site.ask(uri("coap://[fd00::3]/b")).code)).toBe("4.04");
    site.response = { code: Code.CREATED, options: textOptions(Option.LOCATION_PATH, ["b"]) };
    site.ask(uri("coap://[fd00::3]/a"), Code.POST, Uint8Array.of(1));
    site.response = { code: Code.CONTENT, payload: Uint8Array.of(2) };
    expect(codeText(site.ask(uri("coap://[fd00::3]/b")).code)).toBe("2.05");
  });

  it("what is its own is not spared the check for critical options", () => {
    const site = new Site();
    const unknown = { number: 64_997, value: Uint8Array.of(1) };
    expect(codeText(site.ask([...uri("coap://[fd00::2]/own"), unknown]).code)).toBe("4.02");
  });

  it("a large answer to a POST comes block-wise too", () => {
    const site = new Site();
    site.response = { code: Code.CHANGED, body: { bytes: pattern(5_000), etag: Uint8Array.of(1), contentFormat: 42 } };
    const first = site.ask(uri("coap://[fd00::3]/a"), Code.POST, Uint8Array.of(1));
    expect(codeText(first.code)).toBe("2.04");
    expect(first.payload).toEqual(pattern(5_000).subarray(0, 1_024));
  });

  it("a silent origin takes its share and no more, and few may wait for one answer", () => {
    const site = new Site(["coap://[fd00::9]", ORIGIN_URI]);
    for (let i = 0; i < 300; i++) {
      const client = new CoapEndpoint({ random: new SeededRandom(i, "c") });
      client.request(0, PROXY, { code: Code.GET, options: uri(`coap://[fd00::9]/${i % 150}`) });
      site.gateway.handleDatagram(0, client.pollTransmit()!.bytes.slice(), { address: "fd00::77", port: i + 1 });
    }
    expect(site.gateway.stats.requests).toBeLessThanOrEqual(COAP_LIMITS.maxProxiedPerOrigin);
    expect(codeText(site.ask(uri("coap://[fd00::3]/a")).code)).toBe("2.05");
    for (let at = site.gateway.pollTimeout(); at !== undefined && at < 600 * SECOND; at = site.gateway.pollTimeout()) {
      site.nowUs = at;
      site.gateway.handleTimeout(at);
      site.settle();
    }
    expect(site.gateway.stats.requests).toBe(0);
    expect(site.gateway.stats.openExchanges).toBe(0);
  });

  it("carries bodies both ways, block-wise on each hop, fetching the origin's once", () => {
    const site = new Site();
    const bytes = pattern(10_000);
    site.response = {
      code: Code.CONTENT,
      body: { bytes, etag: Uint8Array.of(9), contentFormat: 42 },
      options: [age(0)],
    };
    const run = (code: number, body: Uint8Array): unknown => {
      const options = { endpoint: site.client, peer: PROXY, code, options: uri("coap://[fd00::3]/a"), body };
      const exchange = new BodyExchange({ ...options, szx: 2, maxBodyBytes: 20_000 });
      exchange.start(site.nowUs);
      for (;;) {
        site.settle();
        const event = site.client.pollEvent();
        if (event === undefined) throw new Error("no event");
        const outcome = exchange.handleEvent(site.nowUs, event);
        if (outcome !== undefined) return outcome;
      }
    };
    expect(run(Code.GET, new Uint8Array(0))).toMatchObject({ response: { code: Code.CONTENT, payload: bytes } });
    expect(site.asked.filter(({ options }) => (uintOption(options, Option.BLOCK2) ?? 0) < 16)).toHaveLength(1);
    site.response = { code: Code.CHANGED };
    expect(run(Code.PUT, pattern(3_000))).toMatchObject({ response: { code: Code.CHANGED } });
    expect(site.asked.at(-1)!.payload).toEqual(pattern(3_000));
  });

  it("asks the origin once for all that wait for the same", () => {
    const site = new Site();
    for (let i = 0; i < 5; i++) {
      const client = new CoapEndpoint({ random: new SeededRandom(i, "c") });
      client.request(0, PROXY, { code: Code.GET, options: uri("coap://[fd00::3]/a") });
      site.gateway.handleDatagram(0, client.pollTransmit()!.bytes.slice(), { address: "fd00::9", port: i + 1 });
    }
    site.settle();
    expect(site.asked).toHaveLength(1);
  });

  it("unknown critical options: safe ones go on, unsafe ones are refused 4.02, in a response 5.02 (section 5.4.2)", () => {
    const site = new Site();
    const unknown = (number: number): CoapOption => ({ number, value: Uint8Array.of(1) });
    // 64997 is critical and safe, 65003 critical and unsafe, 65002 elective and unsafe.
    expect(codeText(site.ask([...uri("coap://[fd00::3]/a"), unknown(65_003)]).code)).toBe("4.02");
    expect(codeText(site.ask([...uri("coap://[fd00::3]/a"), unknown(65_002)]).code)).toBe("4.02");
    expect(site.asked).toHaveLength(0);
    const passedOn = [...uri("coap://[fd00::3]/a"), unknown(65_001 - 4)];
    expect(codeText(site.ask(passedOn).code)).toBe("4.02"); // the origin's word, which does not know it either
    expect(site.asked).toHaveLength(0);
    expect(codeText(site.ask([...uri("coap://[fd00::3]/a"), unknown(65_000)]).code)).toBe("2.05");
    expect(plain(site.asked[0]!.options)).toContainEqual(unknown(65_000));
    site.response = { code: Code.CONTENT, options: [unknown(65_002)] };
    expect(codeText(site.ask(uri("coap://[fd00::3]/b")).code)).toBe("5.02");
  });

  it("5.04 for an origin that is silent", () => {
    const site = new Site(["coap://[fd00::9]"]);
    site.client.request(0, PROXY, { code: Code.GET, options: uri("coap://[fd00::9]/a") });
    site.settle();
    for (let at = site.gateway.pollTimeout(); at !== undefined && at < 150 * SECOND; at = site.gateway.pollTimeout()) {
      site.nowUs = at;
      site.gateway.handleTimeout(at);
      site.settle();
    }
    expect(codeText(site.answer().code)).toBe("5.04");
  });
});

describe("Hop-Limit (RFC 8768)", () => {
  const hops = (value: number): CoapOption => ({ number: Option.HOP_LIMIT, value: Uint8Array.of(value) });

  it("counts down, and is 16 where the client gave none", () => {
    const site = new Site();
    site.ask([...uri("coap://[fd00::3]/a"), hops(5)]);
    expect(uintOption(site.asked[0]!.options, Option.HOP_LIMIT)).toBe(4);
    site.ask(uri("coap://[fd00::3]/b"));
    expect(uintOption(site.asked[1]!.options, Option.HOP_LIMIT)).toBe(16);
  });

  it("0 is refused, and where it runs out the answer names the proxy", () => {
    const site = new Site();
    expect(codeText(site.ask([...uri("coap://[fd00::3]/a"), hops(0)]).code)).toBe("4.00");
    const end = site.ask([...uri("coap://[fd00::3]/a"), hops(1)]);
    expect(codeText(end.code)).toBe("5.08");
    expect(new TextDecoder().decode(end.payload)).toBe("gw1");
    expect(site.asked).toHaveLength(0);
  });

  it("a proxy that is its own origin ends the loop", () => {
    const site = new Site(["coap://[fd00::3]"], true);
    const looping = site.gateway.handleDatagram.bind(site.gateway);
    let seen = 0;
    site.gateway.handleDatagram = (nowUs, bytes, peer) => {
      seen++;
      return looping(nowUs, bytes, peer);
    };
    site.client.request(0, PROXY, { code: Code.GET, options: uri("coap://[fd00::3]/a") });
    site.settle();
    expect(seen).toBeLessThan(50);
    expect(site.client.pollEvent()).toMatchObject({ kind: "response" });
  });
});

describe("proxy to HTTP (RFC 7252 section 10.1, RFC 8075)", () => {
  function http(options: CoapOption[], code: number = Code.GET, payload = new Uint8Array(0)) {
    const site = new Site();
    site.client.request(0, PROXY, { code, options: [...uri("http://files.example/fw?v=1"), ...options], payload });
    site.settle();
    const out = site.proxy.pollHttp();
    const reply = (status: number, headers: Record<string, string>, body: Uint8Array): IncomingResponse => {
      site.proxy.handleHttp(site.nowUs, out!.id, { status, headers, body });
      site.gateway.handleTimeout(site.nowUs);
      return site.answer();
    };
    return { site, out, reply };
  }

  it("makes a request of it, and a response of the response", () => {
    const accept = { number: Option.ACCEPT, value: encodeUint(50) };
    const { out, reply, site } = http([accept]);
    expect(out!.request).toEqual({
      method: "GET",
      url: "http://files.example/fw?v=1",
      headers: { accept: "application/json" },
      body: new Uint8Array(0),
    });
    const headers = {
      "content-type": "application/json; charset=utf-8",
      etag: '"abc"',
      "cache-control": "max-age=120",
    };
    const response = reply(200, headers, new TextEncoder().encode("{}"));
    expect(codeText(response.code)).toBe("2.05");
    expect(uintOption(response.options, Option.CONTENT_FORMAT)).toBe(50);
    expect(uintOption(response.options, Option.MAX_AGE)).toBe(120);
    expect(optionValue(response.options, Option.ETAG)).toHaveLength(8);
    site.ask([...uri("http://files.example/fw?v=1"), accept]);
    expect(site.proxy.pollHttp()).toBeUndefined();
  });

  it.each([
    [Code.GET, 404, "4.04"],
    [Code.GET, 302, "5.02"],
    [Code.GET, 500, "5.00"],
    [Code.GET, 503, "5.03"],
    [Code.GET, 418, "4.00"],
    [Code.PUT, 204, "2.04"],
    [Code.PUT, 201, "2.01"],
    [Code.DELETE, 204, "2.02"],
    [Code.POST, 429, "4.29"],
  ])("method %i, status %i: %s", (method, status, code) => {
    expect(codeText(http([], method).reply(status, {}, new Uint8Array(0)).code)).toBe(code);
  });

  it("refuses what HTTP has no word for", () => {
    const site = new Site();
    const format = { number: Option.CONTENT_FORMAT, value: encodeUint(42) };
    expect(codeText(site.ask([...uri("http://files.example/fw"), format], Code.FETCH, Uint8Array.of(1)).code)).toBe(
      "5.01",
    );
    const match = { number: Option.IF_MATCH, value: Uint8Array.of(1) };
    expect(codeText(site.ask([...uri("http://files.example/fw"), match], Code.PUT, Uint8Array.of(1)).code)).toBe(
      "5.01",
    );
    expect(site.proxy.pollHttp()).toBeUndefined();
    const accept = { number: Option.ACCEPT, value: encodeUint(9_999) };
    expect(codeText(site.ask([...uri("http://files.example/fw"), accept]).code)).toBe("4.06");
  });

  it("a large file comes block-wise, and is fetched once", () => {
    const { reply, site } = http([]);
    const bytes = pattern(5_000);
    expect(reply(200, { "cache-control": "no-store" }, bytes).payload).toEqual(bytes.subarray(0, 1_024));
    const block = { number: Option.BLOCK2, value: encodeUint(16 + 6) };
    const second = site.ask([...uri("http://files.example/fw?v=1"), block]);
    expect(second.payload).toEqual(bytes.subarray(1_024, 2_048));
    expect(site.proxy.pollHttp()).toBeUndefined();
  });
});
