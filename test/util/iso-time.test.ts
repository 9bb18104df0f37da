import { expect, it } from "vitest";
import { isoTime } from "../../src/util/iso-time.ts";

it("agrees with the clock of the machine over some centuries, leap days and year ends", () => {
  for (let unixS = -4_000_000_000; unixS < 8_000_000_000; unixS += 12_345_679)
    expect(isoTime(unixS)).toBe(new Date(unixS * 1_000).toISOString().replace(".000", ""));
  for (const day of ["2000-02-29", "2100-02-28", "2100-03-01", "1999-12-31", "2024-02-29"])
    expect(isoTime(Date.parse(`${day}T23:59:59Z`) / 1_000)).toBe(`${day}T23:59:59Z`);
});
