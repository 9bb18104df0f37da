import type { Command } from "commander";
import { meanPer, oneHopLimit } from "../../../simulator/report/limit.ts";
import { expand } from "../../../simulator/scenarios/scenario.ts";
import { readProfile, readScenario } from "../scenario-files.ts";
import { formatTable } from "../table.ts";

export function addLimit(program: Command): void {
  program
    .command("limit <scenario>")
    .description("print the physical limit of a scenario: the least time and energy that any protocol needs")
    .option("--profile <name>", "chip profile instead of the scenario's")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  blockferry limit simulator/scenarios/s1-desk.yaml")
    .action((file: string, options: { profile?: string; json?: boolean }) => {
      const scenario = readScenario(file);
      const profile = readProfile(options.profile ?? scenario.profile);
      const seen = new Map<string, { per: number; imageBytes: number }>();
      for (const { link, imageBytes } of expand(scenario))
        seen.set(`${meanPer(link)}/${imageBytes}`, { per: meanPer(link), imageBytes });
      const rows = [...seen.values()].map((point) =>
        Object.assign(oneHopLimit(profile, point.per, point.imageBytes), point),
      );
      if (options.json === true) {
        console.log(JSON.stringify({ scenario: scenario.name, profile: profile.name, limits: rows }));
        return;
      }
      console.log(
        `${scenario.name}, ${profile.name}\n${rows[0]?.formula ?? ""}\np is the error rate of the longest frame (133 bytes on air).\n`,
      );
      const table = rows.map((row) => [
        row.per,
        row.imageBytes,
        row.timeUsPerByte.toFixed(2),
        row.timeS.toFixed(2),
        row.energyUjPerByte.toFixed(3),
        row.energyMj.toFixed(1),
      ]);
      console.log(formatTable(["p", "image B", "us/B", "s", "uJ/B", "mJ"], table));
    });
}
