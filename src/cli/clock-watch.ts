import type { Gateway } from "../gateway/gateway.ts";
import type { Log } from "../ports/log.ts";

const LOOK_MS = 5_000;
/** Less than this is left as it is. */
const TOLERANCE_MS = 1_000;

/** Has a gateway follow the wall's clock: a machine without one of its own learns the time some while after its start. */
export class ClockWatch {
  readonly #timer: NodeJS.Timeout;

  constructor(gateway: Gateway, call: (action: (nowUs: number) => void) => void, log: Log, everyMs: number = LOOK_MS) {
    const look = (): void =>
      call((nowUs) => {
        const byMs = Math.round(Date.now() - gateway.clock.unixMs(nowUs));
        if (Math.abs(byMs) < TOLERANCE_MS) return;
        gateway.clock.set(nowUs, Date.now());
        log.event("warn", "clock-set", { byMs, reason: "the clock of this machine was set" });
        gateway.fleet.rollouts.clockSet(nowUs);
      });
    this.#timer = setInterval(look, everyMs).unref();
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
