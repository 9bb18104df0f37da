import type { TransmissionParameters } from "../coap/parameters.ts";
import { CocoaTimer, FixedTimer, type RetransmissionPlan, type RetransmissionTimer } from "../coap/retransmission.ts";

/** A device that writes its flash answers later than the link alone would have it. */
const LEAST_TIMEOUT_US = 250_000;

/**
 * When a message to a LwM2M client is sent again: by what its answers have taken (CoCoA), since a
 * push is one exchange after the other; by a fixed time where its profile says that it is slow.
 */
export class DeviceTimer implements RetransmissionTimer {
  readonly #parameters: TransmissionParameters;
  readonly #cocoa: CocoaTimer;
  readonly #ackTimeoutMs: () => number | undefined;

  constructor(parameters: TransmissionParameters, ackTimeoutMs: () => number | undefined) {
    this.#parameters = parameters;
    this.#cocoa = new CocoaTimer(parameters);
    this.#ackTimeoutMs = ackTimeoutMs;
  }

  plan(nowUs: number): RetransmissionPlan {
    const fixedMs = this.#ackTimeoutMs();
    if (fixedMs !== undefined) return new FixedTimer({ ...this.#parameters, ackTimeoutUs: fixedMs * 1_000 }).plan();
    const plan = this.#cocoa.plan(nowUs);
    return { ...plan, timeoutUs: Math.max(plan.timeoutUs, LEAST_TIMEOUT_US), spanUs: Math.max(plan.spanUs, LEAST_SPAN_US) };
  }

  measured(nowUs: number, rttUs: number, retransmissions: number): void {
    this.#cocoa.measured(nowUs, rttUs, retransmissions);
  }
}

/** So that the back-off of the least time-out fits in. */
const LEAST_SPAN_US = 62_000_000;
