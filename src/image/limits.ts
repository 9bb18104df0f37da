/** Bounds of the image layer that no configuration sets. */
export const IMAGE_LIMITS = {
  /** Tries at one image's upstream before whoever waits for it is told. */
  maxFetchAttempts: 6,
  fetchBackoffUs: 500_000,
  maxFetchBackoffUs: 30_000_000,
  /** Times that a fetched image may turn out not to have its digest before it is given up. */
  maxDigestFailures: 2,
} as const;

/** Budgets that the configuration sets. */
export interface CacheBudget {
  /** Largest image that is accepted. */
  readonly maxImageBytes: number;
  /** All images on disk together. */
  readonly diskBytes: number;
  /** Verified images in memory together; at least `maxImageBytes`. */
  readonly memoryBytes: number;
}
