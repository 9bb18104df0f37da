import { szxOf } from "../../src/coap/blockwise/block.ts";
import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { randomBytes } from "../../src/util/random.ts";
import { Engine } from "../engine/engine.ts";
import { SeededRandom } from "../engine/random.ts";
import { Trace } from "../engine/trace-hash.ts";
import { EnergyLedger } from "../mote/energy.ts";
import { Mote, type MoteOutcome } from "../mote/mote.ts";
import type { ChipProfile } from "../mote/profile.ts";
import { GilbertElliottLinks, IidLinks, type LinkModel } from "../radio/links.ts";
import { Medium } from "../radio/medium.ts";
import type { Case } from "../scenarios/scenario.ts";
import { FACTORY_SEQUENCE, GATEWAY_ID, GatewayNode, newMac, parametersOf, TARGET_SEQUENCE } from "./gateway-node.ts";
import { nodeAddress, SimNode } from "./node.ts";

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

export function linksOf(link: Case["link"], random: SeededRandom): LinkModel {
  const stream = random.fork("links");
  return link.model === "iid" ? new IidLinks(link.per, stream) : new GilbertElliottLinks(link.gilbertElliott, stream);
}

/** When a mote begins: they wake up within the first second, not all at once. */
export function startUs(random: SeededRandom, id: number): number {
  return Math.floor((random.fork(`start-${id}`).uint32() / 2 ** 32) * 1_000_000) + 500_000;
}

/** One cell: a gateway at its border router and motes one hop away, all running the real code in virtual time. */
export class Cell {
  readonly engine: Engine = new Engine();
  readonly medium: Medium;
  readonly motes: SimMote[] = [];
  readonly random: SeededRandom;
  readonly run: Case;
  readonly gateway: GatewayNode;

  constructor(run: Case, profile: ChipProfile, seed: number) {
    this.run = run;
    this.random = new SeededRandom(seed, run.name);
    this.medium = new Medium(this.engine, linksOf(run.link, this.random));
    const content = this.random.fork("content");
    this.gateway = new GatewayNode(this, content);
    for (let id = 1; id <= run.motes; id++) this.motes.push(this.#addMote(id, profile, content));
    this.#scheduleFaults();
  }

  /** Runs until every mote has an outcome or the scenario's time is over. */
  runAll(): void {
    for (const sim of this.motes) {
      sim.startedUs = startUs(this.random, sim.id);
      this.engine.at(sim.startedUs, () => {
        sim.ledger.setRadio(this.engine.nowUs(), "listen");
        this.#boot(sim);
      });
    }
    const untilUs = Math.round(this.run.maxHours * 3.6e9);
    this.engine.run(untilUs, () => this.motes.every(({ outcome }) => outcome !== "unfinished"));
    for (const { ledger } of this.motes) ledger.setRadio(this.engine.nowUs(), ledger.radio);
  }

  /** What must not be: a mote that claims the update and does not run the image, byte for byte; a brick. */
  check(): string[] {
    const violations: string[] = [];
    for (const { id, mote, outcome } of this.motes) {
      if (outcome === "bricked") violations.push(`mote ${id} is bricked`);
      if (outcome === "updated" && !this.#runsImage(mote))
        violations.push(`mote ${id} says updated but runs other bytes`);
    }
    return violations;
  }

  #runsImage(mote: Mote): boolean {
    const { booted } = mote.agent;
    if (booted === undefined) return false;
    const bytes = mote.flash.read(mote.layout.slotAddress[booted.slot], booted.info.size);
    return bytes.length === this.gateway.image.length && bytes.every((byte, i) => byte === this.gateway.image[i]);
  }

  #addMote(id: number, profile: ChipProfile, content: SeededRandom): SimMote {
    const ledger = new EnergyLedger(profile, "sleep", 0);
    const mac = newMac(this, id, ledger);
    const node = new SimNode(this.engine, mac, this.run.reassemblyBuffers);
    const { blockBytes } = this.run;
    const { classId, author, image } = this.gateway;
    const mote = new Mote({
      profile,
      crypto: nobleCrypto,
      classId,
      anchors: [author.publicKey],
      blockBytes,
      random: this.random.fork(`mote-${id}`),
      gateway: nodeAddress(GATEWAY_ID),
      szx: szxOf(blockBytes)!,
      parameters: parametersOf(this.run),
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
    sim.outcome = outcome;
    sim.finishedUs = this.engine.nowUs();
    this.engine.trace.note(Trace.STATE, this.engine.nowUs(), sim.id, outcome.length);
    sim.node.mac.turnOff();
  }

  #scheduleFaults(): void {
    this.gateway.scheduleFaults();
    for (const { mote: id, atS } of this.run.faults.motes) {
      this.engine.at(atS * 1e6, () => {
        const sim = this.motes[id - 1];
        if (sim === undefined || sim.outcome !== "unfinished") return;
        this.engine.trace.note(Trace.FAULT, this.engine.nowUs(), id);
        sim.node.stop();
        sim.node.run(sim.mote).call((nowUs) => sim.mote.reboot(nowUs));
      });
    }
  }
}
