import type { CaseReport, CaseResult } from "../case-report.ts";
import type { Estimate } from "../seeds.ts";
import type { Comparison, Summary } from "../summary.ts";
import { airByLayer, completionCurve, energyStack, map, nameOf } from "./charts.ts";
import { MOTE_SCRIPT, motesData } from "./mote-timeline.ts";
import { STYLE } from "./style.ts";
import { escape, short } from "./svg.ts";

/** Paper cannot be unfolded. */
const PRINT_SCRIPT = `addEventListener("beforeprint",()=>{for(const d of document.querySelectorAll("details"))d.open=true});`;

/** Cases that are drawn one by one; all are in the table. */
const MAX_DRAWN = 12;

/** report.html: one page that needs nothing else, neither a network nor a server. `results` by seed, then by case. */
export function reportPage(
  summary: Summary,
  results: readonly (readonly CaseResult[])[],
  comparisons: readonly Comparison[] | undefined,
): string {
  const first = results[0]!;
  const cases = first.map((_, i) => results.map((bySeed) => bySeed[i]!));
  const drawn = first.filter(({ motes }) => motes.length > 0).slice(0, MAX_DRAWN);
  const seeds =
    summary.seeds.length === 1
      ? `seed ${summary.seeds[0]!}`
      : `${summary.seeds.length} seeds from ${summary.seeds[0]!} on`;
  const body = [
    `<h1>${escape(summary.scenario)}</h1><p>${escape(summary.description)}</p>`,
    `<p class="facts">${escape(seeds)} · ${escape(summary.profile)} · trace ${summary.runs[0]!.traceHash} · model: real gateway and mote code over simulated IEEE 802.15.4</p>`,
    section("What it costs", costTable(summary)),
    section("Who has it when", completionCurve(cases)),
    section("Bytes on air by layer", airByLayer(first.map(({ report }) => report))),
    ...(comparisons === undefined ? [] : [section("Beside the earlier run", comparisonTable(comparisons))]),
    ...drawn.map((result, i) => caseSection(result, i === 0, drawn.length > 1)),
    section(
      "One mote",
      `<p><label>case <select id="case"></select></label> <label>mote <select id="mote"></select></label></p><div id="timeline"></div>`,
    ),
    notes(
      summary,
      first.map(({ report }) => report),
    ),
  ];
  return (
    `<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">` +
    `<title>${escape(summary.scenario)}: what an update costs</title><style>${STYLE}</style></head><body>${body.join("\n")}` +
    `<script type="application/json" id="data">${motesData(drawn)}</script><script>${MOTE_SCRIPT}${PRINT_SCRIPT}</script></body></html>\n`
  );
}

const section = (title: string, content: string): string => `<section><h2>${escape(title)}</h2>${content}</section>`;

function costTable({ cases }: Summary): string {
  const rows = cases.map((run) => {
    const name = nameOf(run as unknown as CaseReport);
    const figures = [
      `${run.updated} of ${run.motes}`,
      estimate(run.completionP50S),
      estimate(run.completionP99S),
      estimate(run.energyMj),
      estimate(run.energyPerByteUj),
      estimate(run.energyOverLimit),
      estimate(run.batteryDays),
    ];
    return `<tr><th>${escape(name)}</th>${figures.map((figure) => `<td>${figure}</td>`).join("")}</tr>`;
  });
  const heads = ["case", "updated", "p50, s", "p99, s", "mJ a mote", "uJ/B", "× limit", "battery days"];
  return (
    table(heads, rows) +
    "<p>± is the half width of the 95 % confidence interval over the seeds; × limit is energy over the one-hop receive limit.</p>"
  );
}

function comparisonTable(comparisons: readonly Comparison[]): string {
  const rows = comparisons.map(({ label, what, here, there, ratio, significant }) => {
    const change = `${ratio < 1 ? "−" : "+"}${Math.abs((ratio - 1) * 100).toFixed(1)} %`;
    const width = Math.min(100, Math.abs(ratio - 1) * 100);
    const bar = `<i class="${ratio < 1 ? "less" : "more"}" style="width:${width.toFixed(0)}px"></i>`;
    const cells = [estimate(here), estimate(there), `${bar}${change}`, significant ? "yes" : "no"];
    return `<tr><th>${escape(label || "-")} ${what}</th>${cells.map((cell) => `<td>${cell}</td>`).join("")}</tr>`;
  });
  return table(["case, figure", "here", "there", "change", "differs"], rows);
}

function table(heads: readonly string[], rows: readonly string[]): string {
  const head = heads.map((text) => `<th>${escape(text)}</th>`).join("");
  return `<div class="wide"><table><thead><tr>${head}</tr></thead><tbody>${rows.join("")}</tbody></table></div>`;
}

function caseSection(result: CaseResult, open: boolean, many: boolean): string {
  const { report } = result;
  const outcomes = Object.entries(report.outcomes).map(([name, count]) => `${escape(name)}: ${count}`);
  const bounds = report.bounds.bounds.map(
    ({ name, timeS, energyMj, airS, formula }) =>
      `<tr><th title="${escape(formula)}">${escape(name)}</th><td>${cell(timeS)}</td><td>${cell(energyMj)}</td><td>${cell(airS)}</td><td>${escape(formula)}</td></tr>`,
  );
  const violations =
    report.violations.length === 0
      ? ""
      : `<p class="bad">Checks that failed: ${report.violations.map(escape).join("; ")}</p>`;
  const content =
    `${violations}<p>${outcomes.join(" · ")}</p><h3>Energy of each mote</h3>${energyStack(result)}` +
    `<h3>Map, links and load</h3>${map(result)}<h3>Physical limits</h3>${table(["bound", "time, s", "mJ a mote", "air, s", "formula"], bounds)}`;
  const title = many ? nameOf(report) : "In detail";
  return `<details${open ? " open" : ""}><summary>${escape(title)}</summary>${content}</details>`;
}

function notes({ unverifiedConstants }: Summary, reports: readonly CaseReport[]): string {
  const unverified =
    unverifiedConstants.length === 0
      ? ""
      : `<p>Unverified constants (their source was not read by us): ${unverifiedConstants.map(escape).join(", ")}.</p>`;
  const [frames, seconds] = [
    reports.reduce((sum, { air }) => sum + air.frames, 0),
    reports.reduce((sum, { simSeconds }) => sum + simSeconds, 0),
  ];
  return `<section><h2>Small print</h2>${unverified}<p>${short(frames)} frames in ${short(seconds)} simulated seconds. Energies are those of the motes; border routers have mains.</p></section>`;
}

const cell = (value: number | undefined): string => (value === undefined ? "" : short(value));

const estimate = ({ mean, ci95 }: Estimate): string =>
  Number.isFinite(ci95) ? `${short(mean)} ± ${short(ci95)}` : short(mean);
