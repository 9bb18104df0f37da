import { uintBelow, unitFloat } from "../../src/util/random.ts";
import type { Core } from "../../src/host/run-loop.ts";
import { Trace } from "../engine/trace-hash.ts";
import { CsmaMac } from "../mac/csma.ts";
import type { Flash } from "../mote/flash.ts";
import type { Air } from "./air.ts";
import type { SimNode } from "./node.ts";

interface Rebootable extends Core {
  readonly flash: Flash;
  reboot(nowUs: number): void;
}

interface Faulty {
  readonly id: number;
  readonly node: SimNode;
  readonly mote: Rebootable;
  readonly startedUs: number;
  readonly finishedUs: number | undefined;
}

/** The faults of motes, as the scenario has them or as the seed draws them. */
export function inject(air: Air, motes: readonly Faulty[]): void {
  const { faults } = air.run;
  for (const { mote, atS } of faults.motes)
    rebootAt(
      air,
      motes.find(({ id }) => id === mote),
      atS * 1e6,
    );
  for (const sim of motes) {
    const stream = air.random.fork(`faults-${sim.id}`);
    if (unitFloat(stream) < faults.rebootShare)
      rebootAt(air, sim, uintBelow(stream, Math.round(faults.rebootWithinS * 1e6)));
    sim.node.clockRate = 1 + (faults.clockDriftPpm * (2 * unitFloat(stream) - 1)) / 1e6;
    if (faults.flashWrite > 0) {
      const writes = stream.fork("flash");
      sim.mote.flash.programFails = () => unitFloat(writes) < faults.flashWrite;
    }
  }
}

/** A power cut; a mote that is not on yet, or done with, is left alone. */
function rebootAt({ engine }: Air, sim: Faulty | undefined, atUs: number): void {
  engine.at(atUs, () => {
    if (sim === undefined || sim.finishedUs !== undefined || engine.nowUs() < sim.startedUs) return;
    engine.trace.note(Trace.FAULT, engine.nowUs(), sim.id);
    const { router, mac } = sim.node;
    // It may have rested while it erased.
    if (mac instanceof CsmaMac) mac.turnOn();
    router.stop?.();
    router.start?.();
    sim.node.run(sim.mote).call((nowUs) => sim.mote.reboot(nowUs));
  });
}
