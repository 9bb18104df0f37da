import { describe, expect, it } from "vitest";
import { blockSize, szxOf, type Szx } from "../../src/coap/blockwise/block.ts";
import { BlockSizeChoice } from "../../src/transfer/block-size.ts";
import { unitFloat } from "../../src/util/random.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { pathModel } from "../../simulator/network/path-model.ts";
import { NOMINAL_MW, type Channel } from "../../simulator/radio/channel.ts";
import { uncodedFactor, codedFactor } from "../../simulator/report/limit.ts";
import { Line, ScriptedCore } from "../support/mesh.ts";
import { effort } from "../support/effort.ts";

/*
 * What a block costs in air over one hop and over four, with and without MAC retries: a request of 15 bytes and a
 * response of 13 and the block, link security of 10 bytes, IPHC of 14, whole blocks asked for again from end to end.
 * The table's model has one loss for data frames of any length and none for acknowledgements; the simulator's own MAC,
 * 6LoWPAN and forwarding carry them here over such links.
 */
const REQUEST_BYTES = 15;
const HEADER_BYTES = 13;
const ACK_AIR_BYTES = 11;

/** The links of the table's model. */
class FlatLinks implements Channel {
  readonly #per: number;
  readonly #random: SeededRandom;

  constructor(per: number, seed: number) {
    this.#per = per;
    this.#random = new SeededRandom(seed, "flat");
  }

  neighbours(from: number): number[] {
    return [from - 1, from + 1].filter((id) => id >= 0);
  }

  powerMw = (): number => NOMINAL_MW;
  draw = (): number => 0;
  deliveryRatio = (): number => 1 - this.#per;
  senseRatio = (): number => 1;
  steadyPowersMw = (): undefined => undefined;

  isLost(_from: number, _to: number, airBytes: number): boolean {
    return airBytes > ACK_AIR_BYTES && unitFloat(this.#random) < this.#per;
  }
}

/** Air time in us for each byte of `blocks` blocks that arrived. */
function airPerByte(hops: number, retries: number, per: number, size: number, blocks: number): number {
  const line = new Line(new FlatLinks(per, size + hops), hops + 1, { securityBytes: 10 }, retries);
  // Without acknowledgements there is nothing to retry, and no air for them: R = 0 is broadcast or NON.
  const response = new Uint8Array(HEADER_BYTES + size);
  line.nodes[0]!.run(new ScriptedCore(() => response));
  const mote = new ScriptedCore();
  const loop = line.nodes[hops]!.run(mote);
  let acks = 0;
  line.medium.onSend = (_nowUs, frame) => {
    if (frame.kind === "ack") acks++;
  };
  while (mote.received.length < blocks) {
    const before = mote.received.length;
    loop.call(() => mote.send(new Uint8Array(REQUEST_BYTES), line.address(0)));
    line.engine.run(Infinity, () => mote.received.length > before);
    line.engine.run(Infinity, () => false); // what is still on its way
  }
  const ackUs = retries === 0 ? acks * ACK_AIR_BYTES * 32 : 0;
  return (line.medium.counters.airtimeUs - ackUs) / (blocks * size);
}

/** Hops, retries, loss, and what the closed form says for blocks of 32 to 1,024 bytes. */
const TABLE: readonly (readonly [number, number, number, readonly number[]])[] = [
  [4, 3, 0.1, [719, 431, 338, 263, 238, 220]],
  [4, 3, 0.2, [802, 481, 379, 297, 271, 255]],
  [4, 3, 0.3, [923, 554, 443, 353, 339, 348]],
  [4, 3, 0.4, [1124, 673, 562, 468, 519, 685]],
  [4, 3, 0.5, [1512, 897, 827, 762, 1192, 3007]],
  [1, 0, 0.1, [165, 100, 86, 75, 93, 146]],
  [1, 0, 0.3, [237, 141, 152, 167, 430, 2342]],
  [4, 0, 0.1, [898, 533, 550, 573, 1353, 7466]],
  [4, 0, 0.2, [1605, 918, 1352, 2046, 18_374, Infinity]],
];
const SIZES = [32, 64, 128, 256, 512, 1024] as const;

describe("the crossover of block sizes comes out of the simulator within 5 %", () => {
  it.each(TABLE)("%i hops, R = %i, p = %f", (hops, retries, per, expected) => {
    for (const [i, size] of SIZES.entries()) {
      if (expected[i]! > effort(400, 3_000)) continue; // up to thousands of attempts for one block
      const blocks = expected[i]! > 800 ? 1_500 : 700;
      const ratio = airPerByte(hops, retries, per, size, blocks) / expected[i]!;
      expect(Math.abs(ratio - 1), `${size} bytes: ${ratio.toFixed(3)} of the closed form`).toBeLessThan(0.05);
    }
  });
});

describe("the adaptive choice", () => {
  /** Expected air per byte of a size, by the same model. */
  const closedForm = (hops: number, retries: number, per: number, szx: Szx): number => {
    const hop = 1 - per ** (retries + 1);
    const frame = hop ** hops;
    return new BlockSizeChoice({ ...options, first: szx }).costOf(szx, frame);
  };
  const options = {
    path: pathModel("mesh", 10),
    smallest: szxOf(32)!,
    largest: szxOf(1024)!,
    requestBytes: REQUEST_BYTES,
    headerBytes: HEADER_BYTES,
  };

  it.each(TABLE)(
    "%i hops, R = %i, p = %f: within 5 % of the best fixed size, without being told the loss",
    (hops, retries, per, expected) => {
      const best = Math.min(...expected);
      const frame = (1 - per ** (retries + 1)) ** hops;
      for (const first of [szxOf(64)!, szxOf(1024)!]) {
        const choice = new BlockSizeChoice({ ...options, first });
        const random = new SeededRandom(first + 1, `${hops}/${retries}/${per}`);
        const chosen: number[] = [];
        for (let block = 0; block < 3_000; block++) {
          const { szx } = choice;
          const frames = options.path.frames(REQUEST_BYTES) + options.path.frames(HEADER_BYTES + blockSize(szx));
          let failures = 0;
          while (unitFloat(random) >= frame ** frames && failures < 200) failures++;
          choice.delivered(szx, failures);
          if (block >= 200) chosen.push(szx);
        }
        // What the blocks that it chose cost on average, beside the best size of the table, in the table's figures.
        const costs = chosen.map((szx) => expected[szx - 1]! * blockSize(szx as Szx));
        const bytes = chosen.reduce((sum, szx) => sum + blockSize(szx as Szx), 0);
        const cost = costs.reduce((sum, one) => sum + one, 0) / bytes;
        expect(cost / best, `from ${blockSize(first)} bytes: ${cost.toFixed(0)} us/B`).toBeLessThan(1.05);
      }
      expect(closedForm(hops, retries, per, szxOf(64)!)).toBeGreaterThan(0);
    },
  );
});

it("a size that does not get through at all is not tried again for a while", () => {
  const path = pathModel("mesh", 10);
  const choice = new BlockSizeChoice({ path, first: 2, smallest: 1, largest: 6, requestBytes: 15, headerBytes: 13 });
  for (let i = 0; i < 50; i++) choice.delivered(choice.szx, 0);
  expect(choice.szx).toBe(6);
  // A parent that holds four frames for a child never brings eleven of them.
  for (const tooLarge of [6, 5, 4] as const) choice.failed(tooLarge);
  for (let i = 0; i < 500; i++) {
    expect(choice.szx).toBeLessThanOrEqual(3);
    choice.delivered(choice.szx, 0);
  }
});

it("a block fits into what a sleeper's parent holds for one wake-up", () => {
  const wake = { periodUs: 100_000, frames: 4, askUs: 1_400 };
  const sizes = { first: 6, smallest: 1, largest: 6, requestBytes: 15, headerBytes: 13 } as const;
  const choice = new BlockSizeChoice({ path: pathModel("mesh", 10, wake), ...sizes });
  for (let i = 0; i < 500; i++) {
    expect(choice.szx).toBe(4); // 256 bytes are three or four frames
    choice.delivered(choice.szx, 0);
  }
});

describe("sends per packet until all have it (5.2)", () => {
  const random = new SeededRandom(7, "multicast");

  it.each([
    [0.1, 10, 1.76],
    [0.1, 100, 2.74],
    [0.2, 100, 3.72],
    [0.3, 500, 6.14],
  ])("uncoded, p = %f, %i receivers", (per, receivers, expected) => {
    let sends = 0;
    const packets = 4_000;
    for (let packet = 0; packet < packets; packet++) {
      let most = 0;
      // Each receiver needs a geometric number of sends.
      for (let i = 0; i < receivers; i++)
        most = Math.max(most, 1 + Math.floor(Math.log(1 - unitFloat(random)) / Math.log(per)));
      sends += most;
    }
    expect(sends / packets / expected).toBeCloseTo(1, 1.5);
    expect(uncodedFactor(per, receivers)).toBeCloseTo(expected, 1.5);
  });

  it.each([
    [0.1, 100, 512, 1.152],
    [0.3, 100, 512, 1.52],
    [0.1, 100, 32, 1.3],
  ])("coded, p = %f, %i receivers, K = %i", (per, receivers, packets, expected) => {
    let sum = 0;
    const runs = 60;
    for (let run = 0; run < runs; run++) {
      let most = 0;
      for (let i = 0; i < receivers; i++) {
        let [sends, got] = [0, 0];
        while (got < packets) {
          sends++;
          if (unitFloat(random) >= per) got++;
        }
        most = Math.max(most, sends);
      }
      sum += most / packets;
    }
    expect(Math.abs(sum / runs / expected - 1)).toBeLessThan(0.02);
    expect(Math.abs(codedFactor(per, packets, receivers) / expected - 1)).toBeLessThan(0.08);
  });
});
