import { describe, expect, it } from "vitest";
import { IidLinks, type Adjacency } from "../../simulator/radio/links.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { Trace } from "../../simulator/engine/trace-hash.ts";
import { depths, spanningTree, treeRouters } from "../../simulator/network/router.ts";
import { Cell } from "../../simulator/world/cell.ts";
import { Line, ScriptedCore } from "../support/mesh.ts";
import { nrf52840, reportOf, simulate, small } from "../support/simulation.ts";

const line = (length: number): Adjacency =>
  Array.from({ length }, (_, id) => [id - 1, id + 1].filter((other) => other >= 0 && other < length));
const links = (per: number, length: number): IidLinks => new IidLinks(per, line(length), new SeededRandom(3, "links"));

describe("trees of least expected transmissions", () => {
  it("go around a bad link, and leave out what has no way", () => {
    // 0 - 1 - 2, a bad direct link 0 - 2, and 3 alone.
    const costs: Readonly<Record<string, number>> = { "0-1": 1, "1-2": 1, "0-2": 5 };
    const cost = (a: number, b: number): number => costs[`${Math.min(a, b)}-${Math.max(a, b)}`] ?? Infinity;
    const parents = spanningTree(4, [0], () => [0, 1, 2, 3], cost);
    expect([...parents]).toEqual([-1, 0, 1, -1]);
    expect([...depths(parents, [0])]).toEqual([0, 1, 2, -1]);
    const routers = treeRouters(parents);
    expect([routers[0]!.nextHop(2), routers[1]!.nextHop(2), routers[2]!.nextHop(0)]).toEqual([1, 2, 1]);
  });

  it("lead to the nearest of several border routers, and not through what sleeps", () => {
    const chain = line(5);
    const parents = spanningTree(
      5,
      [0, 4],
      (id) => chain[id]!,
      () => 1,
    );
    expect([...parents]).toEqual([-1, 0, 1, 4, -1]);
    const asleep = spanningTree(
      5,
      [0],
      (id) => chain[id]!,
      () => 1,
      (id) => id !== 1,
    );
    expect([...asleep]).toEqual([-1, 0, -1, -1, -1]);
  });
});

describe.each(["reassemble", "forward", "recoverable"] as const)("datagrams over five hops, %s", (fragments) => {
  /** Sends `count` datagrams of so many bytes from one end to the other; how many arrived whole. */
  function carry(per: number, bytes: number, count: number, maxRetries = 3): { arrived: number; frames: number } {
    const mesh = new Line(links(per, 6), 6, { fragments }, maxRetries);
    const sink = new ScriptedCore();
    mesh.nodes[0]!.run(sink);
    const source = new ScriptedCore();
    const loop = mesh.nodes[5]!.run(source);
    const payload = Uint8Array.from({ length: bytes }, (_, i) => i * 7);
    for (let i = 0; i < count; i++) {
      loop.call(() => source.send(payload, mesh.address(0)));
      mesh.engine.run(Infinity, () => false);
    }
    // Whatever arrives is what was sent, byte for byte.
    for (const { bytes: got } of sink.received) expect(got).toEqual(payload);
    return { arrived: sink.received.length, frames: mesh.medium.counters.frames };
  }

  it("bring every one across where nothing is lost, whatever its length", () => {
    for (const bytes of [1, 60, 88, 89, 200, 512, 1_100]) expect(carry(0, bytes, 3).arrived, `${bytes} bytes`).toBe(3);
  });

  it("lose some where frames are lost, and mostly get across with MAC retries", () => {
    expect(carry(0.1, 512, 60).arrived).toBeGreaterThan(55);
  });

  it("without MAC retries only recovery helps", () => {
    const { arrived } = carry(0.1, 512, 60, 0);
    if (fragments === "recoverable") expect(arrived).toBeGreaterThan(30);
    else expect(arrived).toBeLessThan(30);
  });
});

describe("MACs bring the image to every mote, and cost what they should", () => {
  const cell = (changes: Readonly<Record<string, unknown>>): ReturnType<typeof simulate> =>
    simulate(small({ "link.per": 0.05, imageBytes: 8_192, "mac.maxRetries": 3, ...changes }), 1);
  const awake = cell({});

  it.each([
    ["sleepy", { "mac.pollFastMs": 200 }],
    ["csl", { "mac.cslPeriodMs": 200 }],
    ["lpl", { "coap.ackTimeoutMs": 4_000 }],
    ["tsch", { "mac.sharedSlots": 20, "coap.ackTimeoutMs": 4_000 }],
  ])("%s", (kind, changes) => {
    const { report, motes } = cell({ "mac.kind": kind, ...changes });
    expect(report.violations).toEqual([]);
    expect(report.updated).toBe(3);
    for (const mote of motes) expect(mote.dutyCycle).toBeLessThan(0.55);
    // Asleep most of the time: longer, and with less energy for listening each second, though who is awake rests too.
    const listening = ({ report: one }: typeof awake): number => one.energyMj.listen / one.simSeconds;
    expect(listening({ ...awake, report })).toBeLessThan(listening(awake) / 1.8);
  });

  it("low-power listening that knows when its neighbours look sends far fewer copies", () => {
    const sent = (phaseLock: boolean): number => {
      const mac = { "mac.kind": "lpl", "mac.lplPhaseLock": phaseLock, "coap.ackTimeoutMs": 4_000 };
      const { report } = cell(mac);
      expect([report.updated, report.violations]).toEqual([3, []]);
      return report.air.frames;
    };
    expect(sent(true)).toBeLessThan(sent(false) / 2.5);
  });

  it("low-power listening has no routes over links that wake nobody, though they could be received", () => {
    const run = (kind: string): Cell => {
      const grid = { topology: { kind: "grid", columns: 6, spacingM: 25 }, motes: 30, "mac.kind": kind };
      const link = { model: "path-loss", sigmaDb: 8, nodeSigmaDb: 1, fadingSigmaDb: 3, fadingS: 150 };
      return new Cell(small({ ...grid, link }), nrf52840, 1, { files: {} });
    };
    const weakest = ({ mesh }: Cell): number =>
      Math.min(...Array.from(mesh.parents.slice(1), (to, i) => mesh.channel.senseRatio(i + 1, to)));
    expect(weakest(run("csma"))).toBeLessThan(0.2);
    expect(weakest(run("lpl"))).toBeGreaterThan(0.3);
  });

  it("samples that nobody uses are paid for all the same", () => {
    const day = (kind: string): number => {
      const run = small({ motes: 1, "mac.kind": kind, "mac.cslPeriodMs": 500, "mac.cslWindowMs": 1, startWithinS: 1 });
      const cellOf = new Cell(run, nrf52840, 1, { files: {} });
      const node = cellOf.mesh.nodes[1]!;
      node.mac.turnOn();
      cellOf.air.engine.run(86_400e6, () => false);
      node.mac.settle?.(cellOf.air.engine.nowUs());
      const { ledger } = cellOf.motes[0]!;
      ledger.setRadio(cellOf.air.engine.nowUs(), ledger.radio);
      return ledger.us("listen") / 1e6;
    };
    expect(day("csl")).toBeCloseTo(86_400 * 2 * 0.001, 0); // two samples of 1 ms each second
    expect(day("lpl")).toBeCloseTo((86_400 / 0.125) * 0.0009, 0);
    expect(day("tsch")).toBeCloseTo((86_400 / 1.01) * 0.0022, 0);
  });
});

describe("a round trip that is longer than the first time-out", () => {
  it("is learnt by a mote that adapts, though its copies fill the channel at first", () => {
    const four = { topology: { kind: "line" }, motes: 4, only: 4, "mac.kind": "tsch", "link.per": 0, blockBytes: 64 };
    const seconds = (adaptive: boolean): number => reportOf(small({ ...four, adaptive }), 1).completionS.p50;
    expect(seconds(true)).toBeLessThan(seconds(false) / 4);
  });
});

describe("RPL", () => {
  const grid = { topology: { kind: "grid", columns: 4, spacingM: 30 }, motes: 15, imageBytes: 4_096, startWithinS: 60 };
  const radio = { link: { model: "path-loss", sigmaDb: 3 }, network: { routing: "rpl" }, maxHours: 4 };

  it("finds a tree by itself: every mote is updated", () => {
    const report = reportOf(small({ ...grid, ...radio, blockBytes: 256 }), 1);
    expect(report.outcomes).toEqual({ updated: 15 });
    expect(report.air.byLayer.routing).toBeGreaterThan(0);
  });

  it("finds another way when links go, and back when they have come again", () => {
    const faults = { partitions: [{ atS: 90, forS: 600 }] };
    const report = reportOf(small({ ...grid, ...radio, blockBytes: 256, faults }), 2);
    expect(report.outcomes).toEqual({ updated: 15 });
  });
});

describe("streams are apart", () => {
  it("another block size leaves placement and shadowing as they were", () => {
    const base = { topology: { kind: "disc", radiusM: 60 }, motes: 12, "link.model": "path-loss" };
    const of = (blockBytes: number): unknown => {
      const run = small({ ...base, link: { model: "path-loss", sigmaDb: 5 }, blockBytes });
      const cell = new Cell(run, nrf52840, 4, { files: {} });
      const { positions, channel } = cell.air.topology;
      return [positions, positions.map((_, a) => positions.map((__, b) => channel.powerMw(a, b, 0)))];
    };
    expect(of(64)).toEqual(of(512));
  });

  it("a copy under another name has the same ones where it says so", () => {
    const hash = (changes: object): string => reportOf(small({ motes: 2, ...changes }), 1).traceHash;
    expect(hash({ name: "copy", streams: "small" })).toBe(hash({}));
    expect(hash({ name: "copy" })).not.toBe(hash({}));
  });

  it("a frame more changes the trace, and the hash with it", () => {
    const run = small({ motes: 1 });
    const cell = new Cell(run, nrf52840, 1, { files: {} });
    const before = cell.air.engine.trace.digest();
    cell.air.engine.trace.frame(Trace.SEND, 1, 2, 3, 4, 5);
    expect(cell.air.engine.trace.digest()).not.toBe(before);
  });
});
