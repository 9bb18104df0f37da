import { uintBelow } from "../../src/util/random.ts";
import { CslChild } from "../mac/csl.ts";
import { CsmaMac } from "../mac/csma.ts";
import type { LinkLayer, MacParts } from "../mac/link-layer.ts";
import { LplMac } from "../mac/lpl.ts";
import { SleepyChild } from "../mac/sleepy.ts";
import { TschMac } from "../mac/tsch.ts";
import type { EnergyLedger } from "../mote/energy.ts";
import type { Datagram } from "../network/datagram.ts";
import { depths, DIRECT, spanningTree, treeRouters } from "../network/router.ts";
import { RplRouter } from "../network/rpl.ts";
import { toDbm } from "../radio/ber.ts";
import type { Channel } from "../radio/channel.ts";
import { PHY, REFERENCE_AIR_BYTES } from "../radio/phy.ts";
import { GATEWAY_ID, type Air } from "./air.ts";
import { SimNode, type Wire } from "./node.ts";

/** Between two border routers, by wire. */
const WIRE_US = 1_000;
const GATEWAY_QUEUE_FRAMES = 256;

/** All nodes of a scenario with their MACs and routers, and the tree that static routing takes. */
export class Mesh implements Wire {
  readonly nodes: SimNode[] = [];
  /** By node; -1 for roots and what is cut off. With RPL, the tree that it should find. */
  readonly parents: Int32Array;
  readonly depth: Int32Array;
  readonly #air: Air;
  /** The border router through which a node is reached. */
  readonly #rootOf = new Map<number, number>();
  readonly rpl: RplRouter[] = [];

  constructor(air: Air, ledgerOf: (id: number) => EnergyLedger | undefined) {
    this.#air = air;
    const { topology, isCell, scope, run } = air;
    this.parents = spanningTree(
      topology.nodes,
      topology.roots,
      (id) => topology.channel.neighbours(id),
      (from, to) => this.#etx(from, to),
      (id) => this.isRouter(id),
    );
    this.depth = depths(this.parents, topology.roots);
    const tree = treeRouters(this.parents);
    const macs = Array.from({ length: topology.nodes }, (_, id) => this.#newMac(id, ledgerOf(id)));
    for (const [id, mac] of macs.entries()) {
      const router = isCell ? DIRECT : run.network.routing === "static" ? tree[id]! : DIRECT;
      const { fragments, reassemblyBuffers } = run.network;
      const isRoot = topology.roots.includes(id);
      const { securityBytes } = air.csma;
      const buffers = isRoot ? 16 : reassemblyBuffers;
      const parameters = { scope, fragments, reassemblyBuffers: buffers, securityBytes };
      const node = new SimNode(air.engine, mac, router, parameters);
      if (isRoot && topology.roots.length > 1) node.wire = this;
      if (!isCell && run.network.routing === "rpl") node.router = this.#newRpl(node);
      this.nodes.push(node);
    }
    for (let id = 0; id < topology.nodes; id++) this.#rootOf.set(id, this.#rootAbove(id));
  }

  get channel(): Channel {
    return this.#air.topology.channel;
  }

  /** Whether a node forwards for others. */
  isRouter(id: number): boolean {
    const { run, topology } = this.#air;
    if (topology.roots.includes(id)) return true;
    const { kind } = run.mac;
    const sleepyByDefault = kind === "sleepy" || kind === "csl";
    return id <= (run.network.routers ?? (sleepyByDefault ? 0 : run.motes));
  }

  takes(at: number, to: number): boolean {
    return at !== GATEWAY_ID && to === GATEWAY_ID;
  }

  carry(at: number, datagram: Datagram): boolean {
    if (datagram.scope === "link") return false;
    const root = at === GATEWAY_ID ? (this.#rootOf.get(datagram.to) ?? GATEWAY_ID) : GATEWAY_ID;
    if (root === at || (at !== GATEWAY_ID && datagram.to !== GATEWAY_ID)) return false;
    this.#air.engine.after(WIRE_US, () => {
      if (root === GATEWAY_ID) this.nodes[GATEWAY_ID]!.deliver(datagram);
      else this.nodes[root]!.send(datagram);
    });
    return true;
  }

  /** Turns on all that takes no update: border routers, and those that are only there to forward. */
  start(): void {
    const { topology, run } = this.#air;
    for (const { id, mac, router } of this.nodes) {
      if (!topology.roots.includes(id) && (run.only ?? id) === id) continue;
      mac.turnOn();
      router.start?.();
    }
  }

  #rootAbove(id: number): number {
    let at = id;
    while (this.parents[at]! >= 0) at = this.parents[at]!;
    return at;
  }

  /** Expected transmissions of a full frame that is acknowledged: the mean of both ways, since half of the datagrams go each. */
  #etx(from: number, to: number): number {
    const { topology, run } = this.#air;
    const { channel } = topology;
    // Who only looks now and then does not wake for what is below its CCA, though it could receive it.
    const wakes = (a: number, b: number): number => (run.mac.kind === "lpl" ? channel.senseRatio(a, b) : 1);
    const oneWay = (a: number, b: number): number =>
      1 /
      (wakes(a, b) *
        channel.deliveryRatio(a, b, REFERENCE_AIR_BYTES) *
        channel.deliveryRatio(b, a, PHY.headerBytes + PHY.ackPsduBytes));
    return (oneWay(from, to) + oneWay(to, from)) / 2;
  }

  #newRpl(node: SimNode): RplRouter {
    const { engine, random, channel, topology } = this.#air;
    const { id } = node;
    const router = new RplRouter({
      id,
      root: topology.roots.includes(id),
      engine,
      random: random.fork(`rpl-${id}`),
      send: (datagram) => node.send(datagram),
      firstEtx: (neighbour) => firstEtx(toDbm(channel.powerMw(neighbour, id, engine.nowUs()))),
      onRoute: (target) => this.#rootOf.set(target, id),
    });
    this.rpl[id] = router;
    return router;
  }

  #newMac(id: number, ledger: EnergyLedger | undefined): LinkLayer {
    const { engine, medium, run, topology, tsch, csma, random } = this.#air;
    const { mac } = run;
    const isRoot = topology.roots.includes(id);
    const parameters = isRoot ? { ...csma, queueFrames: GATEWAY_QUEUE_FRAMES } : csma;
    const parts: MacParts = { id, engine, medium, random: random.fork(`mac-${id}`), parameters, ledger };
    if (mac.kind === "tsch") return new TschMac(parts, tsch);
    if (mac.kind === "lpl") {
      const { lplIntervalMs, lplPhaseLock: phaseLock } = mac;
      const lpl = new LplMac(parts, { intervalUs: lplIntervalMs * 1_000, checkUs: LPL_CHECK_US, phaseLock });
      medium.onBusy[id] = () => lpl.onBusy();
      return lpl;
    }
    const csmaMac = new CsmaMac(parts);
    csmaMac.indirect.limits = { ...csmaMac.indirect.limits, framesPerChild: mac.framesPerChild };
    if (isRoot || this.isRouter(id) || mac.kind === "csma") return csmaMac;
    medium.setOn(id, false);
    return this.#newChild(csmaMac, parts);
  }

  /** A child that sleeps; its parent holds frames for it. */
  #newChild(mac: CsmaMac, parts: MacParts): LinkLayer {
    const { engine, run, isCell } = this.#air;
    const parent = isCell ? GATEWAY_ID : this.parents[mac.id]!;
    const adopt = (nextSampleUs?: () => number): void => {
      // Parents exist once all MACs do.
      engine.at(0, () => {
        const above = parent < 0 ? undefined : this.nodes[parent]!.mac;
        if (above instanceof CsmaMac) above.indirect.adopt(mac.id, nextSampleUs);
      });
    };
    if (run.mac.kind === "csl") {
      const child = new CslChild(mac, parts, run.mac.cslPeriodMs * 1_000, run.mac.cslWindowMs * 1_000);
      adopt(() => child.nextSampleUs());
      return child;
    }
    adopt();
    const { pollIdleS, pollFastMs, fastForMs, frameWaitMs } = run.mac;
    const fast = { fastUs: pollFastMs * 1e3, fastForUs: fastForMs * 1e3 };
    const periods = { idleUs: pollIdleS * 1e6, ...fast, frameWaitUs: frameWaitMs * 1e3 };
    return new SleepyChild(mac, parts, periods, () => (parent < 0 ? undefined : parent));
  }
}

/** Two CCAs and the gap between them (ContikiMAC). */
const LPL_CHECK_US = 900;

/** Contiki-NG's guess from the received power: 1 from -60 dBm on, 3 at -90. */
function firstEtx(dbm: number): number {
  return Math.min(3, Math.max(1, 1 + (-60 - dbm) / 15));
}

/** When a mote begins: spread over `withinS`, not all at once. */
export function startUs({ random, run }: Air, id: number): number {
  return uintBelow(random.fork(`start-${id}`), Math.round(run.startWithinS * 1e6)) + 500_000;
}
