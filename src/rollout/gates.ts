import { reckonAirtimeS } from "./airtime.ts";
import { matches, parseFilter, type Filter } from "./filter.ts";
import type { Fleet, FleetDevice } from "./fleet.ts";
import { ROLLOUT_LIMITS } from "./limits.ts";
import type { Member } from "./record.ts";
import type { RolloutSpec } from "./spec.ts";

/** What the gates of a device have to know besides the device. */
export interface GateFacts {
  readonly nowMs: number;
  readonly fleet: Fleet;
  /** Asks the device for its battery, once this step is over. */
  readonly refresh: (endpoint: string) => void;
  /** Another rollout comes first for this device; its name. */
  readonly wantedBy: (endpoint: string) => string | undefined;
  /** How a device did in another rollout. */
  readonly stateIn: (rollout: string, endpoint: string) => string | undefined;
}

/**
 * What keeps a device from being commanded: `skip` for good, `wait` on account of itself, and its deadline runs,
 * `later` on account of others.
 */
export type Gate =
  | { readonly kind: "open" }
  | { readonly kind: "skip" | "wait" | "later"; readonly reason: string; readonly detail: string };

const OPEN: Gate = { kind: "open" };

/** Judges one device after the other by a rollout's conditions. */
export class Gates {
  readonly #spec: RolloutSpec;
  readonly #requires: Filter | undefined;

  constructor(spec: RolloutSpec) {
    this.#spec = spec;
    this.#requires = spec.requires === undefined ? undefined : parseFilter(spec.requires);
  }

  of({ endpoint }: Member, facts: GateFacts): Gate {
    const other = facts.wantedBy(endpoint);
    if (other !== undefined)
      return { kind: "later", reason: "priority", detail: `${other} has security fixes for it, and goes first` };
    if (facts.fleet.isBusy(endpoint))
      return { kind: "wait", reason: "busy", detail: "another update of it is under way" };
    const before = this.#before(endpoint, facts);
    if (before !== undefined) return before;
    const device = facts.fleet.device(endpoint);
    if (device?.held === true)
      return { kind: "skip", reason: "held", detail: "it is in quarantine, or decommissioned" };
    return this.#battery(endpoint, device, facts) ?? this.#precondition(device, facts) ?? OPEN;
  }

  #before(endpoint: string, facts: GateFacts): Gate | undefined {
    for (const rollout of this.#spec.after ?? []) {
      const state = facts.stateIn(rollout, endpoint);
      if (state === "succeeded") continue;
      if (state === "pending" || state === "commanded" || state === "downloaded")
        return { kind: "wait", reason: "dependency", detail: `rollout ${rollout} is not done with it` };
      const how = state === undefined ? "has not had it" : `has it as ${state}`;
      return { kind: "skip", reason: "dependency", detail: `rollout ${rollout}, which it depends on, ${how}` };
    }
    return undefined;
  }

  #battery(endpoint: string, device: FleetDevice | undefined, facts: GateFacts): Gate | undefined {
    const { minBattery } = this.#spec;
    if (minBattery === undefined || device?.battery === null) return undefined;
    const isFresh =
      device?.battery !== undefined && facts.nowMs - (device.batteryAtMs ?? 0) < ROLLOUT_LIMITS.batteryFreshMs;
    if (!isFresh) facts.refresh(endpoint);
    if (!isFresh) return { kind: "wait", reason: "battery-unknown", detail: "it has been asked how its battery is" };
    if ((device.battery ?? 0) >= minBattery) return undefined;
    return {
      kind: "wait",
      reason: "battery-low",
      detail: `its battery is at ${device.battery} %, under ${minBattery} %`,
    };
  }

  #precondition(device: FleetDevice | undefined, facts: GateFacts): Gate | undefined {
    if (this.#requires === undefined) return undefined;
    const holds = device === undefined ? undefined : matches(this.#requires, device, facts.nowMs);
    if (holds === true) return undefined;
    const { requires } = this.#spec;
    return holds === false
      ? { kind: "skip", reason: "precondition", detail: `it is not: ${requires}` }
      : { kind: "wait", reason: "precondition-unknown", detail: `it is not known yet whether it is: ${requires}` };
  }

  airtimeS(endpoint: string, { fleet }: GateFacts): number {
    const bytes = this.#spec.components.reduce((sum, { size }) => sum + size, 0);
    return reckonAirtimeS(bytes, fleet.device(endpoint) ?? {});
  }
}
