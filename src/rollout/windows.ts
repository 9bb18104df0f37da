import { Cron } from "croner";

/** When devices may apply what they have: as hawkBit's maintenance windows have it. */
export interface MaintenanceWindow {
  /** Five fields of cron, in the site's time zone: when the window opens. */
  readonly schedule: string;
  readonly durationS: number;
  /** IANA name, such as Europe/Berlin. */
  readonly timeZone: string;
  /** Downloads too wait for the window. */
  readonly downloads?: "any-time" | "in-window" | undefined;
}

/** Open or not at a time, and when that changes; undefined where it never opens again. */
export interface WindowState {
  readonly open: boolean;
  readonly changesMs: number | undefined;
}

/** Throws an Error whose message says what is wrong with schedule or zone. */
export function checkWindow({ schedule, timeZone }: MaintenanceWindow): void {
  if (cronOf(schedule, timeZone).nextRun(new Date(0)) === null) throw new Error(`${schedule} never comes`);
}

/** Pure arithmetic on what is given: the pattern makes no timer of its own. */
function cronOf(schedule: string, timeZone: string): Cron {
  return new Cron(schedule, { timezone: timeZone, paused: true, mode: "5-part" });
}

export function windowState({ schedule, durationS, timeZone }: MaintenanceWindow, unixMs: number): WindowState {
  const cron = cronOf(schedule, timeZone);
  const durationMs = durationS * 1_000;
  // The last opening that may still last: runs are looked for behind the given time.
  let opened = cron.nextRun(new Date(unixMs - durationMs))?.getTime();
  if (opened === undefined || opened > unixMs) return { open: false, changesMs: opened };
  let closesMs = opened + durationMs;
  // Windows that overlap, or touch, are one.
  for (let i = 0; i < 1_000; i++) {
    opened = cron.nextRun(new Date(opened))?.getTime();
    if (opened === undefined || opened > closesMs) break;
    closesMs = opened + durationMs;
  }
  return { open: closesMs > unixMs, changesMs: closesMs };
}
