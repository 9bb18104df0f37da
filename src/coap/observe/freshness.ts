/** When a notification came, and its Observe value. */
export interface Notified {
  readonly sequence: number;
  readonly atUs: number;
}

const HALF = 2 ** 23;
const MAX_REORDERING_US = 128_000_000;

/** Whether `later` is newer than `earlier` although datagrams overtake each other (RFC 7641 section 3.4). */
export function isNewer(earlier: Notified, later: Notified): boolean {
  const [v1, v2] = [earlier.sequence, later.sequence];
  return (v1 < v2 && v2 - v1 < HALF) || (v1 > v2 && v1 - v2 > HALF) || later.atUs > earlier.atUs + MAX_REORDERING_US;
}
