import type { Command } from "commander";
import type { FleetDevice } from "../../rollout/fleet.ts";
import { callGateway, readPages } from "../control-client.ts";
import { gatewayOptions } from "../gateway-options.ts";
import { formatTable } from "../table.ts";

interface Options {
  state: string;
  json?: boolean;
}

/** Devices as rollouts see them. */
export function addFleet(program: Command): void {
  const group = program
    .command("fleet")
    .description("what is known of devices, registered or not, and what rollouts can ask for");
  gatewayOptions(group.command("list"))
    .description("devices that match a filter")
    .option("--filter <rsql>", "such as 'class==sensor-a;version=lt=2.0;tag=in=(lab,roof)'", "")
    .action(async (options: Options & { filter: string }) => {
      const url = `/v1/fleet?filter=${encodeURIComponent(options.filter)}`;
      const devices = await readPages<FleetDevice>(options.state, url);
      if (options.json === true) return console.log(JSON.stringify({ devices }));
      if (devices.length === 0) return console.log("no device matches");
      const rows = devices.map((one) => [
        one.endpoint,
        one.class ?? "",
        one.version ?? "",
        one.tags.join(" "),
        one.battery === undefined ? "" : one.battery === null ? "none" : `${one.battery} %`,
        one.loss === undefined ? "" : `${(one.loss * 100).toFixed(1)} %`,
        one.registered ? "registered" : "away",
      ]);
      return console.log(formatTable(["device", "class", "version", "tags", "battery", "resent", "state"], rows));
    });
  gatewayOptions(group.command("refresh"))
    .description("ask devices for version and battery, each when it is awake next; costs each of them one answer")
    .option("--filter <rsql>", "which of them; all when absent", "")
    .action(async (options: Options & { filter: string }) => {
      const { asked } = (await callGateway(options.state, "POST", "/v1/fleet/refresh", { filter: options.filter })) as {
        asked: number;
      };
      console.log(options.json === true ? JSON.stringify({ asked }) : `${asked} devices are asked`);
    });
  gatewayOptions(group.command("describe <endpoint>"))
    .description("say what a device is; what is not given stays")
    .option("--tag <name...>", "its tags, in place of those before")
    .option("--class <name>", "its class, where the factory has not said so")
    .option("--hops <number>", "hops to it, for predictions")
    .action(async (endpoint: string, options: Options & { tag?: string[]; class?: string; hops?: string }) => {
      const { tag: tags, class: named, hops } = options;
      const body = {
        ...(tags === undefined ? {} : { tags }),
        ...(named === undefined ? {} : { class: named }),
        ...(hops === undefined ? {} : { hops: Number(hops) }),
      };
      const url = `/v1/fleet/${encodeURIComponent(endpoint)}`;
      const device = (await callGateway(options.state, "PATCH", url, body)) as FleetDevice;
      console.log(options.json === true ? JSON.stringify(device) : `${endpoint}: ${device.tags.join(" ")}`);
    });
  gatewayOptions(group.command("forget <endpoint>"))
    .description("forget a device that is not registered, and was named amiss or is gone for good")
    .addHelpText("after", "\nExample:\n  blockferry fleet forget sensor-7-old --state gw")
    .action(async (endpoint: string, options: Options) => {
      await callGateway(options.state, "DELETE", `/v1/fleet/${encodeURIComponent(endpoint)}`);
      console.log(options.json === true ? JSON.stringify({ forgotten: endpoint }) : `${endpoint} is forgotten`);
    });
}
