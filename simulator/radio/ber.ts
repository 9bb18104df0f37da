/** Bit error rate of O-QPSK with DSSS at 2.4 GHz (IEEE 802.15.4-2006, E.4.1.8) at a linear SINR. */
export function bitErrorRate(sinr: number): number {
  let sum = 0;
  for (let k = 2; k <= 16; k++) sum += (k % 2 === 0 ? 1 : -1) * BINOMIAL[k]! * Math.exp(20 * sinr * (1 / k - 1));
  return Math.min(0.5, Math.max(0, (8 / 15) * (1 / 16) * sum));
}

/** 16 over k. */
const BINOMIAL: readonly number[] = Array.from({ length: 17 }, (_, k) => {
  let value = 1;
  for (let i = 1; i <= k; i++) value = (value * (16 - i + 1)) / i;
  return Math.round(value);
});

const STEPS_PER_DB = 20;
const MIN_DB = -10;
const MAX_DB = 10;
/** ln(1 - BER) in steps of 0.05 dB; beyond the ends nothing, or everything, arrives. */
const LOG_GOOD: Float64Array = Float64Array.from({ length: (MAX_DB - MIN_DB) * STEPS_PER_DB + 1 }, (_, i) =>
  Math.log(1 - bitErrorRate(10 ** ((MIN_DB + i / STEPS_PER_DB) / 10))),
);

/** Share of frames of `airBytes` that arrive at a linear SINR: (1 - BER)^(8 x bytes). */
export function receptionRatio(sinr: number, airBytes: number): number {
  const step = Math.round((10 * Math.log10(sinr) - MIN_DB) * STEPS_PER_DB);
  if (step >= LOG_GOOD.length) return 1;
  if (!(step >= 0)) return 0;
  return Math.exp(LOG_GOOD[step]! * 8 * airBytes);
}

export const toMilliwatts = (dbm: number): number => 10 ** (dbm / 10);
export const toDbm = (milliwatts: number): number => 10 * Math.log10(milliwatts);
