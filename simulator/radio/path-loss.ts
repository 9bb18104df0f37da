import { cumulativeStdNormalProbability } from "simple-statistics";
import type { Random } from "../../src/ports/random.ts";
import { unitFloat } from "../../src/util/random.ts";
import { receptionRatio, toMilliwatts } from "./ber.ts";
import type { Channel, ReceiverModel } from "./channel.ts";
import { Bursts, Streams, type GilbertElliott } from "./links.ts";

export interface Position {
  readonly x: number;
  readonly y: number;
}

/** Log-distance path loss with what makes real links differ: shadowing, node offsets, slow fading, bursts. */
export interface PathLoss {
  readonly exponent: number;
  /** Loss at 1 m in dB. */
  readonly referenceDb: number;
  /** Standard deviation of the shadowing, one draw per pair, the same both ways. */
  readonly sigmaDb: number;
  /** Standard deviation of a node's transmit power and of its receiver: these make links asymmetric (Zuniga and Krishnamachari). */
  readonly nodeSigmaDb: number;
  /** Slow fading: drawn anew for each pair every `fadingS` seconds. */
  readonly fadingSigmaDb: number;
  readonly fadingS: number;
  readonly txDbm: number;
  /** Pairs with a mean power below this are not looked at at all. */
  readonly cutDbm: number;
  /** Foreign traffic on top (Wi-Fi and the like). */
  readonly bursts?: GilbertElliott | undefined;
}

interface Pair {
  readonly meanDb: number;
  epoch: number;
  milliwatts: number;
}

/** Received power from geometry; losses come from SINR, and from bursts where the scenario has them. */
export class PathLossChannel implements Channel {
  readonly #parameters: PathLoss;
  readonly #receiver: ReceiverModel;
  readonly #neighbours: number[][];
  readonly #pairs = new Map<number, Pair>();
  /** The same by sender, in the order of its neighbours. */
  readonly #pairsOf: Pair[][];
  readonly #steady: { readonly epoch: number; readonly powersMw: Float64Array }[] = [];
  readonly #fading: Random;
  readonly #noise: Streams;
  readonly #bursts: Bursts | undefined;

  constructor(parameters: PathLoss, receiver: ReceiverModel, positions: readonly Position[], random: Random) {
    this.#parameters = parameters;
    this.#receiver = receiver;
    this.#fading = random.fork("fading");
    this.#noise = new Streams(random.fork("noise"));
    this.#bursts =
      parameters.bursts === undefined ? undefined : new Bursts(parameters.bursts, new Streams(random.fork("bursts")));
    this.#neighbours = positions.map(() => []);
    this.#pairsOf = positions.map(() => []);
    this.#place(positions, random);
  }

  neighbours(from: number): readonly number[] {
    return this.#neighbours[from]!;
  }

  powerMw(from: number, to: number, nowUs: number): number {
    const pair = this.#pairs.get(from * 65_536 + to);
    return pair === undefined ? 0 : this.#powerOf(pair, from, to, nowUs);
  }

  #powerOf(pair: Pair, from: number, to: number, nowUs: number): number {
    const { fadingSigmaDb } = this.#parameters;
    if (fadingSigmaDb === 0) return pair.milliwatts;
    const epoch = this.#epochAt(nowUs);
    if (pair.epoch !== epoch) {
      pair.epoch = epoch;
      const [low, high] = from < to ? [from, to] : [to, from];
      const db = fadingSigmaDb * normal(this.#fading.fork(`${low}-${high}/${epoch}`));
      pair.milliwatts = toMilliwatts(pair.meanDb + db);
    }
    return pair.milliwatts;
  }

  /** They change with the fading, for all pairs at once. */
  steadyPowersMw(from: number, nowUs: number): Float64Array {
    const epoch = this.#epochAt(nowUs);
    const known = this.#steady[from];
    if (known?.epoch === epoch) return known.powersMw;
    const neighbours = this.#neighbours[from]!;
    const powersMw = Float64Array.from(this.#pairsOf[from]!, (pair, i) =>
      this.#powerOf(pair, from, neighbours[i]!, nowUs),
    );
    this.#steady[from] = { epoch, powersMw };
    return powersMw;
  }

  #epochAt(nowUs: number): number {
    const { fadingSigmaDb, fadingS } = this.#parameters;
    return fadingSigmaDb === 0 ? 0 : Math.floor(nowUs / (fadingS * 1e6));
  }

  isLost(from: number, to: number, airBytes: number): boolean {
    return this.#bursts?.isLost(from, to, airBytes) ?? false;
  }

  draw(from: number, to: number): number {
    return unitFloat(this.#noise.of(from, to));
  }

  deliveryRatio(from: number, to: number, airBytes: number): number {
    const pair = this.#pairs.get(from * 65_536 + to);
    const { noiseDbm, sensitivityDbm } = this.#receiver;
    if (pair === undefined || pair.meanDb < sensitivityDbm) return 0;
    const clear = receptionRatio(toMilliwatts(pair.meanDb - noiseDbm), airBytes);
    return clear * (1 - (this.#bursts?.meanPer(airBytes) ?? 0));
  }

  senseRatio(from: number, to: number): number {
    const pair = this.#pairs.get(from * 65_536 + to);
    if (pair === undefined) return 0;
    const aboveDb = pair.meanDb - this.#receiver.ccaDbm;
    const { fadingSigmaDb } = this.#parameters;
    if (fadingSigmaDb === 0) return aboveDb >= 0 ? 1 : 0;
    return cumulativeStdNormalProbability(aboveDb / fadingSigmaDb);
  }

  #place(positions: readonly Position[], random: Random): void {
    const { exponent, referenceDb, sigmaDb, nodeSigmaDb, txDbm, cutDbm } = this.#parameters;
    const [shadowing, offsets] = [random.fork("shadowing"), random.fork("offsets")];
    const sends = positions.map((_, id) => nodeSigmaDb * normal(offsets.fork(`tx-${id}`)));
    const hears = positions.map((_, id) => nodeSigmaDb * normal(offsets.fork(`rx-${id}`)));
    for (const [a, here] of positions.entries()) {
      for (let b = a + 1; b < positions.length; b++) {
        const distance = Math.max(1, Math.hypot(here.x - positions[b]!.x, here.y - positions[b]!.y));
        const loss = referenceDb + 10 * exponent * Math.log10(distance);
        // Nothing that six deviations could bring back is left out, and most of a large grid is left out at once.
        if (txDbm - loss + 6 * (sigmaDb + 2 * nodeSigmaDb) < cutDbm) continue;
        const shadow = sigmaDb === 0 ? 0 : sigmaDb * normal(shadowing.fork(`${a}-${b}`));
        this.#link(a, b, txDbm - loss + shadow + sends[a]! + hears[b]!);
        this.#link(b, a, txDbm - loss + shadow + sends[b]! + hears[a]!);
      }
    }
  }

  #link(from: number, to: number, meanDb: number): void {
    if (meanDb < this.#parameters.cutDbm) return;
    const pair = { meanDb, epoch: -1, milliwatts: toMilliwatts(meanDb) };
    this.#neighbours[from]!.push(to);
    this.#pairsOf[from]!.push(pair);
    this.#pairs.set(from * 65_536 + to, pair);
  }
}

/** A normal deviate (Box and Muller). */
export function normal(random: Random): number {
  const radius = Math.sqrt(-2 * Math.log(1 - unitFloat(random)));
  return radius * Math.cos(2 * Math.PI * unitFloat(random));
}
