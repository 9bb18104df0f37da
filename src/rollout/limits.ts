export const ROLLOUT_LIMITS = {
  maxRollouts: 1_000,
  maxGroups: 100,
  /** Devices of one rollout. */
  maxMembers: 20_000,
  /** Decisions that are kept of one rollout: the newest. */
  maxDecisions: 5_000,
  /** Characters of a filter, and how deep its parentheses go. */
  maxFilter: 2_000,
  maxFilterDepth: 20,
  /** Commands that are given in one step of one rollout. */
  maxCommandsAtOnce: 100,
  /** After a write that failed. */
  retryUs: 5_000_000,
  /** A device that could not be commanded just now is looked at again. */
  lookUs: 10_000_000,
  /** A device that was asked how its battery is, and did not say, is asked again after so long. */
  askAgainMs: 600_000,
  /** What a device said of its battery counts for so long. */
  batteryFreshMs: 3_600_000,
} as const;
