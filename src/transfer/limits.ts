/** Every bound of the transfer layer. */
export const TRANSFER_LIMITS = {
  /** Separate runs of served bytes that are kept per transfer. */
  maxIntervals: 512,
  /** Transfers that are kept in all, finished ones included. */
  maxTransfers: 20_000,
  /** A longer silence makes the next block a new attempt. */
  pauseUs: 30_000_000,
  /** An unfinished transfer that has been silent this long no longer holds its image in the cache. */
  abandonedUs: 604_800_000_000,
  /** Behind a restart so many bytes at most are taken as served though no checkpoint says so. */
  mostUnnotedBytes: 65_536,
  /** How old a change may be when its checkpoint's turn comes; with the goes below, a crash costs at most a second. */
  flushUs: 800_000,
  /** So many checkpoints are written in one go; more of them in several, each after a breath, so that no request waits for all. */
  flushAtOnce: 64,
  flushBreathUs: 10_000,
  /** In how many goes more than that are written, however many there are. */
  flushGoes: 16,
} as const;
