import type { Command } from "commander";
import type { ProbeReport } from "../../lwm2m/probe.ts";
import { callGateway } from "../control-client.ts";
import { formatTable } from "../table.ts";

export function addProbe(program: Command): void {
  program
    .command("probe")
    .description("find out what an LwM2M client can do, without changing its firmware")
    .argument("<endpoint>", "its endpoint name")
    .option("--state <folder>", "state folder of the gateway", ".blockferry")
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      `
It is read, observed for a moment, and where its State is Idle an empty Package URI is written to it,
which every client should take. A client in Queue Mode is asked when it is awake next.

Example:
  blockferry probe mote-7 --state gw`,
    )
    .action(async (endpoint: string, options: { state: string; json?: boolean }) => {
      const url = `/v1/devices/${encodeURIComponent(endpoint)}/probe`;
      const report = (await callGateway(options.state, "POST", url, {})) as ProbeReport;
      if (options.json === true) console.log(JSON.stringify(report));
      else show(report);
    });
}

function show({
  endpoint,
  version,
  queueMode,
  objects,
  steps,
  device,
  firmware,
  profile,
  scores,
  verdict,
}: ProbeReport): void {
  console.log(`${endpoint}: LwM2M ${version}${queueMode ? ", Queue Mode" : ""}`);
  console.log(`  objects   ${objects.join(", ")}`);
  for (const [name, value] of Object.entries(device)) console.log(`  ${name.padEnd(9)} ${value}`);
  for (const [name, value] of Object.entries(firmware)) console.log(`  ${name.padEnd(9)} ${String(value)}`);
  const rows = steps.map(({ tried, answer, works }) => [works ? "yes" : "no", tried, answer.slice(0, 90)]);
  console.log(`\n${formatTable(["works", "tried", "answer"], rows)}\n`);
  const fits = Object.entries(scores).filter(([, score]) => score > 0);
  const why =
    fits.length === 0
      ? "no profile fits better than the standard"
      : fits.map(([name, score]) => `${name} ${score}`).join(", ");
  console.log(`profile: ${profile} (${why})`);
  console.log(verdict.startsWith("it has no") ? verdict : `an update would begin by ${verdict}`);
}
