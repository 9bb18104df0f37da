import { decode as cborgDecode, encode as cborgEncode } from "cborg";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CborError } from "../../src/codec/cbor-check.ts";
import { decodeCbor, encodeCbor, type CborValue } from "../../src/codec/cbor.ts";

const hex = (text: string): Uint8Array => new Uint8Array(Buffer.from(text.replaceAll(" ", ""), "hex"));

const value: fc.Arbitrary<CborValue> = fc.letrec<{ value: CborValue }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4 },
    fc.oneof(fc.integer(), fc.maxSafeNat()),
    fc.string({ unit: "binary" }),
    fc.uint8Array({ maxLength: 300 }),
    fc.constantFrom(true, false, null),
    fc.array(tie("value"), { maxLength: 5 }),
    fc
      .uniqueArray(fc.tuple(fc.oneof(fc.integer(), fc.string()), tie("value")), {
        maxLength: 5,
        selector: ([key]) => String(key),
      })
      .map((entries) => new Map(entries)),
  ),
})).value;

describe("CBOR", () => {
  it("round-trips, byte for byte as cborg's strict encoder writes it", () => {
    fc.assert(
      fc.property(value, (item) => {
        const bytes = encodeCbor(item);
        expect(bytes).toEqual(new Uint8Array(cborgEncode(item)));
        expect(decodeCbor(bytes)).toEqual(item);
      }),
      { numRuns: 2_000, seed: 1 },
    );
  });

  it("accepts nothing that cborg in strict mode refuses", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 24 }), (bytes) => {
        try {
          decodeCbor(bytes);
        } catch (error) {
          expect(error).toBeInstanceOf(CborError);
          return;
        }
        cborgDecode(bytes, { strict: true, useMaps: true, allowIndefinite: false, rejectDuplicateMapKeys: true });
      }),
      { numRuns: 50_000, seed: 1 },
    );
  });

  it.each([
    ["18 05", "not-shortest-form"],
    ["1b 0000000000000005", "not-shortest-form"],
    ["58 01 00", "not-shortest-form"],
    ["1b 0020000000000000", "integer-too-large"],
    ["9f ff", "indefinite-length"],
    ["a2 01 00 01 00", "duplicate-map-key"],
    ["a2 02 00 01 00", "map-keys-not-sorted"],
    ["a2 20 00 01 00", "map-keys-not-sorted"],
    ["62 c3 28", "not-utf8"],
    ["c1 00", "tag-not-expected"],
    ["f9 3c00", "simple-value-not-expected"],
    ["f7", "simple-value-not-expected"],
    ["9b 0000ffffffffffff", "truncated"],
    ["5a ffffffff 00", "truncated"],
    ["00 00", "trailing-bytes"],
    ["1c", "reserved-additional-information"],
    ["81".repeat(40) + "00", "too-deep"],
    ["", "truncated"],
  ])("%s is refused: %s", (bytes, fault) => {
    expect(() => decodeCbor(hex(bytes))).toThrow(fault);
  });
});
