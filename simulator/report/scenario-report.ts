import { quantile } from "simple-statistics";
import type { Battery } from "../mote/battery.ts";
import { unverifiedFields, type ChipProfile } from "../mote/profile.ts";
import type { CaseReport, Percentiles } from "./case-report.ts";

/** All cases of a scenario with one seed, and the whole in one line. */
export interface ScenarioReport {
  readonly scenario: string;
  readonly seed: number;
  readonly profile: string;
  readonly unverifiedConstants: readonly string[];
  readonly traceHash: string;
  readonly motes: number;
  readonly updated: number;
  readonly energyPerByteUj: number;
  readonly limitPerByteUj: number;
  readonly energyOverLimit: number;
  readonly completionS: Percentiles;
  readonly simSecondsPerWallSecond: number;
  readonly framesPerWallSecond: number;
  readonly cases: readonly CaseReport[];
}

/** Energies weigh each case by its bytes, and ideal ARQ, which would flatter the real protocol, is left out where CoAP ran too. */
export function summarise(
  scenario: string,
  seed: number,
  profiles: readonly ChipProfile[],
  batteries: readonly Battery[],
  cases: readonly CaseReport[],
  models: readonly string[] = [],
): ScenarioReport {
  const transport = cases.find((report) => report.transport !== "ideal-arq")?.transport ?? "ideal-arq";
  const real = cases.filter((report) => report.transport === transport);
  const sum = (value: (report: CaseReport) => number): number => real.reduce((total, one) => total + value(one), 0);
  const bytes = sum((report) => report.newBytes * report.motes);
  const perByte = (value: (report: CaseReport) => number): number =>
    sum((report) => value(report) * report.newBytes * report.motes) / bytes;
  const energyPerByteUj = perByte((report) => report.energyPerByteUj);
  const limitPerByteUj = perByte((report) => report.limitPerByteUj);
  const p50s = real.map(({ completionS }) => completionS.p50);
  const wallSeconds = Math.max(
    1e-6,
    sum((report) => report.wallSeconds),
  );
  return {
    scenario,
    seed,
    profile: profiles.map(({ name }) => name).join(" and "),
    unverifiedConstants: [...unverifiedOf(profiles, ""), ...unverifiedOf(batteries, "battery "), ...models],
    traceHash: cases.map(({ traceHash }) => traceHash).reduce(combine),
    motes: sum(({ motes }) => motes),
    updated: sum(({ updated }) => updated),
    energyPerByteUj,
    limitPerByteUj,
    energyOverLimit: energyPerByteUj / limitPerByteUj,
    completionS: {
      p50: quantile(p50s, 0.5),
      p99: Math.max(...real.map(({ completionS }) => completionS.p99)),
      max: Math.max(...real.map(({ completionS }) => completionS.max)),
    },
    simSecondsPerWallSecond: sum(({ simSeconds }) => simSeconds) / wallSeconds,
    framesPerWallSecond: sum((report) => report.air.frames) / wallSeconds,
    cases,
  };
}

/** Of several parts each constant says whose it is. */
function unverifiedOf(parts: readonly (ChipProfile | Battery)[], what: string): string[] {
  return parts.flatMap((part) =>
    unverifiedFields(part).map((name) => `${what}${parts.length > 1 ? `${part.name.split(",")[0]} ` : ""}${name}`),
  );
}

/** Folds a further hash into one of 16 hex digits. */
function combine(a: string, b: string): string {
  const lane = (at: number): string => {
    const mixed = Math.imul(
      Number.parseInt(a.slice(at, at + 8), 16) ^ Number.parseInt(b.slice(at, at + 8), 16),
      0x01000193,
    );
    return ((mixed + at + 1) >>> 0).toString(16).padStart(8, "0");
  };
  return lane(0) + lane(8);
}
