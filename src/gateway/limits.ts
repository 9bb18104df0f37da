/** Bounds of the gateway that no configuration sets. */
export const GATEWAY_LIMITS = {
  /** Requests that wait for an image to be read or fetched. */
  maxParked: 1_024,
  /** Publications under way. */
  maxPublications: 16,
  /** Releases in the catalogue. */
  maxReleases: 10_000,
  /** Releases by one key that others took the place of. */
  maxReplaced: 8,
  /** Further ones, which devices have begun to fetch; besides those that an update, a rollout or a recovery needs. */
  maxReplacedBegun: 64,
  /** Further ones by one key with an image that an operator needs, none of which is as good as another. */
  maxReplacedOrdered: 256,
  /** Bytes of all of them; beyond, one by each key stays, and what is needed. */
  maxReplacedBytes: 134_217_728,
  /** And beyond this nothing more is published: all of it is needed, or the last for somebody. */
  maxKeptBytes: 268_435_456,
  /** Signatures that are known to be good, or bad: each release is judged again whenever something changes. */
  maxVerified: 20_000,
  /** Sequence numbers that are remembered, one for each class and component. */
  maxFloors: 100_000,
  /** Seconds after which a client may ask again for an image that cannot be had now. */
  unavailableMaxAgeS: 30,
} as const;
