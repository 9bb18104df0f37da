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

/** A window that such many others touch is told to end there; it goes on when that comes. */
const MAX_MERGED = 100;

export function windowState({ schedule, durationS, timeZone }: MaintenanceWindow, unixMs: number): WindowState {
  const cron = cronOf(schedule, timeZone);
  const durationMs = durationS * 1_000;
  // The last opening that may still last: runs are looked for behind the given time.
  let opened = cron.nextRun(new Date(unixMs - durationMs))?.getTime();
  if (opened === undefined || opened > unixMs) return { open: false, changesMs: opened };
  let closesMs = opened + durationMs;
  // Windows that overlap, or touch, are one.
  for (let i = 0; i < MAX_MERGED; i++) {
    opened = cron.nextRun(new Date(opened))?.getTime();
    if (opened === undefined || opened > closesMs) break;
    closesMs = opened + durationMs;
  }
  return { open: closesMs > unixMs, changesMs: closesMs };
}

/** A window's state, reckoned anew when it changes: cron patterns take their time. */
export class WindowClock {
  readonly #window: MaintenanceWindow;
  #sinceMs = Number.POSITIVE_INFINITY;
  #state: WindowState = { open: false, changesMs: undefined };

  constructor(window: MaintenanceWindow) {
    this.#window = window;
  }

  at(unixMs: number): WindowState {
    const { changesMs = Number.POSITIVE_INFINITY } = this.#state;
    if (unixMs >= this.#sinceMs && unixMs < changesMs) return this.#state;
    this.#sinceMs = unixMs;
    this.#state = windowState(this.#window, unixMs);
    return this.#state;
  }
}
