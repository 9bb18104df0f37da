import { existsSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { fileURLToPath } from "node:url";
import { parse } from "yaml";
import { z } from "zod";
import { parseProfile, type ChipProfile } from "../../simulator/mote/profile.ts";
import { parseScenario, type Scenario } from "../../simulator/scenarios/scenario.ts";
import { usageError } from "./errors.ts";

/** A scenario's file; what is wrong with it is said with file and key. */
export function readScenario(file: string): Scenario {
  const text = readText(file, "give a YAML file, such as simulator/scenarios/s1-desk.yaml");
  return checked(file, () => parseScenario(parse(text)));
}

/** A chip profile by its name in simulator/profiles, or by its path. */
export function readProfile(name: string): ChipProfile {
  const shipped = fileURLToPath(
    new URL(`../../../simulator/profiles/${basename(name, ".json")}.json`, import.meta.url),
  );
  const file = existsSync(name) ? name : shipped;
  const text = readText(file, "profiles are in simulator/profiles");
  return checked(file, () => parseProfile(JSON.parse(text)));
}

function readText(file: string, hint: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw usageError("file-unreadable", `${file}: ${(error as Error).message}; ${hint}`);
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
