import type { Random } from "../../src/ports/random.ts";
import { unitFloat } from "../../src/util/random.ts";
import { REFERENCE_AIR_BYTES } from "./phy.ts";

/** Decides for each frame on each link whether it is lost. Loss depends on the frame's length. */
export interface LinkModel {
  isLost(from: number, to: number, airBytes: number): boolean;
}

/** Error rate of a frame of `airBytes` when one of the longest is lost at `per`: independent bit errors. */
export function perForLength(per: number, airBytes: number): number {
  return 1 - (1 - per) ** (airBytes / REFERENCE_AIR_BYTES);
}

/** Independent loss at one rate, with a random stream per direction of each link. */
export class IidLinks implements LinkModel {
  readonly #per: number;
  readonly #streams: Streams;

  constructor(per: number, random: Random) {
    this.#per = per;
    this.#streams = new Streams(random);
  }

  isLost(from: number, to: number, airBytes: number): boolean {
    return unitFloat(this.#streams.of(from, to)) < perForLength(this.#per, airBytes);
  }
}

/** Parameters of a Gilbert-Elliott link; bursts are counted in frames. */
export interface GilbertElliott {
  readonly perGood: number;
  readonly perBad: number;
  readonly meanBadFrames: number;
  readonly fractionBad: number;
}

/** Two-state bursts: each frame moves the state of its link, whose error rate then decides. */
export class GilbertElliottLinks implements LinkModel {
  readonly #parameters: GilbertElliott;
  readonly #streams: Streams;
  readonly #bad = new Map<string, boolean>();

  constructor(parameters: GilbertElliott, random: Random) {
    this.#parameters = parameters;
    this.#streams = new Streams(random);
  }

  isLost(from: number, to: number, airBytes: number): boolean {
    const { perGood, perBad, meanBadFrames, fractionBad } = this.#parameters;
    const stream = this.#streams.of(from, to);
    const key = `${from}>${to}`;
    const leaveBad = 1 / meanBadFrames;
    const enterBad = (leaveBad * fractionBad) / (1 - fractionBad);
    const before = this.#bad.get(key) ?? unitFloat(stream) < fractionBad;
    const bad = before ? unitFloat(stream) >= leaveBad : unitFloat(stream) < enterBad;
    this.#bad.set(key, bad);
    return unitFloat(stream) < perForLength(bad ? perBad : perGood, airBytes);
  }
}

class Streams {
  readonly #random: Random;
  readonly #streams = new Map<number, Random>();

  constructor(random: Random) {
    this.#random = random;
  }

  of(from: number, to: number): Random {
    const key = from * 65_536 + to;
    let stream = this.#streams.get(key);
    if (stream === undefined) this.#streams.set(key, (stream = this.#random.fork(`${from}>${to}`)));
    return stream;
  }
}
