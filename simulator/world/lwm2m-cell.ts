import { szxOf } from "../../src/coap/blockwise/block.ts";
import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import type { Quirks } from "../../src/lwm2m/quirks.ts";
import { DEFAULT_POLICY, type UpdateJob } from "../../src/lwm2m/update/job.ts";
import { toHex } from "../../src/util/bytes.ts";
import { randomBytes } from "../../src/util/random.ts";
import { Engine } from "../engine/engine.ts";
import { SeededRandom } from "../engine/random.ts";
import { Trace } from "../engine/trace-hash.ts";
import { EnergyLedger } from "../mote/energy.ts";
import { BEHAVIOURS } from "../mote/lwm2m/behaviour.ts";
import { Lwm2mMote } from "../mote/lwm2m/lwm2m-mote.ts";
import type { ChipProfile } from "../mote/profile.ts";
import { Medium } from "../radio/medium.ts";
import type { Case } from "../scenarios/scenario.ts";
import { linksOf, startUs } from "./cell.ts";
import { FACTORY_SEQUENCE, GATEWAY_ID, GatewayNode, newMac, parametersOf, TARGET_SEQUENCE } from "./gateway-node.ts";
import { nodeAddress, SimNode } from "./node.ts";

export interface SimClient {
  readonly id: number;
  readonly name: string;
  readonly behaviour: string;
  readonly mote: Lwm2mMote;
  readonly node: SimNode;
  readonly ledger: EnergyLedger;
  /** How its update ended, in the gateway's words. */
  outcome: string;
  startedUs: number;
  finishedUs: number | undefined;
}

/** An update is told to each client once it is registered; until then it is looked for this often. */
const LOOK_US = 5_000_000;

/** One cell of LwM2M clients, whose updates the gateway runs. */
export class Lwm2mCell {
  readonly engine: Engine = new Engine();
  readonly medium: Medium;
  readonly motes: SimClient[] = [];
  readonly random: SeededRandom;
  readonly run: Case;
  readonly gateway: GatewayNode;
  readonly #updating = new Set<string>();

  constructor(run: Case, profile: ChipProfile, seed: number, quirks: readonly Quirks[]) {
    this.run = run;
    this.random = new SeededRandom(seed, run.name);
    this.medium = new Medium(this.engine, linksOf(run.link, this.random));
    const content = this.random.fork("content");
    this.gateway = new GatewayNode(this, content, quirks);
    const behaviours = run.lwm2m.clients.flatMap(({ behaviour, count }) =>
      Array.from({ length: count }, () => behaviour),
    );
    for (let id = 1; id <= run.motes; id++)
      this.motes.push(this.#addMote(id, behaviours[id - 1] ?? "good", profile, content));
    this.gateway.scheduleFaults();
  }

  /** Runs until the gateway has a verdict on every client, or the scenario's time is over. */
  runAll(): void {
    // Their wakes are spread over the interval: a fleet does not wake as one.
    const spreadUs = (this.run.lwm2m.queue?.wakeIntervalS ?? 1) * 1e6;
    for (const sim of this.motes) {
      sim.startedUs = startUs(this.random, sim.id) + Math.floor(((sim.id - 1) * spreadUs) / this.run.motes);
      this.engine.at(sim.startedUs, () => sim.node.run(sim.mote).call((nowUs) => sim.mote.start(nowUs)));
    }
    const look = (): void => {
      this.#look();
      this.engine.after(LOOK_US, look);
    };
    this.engine.after(LOOK_US, look);
    const untilUs = Math.round(this.run.maxHours * 3.6e9);
    this.engine.run(untilUs, () => this.motes.every(({ finishedUs }) => finishedUs !== undefined));
    for (const { ledger } of this.motes) ledger.setRadio(this.engine.nowUs(), ledger.radio);
  }

  /** The gateway's verdict on each client has to be what its flash says. */
  check(): string[] {
    const violations: string[] = [];
    for (const { id, mote, outcome, behaviour } of this.motes) {
      const runs = mote.runs(this.gateway.image);
      if (mote.sequenceNumber === undefined) violations.push(`mote ${id} is bricked`);
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
    const { image } = this.gateway;
    this.gateway.call((core, nowUs) => {
      const { devices } = core;
      for (const sim of this.motes) {
        const job = devices.updates.get(sim.name);
        if (job?.endedMs !== undefined && sim.finishedUs === undefined) this.#finish(sim, job);
        if (job !== undefined || this.#updating.has(sim.name) || devices.get(sim.name) === undefined) continue;
        const digest = toHex(nobleCrypto.sha256(image));
        const target = { object: [5, 0], digest, size: image.length, version: `${TARGET_SEQUENCE}.0.0` };
        const taken = (): void => void this.#updating.add(sim.name);
        devices.updates.start(nowUs, sim.name, [target], { ...DEFAULT_POLICY, graceS: this.run.lwm2m.graceS }, taken);
      }
      devices.settle(nowUs);
    });
  }

  #finish(sim: SimClient, { state, reason, method }: UpdateJob): void {
    sim.outcome = state === "succeeded" ? `updated by ${method}` : `${state}: ${reason}`;
    sim.finishedUs = this.engine.nowUs();
    this.engine.trace.note(Trace.STATE, this.engine.nowUs(), sim.id, sim.outcome.length);
    sim.node.stop();
    sim.node.mac.turnOff();
  }

  #addMote(id: number, behaviour: string, profile: ChipProfile, content: SeededRandom): SimClient {
    const ledger = new EnergyLedger(profile, "sleep", 0);
    const mac = newMac(this, id, ledger);
    const node = new SimNode(this.engine, mac, this.run.reassemblyBuffers);
    const { blockBytes, lwm2m } = this.run;
    const { classId, author, image } = this.gateway;
    const mote = new Lwm2mMote({
      profile,
      classId,
      blockBytes,
      crypto: nobleCrypto,
      anchors: [author.publicKey],
      random: this.random.fork(`mote-${id}`),
      server: nodeAddress(GATEWAY_ID),
      endpointName: `mote-${id}`,
      lifetimeS: lwm2m.lifetimeS,
      version: "1.1",
      queueMode: lwm2m.queue,
      object: [5, 0],
      behaviour: BEHAVIOURS[behaviour]!,
      szx: szxOf(blockBytes)!,
      parameters: parametersOf(this.run),
      policy: { backoffUs: 5e6, maxBackoffUs: 3e8, maxFailures: 10_000 },
      maxImageBytes: Math.max(image.length, 4096),
      factoryImage: { bytes: randomBytes(content, 2048), sequenceNumber: FACTORY_SEQUENCE },
      onBusy: (state, us) => ledger.spend(state, us),
      onRadio: (_nowUs, on) => (on ? mac.turnOn() : mac.turnOff()),
    });
    const fixed = { id, name: `mote-${id}`, behaviour, mote, node, ledger };
    return { ...fixed, outcome: "unfinished", startedUs: 0, finishedUs: undefined };
  }
}

/** What the gateway has to find out of a client, whatever that says of itself; a good one is updated by either way. */
const EXPECTED: Readonly<Record<string, string>> = {
  "pull-only": "updated by pull",
  "push-only": "updated by push",
  wakaama: "updated by push",
  "boots-old": "failed: old-version",
  vanishes: "failed: silent",
};
