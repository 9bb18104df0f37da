import { readFileSync } from "node:fs";
import { parse } from "yaml";
import { parseBattery } from "../../simulator/mote/battery.ts";
import { parseProfile, type ChipProfile } from "../../simulator/mote/profile.ts";
import type { CaseReport, CaseResult } from "../../simulator/report/case-report.ts";
import { runCase, type CaseParts } from "../../simulator/report/run.ts";
import type { Case } from "../../simulator/scenarios/case.ts";
import { parseScenario, setKey, type Scenario } from "../../simulator/scenarios/scenario.ts";

const read = (path: string): string => readFileSync(new URL(`../../simulator/${path}`, import.meta.url), "utf8");

export const nrf52840: ChipProfile = parseProfile(JSON.parse(read("profiles/nrf52840.json")));
const battery = parseBattery(JSON.parse(read("profiles/batteries/aa2.json")));

/** A scenario that comes with blockferry, with some of its keys changed. */
export function scenarioNamed(name: string, changes: Readonly<Record<string, unknown>> = {}): Scenario {
  const raw: unknown = parse(read(`scenarios/${name}.yaml`));
  for (const [key, value] of Object.entries(changes)) setKey(raw, key, value);
  return parseScenario(raw);
}

/** Runs one case to its end. */
export function simulate(run: Case, seed: number, parts: Partial<CaseParts> = {}): CaseResult {
  const fixed = { profile: nrf52840, battery, quirks: [], files: {}, wallMs: () => 0 };
  return runCase({ run, swept: {} }, seed, { ...fixed, ...parts });
}

export const reportOf = (run: Case, seed: number, parts: Partial<CaseParts> = {}): CaseReport =>
  simulate(run, seed, parts).report;

/** A small scenario: one cell, few motes, unless told otherwise. */
export function small(changes: Readonly<Record<string, unknown>> = {}): Case {
  const raw: Record<string, unknown> = {
    name: "small",
    motes: 3,
    link: { model: "iid", per: 0.1 },
    imageBytes: 4096,
  };
  for (const [key, value] of Object.entries(changes)) setKey(raw, key, value);
  return parseScenario(raw).cases[0]!.run;
}

/** How to see a failure again. */
export const again = (run: Case, seed: number): string => `repeat with: blockferry simulate ${run.name} --seed ${seed}`;
