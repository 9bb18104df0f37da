import type { ChipProfile } from "../mote/profile.ts";
import { newBytesOf, type Case } from "../scenarios/case.ts";
import type { ScenarioFiles } from "../scenarios/files.ts";
import { openAir } from "../world/air.ts";
import { Mesh } from "../world/mesh.ts";
import { boundsOf, oneHopLimit, type Bounds, type Limit } from "./limit.ts";
import { factsOf } from "./run.ts";

/** The seed whose placement and shadowing the bounds are for. */
const SEED = 1;

/** The closed forms of a case, from its topology alone. */
export function limitsOf(run: Case, profile: ChipProfile, files: ScenarioFiles): { oneHop: Limit; bounds: Bounds } {
  const air = openAir(run, SEED, { files });
  const facts = factsOf(new Mesh(air, () => undefined), air.topology.roots, run.only);
  return { oneHop: oneHopLimit(profile, facts.meanPer, newBytesOf(run)), bounds: boundsOf(run, profile, facts) };
}
