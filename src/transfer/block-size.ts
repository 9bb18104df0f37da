import { blockSize, type Szx } from "../coap/blockwise/block.ts";

/** What a path makes of a datagram, as far as its two ends know: how many frames, and what they cost. */
export interface PathModel {
  /** Frames that a datagram with so many bytes of UDP payload takes. */
  readonly frames: (payloadBytes: number) => number;
  /** Air time of them all, in us, or anything in proportion to it. */
  readonly airUs: (payloadBytes: number) => number;
  /** Where the receiver sleeps, and fetches what comes for it frame by frame. */
  readonly wake?: WakeModel | undefined;
}

export interface WakeModel {
  /** How often it asks while it expects something. */
  readonly periodUs: number;
  /** Frames that its parent holds for it: a datagram of more does not fit. */
  readonly frames: number;
  /** What asking for a frame takes, in the unit of `airUs`. */
  readonly askUs: number;
}

export interface BlockSizeOptions {
  readonly path: PathModel;
  readonly first: Szx;
  readonly smallest: Szx;
  readonly largest: Szx;
  /** UDP payload of a request, and of a response besides its block. */
  readonly requestBytes: number;
  readonly headerBytes: number;
}

/** What was seen with one number of frames for an exchange; older exchanges count for less and less. */
interface Seen {
  delivered: number;
  lost: number;
}

/** Exchanges that weigh as much as all before them together. */
const MEMORY = 64;
/** Exchanges between two decisions. */
const DECIDE_EVERY = 8;
/** Another size has to be better by this much: what was measured is not exact. */
const HYSTERESIS = 0.03;
/** Blocks after which a size that did not get through at all may be tried again. */
const CEILING_BLOCKS = 1_000;
/** Before anything was lost: one frame lost in so many is thinkable. */
const PRIOR_FRAMES = 40;

/**
 * Chooses the block size that costs least air for each byte that arrives. From how often exchanges had to be repeated
 * follows how often a frame gets across (all of an exchange's have to); from that, what each size would cost: large
 * blocks save headers, and are lost as a whole with any of their frames.
 */
export class BlockSizeChoice {
  readonly #options: BlockSizeOptions;
  readonly #seen = new Map<number, Seen>();
  readonly #largest: Szx;
  #szx: Szx;
  #since = 0;
  #ceiling: Szx;
  #ceilingLeft = 0;

  constructor(options: BlockSizeOptions) {
    this.#options = options;
    this.#largest = this.#fitting(options);
    this.#ceiling = this.#largest;
    this.#szx = Math.min(options.first, this.#largest) as Szx;
  }

  get szx(): Szx {
    return this.#szx;
  }

  /** A block of size `szx` has arrived, after so many attempts that had no answer. */
  delivered(szx: Szx, failures: number): void {
    const frames = this.#framesOf(szx);
    for (const seen of this.#seen.values()) {
      seen.delivered *= 1 - 1 / MEMORY;
      seen.lost *= 1 - 1 / MEMORY;
    }
    const seen = this.#seen.get(frames) ?? { delivered: 0, lost: 0 };
    seen.delivered++;
    seen.lost += failures;
    this.#seen.set(frames, seen);
    if (--this.#ceilingLeft === 0) this.#ceiling = this.#largest;
    if (++this.#since >= DECIDE_EVERY || failures > 0) this.#decide();
  }

  /**
   * No attempt for a block of size `szx` had an answer: whatever frames do one by one, so many at once do not get
   * through (a parent's buffer for a sleepy child, say). For a while no such size is tried.
   */
  failed(szx: Szx): void {
    const { smallest } = this.#options;
    this.#ceiling = Math.max(smallest, szx - 1) as Szx;
    this.#ceilingLeft = CEILING_BLOCKS;
    this.#decide();
  }

  /** Share of frames that get across: the value under which what was seen is likeliest. */
  get frameRatio(): number {
    let [low, high] = [0.01, 1];
    for (let i = 0; i < 24; i++) {
      const middle = (low + high) / 2;
      if (this.#slope(middle) > 0) low = middle;
      else high = middle;
    }
    return (low + high) / 2;
  }

  /** Air time for each byte that arrives, with a block size; in the unit of the path's model. */
  costOf(szx: Szx, frameRatio: number = this.frameRatio): number {
    const { path, requestBytes, headerBytes } = this.#options;
    const response = headerBytes + blockSize(szx);
    const asked = frameRatio ** path.frames(requestBytes);
    const askUs = path.frames(response) * (path.wake?.askUs ?? 0);
    // Where the request is lost nobody answers.
    const airUs = path.airUs(requestBytes) + asked * (path.airUs(response) + askUs);
    return airUs / (asked * frameRatio ** path.frames(response)) / blockSize(szx);
  }

  /** The largest size of which a response fits into one wake-up of the receiver. */
  #fitting({ path, headerBytes, smallest, largest }: BlockSizeOptions): Szx {
    const frames = path.wake?.frames ?? Infinity;
    let szx = largest;
    while (szx > smallest && path.frames(headerBytes + blockSize(szx)) > frames) szx--;
    return szx;
  }

  #framesOf(szx: Szx): number {
    const { path, requestBytes, headerBytes } = this.#options;
    return path.frames(requestBytes) + path.frames(headerBytes + blockSize(szx));
  }

  /** Of the log-likelihood in the frame ratio r: n frames arrive with r^n, and do not with 1 - r^n. */
  #slope(ratio: number): number {
    let slope = PRIOR_FRAMES / ratio - 1 / (1 - Math.min(ratio, 1 - 1e-9));
    for (const [frames, { delivered, lost }] of this.#seen) {
      const all = ratio ** frames;
      slope += (delivered * frames) / ratio - (lost * frames * (all / ratio)) / Math.max(1e-9, 1 - all);
    }
    return slope;
  }

  #decide(): void {
    this.#since = 0;
    const { smallest } = this.#options;
    const ratio = this.frameRatio;
    const top = Math.min(this.#largest, this.#ceiling) as Szx;
    const current = Math.min(this.#szx, top) as Szx;
    let [best, cost] = [current, this.costOf(current, ratio) * (1 - HYSTERESIS)];
    for (let szx = smallest; szx <= top; szx++) {
      const other = this.costOf(szx, ratio);
      if (other < cost) [best, cost] = [szx, other];
    }
    this.#szx = best;
  }
}
