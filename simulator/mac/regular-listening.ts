import type { EnergyLedger } from "../mote/energy.ts";

/**
 * A node that listens for a moment again and again, most of the time to nobody. Only moments in which something
 * happens are events of the engine; the others are booked when somebody asks.
 */
export class RegularListening {
  readonly #ledger: EnergyLedger | undefined;
  readonly #momentUs: number;
  readonly #momentsBetween: (fromUs: number, toUs: number) => number;
  #on = false;
  #bookedUs = 0;
  #used = 0;

  constructor(
    ledger: EnergyLedger | undefined,
    momentUs: number,
    momentsBetween: (fromUs: number, toUs: number) => number,
  ) {
    this.#ledger = ledger;
    this.#momentUs = momentUs;
    this.#momentsBetween = momentsBetween;
  }

  get isOn(): boolean {
    return this.#on;
  }

  turn(nowUs: number, on: boolean): void {
    this.settle(nowUs);
    this.#on = on;
  }

  /** This moment is an event: the radio books it. */
  used(): void {
    this.#used++;
  }

  /** Books what nobody looked at, up to now. */
  settle(nowUs: number): void {
    if (this.#on && this.#ledger !== undefined) {
      const unused = this.#momentsBetween(this.#bookedUs, nowUs) - this.#used;
      this.#ledger.setRadio(nowUs, this.#ledger.radio);
      this.#ledger.listened(Math.max(0, unused) * this.#momentUs);
    }
    this.#bookedUs = nowUs;
    this.#used = 0;
  }
}
