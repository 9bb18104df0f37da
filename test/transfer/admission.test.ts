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
    const waiting = Array.from({ length: 2_000 }, (_, i) => `m${i}`);
    const active: { name: string; left: number }[] = [];
    let [nowUs, sum, rounds] = [0, 0, 0];
    for (let i = 0; i < 100_000 && waiting.length > 0; i++) {
      while (waiting.length > 0 && admission.admits(nowUs, waiting[0]!))
        active.push({ name: waiting.shift()!, left: 128 });
      const rate = Math.min(active.length, best) / (1 + 0.3 * Math.max(0, active.length - best));
      nowUs += Math.round(SECOND / (20 * rate));
      const one = active[i % active.length]!;
      one.left--;
      admission.served(nowUs, one.name, false, one.left === 0);
      if (one.left === 0) active.splice(active.indexOf(one), 1);
      if (i > 10_000) [sum, rounds] = [sum + active.length, rounds + 1];
    }
    return sum / rounds;
  }

  it.each([2, 5, 12])("finds how many get on best together: %i", (best) => {
    expect(found(best)).toBeGreaterThan(best * 0.5);
    expect(found(best)).toBeLessThan(best * 2 + 1);
  });
});
