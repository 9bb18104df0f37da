import { describe, expect, it } from "vitest";
import { profileRows } from "../../bench/profile.ts";

describe("the profile of one block", () => {
  it("runs: each layer answers, of a gateway that has published the image", () => {
    const rows = profileRows(1, 2_000);
    expect(rows.map(({ block }) => block)).toEqual([...Array(5).fill(64), ...Array(5).fill(1_024)]);
    for (const { nsPerBlock } of rows) expect(nsPerBlock).toBeGreaterThan(0);
  });
});
