import { ENERGY_STATES } from "../mote/energy.ts";
import type { CaseResult } from "./case-report.ts";
import { labelOf, type Summary } from "./summary.ts";

const FIGURES = ["hops", "parent", "outcome", "startedS", "finishedS", "dutyCycle", "imageBytesReceived"] as const;
const MORE = ["resumes", "refetchedBlocks", "boots", "forwarded", "airtimeS", "batteryDays", "why"] as const;

/** A line for each mote of each run: times in s, energies in mJ. */
export function nodesCsv(summary: Summary, results: readonly (readonly CaseResult[])[]): string {
  const states = [...ENERGY_STATES, "total"] as const;
  const header = ["seed", "case", "mote", ...FIGURES, ...states.map((state) => `${state}Mj`), "macRetries"];
  const lines = [[...header, "coapRetransmissions", ...MORE].join(",")];
  for (const [i, cases] of results.entries()) {
    for (const { report, motes } of cases) {
      for (const mote of motes) {
        const cells = [summary.seeds[i], labelOf(report.swept), mote.id, ...FIGURES.map((key) => mote[key])];
        cells.push(...states.map((state) => round(mote.energyMj[state])), mote.retransmissions.mac);
        cells.push(mote.retransmissions.coap, ...MORE.map((key) => mote[key]));
        lines.push(cells.map(cell).join(","));
      }
    }
  }
  return `${lines.join("\n")}\n`;
}

function cell(value: string | number | undefined): string {
  if (value === undefined) return "";
  const text = typeof value === "number" ? String(round(value)) : value;
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

const round = (value: number): number => Number(value.toPrecision(9));
