/**
 * IEEE 802.15.4 at 2.4 GHz (O-QPSK, 250 kbit/s): times in us, lengths in bytes. The figures were read in ns-3's lr-wpan
 * and in Contiki-NG's and Linux's headers; the standard itself was not at hand.
 */
export const PHY = {
  symbolUs: 16,
  byteUs: 32,
  /** Preamble 4, start of frame 1, length 1. */
  headerBytes: 6,
  maxPsduBytes: 127,
  /** Clear channel assessment: 8 symbols. */
  ccaUs: 128,
  /** Between reception and transmission: 12 symbols. */
  turnaroundUs: 192,
  /** An acknowledgement's PSDU. */
  ackPsduBytes: 5,
} as const;

/** Time on air of a frame whose PSDU has `psduBytes`. */
export const airtimeUs = (psduBytes: number): number => (PHY.headerBytes + psduBytes) * PHY.byteUs;

/** Bytes on air of the longest frame; error rates are given for this length. */
export const REFERENCE_AIR_BYTES: number = PHY.headerBytes + PHY.maxPsduBytes;
