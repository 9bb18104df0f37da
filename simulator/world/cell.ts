import { CsmaMac } from "../mac/csma.ts";
import { szxOf } from "../../src/coap/blockwise/block.ts";
import { randomBytes } from "../../src/util/random.ts";
import { checkBoot, checkExchanges } from "../checkers/end-checks.ts";
import { bytesEqual } from "../../src/util/bytes.ts";
import { Trace } from "../engine/trace-hash.ts";
import type { EnergyLedger } from "../mote/energy.ts";
import { inWholeSectors } from "../mote/layout.ts";
import { Mote, type MoteOutcome } from "../mote/mote.ts";
import { patchBase } from "../mote/patched-image.ts";
import type { ChipProfile } from "../mote/profile.ts";
import type { Case } from "../scenarios/case.ts";
import { pathModel, wakeModel } from "../network/path-model.ts";
import { GATEWAY_ID, openAir, parametersOf, type Air, type RunOptions } from "./air.ts";
import { inject } from "./faults.ts";
import { isCutOff, newLedgers, NOT_STARTED, restUnlessRouter, runUntil } from "./fleet.ts";
import { FACTORY_SEQUENCE, GatewayNode, TARGET_SEQUENCE } from "./gateway-node.ts";
import { Mesh, startUs } from "./mesh.ts";
import { nodeAddress } from "./address.ts";
import type { SimNode } from "./node.ts";
import { ArrivalLog } from "./progress.ts";
import { moteCrypto } from "./mote-crypto.ts";

export interface SimMote {
  readonly id: number;
  readonly mote: Mote;
  readonly node: SimNode;
  readonly ledger: EnergyLedger;
  readonly log: ArrivalLog;
  outcome: MoteOutcome | "unfinished" | "unreachable" | typeof NOT_STARTED;
  /** When it woke up and first looked for an update. */
  startedUs: number;
  finishedUs: number | undefined;
  /** Until then its CPU or its flash is at work, unless it starts anew before. */
  busy: { readonly untilUs: number; readonly boots: number };
}

/** What keeps CPU or flash busy for so long is worth turning the receiver off. */
const LONG_US = 10_000;
const ACKNOWLEDGED_US = 1_000;
/** The receiver is on again before there is something to be said. */
const READY_US = 1_000;

/** A gateway at its border router and motes that look for their manifest, all running the real code in virtual time. */
export class Cell {
  readonly air: Air;
  readonly mesh: Mesh;
  readonly motes: SimMote[] = [];
  readonly gateway: GatewayNode;
  readonly #factory: Uint8Array;

  constructor(run: Case, profile: ChipProfile, seed: number, options: RunOptions) {
    this.air = openAir(run, seed, options);
    const ledgers = newLedgers(run, profile);
    this.mesh = new Mesh(this.air, (id) => ledgers[id]);
    const content = this.air.random.fork("content");
    this.gateway = new GatewayNode(this.air, this.mesh, content);
    this.#factory = this.gateway.factory ?? randomBytes(content, 2048);
    for (let id = 1; id <= run.motes; id++)
      if (id === (run.only ?? id)) this.motes.push(this.#addMote(id, profile, ledgers[id]!));
    this.gateway.scheduleFaults();
    inject(this.air, this.motes);
  }

  /** Runs until every mote has an outcome or the scenario's time is over. */
  runAll(onProgress?: (finished: number, nowUs: number) => void): void {
    const { engine } = this.air;
    this.mesh.start();
    for (const sim of this.motes) {
      sim.startedUs = startUs(this.air, sim.id);
      engine.at(sim.startedUs, () => {
        sim.node.mac.turnOn();
        sim.node.router.start?.();
        sim.node.run(sim.mote).call((nowUs) => sim.mote.start(nowUs));
      });
    }
    runUntil(this.air, this.motes, onProgress);
  }

  check(): string[] {
    const { image } = this.gateway;
    return this.motes.flatMap(({ id, mote, outcome }) => {
      if (outcome === NOT_STARTED) return [];
      const booted = { sequenceNumber: mote.agent.booted?.info.sequenceNumber, runsTarget: mote.runs(image) };
      const runsFactory = mote.runs(this.#factory);
      return [
        ...checkBoot(id, { ...booted, runsFactory }, FACTORY_SEQUENCE, outcome === "updated"),
        ...checkExchanges(id, outcome === "updated", mote.agent.openExchanges),
      ];
    });
  }

  #addMote(id: number, profile: ChipProfile, ledger: EnergyLedger): SimMote {
    const { random, run, scope } = this.air;
    const node = this.mesh.nodes[id]!;
    const { blockBytes } = run;
    const { vendorId, classId, author, image, patch } = this.gateway;
    const sectorBytes = profile.sectorBytes.value;
    // A patch is kept behind the image that comes of it.
    const room =
      patch === undefined
        ? image.length
        : inWholeSectors(image.length, sectorBytes) + inWholeSectors(patch.length, sectorBytes);
    const mote = new Mote({
      profile,
      crypto: moteCrypto,
      vendorId,
      classId,
      unixS: run.rtc ? (nowUs) => nowUs / 1e6 : undefined,
      anchors: [author.publicKey],
      blockBytes,
      random: random.fork(`mote-${id}`),
      gateway: nodeAddress(GATEWAY_ID, scope),
      szx: szxOf(blockBytes)!,
      parameters: parametersOf(run),
      policy: { backoffUs: 5e6, maxBackoffUs: 3e8, maxFailures: 10_000 },
      maxImageBytes: Math.max(room, 4096),
      factoryImage: { bytes: this.#factory, sequenceNumber: FACTORY_SEQUENCE },
      spareSlot: run.spareSlot,
      onBusy: (state, us) => {
        ledger.spend(state, us);
        this.#restWhileBusy(id, us);
      },
      adaptive: run.adaptive ? pathModel(scope, this.air.csma.securityBytes, wakeModel(run.mac)) : undefined,
    });
    const { flash, layout } = mote;
    mote.refetch.unmarkedBytes = flash.geometry.sectorBytes;
    const base = patch === undefined ? 0 : patchBase(layout.slotBytes, sectorBytes, image.length, patch.length)!;
    const { fetched } = this.gateway;
    mote.refetch.inFlash = (offset, length) => {
      const address = layout.slotAddress[mote.agent.booted?.slot === 0 ? 1 : 0] + base + offset;
      return bytesEqual(flash.read(address, length), fetched.subarray(offset, offset + length));
    };
    const log = new ArrivalLog(fetched.length);
    const outcome = isCutOff(this.air, this.mesh, id) ? "unreachable" : "unfinished";
    const sim: SimMote = {
      id,
      mote,
      node,
      ledger,
      log,
      outcome,
      startedUs: 0,
      finishedUs: undefined,
      busy: { untilUs: 0, boots: 0 },
    };
    node.onSettled = () => {
      log.note(this.air.engine.nowUs(), mote.imageBytesReceived, mote.boots);
      this.#checkOutcome(sim);
    };
    return sim;
  }

  /** While a sector is erased, or a signature verified: who forwards for nobody, and has asked for nothing, need not listen. */
  #restWhileBusy(id: number, us: number): void {
    const { engine } = this.air;
    const { mac } = this.mesh.nodes[id]!;
    const sim = this.motes.find((one) => one.id === id);
    if (!(mac instanceof CsmaMac) || sim === undefined || this.#forwards(id)) return;
    // One thing after the other, though all of it is told at once.
    const nowUs = engine.nowUs();
    const { boots } = sim.mote;
    const untilUs = Math.max(nowUs, sim.busy.boots === boots ? sim.busy.untilUs : 0) + us;
    sim.busy = { untilUs, boots };
    if (untilUs - nowUs < LONG_US) return;
    // What it has just been given is acknowledged before.
    engine.after(ACKNOWLEDGED_US, () => {
      if (sim.finishedUs === undefined && mac.isIdle) mac.turnOff();
    });
    engine.at(untilUs - READY_US, () => {
      if (sim.finishedUs === undefined && sim.busy.untilUs === untilUs) mac.turnOn();
    });
  }

  #forwards(id: number): boolean {
    return !this.air.isCell && this.mesh.isRouter(id);
  }

  #checkOutcome(sim: SimMote): void {
    if (sim.outcome !== "unfinished") return;
    const outcome = sim.mote.outcome(TARGET_SEQUENCE);
    if (outcome === undefined) return;
    const { engine } = this.air;
    sim.outcome = outcome;
    sim.finishedUs = engine.nowUs();
    engine.trace.note(Trace.STATE, engine.nowUs(), sim.id, outcome.length);
    restUnlessRouter(this.air, this.mesh, sim.node);
  }
}
