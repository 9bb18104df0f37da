import { describe, expect, it } from "vitest";
import { frameLoss } from "../../simulator/rollout/fleet-model.ts";
import { intervalOf } from "../../simulator/rollout/predict.ts";

describe("what runs say of the next one", () => {
  it("an interval is Student's: as wide for eight of one kind as the tables have it", () => {
    const { value, low, high } = intervalOf([1, 2, 3, 4, 5, 6, 7, 8]);
    expect(value).toBe(4.5);
    // t(7, 0.975) = 2.365, s = 2.449, sqrt(1 + 1/8) = 1.061
    expect(high - value).toBeCloseTo(2.365 * 2.449_489_7 * 1.060_660_2, 3);
    expect(low).toBe(0); // no time is negative
    expect(intervalOf([3])).toEqual({ value: 3, low: 3, high: 3 });
  });

  it("the loss of a frame is found from the messages that were sent again", () => {
    for (const per of [0.05, 0.2, 0.5])
      for (const hops of [1, 3]) {
        const resent = 1 - (1 - per ** 4) ** (2 * hops);
        expect(frameLoss(resent, hops)).toBeCloseTo(per, 6);
      }
    expect(frameLoss(0, 1)).toBe(0);
  });
});
