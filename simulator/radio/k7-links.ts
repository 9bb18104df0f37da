import type { Random } from "../../src/ports/random.ts";
import { unitFloat } from "../../src/util/random.ts";
import { NOMINAL_MW, type Channel } from "./channel.ts";
import type { K7Trace } from "./k7.ts";
import { perForLength, Streams } from "./links.ts";
import { PHY, REFERENCE_AIR_BYTES } from "./phy.ts";

/** Delivery ratios of one link on one channel, by the number of the visit. */
type Visits = Float32Array;

/**
 * Replays a k7 trace on one channel or on all in turn. Time is cut into visits of the trace's own spacing: in a visit
 * without a row for a link nothing was heard on it, and its delivery ratio is 0, not the last one seen.
 * Behind its end the trace begins anew.
 */
export class K7Links implements Channel {
  readonly #visitS: number;
  readonly #visits: number;
  readonly #channels: readonly number[];
  readonly #ratios = new Map<string, Visits>();
  readonly #neighbours: number[][];
  readonly #linked: ReadonlySet<number>[];
  readonly #powers: Float64Array[] = [];
  readonly #streams: Streams;
  readonly #noise: Streams;
  readonly #probeBytes: number;
  readonly nodes: number;

  /** `channel` undefined hops over all of the trace's. */
  constructor(trace: K7Trace, channel: number | undefined, random: Random) {
    if (channel !== undefined && !trace.channels.includes(channel))
      throw new RangeError(`the trace has no channel ${channel}: ${trace.channels.join(", ")}`);
    this.#channels = channel === undefined ? trace.channels : [channel];
    this.#streams = new Streams(random);
    this.#noise = new Streams(random.fork("noise"));
    this.#probeBytes = trace.txLength + PHY.headerBytes;
    this.nodes = trace.nodes.length;
    this.#visitS = visitSpacing(trace);
    this.#visits = Math.floor(trace.durationS / this.#visitS) + 1;
    this.#neighbours = trace.nodes.map(() => []);
    const ids = new Map(trace.nodes.map((name, id) => [name, id]));
    /** When a node was first heard on a channel: its bursts are counted from there. */
    const first = new Map<string, number>();
    for (const { src, dst, channel: on, atS, pdr } of trace.samples) {
      if (!this.#channels.includes(on)) continue;
      const [from, to] = [ids.get(src)!, ids.get(dst)!];
      const key = `${from}>${to}/${on}`;
      const burst = `${from}/${on}`;
      if (!first.has(burst)) first.set(burst, atS);
      let ratios = this.#ratios.get(key);
      if (ratios === undefined) {
        this.#ratios.set(key, (ratios = new Float32Array(this.#visits)));
        if (!this.#neighbours[from]!.includes(to)) this.#neighbours[from]!.push(to);
      }
      ratios[Math.round((atS - first.get(burst)!) / this.#visitS)] = pdr;
    }
    this.#linked = this.#neighbours.map((neighbours) => new Set(neighbours));
  }

  neighbours(from: number): readonly number[] {
    return this.#neighbours[from]!;
  }

  powerMw(from: number, to: number): number {
    return this.#linked[from]!.has(to) ? NOMINAL_MW : 0;
  }

  steadyPowersMw(from: number): Float64Array {
    return (this.#powers[from] ??= new Float64Array(this.#neighbours[from]!.length).fill(NOMINAL_MW));
  }

  isLost(from: number, to: number, airBytes: number, nowUs: number): boolean {
    const lost = 1 - this.ratioAt(from, to, nowUs / 1e6);
    // The ratio was measured with the trace's own frame length.
    const per = 1 - (1 - lost) ** (REFERENCE_AIR_BYTES / this.#probeBytes);
    return unitFloat(this.#streams.of(from, to)) < perForLength(per, airBytes);
  }

  draw(from: number, to: number): number {
    return unitFloat(this.#noise.of(from, to));
  }

  /** The trace's delivery ratio at a time, for frames of the trace's length; 0 where it has no row. */
  ratioAt(from: number, to: number, atS: number): number {
    const visit = Math.floor(atS / this.#visitS);
    const channel = this.#channels[visit % this.#channels.length];
    return this.#ratios.get(`${from}>${to}/${channel}`)?.[visit % this.#visits] ?? 0;
  }

  /** Mean over all visits and channels, those without a row included. */
  meanRatio(from: number, to: number): number {
    let sum = 0;
    for (const channel of this.#channels)
      for (const ratio of this.#ratios.get(`${from}>${to}/${channel}`) ?? []) sum += ratio;
    return sum / (this.#visits * this.#channels.length);
  }

  deliveryRatio(from: number, to: number, airBytes: number): number {
    return this.meanRatio(from, to) ** (airBytes / this.#probeBytes);
  }

  senseRatio(from: number, to: number): number {
    return this.meanRatio(from, to) > 0 ? 1 : 0;
  }
}

/** The median time between two bursts of one node on one channel; rows of one burst are less than 5 s apart. */
function visitSpacing(trace: K7Trace): number {
  const last = new Map<string, number>();
  const gaps: number[] = [];
  for (const { src, channel, atS } of trace.samples) {
    const key = `${src}/${channel}`;
    const before = last.get(key);
    if (before !== undefined && atS - before >= 5) gaps.push(atS - before);
    last.set(key, atS);
  }
  if (gaps.length === 0) return Math.max(1, trace.durationS + 1);
  return gaps.toSorted((a, b) => a - b)[Math.floor(gaps.length / 2)]!;
}
