import { reckonAirtimeS } from "./airtime.ts";
import { matches, parseFilter, type Filter } from "./filter.ts";
import type { Fleet, FleetDevice } from "./fleet.ts";
import { ROLLOUT_LIMITS } from "./limits.ts";
import type { Member } from "./record.ts";
import type { RolloutSpec } from "./spec.ts";
import type { MemberState } from "./states.ts";

/** What the gates of a device have to know besides the device. */
export interface GateFacts {
  readonly nowMs: number;
  readonly fleet: Fleet;
  /** Has the device asked for its battery, once this step is over. */
  readonly refresh: (endpoint: string) => void;
  /** Another rollout comes first for this device; its name. */
  readonly wantedBy: (endpoint: string) => string | undefined;
  /** How a device did in another rollout. */
  readonly stateIn: (rollout: string, endpoint: string) => Standing;
}

/** How a device stands in a rollout: `to-come` where it may yet get in. */
export type Standing = MemberState | "to-come" | "not-in-it" | "no-such-rollout";

/**
 * What keeps a device from being commanded: `skip` for good, `wait` on account of itself, and its deadline runs,
 * `ask` too, and it has to be asked first, `later` on account of others.
 */
export type Gate =
  | { readonly kind: "open" }
  | { readonly kind: "skip" | "wait" | "ask" | "later"; readonly reason: string; readonly detail: string };

const OPEN: Gate = { kind: "open" };
const WAITS: ReadonlySet<Standing> = new Set(["pending", "commanded", "downloaded", "to-come"]);
const NEVER: Partial<Record<Standing, string>> = { "not-in-it": "is not for it", "no-such-rollout": "was deleted" };

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
    return this.#refused(endpoint, facts) ?? this.#battery(device, facts) ?? this.#precondition(device, facts) ?? OPEN;
  }

  /** A release may be given back; a device is of its class. */
  #refused(endpoint: string, { fleet, nowMs }: GateFacts): Gate | undefined {
    const { components, policy } = this.#spec;
    const refusal = fleet.refusalToGive(nowMs, endpoint, components, policy.methods);
    return refusal && { kind: refusal.reason === "other-class" ? "skip" : "wait", ...refusal };
  }

  #before(endpoint: string, facts: GateFacts): Gate | undefined {
    for (const rollout of this.#spec.after ?? []) {
      const state = facts.stateIn(rollout, endpoint);
      if (state === "succeeded") continue;
      if (WAITS.has(state))
        return { kind: "wait", reason: "dependency", detail: `rollout ${rollout} is not done with it` };
      const how = NEVER[state] ?? `has it as ${state}`;
      return { kind: "skip", reason: "dependency", detail: `rollout ${rollout}, which it depends on, ${how}` };
    }
    return undefined;
  }

  #battery(device: FleetDevice | undefined, { nowMs }: GateFacts): Gate | undefined {
    const { minBattery } = this.#spec;
    if (minBattery === undefined || device?.battery === null) return undefined;
    const reason = "battery-unknown";
    if (device?.registered !== true)
      return { kind: "wait", reason, detail: "it is not registered, and cannot be asked how its battery is" };
    const { battery, batteryAtMs = 0 } = device;
    if (battery === undefined || nowMs - batteryAtMs >= ROLLOUT_LIMITS.batteryFreshMs)
      return { kind: "ask", reason, detail: "it has been asked how its battery is" };
    if (battery >= minBattery) return undefined;
    return { kind: "wait", reason: "battery-low", detail: `its battery is at ${battery} %, under ${minBattery} %` };
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
