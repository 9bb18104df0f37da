/** Escapes text for HTML and SVG. */
export function escape(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}

export interface Axis {
  readonly min: number;
  readonly max: number;
  readonly label: string;
  readonly ticks: readonly number[];
}

/** A linear axis from 0 that ends at a round number. */
export function axisTo(max: number, label: string): Axis {
  const top = max > 0 ? max : 1;
  const rough = top / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((size) => size >= rough)!;
  const count = Math.ceil(top / step);
  return { min: 0, max: count * step, label, ticks: Array.from({ length: count + 1 }, (_, i) => i * step) };
}

export const WIDTH = 640;
export const HEIGHT = 260;
const LEFT = 56;
const BOTTOM = 40;
const TOP = 12;
const RIGHT = 16;

export interface Frame {
  readonly x: (value: number) => number;
  readonly y: (value: number) => number;
}

/** A drawing with axes; `draw` is given the way from values to places. */
export function chart(xAxis: Axis, yAxis: Axis, title: string, draw: (frame: Frame) => string): string {
  const x = (value: number): number => LEFT + ((value - xAxis.min) / (xAxis.max - xAxis.min)) * (WIDTH - LEFT - RIGHT);
  const y = (value: number): number =>
    HEIGHT - BOTTOM - ((value - yAxis.min) / (yAxis.max - yAxis.min)) * (HEIGHT - BOTTOM - TOP);
  const xTicks = xAxis.ticks.map(
    (tick) => `<text x="${round(x(tick))}" y="${HEIGHT - BOTTOM + 16}" text-anchor="middle">${short(tick)}</text>`,
  );
  const yTicks = yAxis.ticks.map(
    (tick) =>
      `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${round(y(tick))}" y2="${round(y(tick))}"/>` +
      `<text x="${LEFT - 6}" y="${round(y(tick) + 4)}" text-anchor="end">${short(tick)}</text>`,
  );
  return (
    `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${escape(title)}">${yTicks.join("")}${xTicks.join("")}` +
    `<text x="${(LEFT + WIDTH - RIGHT) / 2}" y="${HEIGHT - 6}" text-anchor="middle">${escape(xAxis.label)}</text>` +
    `<text transform="translate(12 ${(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">${escape(yAxis.label)}</text>` +
    `${draw({ x, y })}</svg>`
  );
}

export const round = (value: number): number => Math.round(value * 10) / 10;

/** A number with as many digits as one reads. */
export function short(value: number): string {
  if (value === 0) return "0";
  const size = Math.abs(value);
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(3))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(3))}k`;
  return String(Number(value.toPrecision(3)));
}

/** Colours that can be told apart, in print too by their order. */
export const COLOURS: readonly string[] = [
  "#1b6ca8",
  "#d1495b",
  "#2e8b57",
  "#edae49",
  "#6a4c93",
  "#00798c",
  "#a23b72",
  "#7a7a7a",
];
