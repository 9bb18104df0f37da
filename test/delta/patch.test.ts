import fc from "fast-check";
import { HeatshrinkDecoder } from "heatshrink-ts";
import { describe, expect, it } from "vitest";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { diff } from "../../src/delta/diff.ts";
import { compress, LOOKAHEAD_BITS, WINDOW_BITS } from "../../src/delta/heatshrink.ts";
import { PatchError } from "../../src/delta/patch-error.ts";
import { applyPatch, makePatch, PatchReader } from "../../src/delta/patch.ts";
import { suffixArray } from "../../src/delta/suffix-array.ts";
import { concatBytes } from "../../src/util/bytes.ts";
import { randomBytes } from "../../src/util/random.ts";

const RUNS = { numRuns: 300, seed: 11 };
/** Bytes of a small alphabet, so that there is much to be found again. */
const text = fc.uint8Array({ max: 3, maxLength: 400 });
const random = (length: number, name: string): Uint8Array => randomBytes(new SeededRandom(5, name), length);

/** Code that moved: a piece put in, one taken out, and an address changed in each 50 bytes. */
function edited(old: Uint8Array): Uint8Array {
  const moved = concatBytes(
    old.subarray(0, 9_000),
    random(120, "new"),
    old.subarray(9_000, 20_000),
    old.subarray(20_300),
  );
  for (let i = 0; i < moved.length; i += 50) moved[i] = moved[i]! + 8;
  return moved;
}

describe("patches", () => {
  it("lead from any image to any other, in pieces of any size", () => {
    fc.assert(
      fc.property(text, text, fc.integer({ min: 1, max: 64 }), (old, wanted, most) => {
        const patch = makePatch(old, wanted);
        const reader = new PatchReader((i) => patch[i], old, wanted.length);
        const pieces: Uint8Array[] = [];
        for (let piece = reader.next(most); piece.length > 0; piece = reader.next(most)) pieces.push(piece);
        expect(concatBytes(...pieces)).toEqual(wanted);
      }),
      RUNS,
    );
  });

  it("are a small part of an image of which little changed, and follow code that moved", () => {
    const old = random(60_000, "old");
    const wanted = edited(old);
    const patch = makePatch(old, wanted);
    expect(applyPatch(patch, old, wanted.length)).toEqual(wanted);
    expect(patch.length).toBeLessThan(wanted.length * 0.1);
    expect(makePatch(old, old).length).toBeLessThan(30);
    expect(makePatch(new Uint8Array(0), old).length).toBeLessThan(old.length * 1.13);
  });

  it("are packed as heatshrink packs: an independent decoder reads them", () => {
    fc.assert(
      fc.property(fc.oneof(text, fc.uint8Array({ maxLength: 600 })), (bytes) => {
        const decoder = new HeatshrinkDecoder(WINDOW_BITS, LOOKAHEAD_BITS, 64);
        decoder.process(compress(bytes));
        // It cannot tell the padding from the beginning of a copy.
        expect(new Uint8Array(decoder.getOutput()).subarray(0, bytes.length)).toEqual(bytes);
      }),
      RUNS,
    );
  });

  it("are for the images that they name by their size", () => {
    const [old, wanted] = [random(500, "a"), random(600, "b")];
    const patch = makePatch(old, wanted);
    const reasonOf = (call: () => unknown): string => {
      try {
        call();
        return "none";
      } catch (error) {
        return (error as PatchError).reason;
      }
    };
    expect(reasonOf(() => applyPatch(patch, old.subarray(1), 600))).toBe("patch-of-other-size");
    expect(reasonOf(() => applyPatch(patch, old, 601))).toBe("patch-of-other-size");
    expect(reasonOf(() => applyPatch(wanted, old, 600))).toBe("patch-unknown");
    expect(reasonOf(() => applyPatch(patch.subarray(0, 40), old, 600))).toBe("patch-too-short");
    expect(reasonOf(() => applyPatch(new Uint8Array(0), old, 600))).toBe("patch-unknown");
  });

  it("that are damaged yield an error with a word for it, or bytes that are not what was meant", () => {
    const old = random(3_000, "old");
    const wanted = edited(old);
    const patch = makePatch(old, wanted);
    const reasons = new Set<string>();
    const dice = new SeededRandom(3, "damage");
    for (let i = 0; i < 5_000; i++) {
      const damaged = patch.slice(0, dice.uint32() % 7 === 0 ? dice.uint32() % patch.length : patch.length);
      for (let n = 0; n <= dice.uint32() % 4; n++)
        if (damaged.length > 0) damaged[dice.uint32() % damaged.length] = dice.uint32() & 0xff;
      try {
        expect(applyPatch(damaged, old, wanted.length).length).toBe(wanted.length);
      } catch (error) {
        if (!(error instanceof PatchError)) throw error;
        reasons.add(error.reason);
      }
    }
    expect([...reasons].toSorted()).toEqual([
      "patch-malformed",
      "patch-of-other-size",
      "patch-out-of-range",
      "patch-too-short",
      "patch-unknown",
    ]);
  });

  it("are made in bounded time of images that are nearly the same in several places", () => {
    const half = random(65_536, "half");
    const copy = half.slice();
    for (const at of [60_000, 61_000, 62_000, 63_000]) copy[at] = copy[at]! ^ 1;
    const zeros = new Uint8Array(131_072);
    zeros[50_000] = zeros[90_000] = 1;
    for (const [old, wanted] of [
      [concatBytes(half, copy), copy],
      [zeros, new Uint8Array(65_536)],
    ] as const) {
      let looked = 0;
      const counted = new Proxy(wanted, {
        get: (bytes, name) => {
          if (typeof name === "string" && /^\d+$/.test(name)) looked++;
          const value: unknown = Reflect.get(bytes, name, bytes);
          return typeof value === "function" ? value.bind(bytes) : value;
        },
      });
      diff(old, counted);
      expect(looked).toBeLessThan(200 * wanted.length);
      expect(applyPatch(makePatch(old, wanted), old, wanted.length)).toEqual(wanted);
    }
  });

  it("find matches by all suffixes in their order", () => {
    fc.assert(
      fc.property(text, (bytes) => {
        const naive = Array.from(bytes, (_, i) => i).toSorted((a, b) =>
          Buffer.compare(bytes.subarray(a), bytes.subarray(b)),
        );
        expect([...suffixArray(bytes)]).toEqual(naive);
      }),
      RUNS,
    );
  });
});
