import type { TransmissionParameters } from "../coap/parameters.ts";
import { CocoaTimer, FixedTimer, type RetransmissionPlan, type RetransmissionTimer } from "../coap/retransmission.ts";

/** A device that writes its flash answers later than the link alone would have it. */
const LEAST_TIMEOUT_US = 250_000;

/**
 * When a message to a LwM2M client is sent again: a push is one exchange after the other, so what
 * its answers have taken (CoCoA) may shorten ACK_TIMEOUT, and never lengthens it; a client whose
 * profile says that it is slow has a fixed one.
 */
export class DeviceTimer implements RetransmissionTimer {
  readonly #parameters: TransmissionParameters;
  readonly #standard: FixedTimer;
  readonly #cocoa: CocoaTimer;
  readonly #ackTimeoutMs: () => number | undefined;

  constructor(parameters: TransmissionParameters, ackTimeoutMs: () => number | undefined) {
    this.#parameters = parameters;
    this.#standard = new FixedTimer(parameters);
    this.#cocoa = new CocoaTimer(parameters);
    this.#ackTimeoutMs = ackTimeoutMs;
  }

  plan(nowUs: number): RetransmissionPlan {
    const slowMs = this.#ackTimeoutMs();
    if (slowMs !== undefined) return new FixedTimer({ ...this.#parameters, ackTimeoutUs: slowMs * 1_000 }).plan();
    const standard = this.#standard.plan();
    const measured = Math.max(this.#cocoa.plan(nowUs).timeoutUs, LEAST_TIMEOUT_US);
    return { ...standard, timeoutUs: Math.min(measured, standard.timeoutUs) };
  }

  measured(nowUs: number, rttUs: number, retransmissions: number): void {
    this.#cocoa.measured(nowUs, rttUs, retransmissions);
  }
}
