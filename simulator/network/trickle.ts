import type { Random } from "../../src/ports/random.ts";
import { unitFloat } from "../../src/util/random.ts";
import type { Timer } from "../../src/util/timer-queue.ts";
import type { Engine } from "../engine/engine.ts";

export interface TrickleParameters {
  readonly minUs: number;
  readonly doublings: number;
  /** Consistent messages of others that make this node keep its own to itself. */
  readonly redundancy: number;
}

/** The Trickle algorithm (RFC 6206 section 4.2). */
export class Trickle {
  readonly #engine: Engine;
  readonly #random: Random;
  readonly #parameters: TrickleParameters;
  readonly #send: () => void;
  #intervalUs = 0;
  #heard = 0;
  #timer: Timer | undefined;

  constructor(engine: Engine, random: Random, parameters: TrickleParameters, send: () => void) {
    this.#engine = engine;
    this.#random = random;
    this.#parameters = parameters;
    this.#send = send;
  }

  /** Something is inconsistent: the interval goes back to its shortest. */
  reset(): void {
    if (this.#intervalUs === this.#parameters.minUs) return;
    this.#begin(this.#parameters.minUs);
  }

  consistent(): void {
    this.#heard++;
  }

  stop(): void {
    this.#timer?.cancel();
    this.#intervalUs = 0;
  }

  #begin(intervalUs: number): void {
    this.#timer?.cancel();
    this.#intervalUs = intervalUs;
    this.#heard = 0;
    const sendUs = Math.floor((intervalUs / 2) * (1 + unitFloat(this.#random)));
    this.#timer = this.#engine.after(sendUs, () => {
      if (this.#heard < this.#parameters.redundancy) this.#send();
      const longest = this.#parameters.minUs * 2 ** this.#parameters.doublings;
      this.#timer = this.#engine.after(intervalUs - sendUs, () => this.#begin(Math.min(longest, intervalUs * 2)));
    });
  }
}
