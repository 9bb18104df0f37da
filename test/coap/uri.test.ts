import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { formatUri, originOf, parseUri, pathOptions, proxyTarget } from "../../src/coap/uri.ts";

const PATH = textOptions(Option.URI_PATH, ["x"]);

describe("URIs (RFC 7252 section 6)", () => {
  it.each([
    ["coap://EXAMPLE.com:5683/~sensors/temp.xml", "coap://example.com/~sensors/temp.xml"],
    ["coap://EXAMPLE.com/%7Esensors/temp.xml", "coap://example.com/~sensors/temp.xml"],
    ["coap://EXAMPLE.com:/%7esensors/temp.xml", "coap://example.com/~sensors/temp.xml"],
    ["coap://example.net/.well-known/core", "coap://example.net/.well-known/core"],
    ["coap://[2001:DB8::2:1]/", "coap://[2001:db8::2:1]/"],
    ["coap://198.51.100.1:61616//%2F//?%2F%2F&?%26", "coap://198.51.100.1:61616//%2F//?//&?%26"],
    ["coap://a/b/../c/./d", "coap://a/c/d"],
    ["coap://a?x", "coap://a/?x"],
  ])("%s is %s", (text, normal) => expect(formatUri(parseUri(text)!)).toBe(normal));

  it.each([
    "coap:/a",
    "coap://",
    "//a/b",
    "coap://a/%zz",
    "coap://%zz/a",
    "coap://a/b#c",
    "coap://u@a/",
    "coap://a:99999/",
    "mailto:a",
  ])("%s is none", (text) => expect(parseUri(text)).toBeUndefined());

  it("a trailing slash is an empty segment, a lone one is none (section 6.4)", () => {
    expect(parseUri("coap://a/foo/")!.path).toEqual(["foo", ""]);
    expect(parseUri("coap://a/")!.path).toEqual([]);
    expect(parseUri("coap://a//")!.path).toEqual(["", ""]);
    expect(parseUri("coap://a/?")!.query).toEqual([""]);
  });

  it("what is composed of options is taken apart to the same options", () => {
    const segment = fc.string({ unit: "binary", maxLength: 12 }).filter((text) => text !== "." && text !== "..");
    const parts = fc.record({
      path: fc.array(segment, { maxLength: 5 }).filter((path) => path.length !== 1 || path[0] !== ""),
      query: fc.array(segment, { maxLength: 4 }),
      port: fc.integer({ min: 1, max: 65_535 }),
    });
    fc.assert(
      fc.property(parts, ({ path, query, port }) => {
        const whole = { scheme: "coap", host: "fd00::1", port, path, query };
        const again = parseUri(formatUri(whole))!;
        expect(pathOptions(again)).toEqual(pathOptions(whole));
        expect(originOf(again)).toBe(originOf(whole));
      }),
      { seed: 7, numRuns: 300 },
    );
  });

  it("Proxy-Uri wins over Uri-*; Proxy-Scheme needs a host (section 5.10.2)", () => {
    const host = textOptions(Option.URI_HOST, ["h"]);
    const whole = textOptions(Option.PROXY_URI, ["coap://other/a"]);
    expect(proxyTarget([...host, ...PATH, ...whole])).toMatchObject({ host: "other", path: ["a"] });
    const scheme = textOptions(Option.PROXY_SCHEME, ["coap"]);
    expect(proxyTarget([...host, ...PATH, ...scheme])).toMatchObject({ host: "h", port: 5683, path: ["x"] });
    expect(proxyTarget([...PATH, ...scheme])).toBeUndefined();
  });
});
