import type { Gateway } from "../../src/gateway/gateway.ts";
import { hasEnded } from "../../src/rollout/record.ts";
import type { RolloutSpec } from "../../src/rollout/spec.ts";
import type { Lwm2mCell, SimClient } from "../world/lwm2m-cell.ts";
import { openFleetCell, type FleetCellParts, type ModelDevice } from "./fleet-model.ts";

/** What became of a device. Times in s from the start of the rollout. */
export interface DeviceOutcome {
  readonly endpoint: string;
  readonly state: string;
  readonly reason: string;
  readonly doneS: number | undefined;
  readonly energyMj: number;
  /** The image that it runs is the new one, the one from the factory, or none. */
  readonly runs: "new" | "old" | "nothing";
  readonly boots: number;
}

export interface RolloutOutcome {
  readonly state: string;
  readonly reason: string;
  readonly durationS: number;
  readonly airtimeS: number;
  readonly devices: readonly DeviceOutcome[];
  readonly decisions: readonly { readonly what: string; readonly why: string }[];
  readonly violations: readonly string[];
}

/** Runs a rollout over a fleet; its images are as long as those of the spec, and its devices as the model has them. */
export function runRollout(
  spec: RolloutSpec,
  fleet: readonly ModelDevice[],
  seed: number,
  parts: FleetCellParts,
): RolloutOutcome {
  const director = new Director(spec, fleet);
  const cell = openFleetCell(spec, fleet, seed, parts, director.direct.bind(director));
  cell.runAll();
  return director.outcome(cell);
}

/** Creates the rollout in the simulated gateway once its devices are there, and watches it. */
class Director {
  readonly #spec: RolloutSpec;
  readonly #devices: readonly ModelDevice[];
  #id: string | undefined;
  #startedUs = 0;
  readonly #energyBefore = new Map<number, number>();
  readonly #energyAfter = new Map<number, number>();
  #airtimeBefore = 0;
  #airtimeUs: number | undefined;
  #endedUs: number | undefined;
  #waitedLooks = 0;

  constructor(spec: RolloutSpec, devices: readonly ModelDevice[]) {
    this.#spec = spec;
    this.#devices = devices;
  }

  direct(core: Gateway, nowUs: number, cell: Lwm2mCell): void {
    const { rollouts } = core.fleet;
    if (this.#id === undefined) return this.#begin(core, nowUs, cell);
    const rollout = rollouts.get(this.#id);
    if (rollout === undefined) return; // its record is on its way
    const { record, members } = rollout;
    // The operator of a simulation is content with a group that did well.
    if (record.state === "paused" && record.reason === "group-done")
      rollouts.command(
        nowUs,
        record.id,
        { command: "resume", by: "simulator", why: "", revision: undefined },
        () => {},
      );
    const isOver = hasEnded(record) || (record.state === "paused" && members.count("commanded") === 0);
    if (isOver && this.#endedUs === undefined) this.#end(nowUs, cell);
    // Those that were touched are watched to the end of what they were told, though the rollout is over for the others.
    const rests = this.#endedUs !== undefined && nowUs - this.#endedUs > AFTERWARDS_US;
    for (const sim of cell.motes) {
      const member = members.get(sim.name);
      const done = member?.endedMs !== undefined || member === undefined;
      if (sim.finishedUs === undefined && ((done && member?.state === "succeeded") || rests))
        cell.finish(sim, member?.state === "succeeded" ? "updated by rollout" : (member?.state ?? "in no group"));
    }
    return undefined;
  }

  /** What it cost is what it had cost by now. */
  #end(nowUs: number, cell: Lwm2mCell): void {
    this.#endedUs = nowUs;
    this.#airtimeUs = cell.air.medium.counters.airtimeUs - this.#airtimeBefore;
    for (const sim of cell.motes) this.#energyAfter.set(sim.id, energyOf(sim, nowUs));
  }

  #begin(core: Gateway, nowUs: number, cell: Lwm2mCell): void {
    const there = this.#devices.filter(({ name }) => core.devices.get(name) !== undefined).length;
    // One that cannot register is a device that a real rollout would wait for as well.
    if (there < this.#devices.length && ++this.#waitedLooks < MAX_WAIT_LOOKS) return;
    if (core.listings().length === 0) return;
    for (const { name, tags, class: named, hops } of this.#devices)
      core.fleet.describe(name, { tags, class: named, hops }, () => {});
    const spec = {
      ...this.#spec,
      components: [cell.gateway.target],
      approval: false,
      startAtMs: undefined,
      after: undefined,
    };
    this.#id = "predicted";
    this.#startedUs = nowUs;
    this.#airtimeBefore = cell.air.medium.counters.airtimeUs;
    for (const sim of cell.motes) this.#energyBefore.set(sim.id, energyOf(sim, nowUs));
    core.fleet.rollouts.create(
      nowUs,
      spec,
      "simulator",
      (told) => {
        if (!told.ok) throw new Error(told.detail);
        const ask = { command: "start", by: "simulator", why: "", revision: undefined } as const;
        core.fleet.rollouts.command(nowUs, told.record.id, ask, () => {});
      },
      this.#id,
    );
  }

  outcome(cell: Lwm2mCell): RolloutOutcome {
    const { engine, medium } = cell.air;
    const rollouts = cell.gateway.core?.fleet.rollouts;
    const rollout = this.#id === undefined ? undefined : rollouts?.get(this.#id);
    const devices = cell.motes.map((sim): DeviceOutcome => {
      const member = rollout?.members.get(sim.name);
      const runs = sim.mote.runs(cell.gateway.image) ? "new" : sim.mote.runs(cell.factory) ? "old" : "nothing";
      const doneS = member?.state === "succeeded" ? member.endedMs! / 1e3 - this.#startedUs / 1e6 : undefined;
      const after = this.#energyAfter.get(sim.id) ?? energyOf(sim, engine.nowUs());
      const energyMj = (after - (this.#energyBefore.get(sim.id) ?? 0)) / 1_000;
      const { state = "in no group", reason = "" } = member ?? {};
      return { endpoint: sim.name, state, reason, doneS, energyMj, runs, boots: sim.mote.boots };
    });
    const ended = rollout?.record.endedMs;
    return {
      state: rollout?.record.state ?? "not started",
      reason: rollout?.record.reason ?? "",
      durationS: (ended === undefined ? (this.#endedUs ?? engine.nowUs()) / 1e6 : ended / 1e3) - this.#startedUs / 1e6,
      airtimeS: (this.#airtimeUs ?? medium.counters.airtimeUs - this.#airtimeBefore) / 1e6,
      devices,
      decisions: (this.#id === undefined ? [] : (rollouts?.decisions(this.#id) ?? [])).map(({ what, why }) => ({
        what,
        why,
      })),
      // The verdict has to be what the flash says; one that is gone nobody can ask.
      violations: devices.flatMap(({ endpoint, state, runs }, i) =>
        (state === "succeeded") === (runs === "new") || cell.motes[i]!.mote.gone
          ? []
          : [`${endpoint}: ${state}, and it runs the ${runs} image`],
      ),
    };
  }
}

/** How long devices are watched behind the end of their rollout: a trial that is not confirmed has to go back. */
const AFTERWARDS_US = 900e6;
const MAX_WAIT_LOOKS = 7_200;

function energyOf({ ledger, node }: SimClient, nowUs: number): number {
  node.mac.settle?.(nowUs);
  ledger.setRadio(nowUs, ledger.radio);
  return ledger.totalUj();
}
