import { spawn } from "node:child_process";
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { BIN, cli, lastJson, temporaryFolder } from "../support/process.ts";

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

  it("a range of seeds on two threads gives what one thread gives; keys can be changed and swept", async () => {
    const args = [
      "simulate",
      scenario,
      "--seed",
      "1..2",
      "--json",
      "--set",
      "transport=coap",
      "--set",
      "link.per=[0,0.2]",
    ];
    const [one, two] = await Promise.all([cli(...args), cli(...args, "--jobs", "2")]);
    const [a, b] = [lastJson(one.stdout), lastJson(two.stdout)] as { cases: { swept: object }[] }[];
    expect(b).toEqual(a);
    expect(a!.cases.map(({ swept }) => swept)).toEqual([{ "link.per": 0 }, { "link.per": 0.2 }]);
  });

  it("keeps the seeds that are finished when it is stopped", async () => {
    const out = join(folder, "stopped");
    const child = spawn(process.execPath, [BIN, "simulate", scenario, "--seed", "1..1000", "--out", out]);
    let stderr = "";
    child.stderr.on("data", (text) => {
      stderr += text;
      // Three motes in each of two cases: two seeds have been run.
      const [, motes = "0"] = /small: (\d+) of \d+[^\n]*\n$/.exec(stderr) ?? [];
      if (Number(motes) >= 12) child.kill("SIGINT");
    });
    const [code] = (await once(child, "close")) as [number];
    const { seeds } = JSON.parse(readFileSync(join(out, "summary.json"), "utf8")) as { seeds: number[] };
    expect([code, seeds.length > 1 && seeds.length < 1_000]).toEqual([1, true]);
    expect(stderr).toContain(`stopped: the figures are of ${seeds.length} of 1000 seeds (1, 2`);
  });

  it("that updated nobody is one object too, with the error in it", async () => {
    const failed = await cli(
      "simulate",
      scenario,
      "--set",
      "link.per=0.9",
      "--set",
      "transport=coap",
      "--set",
      "maxHours=0.001",
      "--json",
    );
    expect([failed.code, failed.stdout.trim().split("\n").length]).toEqual([1, 1]);
    expect(lastJson(failed.stdout)).toMatchObject({ motes: 3, updated: 0, error: { reason: "nothing-updated" } });
  });

  it("writes summary, table, page and capture, and compares with an earlier summary", async () => {
    const out = join(folder, "out");
    const pcap = join(folder, "run.pcap");
    const first = await cli("simulate", scenario, "--seeds", "2", "--out", out, "--pcap", pcap);
    expect(first.code, first.stderr).toBe(0);
    const summary = JSON.parse(readFileSync(join(out, "summary.json"), "utf8")) as Record<string, unknown>;
    expect(summary).toMatchObject({ schema: "blockferry.simulation", version: 1, scenario: "small", seeds: [1, 2] });
    const lines = readFileSync(join(out, "nodes.csv"), "utf8").trim().split("\n");
    expect(lines).toHaveLength(1 + 2 * 3);
    expect(lines[0]).toMatch(/^seed,case,mote,hops,/);
    const page = readFileSync(join(out, "report.html"), "utf8");
    expect(page).toMatch(/^<!doctype html>/);
    expect(page).not.toMatch(/(?:src|href)="http/);
    for (const part of ["Who has it when", "Bytes on air by layer", "Map, links and load", "One mote", "limit"])
      expect(page).toContain(part);
    expect(readFileSync(pcap).readUInt32LE(20)).toBe(195);
    const again = await cli("simulate", scenario, "--seeds", "2", "--compare", join(out, "summary.json"), "--json");
    const { comparisons } = lastJson(again.stdout) as { comparisons: { ratio: number; significant: boolean }[] };
    expect(comparisons.length).toBeGreaterThan(0);
    for (const { ratio, significant } of comparisons) expect([ratio, significant]).toEqual([1, false]);
  });

  it.each([
    [["--set", "link.per"], /key=value/],
    [["--set", "link.color=3"], /color/],
    [["--seed", "5..1"], /seeds/],
    [["--jobs", "0"], /jobs/],
    [["--compare", "nowhere.json"], /nowhere\.json/],
    [["--set", "topology={kind: disc, radiusM: 5}"], /path-loss/],
    [["--set", "link={model: k7, file: none.k7}"], /none\.k7/],
  ])("a wrong option is named: %j", async (options, message) => {
    const result = await cli("simulate", scenario, ...options);
    expect(result.code, result.stderr).not.toBe(0);
    expect(result.stderr).toMatch(message);
  });

  it("carries real datagrams with --live, behind the modelled mesh", async () => {
    const gateway = createSocket("udp4");
    gateway.on("message", (bytes, from) => gateway.send(bytes.toReversed(), from.port, from.address));
    await new Promise<void>((resolve) => gateway.bind(0, "127.0.0.1", resolve));
    const client = createSocket("udp4");
    const answer = new Promise<string>((resolve) => client.on("message", (bytes) => resolve(bytes.toString())));
    const port = 25_900 + (process.pid % 100);
    const args = ["--live", "--port", String(port), "--gateway", `127.0.0.1:${gateway.address().port}`, "--json"];
    const running = cli("simulate", scenario, ...args, "--set", "link.per=0", "--seconds", "4");
    const asking = setInterval(() => client.send("ferry", port + 1, "127.0.0.1"), 200);
    expect(await answer).toBe("yrref");
    clearInterval(asking);
    const summary = lastJson((await running).stdout);
    expect(summary["frames"]).toBeGreaterThan(1);
    client.close();
    gateway.close();
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
