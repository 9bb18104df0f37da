/** Monotonic time as an integer of microseconds; its zero is of no meaning. */
export interface Clock {
  nowUs(): number;
}
