import type { ChipProfile } from "./profile.ts";

/** The states that energy is booked under. The radio is in exactly one of the first four at any time. */
export const ENERGY_STATES = ["sleep", "listen", "rx", "tx", "cpu", "flash"] as const;
export type EnergyState = (typeof ENERGY_STATES)[number];
export type RadioState = "sleep" | "listen" | "rx" | "tx";

/**
 * Time per state in whole microseconds, and from it energy: voltage x current x time. CPU and flash
 * come on top of the radio, whose states together make up the elapsed time to the microsecond.
 */
export class EnergyLedger {
  readonly #us: Record<EnergyState, number> = { sleep: 0, listen: 0, rx: 0, tx: 0, cpu: 0, flash: 0 };
  readonly #milliwatts: Record<EnergyState, number>;
  #radio: RadioState;
  #sinceUs: number;

  constructor(profile: ChipProfile, radio: RadioState, nowUs: number) {
    const volts = profile.supplyV.value;
    const { sleepMa, rxMa, txMa, cpuMa, flashMa } = profile;
    this.#milliwatts = {
      sleep: volts * sleepMa.value,
      listen: volts * rxMa.value, // a receiver that waits for a preamble draws what one that has it draws
      rx: volts * rxMa.value,
      tx: volts * txMa.value,
      cpu: volts * cpuMa.value,
      flash: volts * flashMa.value,
    };
    this.#radio = radio;
    this.#sinceUs = nowUs;
  }

  get radio(): RadioState {
    return this.#radio;
  }

  /** The radio goes into another state at `nowUs`. */
  setRadio(nowUs: number, state: RadioState): void {
    this.#us[this.#radio] += nowUs - this.#sinceUs;
    this.#sinceUs = nowUs;
    this.#radio = state;
  }

  /** Time that was booked as sleep up to now was spent in short looks at the channel: `us` of it become listening. */
  listened(us: number): void {
    const moved = Math.min(Math.round(us), this.#us.sleep);
    this.#us.sleep -= moved;
    this.#us.listen += moved;
  }

  spend(state: "cpu" | "flash", us: number): void {
    this.#us[state] += Math.round(us);
  }

  us(state: EnergyState): number {
    return this.#us[state];
  }

  /** Energy of one state in uJ. */
  uj(state: EnergyState): number {
    return (this.#us[state] * this.#milliwatts[state]) / 1_000;
  }

  byState(): Record<EnergyState, number> {
    return Object.fromEntries(ENERGY_STATES.map((state) => [state, this.uj(state)])) as Record<EnergyState, number>;
  }

  /** The sum over all states in uJ; book the last radio state with `setRadio` first. */
  totalUj(): number {
    let sum = 0;
    for (const state of ENERGY_STATES) sum += this.uj(state);
    return sum;
  }
}
