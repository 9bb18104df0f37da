import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { cli, lastJson, temporaryFolder } from "../support/process.ts";

const folder = temporaryFolder();
const scenario = join(folder, "small.yaml");
writeFileSync(
  scenario,
  "name: small\nmotes: 3\nlink: { model: iid, per: 0.1 }\nimageBytes: 4096\ntransport: [coap, ideal-arq]\n",
);

describe("simulate and limit", () => {
  it("print one object with what a run cost, and the same trace for the same seed", async () => {
    const [a, b, c] = await Promise.all(
      ["1", "1", "2"].map(async (seed) => lastJson((await cli("simulate", scenario, "--seed", seed, "--json")).stdout)),
    );
    expect(a).toMatchObject({ scenario: "small", seed: 1, motes: 3, updated: 3 });
    for (const key of [
      "energyPerByteUj",
      "limitPerByteUj",
      "energyOverLimit",
      "simSecondsPerWallSecond",
      "framesPerWallSecond",
    ]) {
      expect(a![key]).toBeGreaterThan(0);
    }
    expect(Object.keys(a!["completionS"] as object)).toEqual(["p50", "p99", "max"]);
    expect(a!["traceHash"]).toMatch(/^[0-9a-f]{16}$/);
    expect(b!["traceHash"]).toBe(a!["traceHash"]);
    expect(c!["traceHash"]).not.toBe(a!["traceHash"]);
  });

  it("several seeds give means with intervals", async () => {
    const { cases } = lastJson((await cli("simulate", scenario, "--seeds", "3", "--json")).stdout) as {
      cases: { energyMj: { mean: number; ci95: number } }[];
    };
    expect(cases[0]!.energyMj.ci95).toBeGreaterThan(0);
  });

  it("the limit of 4 KiB at p = 0.1 is that of the formula", async () => {
    const { limits } = lastJson((await cli("limit", scenario, "--json")).stdout) as { limits: { timeS: number }[] };
    expect(limits).toHaveLength(1);
    expect(limits[0]!.timeS).toBeCloseTo((4_096 * 36.69) / 0.9 / 1e6, 4);
  });

  it.each([
    ["name: x\nmotes: 0\nlink: { model: iid, per: 0 }\nimageBytes: 100\n", /motes/],
    ["name: x\nmotes: 1\nlink: { model: iid, per: 2 }\nimageBytes: 100\n", /per/],
    ["name: x\nmotes: 1\nlink: { model: warp }\nimageBytes: 100\n", /link/],
    ["motes: [", /scenario\.yaml/],
  ])("a wrong scenario is named with its key: %j", async (yaml, message) => {
    const file = join(folder, "scenario.yaml");
    writeFileSync(file, yaml);
    const result = await cli("simulate", file);
    expect(result.code).toBe(2);
    expect(result.stderr).toMatch(message);
  });
});
