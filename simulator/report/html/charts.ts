import { ENERGY_STATES, type EnergyState } from "../../mote/energy.ts";
import type { CaseReport, CaseResult, MoteReport } from "../case-report.ts";
import { labelOf } from "../summary.ts";
import { axisTo, chart, COLOURS, escape, HEIGHT, round, short, WIDTH } from "./svg.ts";

export const STATE_COLOURS: Readonly<Record<EnergyState, string>> = {
  sleep: "#9aa5b1",
  listen: "#edae49",
  rx: "#1b6ca8",
  tx: "#d1495b",
  cpu: "#2e8b57",
  flash: "#6a4c93",
};

export function nameOf({ swept, transport }: CaseReport): string {
  const label = labelOf(swept);
  return label === "" ? transport : label;
}

/** Colours with their names. */
export function legend(entries: readonly (readonly [string, string])[]): string {
  const items = entries.map(([name, colour]) => `<span><i style="background:${colour}"></i>${escape(name)}</span>`);
  return `<p class="legend">${items.join("")}</p>`;
}

/** Share of the motes, over all seeds, that had the image so many seconds after they began. */
export function completionCurve(cases: readonly (readonly CaseResult[])[]): string {
  const curves = cases.map((results) => ({
    name: nameOf(results[0]!.report),
    times: results.flatMap(({ motes }) => motes.flatMap(durationOf)).toSorted((a, b) => a - b),
    motes: results.reduce((sum, { motes }) => sum + motes.length, 0),
  }));
  const shown = curves.filter(({ motes }) => motes > 0).slice(0, COLOURS.length);
  const last = Math.max(1, ...shown.map(({ times }) => times.at(-1) ?? 0));
  const drawing = chart(
    axisTo(last, "seconds since the mote began"),
    axisTo(100, "% of the motes"),
    "completion",
    (at) =>
      shown
        .map(({ times, motes }, i) => {
          const steps = times.map((time, k) => `H${round(at.x(time))}V${round(at.y((100 * (k + 1)) / motes))}`);
          const d = `M${round(at.x(0))} ${round(at.y(0))}${steps.join("")}H${round(at.x(last))}`;
          return `<path class="line" d="${d}" stroke="${COLOURS[i]!}"/>`;
        })
        .join(""),
  );
  return drawing + legend(shown.map(({ name }, i) => [name, COLOURS[i]!]));
}

function durationOf({ startedS, finishedS, outcome }: MoteReport): number[] {
  return finishedS === undefined || !outcome.startsWith("updated") ? [] : [finishedS - startedS];
}

/** Energy of each mote; where some poll, theirs is a drawing of its own beside the limit for pollers. */
export function energyStack({ report, motes }: CaseResult): string {
  const oneHopMj = (report.limitPerByteUj * report.newBytes) / 1_000;
  const { sleepers } = report;
  if (sleepers === undefined) return stack(motes, oneHopMj, "one-hop limit");
  // Motes 1 to n route, the others sleep.
  const sleeps = ({ id }: MoteReport): boolean => id > motes.length - sleepers.motes;
  const pollerMj = sleepers.energyMj / sleepers.overLimit;
  const awake = motes.filter((mote) => !sleeps(mote));
  const cost = `<p>${sleepers.motes} sleepers: the update cost each ${short(sleepers.energyMj)} mJ on top of sleep, ${short(sleepers.overLimit)} times the limit for pollers.</p>`;
  const routers =
    awake.length === 0 ? "" : `<p>${awake.length} that always listen:</p>${stack(awake, oneHopMj, "one-hop limit")}`;
  return cost + stack(motes.filter(sleeps), pollerMj, "limit for pollers") + routers;
}

/** Stacked by state, the nearest to the border router first, with a limit as a line. */
function stack(motes: readonly MoteReport[], limitMj: number, name: string): string {
  const sorted = motes.toSorted((a, b) => a.hops - b.hops || a.id - b.id);
  const top = Math.max(limitMj, ...sorted.map(({ energyMj }) => energyMj.total));
  const xAxis = { min: 0, max: sorted.length, label: "motes, by hops", ticks: [] };
  const drawing = chart(xAxis, axisTo(top, "mJ"), "energy of each mote by state", (at) => {
    const bars = sorted.map((mote, i) => bar(mote, at.x(i), at.x(i + 1), at.y));
    const y = round(at.y(limitMj));
    return `${bars.join("")}<line class="limit" x1="${round(at.x(0))}" x2="${round(at.x(sorted.length))}" y1="${y}" y2="${y}"/>`;
  });
  const states = ENERGY_STATES.map((state): [string, string] => [state, STATE_COLOURS[state]]);
  return drawing + legend([...states, [`${name}, ${short(limitMj)} mJ`, "#111"]]);
}

function bar(mote: MoteReport, left: number, right: number, y: (value: number) => number): string {
  const gap = right - left > 4 ? 1 : 0;
  let below = 0;
  const parts = ENERGY_STATES.map((state) => {
    const from = below;
    below += mote.energyMj[state];
    const height = y(from) - y(below);
    if (height < 0.05) return "";
    return `<rect x="${round(left)}" y="${round(y(below))}" width="${round(right - left - gap)}" height="${round(height)}" fill="${STATE_COLOURS[state]}"/>`;
  });
  const title = `mote ${mote.id}, ${mote.hops} hops, ${mote.outcome}: ${mote.energyMj.total.toFixed(1)} mJ`;
  return `<g><title>${escape(title)}</title>${parts.join("")}</g>`;
}

const LAYERS = [
  ["mac", "PHY and MAC", "#1b6ca8"],
  ["security", "link security", "#6a4c93"],
  ["sixlowpan", "6LoWPAN", "#edae49"],
  ["routing", "routing", "#7a7a7a"],
  ["coap", "CoAP and image", "#2e8b57"],
] as const;

/** Bytes on air by layer, a bar for each case. */
export function airByLayer(reports: readonly CaseReport[]): string {
  const shown = reports.slice(0, 16);
  const height = 26 * shown.length + 8;
  const most = Math.max(1, ...shown.map(({ air }) => air.bytes));
  const rows = shown.map((report, row) => {
    let x = 220;
    const parts = LAYERS.map(([layer, , colour]) => {
      const width = (report.air.byLayer[layer] / most) * (WIDTH - 300);
      const rect = `<rect x="${round(x)}" y="${row * 26 + 4}" width="${round(width)}" height="18" fill="${colour}"/>`;
      x += width;
      return rect;
    });
    const name = nameOf(report);
    const label = name.length > 34 ? `…${name.slice(-33)}` : name;
    return (
      `<text x="214" y="${row * 26 + 18}" text-anchor="end">${escape(label)}</text>${parts.join("")}` +
      `<text x="${round(x + 6)}" y="${row * 26 + 18}">${short(report.air.bytes)}B</text>`
    );
  });
  const drawing = `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="bytes on air by layer">${rows.join("")}</svg>`;
  return drawing + legend(LAYERS.map(([, name, colour]) => [name, colour]));
}

/** Where the motes are, the tree, and how much each of them sent. */
export function map({ map: { positions, roots, parents, airtimeS } }: CaseResult): string {
  if (positions.length < 2) return "<p>A single node has no map.</p>";
  const [xs, ys] = [positions.map(({ x }) => x), positions.map(({ y }) => y)];
  const span = Math.max(Math.max(...xs) - Math.min(...xs), Math.max(...ys) - Math.min(...ys), 1);
  const scale = Math.min((WIDTH - 40) / span, (HEIGHT * 1.8) / span);
  const place = (id: number): [number, number] => [
    20 + (positions[id]!.x - Math.min(...xs)) * scale,
    20 + (positions[id]!.y - Math.min(...ys)) * scale,
  ];
  const height = 40 + (Math.max(...ys) - Math.min(...ys)) * scale;
  const most = Math.max(...airtimeS, 1e-9);
  const links = parents.map((parent, id) => {
    if (parent < 0) return "";
    const [[x1, y1], [x2, y2]] = [place(id), place(parent)];
    const width = 0.8 + 5 * ((airtimeS[id] ?? 0) / most);
    return `<line class="link" x1="${round(x1)}" y1="${round(y1)}" x2="${round(x2)}" y2="${round(y2)}" stroke-width="${round(width)}"/>`;
  });
  const dots = positions.map((_, id) => {
    const [x, y] = place(id);
    const root = roots.includes(id);
    const load = (airtimeS[id] ?? 0) / most;
    const fill = root ? "#111" : `hsl(${Math.round(210 - 210 * load)} 65% 45%)`;
    const title = `${root ? "border router" : "mote"} ${id}: ${(airtimeS[id] ?? 0).toFixed(2)} s on air`;
    return `<circle cx="${round(x)}" cy="${round(y)}" r="${root ? 7 : 4.5}" fill="${fill}"><title>${title}</title></circle>`;
  });
  const drawing = `<svg viewBox="0 0 ${WIDTH} ${round(height)}" role="img" aria-label="map with links and load">${links.join("")}${dots.join("")}</svg>`;
  return (
    drawing +
    legend([
      ["border router", "#111"],
      ["sends little", "hsl(210 65% 45%)"],
      ["sends most", "hsl(0 65% 45%)"],
    ])
  );
}
