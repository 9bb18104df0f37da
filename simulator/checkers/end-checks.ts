import { ENERGY_STATES, type EnergyLedger } from "../mote/energy.ts";

/*
 * What must hold of every mote at the end of a run, judged by what is in its flash and on its ledger, not by what it says.
 */

const RADIO_STATES = ["sleep", "listen", "rx", "tx"] as const;

/** What is known of a mote's work besides its ledger. */
export interface KnownWork {
  /** What its flash has counted. */
  readonly flashUs: number;
  /** The CPU cannot have taken less. */
  readonly leastCpuUs: number;
}

/** The radio is in exactly one state at any time, all work is booked, and the states' energies are the total. */
export function checkEnergy(id: number, ledger: EnergyLedger, nowUs: number, work: KnownWork): string[] {
  const violations: string[] = [];
  const radioUs = RADIO_STATES.reduce((total, state) => total + ledger.us(state), 0);
  if (radioUs !== nowUs) violations.push(`mote ${id}: radio states make ${radioUs} us of ${nowUs}`);
  const [flashUs, cpuUs] = [ledger.us("flash"), ledger.us("cpu")];
  if (flashUs !== work.flashUs) violations.push(`mote ${id}: ${flashUs} us of flash are booked, of ${work.flashUs}`);
  if (cpuUs < work.leastCpuUs) violations.push(`mote ${id}: ${cpuUs} us of CPU are booked, of ${work.leastCpuUs}`);
  const sum = ENERGY_STATES.reduce((total, state) => total + ledger.uj(state), 0);
  if (Math.abs(sum - ledger.totalUj()) > 1e-6) violations.push(`mote ${id}: energy of its states is not its total`);
  return violations;
}

/** What a mote's boot loader has picked. */
export interface Booted {
  /** Undefined: nothing that it would start. */
  readonly sequenceNumber: number | undefined;
  readonly runsTarget: boolean;
  readonly runsFactory: boolean;
}

/** Right bytes or nothing: what boots is one whole image, never an older one than before, and never none. */
export function checkBoot(id: number, booted: Booted, factorySequence: number, saysUpdated: boolean): string[] {
  const violations: string[] = [];
  const { sequenceNumber, runsTarget, runsFactory } = booted;
  if (sequenceNumber === undefined) violations.push(`mote ${id} is bricked`);
  else {
    if (sequenceNumber < factorySequence) violations.push(`mote ${id} was downgraded to ${sequenceNumber}`);
    if (!runsTarget && !runsFactory) violations.push(`mote ${id} runs what is neither its old image nor the new one`);
  }
  if (saysUpdated && !runsTarget) violations.push(`mote ${id} says updated but runs other bytes`);
  return violations;
}

/** Nothing on air changes bytes: a datagram whose checksum is wrong was put together of parts that are not its own. */
export function checkDatagrams(id: number, corrupt: number): string[] {
  return corrupt === 0 ? [] : [`node ${id}: ${corrupt} datagrams came up with other bytes than were sent`];
}

/** With the update over, no request of it is left. */
export function checkExchanges(id: number, finished: boolean, open: number): string[] {
  return finished && open > 0 ? [`mote ${id}: ${open} exchanges are alive though it has finished`] : [];
}

export function checkRefetches(id: number, refetched: number): string[] {
  return refetched === 0 ? [] : [`mote ${id} fetched ${refetched} stored blocks again`];
}
