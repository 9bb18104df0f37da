import { szxOf } from "../../src/coap/blockwise/block.ts";
import type { Gateway } from "../../src/gateway/gateway.ts";
import type { Quirks } from "../../src/lwm2m/quirks.ts";
import { DEFAULT_POLICY, type UpdateJob } from "../../src/lwm2m/update/job.ts";
import { randomBytes } from "../../src/util/random.ts";
import { checkBoot } from "../checkers/end-checks.ts";
import { bytesEqual } from "../../src/util/bytes.ts";
import { Trace } from "../engine/trace-hash.ts";
import type { EnergyLedger } from "../mote/energy.ts";
import { BEHAVIOURS } from "../mote/lwm2m/behaviour.ts";
import type { QueueMode } from "../mote/lwm2m/client-parts.ts";
import { Lwm2mMote } from "../mote/lwm2m/lwm2m-mote.ts";
import type { ChipProfile } from "../mote/profile.ts";
import type { Case } from "../scenarios/case.ts";
import { nodeAddress } from "./address.ts";
import { GATEWAY_ID, openAir, parametersOf, type Air, type RunOptions } from "./air.ts";
import { inject } from "./faults.ts";
import { isCutOff, newLedgers, NOT_STARTED, restUnlessRouter, runUntil } from "./fleet.ts";
import { FACTORY_SEQUENCE, GatewayNode } from "./gateway-node.ts";
import { Mesh, startUs } from "./mesh.ts";
import type { SimNode } from "./node.ts";
import { ArrivalLog } from "./progress.ts";
import { moteCrypto } from "./mote-crypto.ts";

export interface SimClient {
  readonly id: number;
  readonly name: string;
  readonly behaviour: string;
  readonly mote: Lwm2mMote;
  readonly node: SimNode;
  readonly ledger: EnergyLedger;
  readonly log: ArrivalLog;
  /** How its update ended, in the gateway's words. */
  outcome: string;
  startedUs: number;
  finishedUs: number | undefined;
}

/** One client otherwise than the scenario has them all. */
export interface ClientPlan {
  readonly name: string;
  readonly behaviour: string;
  readonly lifetimeS: number;
  readonly queue: QueueMode | undefined;
}

/** What a cell does in place of updating each client once it is there. */
export interface CellPlan {
  readonly clients: readonly ClientPlan[];
  /** Called twice a second, with the gateway that runs. */
  readonly direct: (core: Gateway, nowUs: number, cell: Lwm2mCell) => void;
}

/** An update is told to each client once it is registered; until then it is looked for this often. */
const LOOK_US = 5_000_000;
/** What directs a cell sees what happens within this. */
const DIRECT_US = 500_000;

/** One cell of LwM2M clients, whose updates the gateway runs. */
export class Lwm2mCell {
  readonly air: Air;
  readonly mesh: Mesh;
  readonly motes: SimClient[] = [];
  readonly gateway: GatewayNode;
  /** What they run at first. */
  readonly factory: Uint8Array;
  readonly #plan: CellPlan | undefined;

  constructor(
    run: Case,
    profile: ChipProfile,
    seed: number,
    options: RunOptions,
    quirks: readonly Quirks[],
    plan?: CellPlan,
  ) {
    this.#plan = plan;
    this.air = openAir(run, seed, options);
    const ledgers = newLedgers(run, profile);
    this.mesh = new Mesh(this.air, (id) => ledgers[id]);
    const content = this.air.random.fork("content");
    this.gateway = new GatewayNode(this.air, this.mesh, content, quirks);
    this.factory = randomBytes(content, 2048);
    const behaviours = run.lwm2m.clients.flatMap(({ behaviour, count }) =>
      Array.from({ length: count }, () => behaviour),
    );
    for (let id = 1; id <= run.motes; id++)
      if (id === (run.only ?? id))
        this.motes.push(
          this.#addMote(
            id,
            plan?.clients[id - 1] ?? {
              name: `mote-${id}`,
              behaviour: behaviours[id - 1] ?? "good",
              lifetimeS: run.lwm2m.lifetimeS,
              queue: run.lwm2m.queue,
            },
            profile,
            ledgers[id]!,
          ),
        );
    this.gateway.scheduleFaults();
    inject(this.air, this.motes);
  }

  /** Runs until the gateway has a verdict on every client, or the scenario's time is over. */
  runAll(onProgress?: (finished: number, nowUs: number) => void): void {
    const { engine, run } = this.air;
    this.mesh.start();
    // Their wakes are spread over the interval: a fleet does not wake as one.
    for (const sim of this.motes) {
      const queue = this.#plan === undefined ? run.lwm2m.queue : this.#plan.clients[sim.id - 1]?.queue;
      const spreadUs = (queue?.wakeIntervalS ?? 1) * 1e6;
      sim.startedUs = startUs(this.air, sim.id) + Math.floor(((sim.id - 1) * spreadUs) / run.motes);
      engine.at(sim.startedUs, () => {
        sim.node.router.start?.();
        sim.node.run(sim.mote).call((nowUs) => sim.mote.start(nowUs));
      });
    }
    const everyUs = this.#plan === undefined ? LOOK_US : DIRECT_US;
    const look = (): void => {
      this.#look();
      engine.after(everyUs, look);
    };
    engine.after(everyUs, look);
    runUntil(this.air, this.motes, onProgress);
  }

  /** The gateway's verdict on each client has to be what its flash says. */
  check(): string[] {
    const violations: string[] = [];
    for (const { id, mote, outcome, behaviour } of this.motes) {
      if (outcome === NOT_STARTED) continue;
      const runs = mote.runs(this.gateway.image);
      const booted = { sequenceNumber: mote.sequenceNumber, runsTarget: runs, runsFactory: mote.runs(this.factory) };
      violations.push(...checkBoot(id, booted, FACTORY_SEQUENCE, false));
      if (outcome.startsWith("updated") !== runs && !mote.gone)
        violations.push(`mote ${id}: ${outcome}, but it ${runs ? "runs" : "does not run"} the image`);
      const expected = EXPECTED[behaviour];
      if (expected !== undefined && outcome !== expected)
        violations.push(`mote ${id}, ${behaviour}: ${outcome}, not ${expected}`);
    }
    return violations;
  }

  /** Tells clients to update that have registered since, and takes the gateway's verdicts. */
  #look(): void {
    const plan = this.#plan;
    if (plan !== undefined) return this.gateway.call((core, nowUs) => plan.direct(core, nowUs, this));
    const policy = { ...DEFAULT_POLICY, graceS: this.air.run.lwm2m.graceS };
    this.gateway.call((core, nowUs) => {
      const { devices } = core;
      for (const sim of this.motes) {
        const job = devices.updates.get(sim.name);
        if (job?.endedMs !== undefined && sim.finishedUs === undefined) this.finish(sim, outcomeOf(job));
        if (job === undefined && devices.get(sim.name) !== undefined)
          devices.updates.start(nowUs, sim.name, [this.gateway.target], policy, () => {});
      }
      devices.settle(nowUs);
    });
  }

  /** What the run was about is over for this client. */
  finish(sim: SimClient, outcome: string): void {
    sim.outcome = outcome;
    const { engine } = this.air;
    sim.finishedUs = engine.nowUs();
    engine.trace.note(Trace.STATE, engine.nowUs(), sim.id, sim.outcome.length);
    sim.node.stop();
    restUnlessRouter(this.air, this.mesh, sim.node);
  }

  #addMote(id: number, client: ClientPlan, profile: ChipProfile, ledger: EnergyLedger): SimClient {
    const { name, behaviour, lifetimeS, queue } = client;
    const { random, run, scope } = this.air;
    const node = this.mesh.nodes[id]!;
    const { blockBytes } = run;
    const { classId, author, image } = this.gateway;
    const mote = new Lwm2mMote({
      profile,
      classId,
      blockBytes,
      crypto: moteCrypto,
      anchors: [author.publicKey],
      random: random.fork(`mote-${id}`),
      server: nodeAddress(GATEWAY_ID, scope),
      endpointName: name,
      lifetimeS,
      version: "1.1",
      queueMode: queue,
      object: [5, 0],
      behaviour: BEHAVIOURS[behaviour]!,
      szx: szxOf(blockBytes)!,
      parameters: parametersOf(run),
      policy: { backoffUs: 5e6, maxBackoffUs: 3e8, maxFailures: 10_000 },
      maxImageBytes: Math.max(image.length, 4096),
      factoryImage: { bytes: this.factory, sequenceNumber: FACTORY_SEQUENCE },
      spareSlot: run.spareSlot,
      onBusy: (state, us) => ledger.spend(state, us),
      onRadio: (_nowUs, on) => (on ? node.mac.turnOn() : node.mac.turnOff()),
    });
    const { flash, layout } = mote;
    mote.refetch.unmarkedBytes = flash.geometry.sectorBytes;
    mote.refetch.inFlash = (offset, length) => {
      const address = layout.slotAddress[mote.client.booted?.slot === 0 ? 1 : 0] + offset;
      return bytesEqual(flash.read(address, length), image.subarray(offset, offset + length));
    };
    const log = new ArrivalLog(image.length);
    node.onSettled = () => log.note(this.air.engine.nowUs(), mote.imageBytesReceived, mote.boots);
    const outcome = isCutOff(this.air, this.mesh, id) ? "unreachable" : "unfinished";
    const fixed = { id, name, behaviour, mote, node, ledger, log };
    return { ...fixed, outcome, startedUs: 0, finishedUs: undefined };
  }
}

export const outcomeOf = ({ state, reason, method }: UpdateJob): string =>
  state === "succeeded" ? `updated by ${method}` : `${state}: ${reason}`;

/** What the gateway has to find out of a client, whatever that says of itself; a good one is updated by either way. */
const EXPECTED: Readonly<Record<string, string>> = {
  "pull-only": "updated by pull",
  "push-only": "updated by push",
  wakaama: "updated by push",
  "boots-old": "failed: old-version",
  vanishes: "failed: silent",
};
