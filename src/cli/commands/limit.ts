import { newBytesOf } from "../../../simulator/scenarios/case.ts";
import type { Command } from "commander";
import { limitsOf } from "../../../simulator/report/bounds.ts";
import { labelOf } from "../../../simulator/report/summary.ts";
import { collect, loadSimulation, orBadScenario, type LoadOptions } from "../simulation/load.ts";
import { formatTable } from "../table.ts";

export function addLimit(program: Command): void {
  program
    .command("limit <scenario>")
    .description("print the physical limit of a scenario: the least time, energy and air that any protocol needs")
    .option("--profile <name>", "chip profile instead of the scenario's")
    .option("--set <key=value>", "change a key of the scenario; a list is swept; may be repeated", collect, [])
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      "\np is the mean error rate of the longest frame (133 bytes on air) on the links that are used; the tree of\n" +
        "least expected transmissions is that of seed 1. Nothing is simulated.\n\nExample:\n  blockferry limit s1-desk\n  blockferry limit s4-grid-100 --json",
    )
    .action((file: string, options: LoadOptions & { json?: boolean }) => limit(file, options));
}

function limit(file: string, options: LoadOptions & { json?: boolean }): void {
  const { scenario, profiles, files } = loadSimulation(file, options);
  const cases = orBadScenario(file, () =>
    scenario.cases.map(({ run, swept }) => ({ run, swept, ...limitsOf(run, profiles[run.profile]!, files) })),
  );
  if (options.json === true) {
    // Cases that differ in what the limit does not depend on are told once.
    const rows = new Map(
      cases.map(({ run, oneHop, bounds }) => {
        const row = {
          per: bounds.meanPer,
          imageBytes: run.imageBytes,
          newBytes: newBytesOf(run),
          profile: run.profile,
          ...oneHop,
          ...bounds,
        };
        return [JSON.stringify(row), row];
      }),
    );
    console.log(JSON.stringify({ scenario: scenario.name, limits: [...rows.values()] }));
    return;
  }
  const shown = new Set<string>();
  for (const { run, swept, bounds } of cases) {
    const table = formatTable(
      ["bound", "time s", "mJ for a mote", "air s"],
      bounds.bounds.map((one) => [one.name, fixed(one.timeS), fixed(one.energyMj), fixed(one.airS)]),
    );
    if (shown.has(table)) continue;
    if (shown.size === 0) for (const { name, formula } of bounds.bounds) console.log(`${name}: ${formula}`);
    shown.add(table);
    const patched = run.changedBytes === undefined ? "" : `, ${run.changedBytes} of them new`;
    const facts = `${run.imageBytes} bytes${patched}, p = ${bounds.meanPer.toFixed(3)}, ${bounds.maxHops} hops at most, ${profiles[run.profile]!.name}`;
    const label = labelOf(swept);
    console.log(`\n${scenario.name}${label === "" ? "" : ` ${label}`}: ${facts}\n${table}`);
  }
}

const fixed = (value: number | undefined): string => (value === undefined ? "" : value.toFixed(2));
