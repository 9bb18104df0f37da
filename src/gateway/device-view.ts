import type { FleetDevice } from "../rollout/fleet.ts";
import type { Devices } from "./devices.ts";
import type { InventoryEntry } from "./inventory.ts";
import type { LifecycleDesk } from "./lifecycle-desk.ts";

interface ViewParts {
  readonly name: string;
  readonly devices: () => Devices;
  readonly desk: LifecycleDesk;
}

/** A device as a filter sees it: each attribute is looked up when it is asked for, since a filter asks for few of many. */
export class DeviceView implements FleetDevice {
  readonly endpoint: string;
  readonly #entry: InventoryEntry;
  readonly #parts: ViewParts;

  constructor(endpoint: string, entry: InventoryEntry, parts: ViewParts) {
    this.endpoint = endpoint;
    this.#entry = entry;
    this.#parts = parts;
  }

  get class(): string | undefined {
    const { state } = this.#parts.desk.lifecycle;
    const made = state.byEndpoint(this.endpoint);
    return made === undefined ? this.#entry.class : state.classes.get(made.classId)?.name;
  }

  get version(): string | undefined {
    return this.#entry.version;
  }

  get tags(): readonly string[] {
    return this.#entry.tags;
  }

  get battery(): number | null | undefined {
    return this.#entry.battery;
  }

  get batteryAtMs(): number | undefined {
    return this.#entry.batteryAtMs;
  }

  get linkQuality(): number | undefined {
    return this.#entry.linkQuality;
  }

  get loss(): number | undefined {
    return this.#parts.devices().timelines.lossOf(this.endpoint);
  }

  get hops(): number | undefined {
    return this.#entry.hops;
  }

  get lastSeenMs(): number | undefined {
    return this.#entry.lastSeenMs;
  }

  get gateway(): string {
    return this.#parts.name;
  }

  get registered(): boolean {
    return this.#parts.devices().get(this.endpoint) !== undefined;
  }

  get queueMode(): boolean | undefined {
    return this.#parts.devices().get(this.endpoint)?.queueMode;
  }

  get lifetimeS(): number | undefined {
    return this.#parts.devices().get(this.endpoint)?.lifetimeS;
  }

  get wakeIntervalS(): number | undefined {
    const registration = this.#parts.devices().get(this.endpoint);
    return registration?.queueMode === true ? this.#parts.devices().intervalS(registration) : undefined;
  }

  get held(): boolean {
    const state = this.#parts.desk.lifecycle.state.byEndpoint(this.endpoint)?.state;
    return state === "quarantined" || state === "decommissioned";
  }

  toJSON(): FleetDevice {
    const { endpoint, version, tags, battery, batteryAtMs, linkQuality, loss, hops, lastSeenMs, gateway } = this;
    const { registered, queueMode, lifetimeS, wakeIntervalS, held, class: named } = this;
    const known = { endpoint, class: named, version, tags, battery, batteryAtMs, linkQuality, loss, hops, lastSeenMs };
    return { ...known, gateway, registered, queueMode, lifetimeS, wakeIntervalS, held };
  }
}
