/** What is known of a device that runs; no name and no address is in it. */
export interface Seen {
  readonly classId: string;
  readonly version: string | undefined;
  readonly lastSeenMs: number;
}

export interface CensusRow {
  readonly classId: string;
  readonly version: string;
  readonly devices: number;
  readonly notSeen: number;
}

const DAY_MS = 86_400_000;

/** Which versions run where, in counts only (RFC 8240 section 7: measure without invasive identifiers). */
export function censusOf(devices: Iterable<Seen>, unixMs: number, notSeenDays: number): CensusRow[] {
  const rows = new Map<string, { classId: string; version: string; devices: number; notSeen: number }>();
  for (const { classId, version = "unknown", lastSeenMs } of devices) {
    const key = `${classId}/${version}`;
    const row = rows.get(key) ?? { classId, version, devices: 0, notSeen: 0 };
    row.devices++;
    if (unixMs - lastSeenMs > notSeenDays * DAY_MS) row.notSeen++;
    rows.set(key, row);
  }
  return [...rows.values()].toSorted(
    (a, b) => a.classId.localeCompare(b.classId) || a.version.localeCompare(b.version),
  );
}
