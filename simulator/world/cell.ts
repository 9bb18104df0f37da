import { szxOf } from "../../src/coap/blockwise/block.ts";
import { DEFAULT_PARAMETERS, type TransmissionParameters } from "../../src/coap/parameters.ts";
import { keyPairOf, nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { Gateway } from "../../src/gateway/gateway.ts";
import type { RunLoop } from "../../src/host/run-loop.ts";
import { silentLog } from "../../src/ports/log.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import { createEnvelope, signEnvelope } from "../../src/suit/author.ts";
import { Counters } from "../../src/util/counters.ts";
import { randomBytes } from "../../src/util/random.ts";
import { Engine } from "../engine/engine.ts";
import { SeededRandom } from "../engine/random.ts";
import { Trace } from "../engine/trace-hash.ts";
import { CsmaMac, DEFAULT_CSMA } from "../mac/csma.ts";
import { EnergyLedger } from "../mote/energy.ts";
import { Mote, type MoteOutcome } from "../mote/mote.ts";
import type { ChipProfile } from "../mote/profile.ts";
import { GilbertElliottLinks, IidLinks, type LinkModel } from "../radio/links.ts";
import { Medium } from "../radio/medium.ts";
import type { Case } from "../scenarios/scenario.ts";
import { nodeAddress, SimNode } from "./node.ts";
import { SimDisk, SimExecutor } from "./sim-disk.ts";

const GATEWAY_ID = 0;
const FACTORY_SEQUENCE = 1;
const TARGET_SEQUENCE = 2;
const MIB = 1_048_576;
const BUDGET = { maxImageBytes: MIB, diskBytes: 64 * MIB, memoryBytes: 16 * MIB };

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

/** One cell: a gateway at its border router and motes one hop away, all running the real code in virtual time. */
export class Cell {
  readonly engine: Engine = new Engine();
  readonly medium: Medium;
  readonly motes: SimMote[] = [];
  readonly gatewayCounters: Counters = new Counters();
  gatewayRestarts = 0;
  readonly #case: Case;
  readonly #random: SeededRandom;
  readonly #router: SimNode;
  readonly #disk = new SimDisk();
  readonly #author: PrivateKey;
  readonly #image: Uint8Array;
  readonly #vendorId: Uint8Array;
  readonly #classId: Uint8Array;
  #gateway: { core: Gateway; loop: RunLoop; executor: SimExecutor } | undefined;

  constructor(run: Case, profile: ChipProfile, seed: number) {
    this.#case = run;
    this.#random = new SeededRandom(seed, run.name);
    this.medium = new Medium(this.engine, linksOf(run.link, this.#random));
    const content = this.#random.fork("content");
    this.#author = keyPairOf("ES256", randomBytes(content, 32));
    this.#image = randomBytes(content, run.imageBytes);
    this.#vendorId = randomBytes(content, 16);
    this.#classId = randomBytes(content, 16);
    this.#router = new SimNode(this.engine, this.#newMac(GATEWAY_ID), 16);
    this.#startGateway();
    this.#publish();
    for (let id = 1; id <= run.motes; id++) this.motes.push(this.#addMote(id, profile, content));
    this.#scheduleFaults();
  }

  /** Runs until every mote has an outcome or the scenario's time is over. */
  run(): void {
    for (const sim of this.motes) {
      // Motes wake up within the first second, not all at once.
      const startUs = Math.floor((this.#random.fork(`start-${sim.id}`).uint32() / 2 ** 32) * 1_000_000) + 500_000;
      sim.startedUs = startUs;
      this.engine.at(startUs, () => {
        sim.ledger.setRadio(this.engine.nowUs(), "listen");
        this.#boot(sim);
      });
    }
    const untilUs = Math.round(this.#case.maxHours * 3.6e9);
    this.engine.run(untilUs, () => this.motes.every(({ outcome }) => outcome !== "unfinished"));
    for (const { ledger } of this.motes) ledger.setRadio(this.engine.nowUs(), ledger.radio);
  }

  /** True when a mote that claims the update really runs the image, byte for byte. */
  runsImage({ mote }: SimMote): boolean {
    const booted = mote.agent.booted;
    if (booted === undefined) return false;
    const bytes = mote.flash.read(mote.layout.slotAddress[booted.slot], booted.info.size);
    return bytes.length === this.#image.length && bytes.every((byte, i) => byte === this.#image[i]);
  }

  #newMac(id: number, ledger?: EnergyLedger): CsmaMac {
    const parameters = {
      ...DEFAULT_CSMA,
      maxRetries: this.#case.mac.maxRetries,
      queueFrames: id === GATEWAY_ID ? 256 : 16,
    };
    const random = this.#random.fork(`mac-${id}`);
    return new CsmaMac({
      id,
      engine: this.engine,
      medium: this.medium,
      random,
      parameters,
      ...(ledger === undefined ? {} : { ledger }),
    });
  }

  #parameters(): TransmissionParameters {
    const { ackTimeoutMs, maxRetransmit } = this.#case.coap;
    return { ...DEFAULT_PARAMETERS, ackTimeoutUs: ackTimeoutMs * 1_000, maxRetransmit };
  }

  #startGateway(): void {
    const executor = new SimExecutor(this.engine, this.#disk);
    const core = new Gateway(
      {
        crypto: nobleCrypto,
        log: silentLog,
        metrics: this.gatewayCounters,
        budget: BUDGET,
        random: this.#random.fork(`gateway-${this.gatewayRestarts}`),
        anchors: [this.#author.publicKey],
        preferredSzx: szxOf(this.#case.blockBytes)!,
        parameters: this.#parameters(),
      },
      { entries: this.#disk.entries, blobs: this.#disk.list(), nowUs: this.engine.nowUs() },
    );
    const loop = this.#router.run(core, executor);
    loop.call(() => {});
    this.#gateway = { core, loop, executor };
  }

  #publish(): void {
    const uri = "sim:image";
    this.#disk.upstream.set(uri, this.#image);
    const description = {
      sequenceNumber: TARGET_SEQUENCE,
      vendorId: this.#vendorId,
      classId: this.#classId,
      uri,
      imageDigest: nobleCrypto.sha256(this.#image),
      imageSize: this.#image.length,
    };
    const envelope = signEnvelope(nobleCrypto, this.#author, createEnvelope(nobleCrypto, description));
    const { core, loop } = this.#gateway!;
    loop.call((nowUs) => core.publish(nowUs, 1, { envelope }));
  }

  #addMote(id: number, profile: ChipProfile, content: SeededRandom): SimMote {
    const ledger = new EnergyLedger(profile, "sleep", 0);
    const mac = this.#newMac(id, ledger);
    const node = new SimNode(this.engine, mac, this.#case.reassemblyBuffers);
    const { blockBytes } = this.#case;
    const mote = new Mote({
      profile,
      crypto: nobleCrypto,
      classId: this.#classId,
      anchors: [this.#author.publicKey],
      blockBytes,
      random: this.#random.fork(`mote-${id}`),
      gateway: nodeAddress(GATEWAY_ID),
      szx: szxOf(blockBytes)!,
      parameters: this.#parameters(),
      policy: {
        backoffUs: 5e6,
        maxBackoffUs: 3e8,
        maxFailures: 100,
      },
      maxImageBytes: Math.max(this.#image.length, 4096),
      factoryImage: {
        bytes: randomBytes(content, 2048),
        sequenceNumber: FACTORY_SEQUENCE,
      },
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
    for (const { atS, downS } of this.#case.faults.gateway) {
      this.engine.at(atS * 1e6, () => {
        this.engine.trace.note(Trace.FAULT, this.engine.nowUs(), GATEWAY_ID);
        this.#gateway?.executor.kill();
        this.#router.stop();
      });
      this.engine.at((atS + downS) * 1e6, () => {
        this.gatewayRestarts++;
        this.#startGateway();
      });
    }
    for (const { mote: id, atS } of this.#case.faults.motes) {
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
