import type { Fleet } from "./fleet.ts";
import type { Standing } from "./gates.ts";
import type { Lane } from "./lane.ts";
import { hasEnded } from "./record.ts";
import type { Rollout, RolloutFacts } from "./rollout.ts";

export interface FactsParts {
  readonly fleet: Fleet;
  readonly maxConcurrent: number;
  readonly order: (rollout: string, endpoint: string) => string;
}

/** What one rollout has to know of the others, and of the fleet. */
export function factsFor(
  { rollout }: Lane,
  lanes: ReadonlyMap<string, Lane>,
  parts: FactsParts,
  { nowMs, refresh }: Pick<RolloutFacts, "nowMs" | "refresh">,
): RolloutFacts {
  const { fleet, order, maxConcurrent } = parts;
  const isFeature = rollout.record.spec.priority !== "security";
  let taken = 0;
  const first: Rollout[] = [];
  for (const { rollout: other } of lanes.values()) {
    const { state, spec } = other.record;
    if (hasEnded(other.record)) continue;
    taken += other.members.count("commanded");
    const goesFirst = isFeature && state === "running" && spec.priority === "security";
    if (!goesFirst || dependsOn(other, rollout.id, lanes)) continue;
    first.push(other);
    taken += other.wants(nowMs);
  }
  return {
    nowMs,
    fleet,
    refresh,
    free: maxConcurrent - taken,
    order: (endpoint) => order(rollout.id, endpoint),
    wantedBy: (endpoint) => first.find((other) => wants(other, endpoint))?.record.spec.name,
    stateIn: (id, endpoint) => standing(lanes.get(id)?.rollout, endpoint, nowMs),
  };
}

/** Whether a rollout waits for another one, or for one that does. */
function dependsOn({ record }: Rollout, id: string, lanes: ReadonlyMap<string, Lane>): boolean {
  const seen = new Set<string>();
  const open = [...(record.spec.after ?? [])];
  for (let next = open.pop(); next !== undefined; next = open.pop()) {
    if (next === id) return true;
    if (seen.has(next)) continue;
    seen.add(next);
    open.push(...(lanes.get(next)?.rollout.record.spec.after ?? []));
  }
  return false;
}

/** One that waits for another rollout itself keeps nobody from the device meanwhile. */
function wants({ members }: Rollout, endpoint: string): boolean {
  const member = members.get(endpoint);
  if (member?.state === "pending") return member.reason !== "dependency";
  return member?.state === "commanded" || member?.state === "downloaded";
}

function standing(rollout: Rollout | undefined, endpoint: string, nowMs: number): Standing {
  if (rollout === undefined) return "no-such-rollout";
  const member = rollout.members.get(endpoint);
  if (member !== undefined) return member.state;
  const { record } = rollout;
  if (hasEnded(record)) return "not-in-it";
  const mayJoin = record.startedMs === undefined || nowMs < (record.spec.dynamicUntilMs ?? 0);
  return mayJoin ? "to-come" : "not-in-it";
}
