import { randomBytes } from "node:crypto";
import type { Clock } from "../ports/clock.ts";
import type { Random } from "../ports/random.ts";

/** Monotonic time since the process started. */
export const systemClock: Clock = { nowUs: () => Math.round(performance.now() * 1_000) };

/** A timer of Node's that is to last longer goes off at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Milliseconds for a timer of Node's that is to go off at a time, or earlier where that is far away. */
export const timerMs = (atUs: number, nowUs: number): number =>
  Math.min(Math.max(0, Math.ceil((atUs - nowUs) / 1_000)), MAX_TIMER_MS);

/** Random numbers of the operating system, drawn in bulk. Forks need no state of their own. */
export const systemRandom: Random = {
  uint32: () => {
    if (at + 4 > pool.length) {
      pool = randomBytes(4_096);
      at = 0;
    }
    at += 4;
    return pool.readUInt32LE(at - 4);
  },
  fork: () => systemRandom,
};

let pool = randomBytes(4_096);
let at = 0;
