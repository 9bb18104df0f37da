import { DEFAULT_PARAMETERS, type TransmissionParameters } from "../../src/coap/parameters.ts";
import type { Core } from "../../src/host/run-loop.ts";
import { Engine } from "../engine/engine.ts";
import { SeededRandom } from "../engine/random.ts";
import { Trace } from "../engine/trace-hash.ts";
import { CsmaMac, DEFAULT_CSMA } from "../mac/csma.ts";
import { EnergyLedger } from "../mote/energy.ts";
import type { ChipProfile } from "../mote/profile.ts";
import { GilbertElliottLinks, IidLinks, type LinkModel } from "../radio/links.ts";
import { Medium } from "../radio/medium.ts";
import type { Case } from "../scenarios/scenario.ts";
import { SimNode } from "./node.ts";

export const GATEWAY_ID = 0;

/** What all that is in one cell shares. */
export interface Air {
  readonly engine: Engine;
  readonly medium: Medium;
  readonly random: SeededRandom;
  readonly run: Case;
}

export function openAir(run: Case, seed: number): Air {
  const engine = new Engine();
  const random = new SeededRandom(seed, run.name);
  return { engine, random, run, medium: new Medium(engine, linksOf(run.link, random)) };
}

export function linksOf(link: Case["link"], random: SeededRandom): LinkModel {
  const stream = random.fork("links");
  return link.model === "iid" ? new IidLinks(link.per, stream) : new GilbertElliottLinks(link.gilbertElliott, stream);
}

export function parametersOf({ coap }: Case): TransmissionParameters {
  return { ...DEFAULT_PARAMETERS, ackTimeoutUs: coap.ackTimeoutMs * 1_000, maxRetransmit: coap.maxRetransmit };
}

/** The MAC of a node; a mote's books its energy. */
export function newMac({ engine, medium, random, run }: Air, id: number, ledger?: EnergyLedger): CsmaMac {
  const parameters = { ...DEFAULT_CSMA, maxRetries: run.mac.maxRetries, queueFrames: id === GATEWAY_ID ? 256 : 16 };
  const shared = { id, engine, medium, parameters, random: random.fork(`mac-${id}`) };
  return new CsmaMac({ ...shared, ...(ledger === undefined ? {} : { ledger }) });
}

/** A mote's place in the cell, before anything runs there. */
export function placeNode(air: Air, profile: ChipProfile, id: number): { ledger: EnergyLedger; node: SimNode } {
  const ledger = new EnergyLedger(profile, "sleep", 0);
  return { ledger, node: new SimNode(air.engine, newMac(air, id, ledger), air.run.reassemblyBuffers) };
}

/** When a mote begins: they wake up within the first second, not all at once. */
export function startUs(random: SeededRandom, id: number): number {
  return Math.floor((random.fork(`start-${id}`).uint32() / 2 ** 32) * 1_000_000) + 500_000;
}

interface Rebootable extends Core {
  reboot(nowUs: number): void;
}

/** Power cuts of motes, as the scenario has them; one that is not on yet, or done with, is left alone. */
export function scheduleReboots(
  { engine, run }: Air,
  motes: readonly {
    readonly node: SimNode;
    readonly mote: Rebootable;
    readonly startedUs: number;
    readonly finishedUs: number | undefined;
  }[],
): void {
  for (const { mote: id, atS } of run.faults.motes) {
    engine.at(atS * 1e6, () => {
      const sim = motes[id - 1];
      if (sim === undefined || sim.finishedUs !== undefined || engine.nowUs() < sim.startedUs) return;
      engine.trace.note(Trace.FAULT, engine.nowUs(), id);
      sim.node.run(sim.mote).call((nowUs) => sim.mote.reboot(nowUs));
    });
  }
}

/** Runs until `done` says so or the scenario's time is over; the ledgers are brought up to date. */
export function runUntil({ engine, run }: Air, ledgers: readonly EnergyLedger[], done: () => boolean): void {
  engine.run(Math.round(run.maxHours * 3.6e9), done);
  for (const ledger of ledgers) ledger.setRadio(engine.nowUs(), ledger.radio);
}
