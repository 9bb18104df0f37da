import { expect, it } from "vitest";
import { decode } from "cborg";
import { decodeContent, encodeContent, Format } from "../../src/lwm2m/content.ts";
import { fromHex, fromUtf8, toHex, utf8 } from "../../src/util/bytes.ts";

/*
 * What a comparison with Leshan's codecs found.
 */

it("a time or a value may be a decimal fraction (RFC 8428 section 6)", () => {
  // [{-2: "/6/0/0", -3: 4([-3, 1763986681588]), 2: 4([-1, 875])}]
  const bytes = fromHex("81a321662f362f302f3022c482221b0000019ab5ccaef402c4822019036b")!;
  const [reading] = decodeContent(Format.SENML_CBOR, bytes, []);
  expect(reading).toMatchObject({ path: [6, 0, 0], value: 87.5 });
  expect(reading!.timeS).toBe(Number(0x19ab5ccaef4n) / 1_000);
  const bad = fromHex("81a221662f362f302f3002c4812019036b")!;
  expect(() => decodeContent(Format.SENML_CBOR, bad.subarray(0, -3), [])).toThrow();
});

it("a whole number is sent as a float where the resource is one", () => {
  const readings = [{ path: [3_303, 0, 5_700], value: 2 }];
  const senml = decode(encodeContent(Format.SENML_CBOR, [3_303, 0, 5_700], readings), { useMaps: true });
  expect(toHex(encodeContent(Format.SENML_CBOR, [3_303, 0, 5_700], readings))).toMatch(/fa40000000$/);
  expect((senml as Map<number, unknown>[])[0]!.get(2)).toBe(2);
  expect(toHex(encodeContent(Format.CBOR, [3_303, 0, 5_700], readings))).toBe("fa40000000");
  expect(toHex(encodeContent(Format.CBOR, [3, 0, 9], [{ path: [3, 0, 9], value: 2 }]))).toBe("02");
});

it.each([Format.SENML_CBOR, Format.CBOR, Format.LWM2M_CBOR, Format.TLV, Format.TEXT])(
  "integers beyond 2^53 are exact, both ways, in format %i",
  (format) => {
    for (const value of [9_007_199_254_740_993n, 9_223_372_036_854_775_807n, -9_223_372_036_854_775_807n]) {
      const readings = [{ path: [3, 0, 21], value }];
      expect(decodeContent(format, encodeContent(format, [3, 0, 21], readings), [3, 0, 21])).toEqual(readings);
    }
  },
);

it.each([Format.SENML_JSON, Format.JSON])("integers beyond 2^53 are exact in the JSON of format %i", (format) => {
  const bytes = encodeContent(format, [3, 0, 21], [{ path: [3, 0, 21], value: 9_007_199_254_740_993n }]);
  expect(fromUtf8(bytes)).toContain(":9007199254740993");
  expect(decodeContent(format, bytes, [3, 0, 21])).toEqual([{ path: [3, 0, 21], value: 9_007_199_254_740_993n }]);
});

it.each([
  "0.3333333333333333",
  "0.30000000000000004",
  "-0.12345678901234567",
  "1.2345678901234567E10",
  "1234567890123456789e-3",
  "18446744073709551615",
  "-9223372036854775808",
])("JSON's value %s is read whole, and text with numbers stays text", (text) => {
  const value: unknown = /^-?\d+$/.test(text) ? BigInt(text) : Number(text);
  const units = `${text} 1234567890123456789`;
  const senml = `[{"bn":"/3303/0/","n":"5700","v":${text}},{"n":"5701","vs":"${units}"}]`;
  const json = `{"bn":"/3303/0/","e":[{"n":"5700","v":${text}},{"n":"5701","sv":"${units}"}]}`;
  const readings = [
    { path: [3303, 0, 5700], value },
    { path: [3303, 0, 5701], value: units },
  ];
  expect(decodeContent(Format.SENML_JSON, utf8(senml), [3303, 0])).toEqual(readings);
  expect(decodeContent(Format.JSON, utf8(json), [3303, 0])).toEqual(readings);
});

it("a text without an end, full of escaped quotes, is refused in one pass", () => {
  const endless = utf8(`"${'\\"'.repeat(131_000)}`);
  expect(() => decodeContent(Format.SENML_JSON, endless, [3, 0])).toThrow("SenML");
  expect(() => decodeContent(Format.JSON, endless, [3, 0])).toThrow("JSON");
}, 10_000);

it("a resource instance is written as that, not as a resource with one", () => {
  const bytes = encodeContent(Format.TLV, [3, 0, 6, 1], [{ path: [3, 0, 6, 1], value: 5 }]);
  expect(toHex(bytes)).toBe("410105");
  expect(decodeContent(Format.TLV, bytes, [3, 0, 6, 1])).toEqual([{ path: [3, 0, 6, 1], value: 5 }]);
});

it("an unsigned number keeps its first bit clear, for those who read it as a signed one", () => {
  const bytes = (value: number | bigint): string =>
    toHex(encodeContent(Format.TLV, [5, 0, 13], [{ path: [5, 0, 13], value }]));
  expect(bytes(127)).toBe("c10d7f");
  expect(bytes(255)).toBe("c20d00ff");
  expect(bytes(18_446_744_073_709_551_615n)).toBe("c80d08ffffffffffffffff");
});
