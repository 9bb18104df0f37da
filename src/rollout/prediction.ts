/** A figure with the interval that 90 of 100 outcomes lie in. */
export interface Interval {
  readonly value: number;
  readonly low: number;
  readonly high: number;
}

/** What the simulator expects of a rollout. */
export interface Prediction {
  readonly devices: number;
  /** How the rollout ended in the runs: finished, or paused and why. */
  readonly ends: Readonly<Record<string, number>>;
  /** Runs with different seeds that it is made of. */
  readonly runs: number;
  /** Seconds until the half, and 99 of 100, of the devices are done. */
  readonly completionP50S: Interval;
  readonly completionP99S: Interval;
  readonly durationS: Interval;
  /** Mean of the devices, in mJ. */
  readonly energyMj: Interval;
  readonly batteryDays: Interval;
  /** Seconds of the channel. */
  readonly airtimeS: Interval;
  /** Devices that did not succeed in some run, the worst first. */
  readonly atRisk: readonly { readonly endpoint: string; readonly failedRuns: number; readonly why: string }[];
  /** What is assumed because it was never measured. */
  readonly assumptions: readonly string[];
}
