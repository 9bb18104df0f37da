import { generate, parse } from "coap-packet";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blockSize, decodeBlock, encodeBlock, szxOf } from "../../src/coap/blockwise/block.ts";
import { decodeMessage } from "../../src/coap/decode.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { decodeUint, encodeUint, type CoapMessage } from "../../src/coap/message.ts";
import { codeText, MessageType } from "../../src/coap/numbers.ts";
import { decoded } from "../support/coap-get.ts";

const message: fc.Arbitrary<CoapMessage> = fc.record({
  type: fc.constantFrom(MessageType.CON, MessageType.NON, MessageType.ACK),
  code: fc.constantFrom(1, 2, 3, 4, 0x41, 0x45, 0x80, 0x84, 0xa0),
  messageId: fc.nat(65_535),
  token: fc.uint8Array({ maxLength: 8 }),
  options: fc
    .array(fc.record({ number: fc.nat(65_535), value: fc.uint8Array({ maxLength: 300 }) }), { maxLength: 8 })
    .map((options) => options.toSorted((a, b) => a.number - b.number)),
  payload: fc.uint8Array({ maxLength: 100 }),
});

describe("the message codec", () => {
  it("round-trips every message", () => {
    fc.assert(
      fc.property(message, (original) => {
        const bytes = encodeMessage(original);
        fc.pre(bytes.length <= 1500);
        expect(decoded(bytes)).toEqual(original);
      }),
      { numRuns: 3_000, seed: 1 },
    );
  });

  it("agrees with coap-packet in both directions", () => {
    fc.assert(
      fc.property(message, (original) => {
        const bytes = encodeMessage(original);
        fc.pre(bytes.length <= 1500);
        const theirs = parse(Buffer.from(bytes));
        expect(theirs.code).toBe(codeText(original.code));
        expect(theirs.messageId).toBe(original.messageId);
        expect(new Uint8Array(theirs.token)).toEqual(original.token);
        expect(theirs.options.map(({ value }) => new Uint8Array(value))).toEqual(
          original.options.map(({ value }) => value),
        );
        expect(new Uint8Array(theirs.payload)).toEqual(original.payload);
        expect(new Uint8Array(generate(theirs, 2_000))).toEqual(bytes);
      }),
      { numRuns: 2_000, seed: 2 },
    );
  });

  it.each([
    ["", "too-short"],
    ["400100", "too-short"],
    ["80010000", "bad-version"],
    ["4d010000", "bad-token-length"],
    ["4e01000001", "bad-token-length"],
    ["4d01000000" + "00".repeat(12), "bad-token-length"],
    ["4f010000" + "00".repeat(15), "bad-token-length"],
    ["4201000000", "bad-token-length"],
    ["4000000000", "empty-with-content"],
    ["41000000aa", "empty-with-content"],
    ["40200000", "reserved-code"],
    ["40c10000", "reserved-code"],
    ["40010000f0", "bad-option-header"],
    ["400100000f", "bad-option-header"],
    ["40010000b5666f", "option-past-end"],
    ["40010000d0", "option-past-end"],
    ["40010000e000", "option-past-end"],
    ["400100000e00", "option-past-end"],
    ["40010000e0ffffe0ffff", "option-number-overflow"],
    ["40010000" + "00".repeat(65), "too-many-options"],
    ["40010000ff", "marker-without-payload"],
    ["40010000" + "00".repeat(2000), "too-long"],
  ])("%s is refused: %s", (hex, reason) => {
    expect(decodeMessage(new Uint8Array(Buffer.from(hex, "hex")))).toMatchObject({ ok: false, error: { reason } });
  });

  it("uints take the fewest bytes (RFC 7252 section 3.2)", () => {
    for (const value of [0, 1, 255, 256, 65_535, 65_536, 0xff_ffff, 0x100_0000, 0xffff_ffff]) {
      const bytes = encodeUint(value);
      expect(decodeUint(bytes)).toBe(value);
      expect(bytes[0]).not.toBe(0);
    }
  });

  it("block values carry 20 bits of NUM (RFC 7959 section 2.2)", () => {
    for (const num of [0, 1, 15, 16, 4_095, 4_096, 65_535, 65_536, 1_048_575]) {
      for (const more of [false, true]) {
        for (let szx = 0; szx < 8; szx++)
          expect(decodeBlock(encodeBlock({ num, more, szx }))).toEqual({ num, more, szx });
      }
    }
    expect([16, 32, 64, 128, 256, 512, 1024].map(szxOf)).toEqual([0, 1, 2, 3, 4, 5, 6]);
    expect([0, 1, 15, 48, 2048].map(szxOf)).toEqual([undefined, undefined, undefined, undefined, undefined]);
    expect(blockSize(6)).toBe(1024);
  });
});
