import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { parse } from "yaml";
import { parseProfile } from "../../simulator/mote/profile.ts";
import { runCase } from "../../simulator/report/run.ts";
import { expand, parseScenario, type Case } from "../../simulator/scenarios/scenario.ts";

const read = (path: string): string => readFileSync(new URL(`../../simulator/${path}`, import.meta.url), "utf8");
const profile = parseProfile(JSON.parse(read("profiles/nrf52840.json")));
const sleepy = expand(parseScenario(parse(read("scenarios/lwm2m-sleepy.yaml"))))[0]!;

it("an LwM2M client that is rebooted at any second of its update goes on where it stopped", () => {
  let resumes = 0;
  for (let atS = 2; atS < 20; atS++) {
    const { queue: _, ...awake } = sleepy.lwm2m;
    const faults = { gateway: [], motes: [{ mote: 1, atS }] };
    const link = { model: "iid", per: 0 } as const;
    const run: Case = { ...sleepy, motes: 1, link, faults, lwm2m: { ...awake, clients: [] } };
    const report = runCase(run, profile, atS);
    expect(report.violations, `second ${atS}`).toEqual([]);
    expect(report.outcomes, `second ${atS}`).toEqual({ "updated by pull": 1 });
    resumes += report.resumes;
  }
  expect(resumes).toBeGreaterThan(0);
});
