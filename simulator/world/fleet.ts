import { EnergyLedger } from "../mote/energy.ts";
import type { ChipProfile } from "../mote/profile.ts";
import type { Case } from "../scenarios/case.ts";
import type { Air } from "./air.ts";
import type { Mesh } from "./mesh.ts";
import type { SimNode } from "./node.ts";

/** A ledger for each mote, by its number; border routers have mains. */
export function newLedgers({ motes }: Case, profile: ChipProfile): (EnergyLedger | undefined)[] {
  return Array.from({ length: motes + 1 }, (_, id) => (id === 0 ? undefined : new EnergyLedger(profile, "sleep", 0)));
}

/** What the update was about is over for this mote: its radio goes off, unless others need it. */
export function restUnlessRouter({ isCell }: Air, mesh: Mesh, node: SimNode): void {
  if (isCell || !mesh.isRouter(node.id)) node.mac.turnOff();
}

/** A mote that no path leads to, as long as the tree stays as it is. */
export function isCutOff({ isCell, run }: Air, mesh: Mesh, id: number): boolean {
  return !isCell && run.network.routing === "static" && mesh.depth[id]! < 0;
}

/** How often progress is told. */
const PROGRESS_EVENTS = 65_536;

/** The scenario's time was over before its turn to start had come. */
export const NOT_STARTED = "not started";

/** Runs until every mote has finished or the scenario's time is over; the ledgers are brought up to date. */
export function runUntil(
  { engine, run }: Air,
  motes: readonly {
    readonly node: SimNode;
    readonly ledger: EnergyLedger;
    readonly mote: { readonly boots: number };
    readonly finishedUs: number | undefined;
    outcome: string;
  }[],
  onProgress?: (finished: number, nowUs: number) => void,
): void {
  let first = 0; // that is not finished
  let events = 0;
  engine.run(Math.round(run.maxHours * 3.6e9), () => {
    while (first < motes.length && (motes[first]!.finishedUs !== undefined || motes[first]!.outcome === "unreachable"))
      first++;
    if (++events % PROGRESS_EVENTS === 0)
      onProgress?.(motes.filter(({ finishedUs }) => finishedUs !== undefined).length, engine.nowUs());
    return first === motes.length;
  });
  for (const sim of motes) {
    const { node, ledger, mote } = sim;
    node.mac.settle?.(engine.nowUs());
    ledger.setRadio(engine.nowUs(), ledger.radio);
    if (mote.boots === 0 && sim.outcome !== "unreachable") sim.outcome = NOT_STARTED;
  }
}
