import type { Edge } from "./links.ts";

/** Reads a file of directed links: lines of `from,to,per`, a heading or `#` comments allowed. Throws a RangeError that names the line. */
export function parseEdges(text: string): Edge[] {
  const edges: Edge[] = [];
  for (const [i, line] of text.split(/\r?\n/).entries()) {
    if (line.trim() === "" || line.startsWith("#") || (i === 0 && /^from\b/.test(line))) continue;
    const [from, to, per, ...more] = line.split(",").map((cell) => (cell.trim() === "" ? Number.NaN : Number(cell)));
    const sound = isNode(from) && isNode(to) && from !== to && per !== undefined && per >= 0 && per <= 1;
    if (!sound || more.length > 0)
      throw new RangeError(`edges line ${i + 1}: not from,to,per with per in 0..1: ${line}`);
    edges.push({ from, to, per });
  }
  if (edges.length === 0) throw new RangeError("edges: no link");
  return edges;
}

function isNode(value: number | undefined): value is number {
  return value !== undefined && Number.isInteger(value) && value >= 0 && value < 0xffff;
}
