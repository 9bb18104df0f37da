/** Who hears whom, how loud, and what is lost besides what noise and interference spoil. */
export interface Channel {
  /** Nodes that a sender can be heard by, or can disturb. */
  neighbours(from: number): readonly number[];
  /** Received power in mW; 0 when nothing arrives at all. */
  powerMw(from: number, to: number, nowUs: number): number;
  /**
   * Received powers at all neighbours, in their order, where they are the same for a while: an array that nobody changes.
   */
  steadyPowersMw(from: number, nowUs: number): Float64Array | undefined;
  /** Drawn once for each frame on a link: lost for a reason of the link's own. Loss depends on the frame's length. */
  isLost(from: number, to: number, airBytes: number, nowUs: number): boolean;
  /** A number in [0, 1) for what noise and interference do to a frame on this link. */
  draw(from: number, to: number): number;
  /** Mean share of frames of `airBytes` that arrive where nobody else sends. */
  deliveryRatio(from: number, to: number, airBytes: number): number;
  /** Share of the time in which a CCA finds the sender: what wakes a receiver that only looks now and then. */
  senseRatio(from: number, to: number): number;
}

/** What every receiver of a scenario has. */
export interface ReceiverModel {
  /** Thermal noise in 2 MHz and the receiver's noise figure. */
  readonly noiseDbm: number;
  /** Below this no preamble is found. */
  readonly sensitivityDbm: number;
  /** A clear channel assessment finds the channel busy from here on. */
  readonly ccaDbm: number;
  /** A frame this much louder than the one under way is received in its place; one that is less is spoilt by it. */
  readonly captureDb: number;
}

/**
 * The noise floor gives 1 % loss of full frames at about -100 dBm, the sensitivity of current chips;
 * CCA follows the standard's upper bound of 10 dB above sensitivity, capture Cooja's 3 dB.
 */
export const DEFAULT_RECEIVER: ReceiverModel = { noiseDbm: -101, sensitivityDbm: -101, ccaDbm: -91, captureDb: 3 };

/** Power of any link of a model that has no powers of its own: far above noise, so that only overlap spoils. */
export const NOMINAL_MW: number = 1e-6;
