import type { Random } from "../../src/ports/random.ts";
import { unitFloat } from "../../src/util/random.ts";
import { NOMINAL_MW, type Channel } from "./channel.ts";
import { REFERENCE_AIR_BYTES } from "./phy.ts";

/** Error rate of a frame of `airBytes` when one of the longest is lost at `per`: independent bit errors. */
export function perForLength(per: number, airBytes: number): number {
  return 1 - (1 - per) ** (airBytes / REFERENCE_AIR_BYTES);
}

/** Random streams by directed link: what happens on one does not move another's. */
export class Streams {
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

/** Who is linked to whom, for models without geometry. */
export type Adjacency = readonly (readonly number[])[];

/** Every node hears every other. */
export function fullMesh(nodes: number): Adjacency {
  const all = Array.from({ length: nodes }, (_, id) => id);
  return all.map((id) => all.filter((to) => to !== id));
}

/** What the models of given links share: adjacency, one power, a stream per direction. */
abstract class GivenLinks implements Channel {
  readonly #adjacency: Adjacency;
  readonly #linked: readonly ReadonlySet<number>[];
  readonly #noise: Streams;
  readonly #powers: Float64Array[] = [];
  protected readonly streams: Streams;

  constructor(adjacency: Adjacency, random: Random) {
    this.#adjacency = adjacency;
    this.#linked = adjacency.map((neighbours) => new Set(neighbours));
    this.streams = new Streams(random);
    this.#noise = new Streams(random.fork("noise"));
  }

  neighbours(from: number): readonly number[] {
    return this.#adjacency[from]!;
  }

  powerMw(from: number, to: number): number {
    return this.isLinked(from, to) ? NOMINAL_MW : 0;
  }

  steadyPowersMw(from: number): Float64Array {
    return (this.#powers[from] ??= new Float64Array(this.#adjacency[from]!.length).fill(NOMINAL_MW));
  }

  draw(from: number, to: number): number {
    return unitFloat(this.#noise.of(from, to));
  }

  /** They have no powers: whoever is linked is loud. */
  senseRatio(from: number, to: number): number {
    return this.isLinked(from, to) ? 1 : 0;
  }

  protected isLinked(from: number, to: number): boolean {
    return this.#linked[from]!.has(to);
  }

  abstract isLost(from: number, to: number, airBytes: number, nowUs: number): boolean;
  abstract deliveryRatio(from: number, to: number, airBytes: number): number;
}

/** Independent loss at one rate. */
export class IidLinks extends GivenLinks {
  readonly #per: number;

  constructor(per: number, adjacency: Adjacency, random: Random) {
    super(adjacency, random);
    this.#per = per;
  }

  isLost(from: number, to: number, airBytes: number): boolean {
    return unitFloat(this.streams.of(from, to)) < perForLength(this.#per, airBytes);
  }

  deliveryRatio(from: number, to: number, airBytes: number): number {
    return this.isLinked(from, to) ? 1 - perForLength(this.#per, airBytes) : 0;
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
export class Bursts {
  readonly #parameters: GilbertElliott;
  readonly #streams: Streams;
  readonly #bad = new Map<number, boolean>();

  constructor(parameters: GilbertElliott, streams: Streams) {
    this.#parameters = parameters;
    this.#streams = streams;
  }

  isLost(from: number, to: number, airBytes: number): boolean {
    const { perGood, perBad, meanBadFrames, fractionBad } = this.#parameters;
    const stream = this.#streams.of(from, to);
    const key = from * 65_536 + to;
    const leaveBad = 1 / meanBadFrames;
    const enterBad = (leaveBad * fractionBad) / (1 - fractionBad);
    const before = this.#bad.get(key) ?? unitFloat(stream) < fractionBad;
    const bad = before ? unitFloat(stream) >= leaveBad : unitFloat(stream) < enterBad;
    this.#bad.set(key, bad);
    return unitFloat(stream) < perForLength(bad ? perBad : perGood, airBytes);
  }

  meanPer(airBytes: number): number {
    const { perGood, perBad, fractionBad } = this.#parameters;
    return perForLength(perGood, airBytes) * (1 - fractionBad) + perForLength(perBad, airBytes) * fractionBad;
  }
}

export class GilbertElliottLinks extends GivenLinks {
  readonly #bursts: Bursts;

  constructor(parameters: GilbertElliott, adjacency: Adjacency, random: Random) {
    super(adjacency, random);
    this.#bursts = new Bursts(parameters, this.streams);
  }

  isLost(from: number, to: number, airBytes: number): boolean {
    return this.#bursts.isLost(from, to, airBytes);
  }

  deliveryRatio(from: number, to: number, airBytes: number): number {
    return this.isLinked(from, to) ? 1 - this.#bursts.meanPer(airBytes) : 0;
  }
}

/** One directed link of an edge file: `per` is the error rate of the longest frame. */
export interface Edge {
  readonly from: number;
  readonly to: number;
  readonly per: number;
}

/** Links given one by one (Cooja's DGRM): what is not listed does not exist. */
export class EdgeLinks extends GivenLinks {
  readonly #per = new Map<number, number>();

  constructor(edges: readonly Edge[], nodes: number, random: Random) {
    super(adjacencyOf(edges, nodes), random);
    for (const { from, to, per } of edges) this.#per.set(from * 65_536 + to, per);
  }

  isLost(from: number, to: number, airBytes: number): boolean {
    const per = this.#per.get(from * 65_536 + to) ?? 1;
    return unitFloat(this.streams.of(from, to)) < perForLength(per, airBytes);
  }

  deliveryRatio(from: number, to: number, airBytes: number): number {
    const per = this.#per.get(from * 65_536 + to);
    return per === undefined ? 0 : 1 - perForLength(per, airBytes);
  }
}

function adjacencyOf(edges: readonly Edge[], nodes: number): Adjacency {
  const adjacency: number[][] = Array.from({ length: nodes }, () => []);
  for (const { from, to } of edges) {
    if (from >= nodes || to >= nodes) throw new RangeError(`edge ${from}>${to}: there are ${nodes} nodes, from 0 on`);
    adjacency[from]!.push(to);
  }
  return adjacency;
}
