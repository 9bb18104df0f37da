import type { CaseReport } from "./case-report.ts";
import { estimate, type CaseEstimate, type Estimate } from "./seeds.ts";
import type { ScenarioReport } from "./scenario-report.ts";

/** `summary.json`. A key that goes or changes its meaning makes a new version; new keys do not. */
export interface Summary {
  readonly schema: "blockferry.simulation";
  readonly version: 1;
  readonly scenario: string;
  readonly description: string;
  readonly seeds: readonly number[];
  readonly profile: string;
  readonly unverifiedConstants: readonly string[];
  /** Means over the seeds with 95 % confidence intervals. */
  readonly cases: readonly CaseEstimate[];
  /** Each run: by seed, then by case. */
  readonly runs: readonly {
    readonly seed: number;
    readonly traceHash: string;
    readonly cases: readonly CaseReport[];
  }[];
}

export function summaryOf(description: string, reports: readonly ScenarioReport[]): Summary {
  const { scenario, profile, unverifiedConstants } = reports[0]!;
  return {
    schema: "blockferry.simulation",
    version: 1,
    scenario,
    description,
    seeds: reports.map(({ seed }) => seed),
    profile,
    unverifiedConstants,
    cases: estimate(reports),
    runs: reports.map(({ seed, traceHash, cases }) => ({ seed, traceHash, cases })),
  };
}

/** How one figure differs between two simulations of the same case. */
export interface Comparison {
  readonly label: string;
  readonly what: "energyMj" | "completionS" | "airBytes" | "updated";
  readonly here: Estimate;
  readonly there: Estimate;
  /** here / there. */
  readonly ratio: number;
  /** True when the 95 % confidence interval of the difference (Welch) leaves out zero. */
  readonly significant: boolean;
}

/** The case of the same swept values; else the only one that none of the values swept in both speaks against. */
function partnerOf({ swept }: CaseEstimate, cases: readonly CaseEstimate[]): CaseEstimate | undefined {
  const same = cases.find((other) => labelOf(other.swept) === labelOf(swept));
  const fitting = cases.filter((other) =>
    Object.entries(other.swept).every(([key, value]) => !(key in swept) || String(swept[key]) === String(value)),
  );
  return same ?? (fitting.length === 1 ? fitting[0] : undefined);
}

/** Compares case by case those that belong together; the others are left out, and `otherwise` names them. */
export function compare(here: Summary, there: Summary): Comparison[] {
  const out: Comparison[] = [];
  for (const mine of here.cases) {
    const other = partnerOf(mine, there.cases);
    if (other === undefined) continue;
    const [own, others] = [labelOf(mine.swept), labelOf(other.swept)];
    const label = own === others ? own : `${own || "-"} beside ${others || "-"}`;
    const pairs = [
      ["energyMj", mine.energyMj, read(other.energyMj)],
      ["completionS", mine.completionP50S, read(other.completionP50S)],
      ["airBytes", mine.airBytes, read(other.airBytes)],
    ] as const;
    for (const [what, a, b] of pairs)
      out.push({ label, what, here: a, there: b, ratio: a.mean / b.mean, significant: differ(a, b) });
  }
  return out;
}

/** In JSON there is no number for what one seed does not say. */
const read = ({ mean, ci95 }: Estimate): Estimate => ({
  mean,
  ci95: Number.isFinite(ci95) ? ci95 : Number.NaN,
});

/** In what two simulations differ besides what is compared; nothing, where it is one question. */
export function otherwise(here: Summary, there: Summary): string[] {
  const said = ({ scenario, profile, cases }: Summary): Record<string, string> => ({
    scenario,
    profile,
    "image bytes": [...new Set(cases.map(({ imageBytes }) => imageBytes))].join(", "),
    cases: cases.map(({ swept }) => labelOf(swept)).join("; "),
  });
  const [mine, others] = [said(here), said(there)];
  const differing = Object.keys(mine).flatMap((key) =>
    mine[key] === others[key] ? [] : [`${key}: ${mine[key]} here, ${others[key]} there`],
  );
  const alone = here.cases.filter((one) => partnerOf(one, there.cases) === undefined);
  return [...differing, ...alone.map(({ swept }) => `${labelOf(swept) || "the case"} is not there, and not compared`)];
}

/** The half widths are those of the means: the difference's is their root sum of squares. */
function differ(a: Estimate, b: Estimate): boolean {
  return Math.abs(a.mean - b.mean) > Math.hypot(a.ci95, b.ci95);
}

export function labelOf(swept: CaseReport["swept"]): string {
  return Object.entries(swept)
    .map(([key, value]) => `${key}=${String(value)}`)
    .join(" ");
}
