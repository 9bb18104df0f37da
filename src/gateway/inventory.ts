import type { Reading } from "../lwm2m/reading.ts";
import { pathText } from "../lwm2m/path.ts";
import { toText } from "../lwm2m/values.ts";
import type { StoreOp } from "../ports/store.ts";
import { percentDecode } from "../coap/uri.ts";
import { fromUtf8, utf8 } from "../util/bytes.ts";

export const INVENTORY_PREFIX = "inventory/";
const MAX_DEVICES = 20_000;
const HOUR_MS = 3_600_000;

/** What is known of a device, and stays known when its registration is gone. */
export interface InventoryEntry {
  readonly tags: readonly string[];
  /** What an operator says that it is, where the factory has not. */
  readonly class?: string | undefined;
  readonly hops?: number | undefined;
  readonly version?: string | undefined;
  /** Percent; null: it has no battery level to tell. */
  readonly battery?: number | null | undefined;
  readonly batteryAtMs?: number | undefined;
  readonly linkQuality?: number | undefined;
  readonly lastSeenMs?: number | undefined;
  /** By operators' changes: what `If-Match` names. */
  readonly revision: number;
}

export type OperatorFacts = Pick<InventoryEntry, "tags" | "class" | "hops">;

const NEW: InventoryEntry = { tags: [], revision: 0 };
export const BATTERY_PATH: readonly number[] = [3, 0, 9];
const VERSION = "/3/0/3";
const BATTERY = "/3/0/9";
const SIGNAL = "/4/0/2";

/** What devices have told of themselves, and operators of them. */
export class Inventory {
  readonly #entries = new Map<string, InventoryEntry>();
  /** Counts devices that have come or gone. */
  changes = 0;
  readonly #store: (ops: readonly StoreOp[], durability: "durable" | "lazy") => number;

  constructor(store: (ops: readonly StoreOp[], durability: "durable" | "lazy") => number) {
    this.#store = store;
  }

  get(endpoint: string): InventoryEntry {
    return this.#entries.get(endpoint) ?? NEW;
  }

  has(endpoint: string): boolean {
    return this.#entries.has(endpoint);
  }

  endpoints(): Iterable<string> {
    return this.#entries.keys();
  }

  recover(key: string, record: Uint8Array): boolean {
    const endpoint = percentDecode(key.slice(INVENTORY_PREFIX.length));
    try {
      const value = JSON.parse(fromUtf8(record) ?? "") as InventoryEntry;
      if (endpoint === undefined || !Array.isArray(value.tags) || !Number.isInteger(value.revision)) return false;
      this.#entries.set(endpoint, value);
      this.changes++;
      return true;
    } catch {
      return false;
    }
  }

  /** It was heard of; written once an hour. */
  heard(nowMs: number, endpoint: string): void {
    const before = this.get(endpoint);
    const isNews = nowMs - (before.lastSeenMs ?? 0) >= HOUR_MS;
    this.#put(endpoint, { ...before, lastSeenMs: nowMs }, isNews);
  }

  learn(nowMs: number, endpoint: string, readings: readonly Reading[]): void {
    const told: { version?: string; battery?: number; batteryAtMs?: number; linkQuality?: number } = {};
    for (const { path, value } of readings) {
      const at = pathText(path);
      if (at === VERSION) told.version = toText(value).slice(0, 255);
      else if (at === BATTERY && isPercent(Number(value)))
        Object.assign(told, { battery: Number(value), batteryAtMs: nowMs });
      else if (at === SIGNAL && Number.isFinite(Number(value))) told.linkQuality = Number(value);
    }
    if (Object.keys(told).length > 0) this.#put(endpoint, { ...this.get(endpoint), ...told }, true);
  }

  runs(endpoint: string, version: string): void {
    const before = this.get(endpoint);
    if (before.version !== version) this.#put(endpoint, { ...before, version }, true);
  }

  /** It has no battery to tell of. */
  hasNoBattery(nowMs: number, endpoint: string): void {
    this.#put(endpoint, { ...this.get(endpoint), battery: null, batteryAtMs: nowMs }, true);
  }

  /** What an operator says of a device: the number of the durable write. */
  describe(endpoint: string, facts: OperatorFacts): number {
    const before = this.get(endpoint);
    const entry = { ...before, ...facts, revision: before.revision + 1 };
    this.changes++;
    this.#entries.set(endpoint, entry);
    return this.#store([{ kind: "put", key: keyOf(endpoint), value: utf8(JSON.stringify(entry)) }], "durable");
  }

  /** What was said of it could not be written. One that nothing else was ever known of is none. */
  restore(endpoint: string, { tags, class: named, hops, revision }: InventoryEntry): void {
    const { lastSeenMs, version, battery, linkQuality } = this.get(endpoint);
    const isHeardOf = [lastSeenMs, version, battery, linkQuality].some((told) => told !== undefined);
    if (revision === 0 && tags.length === 0 && !isHeardOf) return this.#forget(endpoint);
    this.#entries.set(endpoint, { ...this.get(endpoint), tags, class: named, hops, revision });
  }

  /** Nothing is known of it any more: the number of the durable write. */
  forget(endpoint: string): number {
    this.#forget(endpoint);
    return this.#store([{ kind: "delete", key: keyOf(endpoint) }], "durable");
  }

  /** It could not be forgotten. */
  keep(endpoint: string, entry: InventoryEntry): void {
    this.#put(endpoint, { ...entry, ...this.#entries.get(endpoint) }, false);
  }

  #put(endpoint: string, entry: InventoryEntry, write: boolean): void {
    const isNew = !this.#entries.has(endpoint);
    if (isNew) this.changes++;
    if (isNew && this.#entries.size >= MAX_DEVICES) this.#forgetOne();
    this.#entries.set(endpoint, entry);
    if (write) this.#store([{ kind: "put", key: keyOf(endpoint), value: utf8(JSON.stringify(entry)) }], "lazy");
  }

  #forgetOne(): void {
    for (const [endpoint, { tags }] of this.#entries) {
      if (tags.length > 0) continue;
      this.#forget(endpoint);
      this.#store([{ kind: "delete", key: keyOf(endpoint) }], "lazy");
      return;
    }
  }

  #forget(endpoint: string): void {
    this.#entries.delete(endpoint);
    this.changes++;
  }
}

const keyOf = (endpoint: string): string => INVENTORY_PREFIX + encodeURIComponent(endpoint);
const isPercent = (value: number): boolean => value >= 0 && value <= 100;
