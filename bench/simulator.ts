import { CoapEndpoint } from "../src/coap/endpoint.ts";
import { Code, Option } from "../src/coap/numbers.ts";
import { textOptions } from "../src/coap/options.ts";
import { Router } from "../src/coap/router.ts";
import { readQuirks } from "../src/cli/lwm2m-policy.ts";
import { runJob } from "../src/cli/simulation/job.ts";
import { loadSimulation } from "../src/cli/simulation/load.ts";
import type { RunLoop } from "../src/host/run-loop.ts";
import { Engine } from "../simulator/engine/engine.ts";
import { SeededRandom } from "../simulator/engine/random.ts";
import { CsmaMac } from "../simulator/mac/csma.ts";
import { DEFAULT_CSMA } from "../simulator/mac/link-layer.ts";
import { EnergyLedger } from "../simulator/mote/energy.ts";
import { parseProfile, type ChipProfile } from "../simulator/mote/profile.ts";
import { treeRouters } from "../simulator/network/router.ts";
import { Medium } from "../simulator/radio/medium.ts";
import { PathLossChannel } from "../simulator/radio/path-loss.ts";
import { nodeAddress } from "../simulator/world/address.ts";
import { SimNode } from "../simulator/world/node.ts";
import { readFileSync } from "node:fs";

/*
 * Case D: a grid, 40 m apart, whose sink asks one node after the other, each second, over a tree along rows and
 * columns; requests of 8 bytes, answers of 64. The same as the case of that name for ns-3's lr-wpan, with CoAP,
 * 6LoWPAN and an energy ledger for each node in it.
 */
export interface CaseD {
  readonly nodes: number;
  readonly seconds: number;
  readonly requests: number;
  readonly replies: number;
  /** Data frames and acknowledgements. */
  readonly frames: number;
  readonly wallS: number;
  readonly framesPerS: number;
  readonly simSPerS: number;
  readonly usPerFrame: number;
  readonly rssMb: number;
  /** Of all nodes, in J. */
  readonly energyJ: number;
  readonly traceHash: string;
}

/** ns-3's receiver: sensitive to -106.58 dBm, which its noise follows from; CCA 10 dB above that; no capture. */
const RECEIVER = { noiseDbm: -107.6, sensitivityDbm: -106.58, ccaDbm: -96.58, captureDb: 0 };
const LINKS = {
  exponent: 3,
  referenceDb: 46.67,
  sigmaDb: 0,
  nodeSigmaDb: 0,
  fadingSigmaDb: 0,
  fadingS: 150,
  txDbm: 0,
  cutDbm: -112,
};
const SPACING_M = 40;
const FIRST_US = 5_000_000;
const ANSWER = new Uint8Array(57).fill(0x20);
const ASKED = { code: Code.GET, options: textOptions(Option.URI_PATH, ["s"]) };

export function caseD(nodes: number, seconds: number, chip: ChipProfile): CaseD {
  const engine = new Engine();
  const random = new SeededRandom(1, "case-d");
  const columns = Math.ceil(Math.sqrt(nodes));
  const positions = Array.from({ length: nodes }, (_, id) => ({
    x: (id % columns) * SPACING_M,
    y: Math.floor(id / columns) * SPACING_M,
  }));
  const medium = new Medium(engine, new PathLossChannel(LINKS, RECEIVER, positions, random), RECEIVER);
  const parents = Int32Array.from({ length: nodes }, (_, id) =>
    id === 0 ? -1 : id % columns === 0 ? id - columns : id - 1,
  );
  const routers = treeRouters(parents);
  const ledgers = positions.map(() => new EnergyLedger(chip, "listen", 0));
  const net = { scope: "mesh", fragments: "reassemble", reassemblyBuffers: 2, securityBytes: 0 } as const;
  const all = positions.map((_, id) => {
    const parameters = DEFAULT_CSMA;
    const mac = new CsmaMac({ id, engine, medium, random: random.fork(`mac-${id}`), parameters, ledger: ledgers[id] });
    return new SimNode(engine, mac, routers[id]!, net);
  });
  const router = new Router(6, () => new Uint8Array(32));
  router.add(["s"], { get: () => ({ code: Code.CONTENT, payload: ANSWER }) });
  for (const node of all.slice(1))
    node.run(new CoapEndpoint({ random: random.fork(`mote-${node.id}`), handler: router, tokenLength: 2 }));
  const sink = new CoapEndpoint({ random: random.fork("sink"), tokenLength: 2 });
  const counts = { requests: 0, replies: 0 };
  const loop: RunLoop = all[0]!.run(sink);
  all[0]!.onSettled = () => {
    for (let event = sink.pollEvent(); event !== undefined; event = sink.pollEvent())
      if (event.kind === "response") counts.replies++;
  };
  const ask = (next: number): void => {
    loop.call((nowUs) => sink.request(nowUs, nodeAddress(next, "mesh"), ASKED));
    counts.requests++;
    engine.after(1_000_000, () => ask(next + 1 < nodes ? next + 1 : 1));
  };
  engine.at(FIRST_US, () => ask(1));
  const startMs = performance.now();
  engine.run(seconds * 1e6, () => false);
  const wallS = (performance.now() - startMs) / 1_000;
  let energyJ = 0;
  for (const ledger of ledgers) {
    ledger.setRadio(engine.nowUs(), ledger.radio);
    energyJ += ledger.totalUj() / 1e6;
  }
  const frames = medium.counters.frames + medium.counters.acks;
  return {
    nodes,
    seconds,
    ...counts,
    frames,
    wallS,
    framesPerS: frames / wallS,
    simSPerS: seconds / wallS,
    usPerFrame: (wallS * 1e6) / frames,
    rssMb: process.memoryUsage().rss / 1_048_576,
    energyJ,
    traceHash: engine.trace.digest(),
  };
}

/** The speed that is claimed: several sizes, the median of three runs each, after one to warm up. */
export function* caseDRows(): Generator<CaseD> {
  const file = new URL("../../simulator/profiles/nrf52840.json", import.meta.url);
  const chip = parseProfile(JSON.parse(readFileSync(file, "utf8")));
  caseD(100, 300, chip);
  for (const [nodes, seconds] of [
    [100, 3_600],
    [500, 3_600],
    [2_000, 1_800],
  ] as const) {
    const runs = [1, 2, 3].map(() => caseD(nodes, seconds, chip)).toSorted((a, b) => a.wallS - b.wallS);
    yield runs[1]!;
  }
}

/** Whole scenarios, once each: S4, and a day of S6 over which its motes begin. */
export function* scenarioRows(): Generator<{
  readonly scenario: string;
  readonly wallS: number;
  readonly simS: number;
  readonly frames: number;
  readonly updated: string;
}> {
  const day = ["startWithinS=86400", "maxHours=25"];
  for (const [scenario, set] of [
    ["s4-grid-100", []],
    ["s6-thread-home", day],
  ] as const) {
    const { report } = runJob(loadSimulation(scenario, { set }), readQuirks(undefined), { index: 0, seed: 1 });
    const { wallSeconds, simSeconds, air, updated, motes } = report;
    yield { scenario, wallS: wallSeconds, simS: simSeconds, frames: air.frames, updated: `${updated} of ${motes}` };
  }
}
