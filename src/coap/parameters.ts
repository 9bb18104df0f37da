/** Transmission parameters of RFC 7252 section 4.8, in microseconds. */
export interface TransmissionParameters {
  readonly ackTimeoutUs: number;
  readonly ackRandomFactor: number;
  readonly maxRetransmit: number;
  readonly nstart: number;
  /** How long a handler may take before an empty ACK is sent (section 5.2.2). */
  readonly piggybackUs: number;
  readonly maxLatencyUs: number;
  /** PROBING_RATE in bytes per second (section 4.7). */
  readonly probingRate: number;
}

export const DEFAULT_PARAMETERS: TransmissionParameters = {
  ackTimeoutUs: 2_000_000,
  ackRandomFactor: 1.5,
  maxRetransmit: 4,
  nstart: 1,
  piggybackUs: 500_000,
  maxLatencyUs: 100_000_000,
  probingRate: 1,
};

/** EXCHANGE_LIFETIME of section 4.8.2: how long a message ID of a CON stays in use. */
export function exchangeLifetimeUs(p: TransmissionParameters): number {
  return maxTransmitSpanUs(p) + 2 * p.maxLatencyUs + p.ackTimeoutUs;
}

/** NON_LIFETIME of section 4.8.2. */
export function nonLifetimeUs(p: TransmissionParameters): number {
  return maxTransmitSpanUs(p) + p.maxLatencyUs;
}

/** MAX_TRANSMIT_SPAN: from the first transmission to the last retransmission. */
export function maxTransmitSpanUs(p: TransmissionParameters): number {
  return p.ackTimeoutUs * (2 ** p.maxRetransmit - 1) * p.ackRandomFactor;
}

/** Throws a RangeError for what section 4.8.1 forbids: more messages at once, or time-outs that come in step. */
export function checkParameters({ nstart, ackRandomFactor, ackTimeoutUs }: TransmissionParameters): void {
  if (nstart !== 1) throw new RangeError(`NSTART is 1: there is no congestion control for ${nstart}`);
  if (ackRandomFactor < 1) throw new RangeError(`ACK_RANDOM_FACTOR is at least 1, not ${ackRandomFactor}`);
  if (!(ackTimeoutUs > 0)) throw new RangeError(`ACK_TIMEOUT is positive, not ${ackTimeoutUs}`);
}
