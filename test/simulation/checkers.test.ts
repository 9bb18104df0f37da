import { describe, expect, it } from "vitest";
import { estimateOf } from "../../simulator/report/seeds.ts";
import { RefetchChecker } from "../../simulator/checkers/refetch.ts";
import { Flash } from "../../simulator/mote/flash.ts";
import { Journal } from "../../simulator/mote/journal.ts";
import { layoutFor } from "../../simulator/mote/layout.ts";
import { getBlock } from "../support/coap-get.ts";
import { reportOf, small } from "../support/simulation.ts";

describe("the refetch checker catches a mote that asks for what it has", () => {
  const layout = layoutFor(1_000, 64, 256, 4);
  const flash = new Flash(
    { sectorBytes: 256, writeUnitBytes: 4, sectors: layout.sectors },
    { eraseSectorUs: 0, programUnitUs: 0 },
  );
  const { journal } = Journal.create(flash, layout, 1, new Uint8Array(32), 1_000, 64);
  journal.markStored(3);

  it("by a new request, not by a retransmission of an old one, and in any block size", () => {
    const checker = new RefetchChecker();
    checker.onSend(getBlock(["i", "x"], 4, 2, 1), journal);
    expect(checker.violations).toBe(0);
    journal.markStored(4);
    checker.onSend(getBlock(["i", "x"], 4, 2, 1), journal); // the same message ID: sent before it was stored
    expect(checker.violations).toBe(0);
    checker.onSend(getBlock(["i", "x"], 3, 2, 2), journal);
    checker.onSend(getBlock(["i", "x"], 13, 0, 3), journal); // byte 208 is in block 3
    expect(checker.violations).toBe(2);
    checker.onSend(getBlock(["m", "x"], 0, 2, 4), journal); // a manifest's block is no image's
    expect(checker).toMatchObject({ violations: 2, requests: 3 });
  });
});

it("confidence intervals are those of Student's t", () => {
  expect(estimateOf([1, 2, 3, 4, 5])).toMatchObject({ mean: 3 });
  expect(estimateOf([1, 2, 3, 4, 5]).ci95).toBeCloseTo(1.963, 2); // 2.776 x 1.5811 / sqrt 5
  const twenty = Array.from({ length: 20 }, (_, i) => i);
  expect(estimateOf(twenty).ci95).toBeCloseTo((2.093 * 5.9161) / Math.sqrt(20), 2);
});

it.each(["coap", "lwm2m"])(
  "who was to start behind the end of the run is no brick, and took no time: %s",
  (transport) => {
    const report = reportOf(small({ transport, motes: 20, startWithinS: 7_200, maxHours: 1 }), 1);
    expect(report.violations).toEqual([]);
    const { "not started": none = 0, ...others } = report.outcomes;
    expect([none > 0, Object.keys(others).length > 0]).toEqual([true, true]);
    expect(report.completionS.p50).toBeGreaterThan(0);
    expect(report.completionS.max).toBeLessThan(3_600);
  },
);
