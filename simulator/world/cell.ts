import { szxOf } from "../../src/coap/blockwise/block.ts";
import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { randomBytes } from "../../src/util/random.ts";
import type { SeededRandom } from "../engine/random.ts";
import { Trace } from "../engine/trace-hash.ts";
import type { EnergyLedger } from "../mote/energy.ts";
import { Mote, type MoteOutcome } from "../mote/mote.ts";
import type { ChipProfile } from "../mote/profile.ts";
import type { Case } from "../scenarios/scenario.ts";
import { GATEWAY_ID, openAir, parametersOf, placeNode, runUntil, scheduleReboots, startUs, type Air } from "./air.ts";
import { FACTORY_SEQUENCE, GatewayNode, TARGET_SEQUENCE } from "./gateway-node.ts";
import { nodeAddress, type SimNode } from "./node.ts";

export interface SimMote {
  readonly id: number;
  readonly mote: Mote;
  readonly node: SimNode;
  readonly ledger: EnergyLedger;
  outcome: MoteOutcome | "unfinished";
  /** When it woke up and first looked for an update. */
  startedUs: number;
  finishedUs: number | undefined;
}

/** One cell: a gateway at its border router and motes one hop away, all running the real code in virtual time. */
export class Cell {
  readonly air: Air;
  readonly motes: SimMote[] = [];
  readonly gateway: GatewayNode;

  constructor(run: Case, profile: ChipProfile, seed: number) {
    this.air = openAir(run, seed);
    const content = this.air.random.fork("content");
    this.gateway = new GatewayNode(this.air, content);
    for (let id = 1; id <= run.motes; id++) this.motes.push(this.#addMote(id, profile, content));
    this.gateway.scheduleFaults();
    scheduleReboots(this.air, this.motes);
  }

  /** Runs until every mote has an outcome or the scenario's time is over. */
  runAll(): void {
    const { engine, random } = this.air;
    for (const sim of this.motes) {
      sim.startedUs = startUs(random, sim.id);
      engine.at(sim.startedUs, () => {
        sim.ledger.setRadio(engine.nowUs(), "listen");
        this.#boot(sim);
      });
    }
    const ledgers = this.motes.map(({ ledger }) => ledger);
    runUntil(this.air, ledgers, () => this.motes.every(({ outcome }) => outcome !== "unfinished"));
  }

  /** What must not be: a mote that claims the update and does not run the image, byte for byte; a brick. */
  check(): string[] {
    const violations: string[] = [];
    for (const { id, mote, outcome } of this.motes) {
      if (outcome === "bricked") violations.push(`mote ${id} is bricked`);
      if (outcome === "updated" && !mote.runs(this.gateway.image))
        violations.push(`mote ${id} says updated but runs other bytes`);
    }
    return violations;
  }

  #addMote(id: number, profile: ChipProfile, content: SeededRandom): SimMote {
    const { random, run } = this.air;
    const { ledger, node } = placeNode(this.air, profile, id);
    const { blockBytes } = run;
    const { classId, author, image } = this.gateway;
    const mote = new Mote({
      profile,
      crypto: nobleCrypto,
      classId,
      anchors: [author.publicKey],
      blockBytes,
      random: random.fork(`mote-${id}`),
      gateway: nodeAddress(GATEWAY_ID),
      szx: szxOf(blockBytes)!,
      parameters: parametersOf(run),
      policy: { backoffUs: 5e6, maxBackoffUs: 3e8, maxFailures: 100 },
      maxImageBytes: Math.max(image.length, 4096),
      factoryImage: { bytes: randomBytes(content, 2048), sequenceNumber: FACTORY_SEQUENCE },
      onBusy: (state, us) => ledger.spend(state, us),
    });
    const sim: SimMote = { id, mote, node, ledger, outcome: "unfinished", startedUs: 0, finishedUs: undefined };
    node.onSettled = () => this.#checkOutcome(sim);
    return sim;
  }

  #boot({ node, mote }: SimMote): void {
    node.run(mote).call((nowUs) => mote.start(nowUs));
  }

  #checkOutcome(sim: SimMote): void {
    if (sim.outcome !== "unfinished") return;
    const outcome = sim.mote.outcome(TARGET_SEQUENCE);
    if (outcome === undefined) return;
    const { engine } = this.air;
    sim.outcome = outcome;
    sim.finishedUs = engine.nowUs();
    engine.trace.note(Trace.STATE, engine.nowUs(), sim.id, outcome.length);
    sim.node.mac.turnOff();
  }
}
