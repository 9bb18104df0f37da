import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";

/** A reason is logged once, then at most this often, with how many there were. */
const QUIET_US = 10_000_000;

/**
 * Passes counts on, and logs refused messages by reason: each new reason at once, repeated ones in
 * sums, so that a flood of bad datagrams can't flood the log.
 */
export class RefusalLog implements Metrics {
  readonly #metrics: Metrics;
  readonly #log: Log;
  readonly #pending = new Map<string, number>();
  readonly #loggedUs = new Map<string, number>();

  constructor(metrics: Metrics, log: Log) {
    this.#metrics = metrics;
    this.#log = log;
  }

  count(name: string, label?: string, by = 1): void {
    this.#metrics.count(name, label, by);
    if (name === "coap_refused" && label !== undefined) this.#pending.set(label, (this.#pending.get(label) ?? 0) + by);
  }

  /** Logs what is due; cheap when nothing was refused. */
  flush(nowUs: number): void {
    if (this.#pending.size === 0) return;
    for (const [reason, count] of this.#pending) {
      const logged = this.#loggedUs.get(reason);
      if (logged !== undefined && nowUs - logged < QUIET_US) continue;
      this.#log.event("warn", "coap-refused", { reason, count });
      this.#loggedUs.set(reason, nowUs);
      this.#pending.delete(reason);
    }
  }
}
