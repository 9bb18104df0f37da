import { existsSync, readFileSync } from "node:fs";
import { dirname, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import { gunzipSync } from "node:zlib";
import { parse } from "yaml";
import { z } from "zod";
import { SeededRandom } from "../../../simulator/engine/random.ts";
import { parseBattery, type Battery } from "../../../simulator/mote/battery.ts";
import { parseProfile, type ChipProfile } from "../../../simulator/mote/profile.ts";
import type { Case } from "../../../simulator/scenarios/case.ts";
import type { ScenarioFiles } from "../../../simulator/scenarios/files.ts";
import { parseScenario, setKey, type Scenario } from "../../../simulator/scenarios/scenario.ts";
import { buildTopology } from "../../../simulator/world/topology.ts";
import { usageError, whyUnreadable } from "../errors.ts";

/** A scenario with all that it names; plain data, so that a worker can be given it. */
export interface Simulation {
  readonly scenario: Scenario;
  readonly profiles: Readonly<Record<string, ChipProfile>>;
  readonly batteries: Readonly<Record<string, Battery>>;
  readonly files: ScenarioFiles;
}

export interface LoadOptions {
  /** `key=value`, the key in dots, the value in YAML. */
  readonly set?: readonly string[];
  /** In place of the scenario's. */
  readonly profile?: string | undefined;
}

const SHIPPED = fileURLToPath(new URL("../../../../simulator/", import.meta.url));

/** Reads a scenario, its profiles, batteries and traces; what is wrong is said with file and key. */
export function loadSimulation(file: string, options: LoadOptions = {}): Simulation {
  const path = findScenario(file);
  const text = readText(path, "give a YAML file, or the name of one in simulator/scenarios, such as s1-desk");
  const scenario = checked(path, () => {
    const raw: unknown = parse(text);
    for (const assignment of options.set ?? []) assign(raw, assignment);
    if (options.profile !== undefined) setKey(raw, "profile", options.profile);
    return parseScenario(raw);
  });
  const runs = scenario.cases.map(({ run }) => run);
  const named = <T>(names: readonly string[], read: (name: string) => T): Record<string, T> =>
    Object.fromEntries([...new Set(names)].map((name) => [name, read(name)]));
  return {
    scenario,
    profiles: named(
      runs.map(({ profile }) => profile),
      readProfile,
    ),
    batteries: named(
      runs.map(({ battery }) => battery),
      readBattery,
    ),
    files: filesFor(path, runs),
  };
}

/** Traces and lists of links; what a model cannot make of them is said before anything runs. */
function filesFor(path: string, runs: readonly Case[]): ScenarioFiles {
  const names = [...new Set(runs.flatMap(filesOf))];
  const paths = new Map(names.map((name) => [name, isAbsolute(name) ? name : join(dirname(path), name)]));
  const files = Object.fromEntries(names.map((name) => [name, readData(paths.get(name)!)]));
  for (const run of runs) {
    const [name] = filesOf(run);
    if (name !== undefined)
      orBadScenario(paths.get(name)!, () => buildTopology(run, new SeededRandom(1, "check"), files));
  }
  return files;
}

/** Does what may find that a scenario asks for what a model cannot give: a disc without distances, a trace with too few nodes. */
export function orBadScenario<T>(name: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    if (error instanceof RangeError) throw usageError("bad-scenario", `${name}: ${error.message}`);
    throw error;
  }
}

/** For an option that may be repeated. */
export function collect(value: string, before: readonly string[]): string[] {
  return [...before, value];
}

function findScenario(file: string): string {
  const shipped = join(SHIPPED, "scenarios", file.endsWith(".yaml") ? file : `${file}.yaml`);
  return !existsSync(file) && !file.includes("/") && existsSync(shipped) ? shipped : file;
}

function filesOf({ link }: Case): string[] {
  return link.model === "k7" || link.model === "edges" ? [link.file] : [];
}

function assign(scenario: unknown, assignment: string): void {
  const [key, ...value] = assignment.split("=");
  if (key === undefined || !/^[A-Za-z0-9]+(?:\.[A-Za-z0-9]+)*$/.test(key) || value.length === 0)
    throw usageError("bad-set", `--set ${assignment}: give key=value, such as link.per=0.2 or blockBytes=[64,256]`);
  if (typeof scenario !== "object" || scenario === null) return; // the schema says what is wrong with it
  setKey(scenario, key, parse(value.join("=")));
}

/** A chip profile by its name in simulator/profiles, or by its path. */
export function readProfile(name: string): ChipProfile {
  return readShipped(name, "profiles", parseProfile);
}

export function readBattery(name: string): Battery {
  return readShipped(name, "profiles/batteries", parseBattery);
}

function readShipped<T>(name: string, folder: string, parseIt: (value: unknown) => T): T {
  const shipped = join(SHIPPED, folder, name.endsWith(".json") ? name : `${name}.json`);
  const file = existsSync(name) && name.endsWith(".json") ? name : shipped;
  const text = readText(file, `those that come with blockferry are in simulator/${folder}`);
  return checked(file, () => parseIt(JSON.parse(text)));
}

/** A trace, gzipped or not. */
function readData(file: string): string {
  try {
    const bytes = readFileSync(file);
    return (file.endsWith(".gz") ? gunzipSync(bytes, { maxOutputLength: 256 * 1_048_576 }) : bytes).toString("utf8");
  } catch (error) {
    throw usageError("file-unreadable", `${file}: ${whyUnreadable(error)}`);
  }
}

function readText(file: string, hint: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw usageError("file-unreadable", `${file}: ${whyUnreadable(error)}; ${hint}`);
  }
}

function checked<T>(file: string, parseIt: () => T): T {
  try {
    return parseIt();
  } catch (error) {
    const detail = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
    throw usageError("bad-file", `${file}:\n${detail}`);
  }
}
