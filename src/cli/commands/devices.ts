import type { Command } from "commander";
import type { DeviceView } from "../../http/devices.ts";
import { callGateway } from "../control-client.ts";
import { formatTable } from "../table.ts";

export function addDevices(program: Command): void {
  program
    .command("devices")
    .description("list the LwM2M clients that are registered with a running gateway")
    .option("--state <folder>", "state folder of the gateway", ".blockferry")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  blockferry devices --state gw")
    .action(async (options: { state: string; json?: boolean }) => {
      const devices = (await callGateway(options.state, "GET", "/v1/devices")) as DeviceView[];
      if (options.json === true) {
        console.log(JSON.stringify({ devices }));
        return;
      }
      if (devices.length === 0) {
        console.log("no device has registered yet: a client registers at coap://<gateway>/rd");
        return;
      }
      const rows = devices.map(({ endpoint, peer, version, lifetimeS, binding, queueMode, objects }) => [
        endpoint,
        peer,
        version,
        `${lifetimeS} s`,
        queueMode ? `${binding}, asleep between` : binding,
        objects.map(({ path }) => path).join(" "),
      ]);
      console.log(formatTable(["endpoint", "address", "LwM2M", "lifetime", "binding", "objects"], rows));
    });
}
