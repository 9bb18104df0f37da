import { execFileSync } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { caseD } from "../../bench/simulator.ts";
import { temporaryFolder } from "../support/process.ts";
import { nrf52840 } from "../support/simulation.ts";
import { noShared, SHARED } from "../support/shared.ts";
import { haveTool } from "../support/tool.ts";

const LIBRARIES =
  "lr-wpan sixlowpan internet mobility propagation spectrum antenna bridge traffic-control stats network core";

function haveNs3(): boolean {
  if (!haveTool("g++", "g++")) return false;
  if (existsSync("/usr/include/ns3")) return true;
  const message = "libns3-dev is not installed (apt-get install libns3-dev)";
  if (process.env["CI"] !== undefined) throw new Error(`CI must run the interop tests: ${message}`);
  console.warn(`SKIPPED: comparison with ns-3: ${message}`);
  return false;
}

describe.skipIf(noShared || !haveNs3())("case D beside ns-3's lr-wpan", () => {
  const program = join(temporaryFolder(), "ns3-bench");

  function ns3(nodes: number): { frames: number; replies: number; requests: number } {
    if (!existsSync(program)) {
      const libraries = LIBRARIES.split(" ").map((name) => `-lns3-${name}`);
      const source = join(SHARED, "tools/ns3-lrwpan-bench.cc");
      execFileSync("g++", ["-O1", "-std=c++17", source, "-o", program, "-Wl,--no-as-needed", ...libraries]);
    }
    const args = ["--t=600", "--mode=udp", "--star=0", "--mh=1", "--spacing=40", "--period=1", "--maxloss=112"];
    const out = execFileSync(program, [`--n=${nodes}`, ...args]).toString();
    const figure = (name: string): number => Number(new RegExp(`\\b${name}=(\\d+)`).exec(out)?.[1]);
    return { frames: figure("phyTx"), replies: figure("resp"), requests: figure("req") };
  }

  it.each([10, 500])("%i nodes: replies and frames within 15 %", (nodes) => {
    const [theirs, ours] = [ns3(nodes), caseD(nodes, 600, nrf52840)];
    expect(Math.abs(ours.replies / theirs.replies - 1)).toBeLessThan(0.15);
    expect(Math.abs(ours.frames / theirs.frames - 1)).toBeLessThan(0.15);
  });

  it("100 nodes: ns-3 sends a fifth more, and that is its neighbour discovery", () => {
    const [theirs, ours] = [ns3(100), caseD(100, 600, nrf52840)];
    expect(Math.abs(ours.replies / theirs.replies - 1)).toBeLessThan(0.15);
    // Counted by size in ns-3: 2,484 frames of 81 bytes are neighbour solicitations and advertisements, each of them
    // acknowledged, 751 more are router solicitations and the like. We have no neighbour discovery.
    const discovery = 2 * 2_484 + 751;
    expect(Math.abs(ours.frames / (theirs.frames - discovery) - 1)).toBeLessThan(0.03);
  });
});
