import { maxTransmitSpanUs, type TransmissionParameters } from "./parameters.ts";

/** How long one confirmable message waits for its ACK, and how often it is repeated. */
export interface RetransmissionPlan {
  /** The first time-out before dithering, in microseconds. */
  readonly timeoutUs: number;
  /** Dithering: the time-out is multiplied by a factor from 1 to this. */
  readonly randomFactor: number;
  readonly maxRetransmit: number;
  /** MAX_TRANSMIT_SPAN for this peer: nothing is sent again later than this after the first time (section 4.8.2). */
  readonly spanUs: number;
  /** The time-out that follows one of `timeoutUs`. */
  backoff(timeoutUs: number): number;
}

/** Decides for one peer when its messages are sent again (RFC 7252 section 4.2 leaves room for it). */
export interface RetransmissionTimer {
  plan(nowUs: number): RetransmissionPlan;
  /** An ACK or a response came `rttUs` after the first transmission, with so many repetitions in between. */
  measured(nowUs: number, rttUs: number, retransmissions: number): void;
}

/** ACK_TIMEOUT, doubled each time, whatever the link is like (RFC 7252 section 4.2). */
export class FixedTimer implements RetransmissionTimer {
  readonly #plan: RetransmissionPlan;

  constructor(parameters: TransmissionParameters) {
    const { ackTimeoutUs, ackRandomFactor, maxRetransmit } = parameters;
    const spanUs = maxTransmitSpanUs(parameters);
    const backoff = (timeoutUs: number): number => timeoutUs * 2;
    this.#plan = { timeoutUs: ackTimeoutUs, randomFactor: ackRandomFactor, maxRetransmit, spanUs, backoff };
  }

  plan(): RetransmissionPlan {
    return this.#plan;
  }

  measured(): void {}
}

/**
 * For a child that hears its parent only when it polls: nothing is sent again before the child
 * has had its turn, and the time-outs do not grow, since it is the schedule that makes it late. So
 * ACK_TIMEOUT, and with it MAX_TRANSMIT_SPAN, is this peer's own (RFC 7252 section 4.8.1).
 */
export class PollPeriodTimer implements RetransmissionTimer {
  readonly #plan: RetransmissionPlan;

  constructor(parameters: TransmissionParameters, pollPeriodUs: number, maxRetransmit = 2) {
    const timeoutUs = pollPeriodUs + parameters.ackTimeoutUs;
    const { ackRandomFactor: randomFactor } = parameters;
    const spanUs = timeoutUs * maxRetransmit * randomFactor;
    this.#plan = { timeoutUs, randomFactor, maxRetransmit, spanUs, backoff: (previousUs) => previousUs };
  }

  plan(): RetransmissionPlan {
    return this.#plan;
  }

  measured(): void {}
}

const SECOND_US = 1_000_000;
const MAX_RTO_US = 32 * SECOND_US;

interface Estimator {
  readonly k: number;
  /** What the overall RTO takes over of this estimator's. */
  readonly weight: number;
  srttUs: number | undefined;
  varianceUs: number;
}

/**
 * CoCoA (draft-ietf-core-cocoa-03): an RTO from measured round trips, with a strong estimator for
 * exchanges without repetition and a weak one for those with. The weak one is fixed: it measures
 * from the first transmission and only up to two repetitions, so that a lost ACK cannot blow it up.
 */
export class CocoaTimer implements RetransmissionTimer {
  readonly #floorUs: number;
  readonly #growth: number;
  readonly #maxRetransmit: number;
  readonly #randomFactor: number;
  readonly #strong: Estimator = { k: 4, weight: 0.5, srttUs: undefined, varianceUs: 0 };
  readonly #weak: Estimator = { k: 1, weight: 0.25, srttUs: undefined, varianceUs: 0 };
  #rtoUs: number;
  #updatedUs: number | undefined;

  /**
   * `floorUs`: no time-out is shorter, whatever was measured; for a sleeper the time that a few of its polls take.
   * `growth`: of the RTO behind an exchange with more repetitions, which the draft takes for nothing. Where the copies are
   * what fills the channel, no round trip would ever be measured.
   */
  constructor(parameters: TransmissionParameters, floorUs = 0, growth = 1) {
    this.#growth = growth;
    const { ackTimeoutUs, ackRandomFactor, maxRetransmit } = parameters;
    this.#floorUs = floorUs;
    this.#rtoUs = Math.max(ackTimeoutUs, floorUs);
    this.#randomFactor = ackRandomFactor;
    this.#maxRetransmit = maxRetransmit;
  }

  plan(nowUs: number): RetransmissionPlan {
    this.#age(nowUs);
    const rtoUs = Math.max(this.#rtoUs, this.#floorUs);
    const factor = backoffFactor(rtoUs);
    const backoff = (timeoutUs: number): number => Math.min(timeoutUs * factor, Math.max(timeoutUs, MAX_RTO_US));
    // The RTO stands in for ACK_TIMEOUT, so MAX_TRANSMIT_SPAN follows it, rounded as the time-outs are.
    let [spanUs, timeoutUs] = [0, Math.ceil(rtoUs * this.#randomFactor)];
    for (let i = 0; i < this.#maxRetransmit; i++) {
      spanUs += timeoutUs;
      timeoutUs = Math.ceil(backoff(timeoutUs));
    }
    const [randomFactor, maxRetransmit] = [this.#randomFactor, this.#maxRetransmit];
    return { timeoutUs: rtoUs, randomFactor, maxRetransmit, spanUs, backoff };
  }

  measured(nowUs: number, rttUs: number, retransmissions: number): void {
    if (retransmissions > 2) {
      this.#rtoUs = Math.min(this.#rtoUs * this.#growth, MAX_RTO_US);
      return;
    }
    const estimator = retransmissions === 0 ? this.#strong : this.#weak;
    const { k, weight } = estimator;
    if (estimator.srttUs === undefined) {
      estimator.srttUs = rttUs;
      estimator.varianceUs = rttUs / 2;
    } else {
      // RFC 6298 section 2, with its alpha of 1/8 and beta of 1/4.
      estimator.varianceUs = 0.75 * estimator.varianceUs + 0.25 * Math.abs(estimator.srttUs - rttUs);
      estimator.srttUs = 0.875 * estimator.srttUs + 0.125 * rttUs;
    }
    const estimateUs = estimator.srttUs + k * estimator.varianceUs;
    this.#rtoUs = Math.min(weight * estimateUs + (1 - weight) * this.#rtoUs, MAX_RTO_US);
    this.#updatedUs = nowUs;
  }

  /** A small RTO that was not confirmed for long grows, a large one shrinks (section 4.2.3 of the draft). */
  #age(nowUs: number): void {
    if (this.#updatedUs === undefined) return;
    const idleUs = nowUs - this.#updatedUs;
    if (this.#rtoUs < SECOND_US && idleUs > 16 * this.#rtoUs) this.#rtoUs *= 2;
    else if (this.#rtoUs > 3 * SECOND_US && idleUs > 4 * this.#rtoUs) this.#rtoUs = SECOND_US + this.#rtoUs / 2;
    else return;
    this.#updatedUs = nowUs;
  }
}

/** Variable back-off: a short RTO is tripled, a long one grows by half (section 4.2.2 of the draft). */
function backoffFactor(rtoUs: number): number {
  if (rtoUs < SECOND_US) return 3;
  return rtoUs > 3 * SECOND_US ? 1.5 : 2;
}

/** One timer per peer: the host's choice for it, or RFC 7252's. */
export type TimerChoice = (peer: {
  readonly address: string;
  readonly port: number;
}) => RetransmissionTimer | undefined;
