import type { Channel } from "./channel.ts";

/** A channel that can be cut in two: while it is, nothing of one side arrives on the other. */
export class PartitionedChannel implements Channel {
  readonly #channel: Channel;
  readonly #side: (id: number) => boolean;
  isCut = false;

  constructor(channel: Channel, side: (id: number) => boolean) {
    this.#channel = channel;
    this.#side = side;
  }

  neighbours(from: number): readonly number[] {
    return this.#channel.neighbours(from);
  }

  powerMw(from: number, to: number, nowUs: number): number {
    if (this.isCut && this.#side(from) !== this.#side(to)) return 0;
    return this.#channel.powerMw(from, to, nowUs);
  }

  steadyPowersMw(from: number, nowUs: number): Float64Array | undefined {
    return this.isCut ? undefined : this.#channel.steadyPowersMw(from, nowUs);
  }

  isLost(from: number, to: number, airBytes: number, nowUs: number): boolean {
    return this.#channel.isLost(from, to, airBytes, nowUs);
  }

  draw(from: number, to: number): number {
    return this.#channel.draw(from, to);
  }

  deliveryRatio(from: number, to: number, airBytes: number): number {
    return this.#channel.deliveryRatio(from, to, airBytes);
  }

  senseRatio(from: number, to: number): number {
    return this.#channel.senseRatio(from, to);
  }
}
