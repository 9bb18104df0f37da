import type { Command } from "commander";
import type { UpdateView } from "../../http/updates.ts";
import { callGateway } from "../control-client.ts";
import { formatTable } from "../table.ts";

export function addUpdates(program: Command): void {
  program
    .command("updates")
    .description("list the updates of LwM2M clients: under way, and how the last one of each went")
    .option("--state <folder>", "state folder of the gateway", ".blockferry")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  blockferry updates --state gw")
    .action(async (options: { state: string; json?: boolean }) => {
      const updates = (await callGateway(options.state, "GET", "/v1/updates")) as UpdateView[];
      if (options.json === true) return console.log(JSON.stringify({ updates }));
      if (updates.length === 0) return console.log("nothing has been updated yet: see blockferry update --help");
      const rows = updates.map(({ endpoint, state, method, components, bytes, size, reason, detail }) => [
        endpoint,
        state,
        method ?? "",
        components.map(({ version }) => version).join(" "),
        `${Math.floor((100 * Math.min(bytes, size)) / size)} %`,
        [reason, detail].filter(Boolean).join(": "),
      ]);
      console.log(formatTable(["endpoint", "state", "by", "version", "bytes", "reason"], rows));
    });
}
