import { matches, parseFilter } from "./filter.ts";
import type { FleetDevice } from "./fleet.ts";
import { ROLLOUT_LIMITS } from "./limits.ts";
import type { GroupSpec, RolloutSpec } from "./spec.ts";
import { hundredths } from "./thresholds.ts";

/** Devices that a rollout is for, by what is known of them now. */
export function targetsOf(spec: RolloutSpec, devices: Iterable<FleetDevice>, nowMs: number): FleetDevice[] {
  const filter = parseFilter(spec.target);
  const named = spec.endpoints === undefined ? undefined : new Set(spec.endpoints);
  const out: FleetDevice[] = [];
  for (const device of devices) {
    const isMeant = named?.has(device.endpoint) ?? matches(filter, device, nowMs) === true;
    if (isMeant && out.length < ROLLOUT_LIMITS.maxMembers) out.push(device);
  }
  return out;
}

/** Which devices were named though nobody knows them; undefined where all are known. */
export function unknownOf({ endpoints = [] }: RolloutSpec, targets: readonly FleetDevice[]): string | undefined {
  const known = new Set(targets.map(({ endpoint }) => endpoint));
  const unknown = [...new Set(endpoints)].filter((endpoint) => !known.has(endpoint));
  if (unknown.length === 0) return undefined;
  return `not known here: ${firstFew(unknown)}`;
}

/** So many names as a person reads. */
export function firstFew(names: readonly string[]): string {
  const some = names.slice(0, 5).join(", ");
  return names.length > 5 ? `${some} and ${names.length - 5} more` : some;
}

/** What an operator should know of whom a rollout would reach if it began now. */
export function targetWarnings(spec: RolloutSpec, devices: Iterable<FleetDevice>, nowMs: number): string[] {
  const targets = targetsOf(spec, devices, nowMs);
  const unknown = unknownOf(spec, targets);
  const none = targets.length > 0 ? [] : ["no device matches it now: it would end at once"];
  return unknown === undefined ? none : [...none, `devices are named that are ${unknown}`];
}

/**
 * Puts devices into groups, one group after the other: a filter takes what it matches of those that are left, a size so
 * many, a percentage its share of all, rounded up; a group with none of these takes the rest. In the order of a hash of
 * their names, so that neighbours in a list (which are neighbours on a wall) are not all in the canary.
 */
export function planGroups(
  groups: readonly GroupSpec[],
  devices: readonly FleetDevice[],
  nowMs: number,
  order: (endpoint: string) => string,
): string[][] {
  let left = devices
    .map((device) => ({ device, key: order(device.endpoint) }))
    .toSorted((a, b) => (a.key < b.key ? -1 : 1))
    .map(({ device }) => device);
  return groups.map(({ filter, size, percent }) => {
    const parsed = filter === undefined ? undefined : parseFilter(filter);
    const count =
      size ?? (percent === undefined ? Number.POSITIVE_INFINITY : Math.ceil(hundredths(percent, devices.length) / 100));
    const taken: string[] = [];
    left = left.filter((device) => {
      if (taken.length >= count || (parsed !== undefined && matches(parsed, device, nowMs) !== true)) return true;
      taken.push(device.endpoint);
      return false;
    });
    return taken;
  });
}
