import { censusOf, type CensusRow, type Seen } from "../lifecycle/census.ts";
import type { LifecycleState } from "../lifecycle/state.ts";
import type { StoreOp } from "../ports/store.ts";
import { fromUtf8, utf8 } from "../util/bytes.ts";

export const SEEN_PREFIX = "seen/";
const DAY_MS = 86_400_000;

interface SightingsParts {
  readonly state: LifecycleState;
  readonly unixMs: (nowUs: number) => number;
  readonly store: (ops: readonly StoreOp[]) => void;
}

/** When living devices were heard of last, and what they ran; written at most once a day, unless that has changed. */
export class Sightings {
  readonly #parts: SightingsParts;
  readonly #seen = new Map<string, { readonly lastSeenMs: number; readonly version: string | undefined }>();

  constructor(parts: SightingsParts) {
    this.#parts = parts;
  }

  recover(device: string, value: Uint8Array): void {
    const text = fromUtf8(value) ?? "";
    const [first, version] = /^(\S+) (.+)$/s.exec(text)?.slice(1) ?? [text];
    const lastSeenMs = Number(first);
    if (text !== "" && Number.isFinite(lastSeenMs)) this.#seen.set(device, { lastSeenMs, version });
  }

  seen(nowUs: number, device: string, version: string | undefined): void {
    const { state, unixMs, store } = this.#parts;
    if ((state.devices.get(device)?.state ?? "decommissioned") === "decommissioned") return;
    const before = this.#seen.get(device);
    const lastSeenMs = Math.floor(unixMs(nowUs));
    const entry = { lastSeenMs, version: version ?? before?.version };
    const isNews = before === undefined || lastSeenMs - before.lastSeenMs >= DAY_MS || entry.version !== before.version;
    if (!isNews) return;
    this.#seen.set(device, entry);
    store([{ kind: "put", key: SEEN_PREFIX + device, value: utf8(`${lastSeenMs} ${entry.version ?? ""}`.trim()) }]);
  }

  forget(device: string): void {
    this.#seen.delete(device);
  }

  /** What is known of living devices, without their names; `others` are known elsewhere. */
  census(unixMs: number, notSeenDays: number, others: Iterable<Seen>): CensusRow[] {
    const living = [...this.#parts.state.devices.values()].filter(({ state }) => state !== "decommissioned");
    const seen = living.map(({ id, classId }) => {
      const { lastSeenMs = 0, version } = this.#seen.get(id) ?? {};
      return { classId, lastSeenMs, version };
    });
    return censusOf([...seen, ...others], unixMs, notSeenDays);
  }
}
