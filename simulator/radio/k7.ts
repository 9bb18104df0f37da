import { z } from "zod";

/** One row of a k7 trace: what `dst` heard of a burst of `src` on a channel. */
export interface K7Sample {
  /** Seconds from the start of the trace. */
  readonly atS: number;
  readonly src: string;
  readonly dst: string;
  readonly channel: number;
  readonly meanRssi: number;
  /** Share of the burst's frames that arrived, 0 to 1. */
  readonly pdr: number;
}

export interface K7Trace {
  /** Nodes in the order in which they first appear. */
  readonly nodes: readonly string[];
  readonly channels: readonly number[];
  /** Bytes of a probe frame's PSDU. */
  readonly txLength: number;
  readonly durationS: number;
  readonly samples: readonly K7Sample[];
}

const Header = z.looseObject({ tx_length: z.number().min(1).max(127).default(100) });
const COLUMNS = ["datetime", "src", "dst", "channel", "mean_rssi", "pdr", "tx_count"] as const;
/** The largest trace that is read; Grenoble's has 108,659 rows. */
const MAX_ROWS = 2_000_000;

/**
 * Reads a k7 trace: a line of JSON, a line of column names, then CSV. Throws a RangeError that names the line.
 * `mean_rssi` may be a list in quotes, as some traces have one value per channel.
 */
export function parseK7(text: string): K7Trace {
  const lines = text.split(/\r?\n/);
  const header = readHeader(lines[0] ?? "");
  const columns = columnsOf(lines[1] ?? "");
  const samples: K7Sample[] = [];
  const [nodes, channels] = [new Set<string>(), new Set<number>()];
  let startS: number | undefined;
  for (let i = 2; i < lines.length; i++) {
    if (lines[i]!.trim() === "") continue;
    if (samples.length >= MAX_ROWS) throw new RangeError(`k7: more than ${MAX_ROWS} rows`);
    const row = readRow(lines[i]!, columns, i + 1);
    startS ??= row.atS;
    if (row.src === row.dst) throw new RangeError(`k7 line ${i + 1}: src and dst are both ${row.src}`);
    nodes.add(row.src).add(row.dst);
    channels.add(row.channel);
    samples.push({ ...row, atS: row.atS - startS });
  }
  if (samples.length === 0) throw new RangeError("k7: no rows");
  samples.sort((a, b) => a.atS - b.atS);
  const durationS = samples.at(-1)!.atS;
  return {
    nodes: [...nodes],
    channels: [...channels].toSorted((a, b) => a - b),
    txLength: header.tx_length,
    durationS,
    samples,
  };
}

function readHeader(line: string): z.infer<typeof Header> {
  try {
    return Header.parse(JSON.parse(line));
  } catch (error) {
    throw new RangeError(`k7 line 1: a JSON header is needed: ${(error as Error).message}`, { cause: error });
  }
}

function columnsOf(line: string): Map<string, number> {
  const columns = new Map(cells(line).map((name, i) => [name, i]));
  for (const name of COLUMNS.slice(0, 6)) if (!columns.has(name)) throw new RangeError(`k7 line 2: no column ${name}`);
  return columns;
}

function readRow(line: string, columns: ReadonlyMap<string, number>, number: number): K7Sample {
  const row = cells(line);
  const cell = (name: (typeof COLUMNS)[number]): string => row[columns.get(name)!] ?? "";
  const atS = secondsOf(cell("datetime"));
  const [channel, pdr] = [Number(cell("channel")), Number(cell("pdr"))];
  const meanRssi = Number(cell("mean_rssi").replace(/[[\]]/g, "").split(/[;,]/)[0]);
  const sound =
    atS !== undefined &&
    Number.isInteger(channel) &&
    pdr >= 0 &&
    pdr <= 1 &&
    Number.isFinite(meanRssi) &&
    cell("src") !== "" &&
    cell("dst") !== "";
  if (!sound) throw new RangeError(`k7 line ${number}: not datetime, src, dst, channel, mean_rssi, pdr in 0..1`);
  return { atS, src: cell("src"), dst: cell("dst"), channel, meanRssi, pdr };
}

/** Seconds since 1970 of `2018-01-11 16:32:07.123`, in days of the Gregorian calendar; undefined when it is no such time. */
function secondsOf(text: string): number | undefined {
  const match = /^(\d{4})-(\d\d)-(\d\d)[ T](\d\d):(\d\d):(\d\d(?:\.\d+)?)$/.exec(text);
  if (match === null) return undefined;
  const [year, month, day, hour, minute, second] = match.slice(1).map(Number) as [
    number,
    number,
    number,
    number,
    number,
    number,
  ];
  // Years begin in March, so that a leap day is the last one.
  const [y, m] = month < 3 ? [year - 1, month + 9] : [year, month - 3];
  const days = 365 * y + Math.floor(y / 4) - Math.floor(y / 100) + Math.floor(y / 400) + Math.floor((153 * m + 2) / 5);
  return (days + day - 1 - 719_468) * 86_400 + hour * 3_600 + minute * 60 + second;
}

/** Cells of a CSV line; quotes keep commas together. */
function cells(line: string): string[] {
  return [...line.matchAll(/(?:^|,)(?:"([^"]*)"|([^,]*))/g)].map(([, quoted, plain]) => (quoted ?? plain ?? "").trim());
}
