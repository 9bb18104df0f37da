import { DEFAULT_POLICY } from "../../src/lwm2m/update/job.ts";
import { SPEC_DEFAULTS, type RolloutSpec } from "../../src/rollout/spec.ts";
import type { ModelDevice } from "../../simulator/rollout/fleet-model.ts";

/** A rollout of so many bytes for simulated motes. */
export const simulatedSpec = (
  name: string,
  size: number,
  change: Pick<RolloutSpec, "groups"> & Partial<RolloutSpec>,
): RolloutSpec => ({
  ...SPEC_DEFAULTS,
  name,
  components: [{ object: [5, 0], digest: "00", size, version: "2.0.0" }],
  policy: { ...DEFAULT_POLICY, graceS: 600 },
  deadlineS: 86_400,
  ...change,
});

/** Motes at one hop that never sleep. */
export const awakeFleet = (count: number, behaviour: string, per: number): ModelDevice[] =>
  Array.from({ length: count }, (_, i) => ({
    name: `m${i}`,
    behaviour,
    tags: [],
    hops: 1,
    per,
    lifetimeS: 3_600,
    queue: undefined,
  }));
