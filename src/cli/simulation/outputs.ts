import { closeSync, openSync, readFileSync, writeFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { reportPage } from "../../../simulator/report/html/page.ts";
import { nodesCsv } from "../../../simulator/report/nodes-csv.ts";
import { PcapWriter } from "../../../simulator/report/pcap.ts";
import type { Comparison, Summary } from "../../../simulator/report/summary.ts";
import type { Quirks } from "../../lwm2m/quirks.ts";
import { environmentError, usageError, whyUnreadable } from "../errors.ts";
import { makeFolder } from "../files.ts";
import { runJob } from "./job.ts";
import type { Simulation } from "./load.ts";
import type { Results } from "./pool.ts";

/** Whether results can be written is found out before they are there. */
export function checkOutputs(folder: string | undefined, capture: string | undefined): void {
  if (folder !== undefined) makeFolder(folder);
  if (capture !== undefined) onDisk(capture, () => closeSync(openSync(capture, "a")));
}

/** Writes summary.json, nodes.csv and report.html. */
export function writeOutputs(
  folder: string,
  summary: Summary,
  results: Results["results"],
  comparisons: readonly Comparison[] | undefined,
): void {
  onDisk(folder, () => {
    writeFileSync(join(folder, "summary.json"), `${JSON.stringify(summary, undefined, 2)}\n`);
    writeFileSync(join(folder, "nodes.csv"), nodesCsv(summary, results));
    writeFileSync(join(folder, "report.html"), reportPage(summary, results, comparisons));
  });
}

/** Runs the first case once more and writes each frame as it goes on air: nothing is kept in memory. */
export function writePcap(file: string, simulation: Simulation, quirks: readonly Quirks[], seed: number): void {
  onDisk(file, () => {
    const to = openSync(file, "w");
    const writer = new PcapWriter((bytes) => writeSync(to, bytes));
    try {
      runJob(simulation, quirks, { index: 0, seed }, { onFrame: (nowUs, frame) => writer.frame(nowUs, frame) });
      writer.end();
    } finally {
      closeSync(to);
    }
  });
}

/** Reads an earlier summary.json. */
export function readSummary(file: string): Summary {
  let value: Summary;
  try {
    value = JSON.parse(readFileSync(file, "utf8")) as Summary;
  } catch (error) {
    throw usageError("file-unreadable", `${file}: ${whyUnreadable(error)}`);
  }
  if (value.schema !== "blockferry.simulation" || value.version !== 1 || !Array.isArray(value.cases))
    throw usageError("bad-summary", `${file} is no summary.json of version 1; write one with simulate --out <folder>`);
  return value;
}

function onDisk(path: string, write: () => void): void {
  try {
    write();
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw environmentError("not-written", `${path}: ${message}`);
  }
}
