import { expect, it } from "vitest";
import type { Case } from "../../simulator/scenarios/case.ts";
import { expand } from "../../simulator/scenarios/scenario.ts";
import { reportOf, scenarioNamed } from "../support/simulation.ts";

const sleepy = expand(scenarioNamed("lwm2m-sleepy"))[0]!;

it("an LwM2M client that is rebooted at any second of its update goes on where it stopped", () => {
  let resumes = 0;
  for (let atS = 2; atS < 20; atS++) {
    const { queue: _, ...awake } = sleepy.lwm2m;
    const faults = { ...sleepy.faults, gateway: [], motes: [{ mote: 1, atS }] };
    const link = { model: "iid", per: 0 } as const;
    const run: Case = { ...sleepy, motes: 1, link, faults, lwm2m: { ...awake, clients: [] } };
    const report = reportOf(run, atS);
    expect(report.violations, `second ${atS}`).toEqual([]);
    expect(report.outcomes, `second ${atS}`).toEqual({ "updated by pull": 1 });
    resumes += report.resumes;
  }
  expect(resumes).toBeGreaterThan(0);
});
