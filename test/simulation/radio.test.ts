import { describe, expect, it } from "vitest";
import { Engine } from "../../simulator/engine/engine.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { bitErrorRate, receptionRatio, toDbm, toMilliwatts } from "../../simulator/radio/ber.ts";
import { DEFAULT_RECEIVER, type Channel } from "../../simulator/radio/channel.ts";
import { parseEdges } from "../../simulator/radio/edges.ts";
import type { Frame } from "../../simulator/radio/frame.ts";
import { parseK7 } from "../../simulator/radio/k7.ts";
import { K7Links } from "../../simulator/radio/k7-links.ts";
import { EdgeLinks, fullMesh, IidLinks } from "../../simulator/radio/links.ts";
import { Medium } from "../../simulator/radio/medium.ts";
import { PartitionedChannel } from "../../simulator/radio/partition.ts";
import { PathLossChannel } from "../../simulator/radio/path-loss.ts";

const random = (label = "x"): SeededRandom => new SeededRandom(1, label);

describe("O-QPSK bit errors (IEEE 802.15.4-2006, E.4.1.8)", () => {
  it("are half at no signal, and none a few dB above noise", () => {
    expect(bitErrorRate(0)).toBeCloseTo(0.5, 6);
    expect(bitErrorRate(toMilliwatts(6))).toBeLessThan(1e-9);
    // At 0 dB: sum over k of (-1)^k C(16,k) exp(20 (1/k - 1)) is led by k = 2: 120 exp(-10).
    expect(bitErrorRate(1)).toBeCloseTo((8 / 15 / 16) * (120 * Math.exp(-10) - 560 * Math.exp(-40 / 3)), 4);
  });

  it("lose all below -4 dB, nothing above 6 dB, and longer frames more", () => {
    expect(receptionRatio(toMilliwatts(-4), 133)).toBeLessThan(0.001);
    expect(receptionRatio(toMilliwatts(6), 133)).toBeGreaterThan(0.9999);
    expect(receptionRatio(1, 133)).toBeCloseTo((1 - bitErrorRate(1)) ** (8 * 133), 2);
    expect(receptionRatio(1, 20)).toBeGreaterThan(receptionRatio(1, 133));
    expect(receptionRatio(0, 20)).toBe(0);
  });
});

/** Two senders, 0 and 1, and a receiver, 2, with the powers that a test sets; nothing is lost by itself. */
class Given implements Channel {
  readonly dbm: Readonly<Record<string, number>>;

  constructor(dbm: Readonly<Record<string, number>>) {
    this.dbm = dbm;
  }

  neighbours(from: number): number[] {
    return [0, 1, 2].filter((to) => to !== from);
  }

  powerMw(from: number, to: number): number {
    const dbm = this.dbm[`${from}>${to}`];
    return dbm === undefined ? 0 : toMilliwatts(dbm);
  }

  isLost = (): boolean => false;
  draw = (): number => 0.5;
  deliveryRatio = (): number => 1;
  senseRatio = (): number => 1;
  steadyPowersMw = (): undefined => undefined;
}

function overlap(dbm: Readonly<Record<string, number>>, secondAfterUs: number): number[] {
  const engine = new Engine();
  const medium = new Medium(engine, new Given(dbm), DEFAULT_RECEIVER);
  const heard: number[] = [];
  for (const id of [0, 1, 2]) medium.join({ id, ledger: undefined, onFrame: ({ from }) => heard.push(from) });
  const frame = (from: number): Frame => ({
    kind: "data",
    from,
    to: 2,
    sequence: 1,
    psduBytes: 100,
    payload: new Uint8Array(0),
    pending: false,
  });
  medium.transmit(frame(0), () => {});
  engine.after(secondAfterUs, () => medium.transmit(frame(1), () => {}));
  engine.run(Infinity, () => false);
  return heard;
}

describe("the medium", () => {
  it("two at once, equally loud: neither arrives", () => {
    expect(overlap({ "0>2": -60, "1>2": -60 }, 1_000)).toEqual([]);
  });

  it("one that is far weaker does no harm", () => {
    expect(overlap({ "0>2": -60, "1>2": -80 }, 1_000)).toEqual([0]);
  });

  it("one that is louder by the capture ratio is received in the other's place", () => {
    expect(overlap({ "0>2": -80, "1>2": -60 }, 1_000)).toEqual([1]);
    expect(overlap({ "0>2": -62, "1>2": -60 }, 1_000)).toEqual([]);
  });

  it("one behind the other both arrive", () => {
    expect(overlap({ "0>2": -60, "1>2": -60 }, 10_000)).toEqual([0, 1]);
  });

  it("what is below the receiver's sensitivity is not heard, nor what it sleeps through", () => {
    expect(overlap({ "0>2": -110 }, 10_000)).toEqual([]);
  });
});

describe("log-distance path loss", () => {
  const parameters = {
    exponent: 3,
    referenceDb: 46.67,
    sigmaDb: 0,
    nodeSigmaDb: 0,
    fadingSigmaDb: 0,
    fadingS: 150,
    txDbm: 0,
    cutDbm: -112,
  };
  const at = (changes: object, x: number[] = [0, 40]): PathLossChannel =>
    new PathLossChannel(
      { ...parameters, ...changes },
      DEFAULT_RECEIVER,
      x.map((place) => ({ x: place, y: 0 })),
      random(),
    );

  it("is 94.7 dB at 40 m", () => {
    expect(toDbm(at({}).powerMw(0, 1, 0))).toBeCloseTo(-(46.67 + 30 * Math.log10(40)), 6);
  });

  it("leaves out what is below the cut", () => {
    expect(at({}, [0, 40, 4_000]).neighbours(0)).toEqual([1]);
  });

  it("shadowing has its deviation, the same both ways; node offsets make links asymmetric", () => {
    const far = Array.from({ length: 60 }, (_, i) => (i * 40) / 59);
    const shadowed = at({ sigmaDb: 4, cutDbm: -200 }, far);
    const deviations: number[] = [];
    for (let a = 0; a < 60; a++)
      for (let b = a + 1; b < 60; b++) {
        const mean = -(46.67 + 30 * Math.log10(Math.max(1, far[b]! - far[a]!)));
        deviations.push(toDbm(shadowed.powerMw(a, b, 0)) - mean);
        expect(shadowed.powerMw(a, b, 0)).toBe(shadowed.powerMw(b, a, 0));
      }
    const rms = Math.sqrt(deviations.reduce((sum, db) => sum + db * db, 0) / deviations.length);
    expect(rms).toBeGreaterThan(3.8);
    expect(rms).toBeLessThan(4.2);
    const uneven = at({ nodeSigmaDb: 2 });
    expect(uneven.powerMw(0, 1, 0)).not.toBe(uneven.powerMw(1, 0, 0));
  });

  it("fading changes once in its time, and is the same whenever one looks", () => {
    const fading = at({ fadingSigmaDb: 3 });
    const early = fading.powerMw(0, 1, 10e6);
    expect(fading.powerMw(0, 1, 149e6)).toBe(early);
    const late = fading.powerMw(0, 1, 151e6);
    expect(late).not.toBe(early);
    expect(at({ fadingSigmaDb: 3 }).powerMw(0, 1, 151e6)).toBe(late);
  });
});

/** What is heard of an hour's bursts. */
function burst(hour: number): string {
  const rows = [`2026-01-01 0${hour}:00:00.5,n0,n2,26,-70,1.0,100`, `2026-01-01 0${hour}:00:12,n1,n0,26,-80,0.8,100`];
  if (hour < 2) rows.unshift(`2026-01-01 0${hour}:00:00,n0,n1,26,-80.5,${hour === 0 ? 0.9 : 0.5},100`);
  return rows.join("\n");
}

/** Four bursts an hour apart of two nodes on channel 26; n1 hears n0 in the first two only, n0 hears n1 always. */
const TRACE = `{"location":"made up","tx_length":100}
datetime,src,dst,channel,mean_rssi,pdr,tx_count
${[0, 1, 2, 3].map(burst).join("\n")}
`;

describe("k7 traces", () => {
  const trace = parseK7(TRACE);

  it("are read with their nodes, channels and times", () => {
    expect(trace).toMatchObject({ nodes: ["n0", "n1", "n2"], channels: [26], txLength: 100, durationS: 10_812 });
    expect(trace.samples).toHaveLength(10);
  });

  it("replay returns the trace's delivery ratio, and an absent row is 0, not the last one", () => {
    const links = new K7Links(trace, 26, random());
    const of = (from: number, to: number, hour: number): number => {
      const lost = Array.from({ length: 4_000 }, () => links.isLost(from, to, 106, hour * 3_600e6 + 1e6));
      return 1 - lost.filter(Boolean).length / 4_000;
    };
    expect(of(0, 1, 0)).toBeCloseTo(0.9, 1.5);
    expect(of(0, 1, 1)).toBeCloseTo(0.5, 1.5);
    expect(of(0, 1, 2)).toBe(0);
    expect(of(1, 0, 2)).toBeCloseTo(0.8, 1.5);
    expect(links.meanRatio(0, 1)).toBeCloseTo((0.9 + 0.5) / 4, 5);
    expect(links.meanRatio(1, 0)).toBeCloseTo(0.8, 5);
    expect(links.neighbours(2)).toEqual([]);
    // Behind its end the trace begins anew.
    expect(of(0, 1, 4)).toBeCloseTo(0.9, 1.5);
  });

  it.each([
    ["", /line 1/],
    ['{"tx_length":100}\nsrc,dst\n', /line 2: no column datetime/],
    [TRACE.replace(",0.9,", ",1.9,"), /line 3/],
    [TRACE.replace("2026-01-01 00:00:00,", "yesterday,"), /line 3/],
    ['{"tx_length":100}\ndatetime,src,dst,channel,mean_rssi,pdr,tx_count\n', /no rows/],
  ])("a damaged one is named with its line: %#", (text, message) => {
    expect(() => parseK7(text)).toThrow(message);
  });
});

it("links given one by one exist as they are given", () => {
  const links = new EdgeLinks(parseEdges("from,to,per\n# comment\n0,1,0.2\n1,0,0\n"), 3, random());
  expect([links.neighbours(0), links.neighbours(2)]).toEqual([[1], []]);
  expect(links.deliveryRatio(0, 1, 133)).toBeCloseTo(0.8, 6);
  expect(links.deliveryRatio(1, 0, 133)).toBe(1);
  expect(links.deliveryRatio(0, 2, 133)).toBe(0);
  expect(() => parseEdges("0,0,0.1")).toThrow(/line 1/);
  expect(() => parseEdges("0,1,2")).toThrow(/line 1/);
  expect(() => new EdgeLinks(parseEdges("0,9,0.1"), 3, random())).toThrow(/3 nodes/);
});

it("a partition lets nothing through, until it is healed", () => {
  const channel = new PartitionedChannel(new IidLinks(0, fullMesh(4), random()), (id) => id > 1);
  channel.isCut = true;
  expect([channel.powerMw(0, 1, 0) > 0, channel.powerMw(1, 2, 0) > 0]).toEqual([true, false]);
  channel.isCut = false;
  expect(channel.powerMw(1, 2, 0)).toBeGreaterThan(0);
});
