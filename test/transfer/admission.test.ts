import { describe, expect, it } from "vitest";
import { Admission } from "../../src/transfer/admission.ts";

const SECOND = 1_000_000;

describe("admission to a shared channel", () => {
  it("lets a few in at a time; those that have begun go on, and one that has gone makes room", () => {
    const admission = new Admission({ start: 2, most: 8, idleUs: 20 * SECOND });
    expect(["a", "b", "c"].map((name) => admission.admits(0, name))).toEqual([true, true, false]);
    expect(admission.waitS("c")).toBeGreaterThanOrEqual(3);
    expect(admission.admits(10 * SECOND, "a")).toBe(true);
    admission.served(15 * SECOND, "a", false, false);
    expect(admission.admits(21 * SECOND, "c")).toBe(true); // b was silent
    expect(admission.admits(21 * SECOND, "b")).toBe(false);
    admission.served(22 * SECOND, "a", false, true);
    expect(admission.admits(22 * SECOND, "b")).toBe(true);
  });

  it("says longer where more wait", () => {
    const admission = new Admission({ start: 1, most: 1, idleUs: SECOND });
    admission.admits(0, "a");
    const waits = Array.from({ length: 100 }, (_, i) => admission.waitS(`w${i}`));
    expect(waits.at(-1)!).toBeGreaterThan(waits[0]!);
    expect(Math.max(...waits)).toBeLessThanOrEqual(120);
    expect(admission.refused).toBe(100);
  });

  /** A channel that gets on fastest with `best` transfers at once; the limit that is found, on average. */
  function found(best: number): number {
    const admission = new Admission();
    let [nowUs, sum, rounds] = [0, 0, 0];
    for (let i = 0; i < 40_000; i++) {
      const names = Array.from({ length: 40 }, (_, k) => `m${k}`).filter((name) => admission.admits(nowUs, name));
      const rate = Math.min(names.length, best) / (1 + 0.2 * Math.max(0, names.length - best));
      nowUs += Math.round(SECOND / (20 * rate));
      admission.served(nowUs, names[i % names.length]!, false, false);
      if (i > 4_000) [sum, rounds] = [sum + admission.limit, rounds + 1];
    }
    return sum / rounds;
  }

  it.each([2, 5, 12])("finds how many get on best together: %i", (best) => {
    expect(found(best)).toBeGreaterThan(best * 0.5);
    expect(found(best)).toBeLessThan(best * 2 + 1);
  });
});
