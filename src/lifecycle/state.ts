import { isSameKey, type Authority, type DeviceClass, type KeyRecord } from "./classes.ts";
import type { Device, LifecycleEvent } from "./events.ts";

export interface Revocation {
  readonly key: KeyRecord;
  readonly reason: string;
}

/** What all events so far add up to. */
export class LifecycleState {
  readonly classes: Map<string, DeviceClass> = new Map();
  readonly devices: Map<string, Device> = new Map();
  /** Authorities that handed a class over: for nothing new, but they stand for what is on offer from them. */
  readonly former: Map<string, readonly Authority[]> = new Map();
  /** Whoever may sign for a class, or ever might: what they signed is read, and judged by who may today. */
  readonly signers: Map<string, KeyRecord> = new Map();
  readonly revoked: Revocation[] = [];
  /** Digest of the image that a quarantined device may have besides the current one, by class. */
  readonly recovery: Map<string, string> = new Map();
  /** Devices that may not have whatever they like. */
  readonly held: Set<string> = new Set();
  readonly #endpoints = new Map<string, string>();

  isRevoked(key: KeyRecord): boolean {
    return this.revoked.some((entry) => isSameKey(entry.key, key));
  }

  /** The device that registers by this name. */
  byEndpoint(endpoint: string): Device | undefined {
    const id = this.#endpoints.get(endpoint);
    return id === undefined ? undefined : this.devices.get(id);
  }

  apply(event: LifecycleEvent): void {
    switch (event.kind) {
      case "class-defined":
        this.#define(event.definition);
        return;
      case "authority-transferred":
        this.#handOver(event.classId);
        this.#noteSigners(event.authorities);
        this.#changeClass(event.classId, { authorities: event.authorities, epoch: event.epoch });
        return;
      case "authority-added": {
        const before = this.classes.get(event.classId)?.authorities ?? [];
        this.#noteSigners([event.authority]);
        this.#changeClass(event.classId, { authorities: [...before, event.authority] });
        return;
      }
      case "support-set":
        this.#changeClass(event.classId, { support: event.support });
        return;
      case "policy-set":
        this.#changeClass(event.classId, { policy: event.policy });
        return;
      case "recovery-set":
        this.recovery.set(event.classId, event.digest);
        return;
      case "key-revoked":
        if (!this.isRevoked(event.key)) this.revoked.push({ key: event.key, reason: event.reason });
        return;
      case "device-provisioned": {
        const { device: id, classId, endpoint, stage } = event;
        const made: Device = { id, classId, endpoint, stage, state: stage === 2 ? "active" : "provisioned" };
        const { state, quarantineReason } = this.devices.get(id) ?? made;
        // What the factory adds ends no quarantine.
        this.devices.set(id, state === "quarantined" ? { ...made, state, quarantineReason } : made);
        if (endpoint !== undefined) this.#endpoints.set(endpoint, id);
        return;
      }
      case "device-quarantined":
        this.held.add(event.device);
        this.#changeDevice(event.device, { state: "quarantined", quarantineReason: event.reason });
        return;
      case "device-released":
        this.held.delete(event.device);
        this.#changeDevice(event.device, { state: "active", quarantineReason: undefined });
        return;
      case "device-decommissioned":
        this.held.add(event.device);
        this.#changeDevice(event.device, { state: "decommissioned" });
        return;
      case "credential-replaced":
      case "operator-action":
      case "release-admitted":
      case "release-refused":
      default:
    }
  }

  /** A class that is defined again keeps what was decided for it since; transfers are never forgotten. */
  #define(definition: DeviceClass): void {
    const before = this.classes.get(definition.id);
    const epoch = Math.max(definition.epoch, before?.epoch ?? 0);
    const { support = before?.support, policy = before?.policy } = definition;
    // Devices follow the hand-overs, whatever is said of their class afterwards.
    const authorities = isOvertaken(definition, before) ? before!.authorities : definition.authorities;
    // Others than the class was handed to: those before them stand for nothing any more.
    if (!isSameKeys(authorities, before?.authorities ?? [])) this.former.delete(definition.id);
    this.#noteSigners([...authorities, ...definition.operators]);
    this.classes.set(definition.id, { ...definition, authorities, epoch, support, policy });
  }

  #noteSigners(keys: readonly KeyRecord[]): void {
    for (const { algorithm, key } of keys) this.signers.set(nameOf({ algorithm, key }), { algorithm, key });
  }

  #handOver(classId: string): void {
    const before = this.former.get(classId) ?? [];
    const leaving = this.classes.get(classId)?.authorities ?? [];
    this.former.set(classId, [...before, ...leaving.filter((key) => !before.some((other) => isSameKey(key, other)))]);
  }

  #changeClass(id: string, change: Partial<DeviceClass>): void {
    const before = this.classes.get(id);
    if (before !== undefined) this.classes.set(id, { ...before, ...change });
  }

  #changeDevice(id: string, change: Partial<Device>): void {
    const before = this.devices.get(id);
    if (before !== undefined) this.devices.set(id, { ...before, ...change });
  }
}

const nameOf = ({ algorithm, key }: KeyRecord): string => `${algorithm}/${key}`;

/** A definition from before a hand-over, with other authorities than the devices believe by now. */
export function isOvertaken(definition: DeviceClass, before: DeviceClass | undefined): boolean {
  if (before === undefined || before.epoch <= definition.epoch) return false;
  return !isSameKeys(definition.authorities, before.authorities);
}

const isSameKeys = (some: readonly KeyRecord[], others: readonly KeyRecord[]): boolean =>
  some.length === others.length && some.every((key) => others.some((other) => isSameKey(key, other)));
