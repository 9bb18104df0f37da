import type { Command } from "commander";
import type { CensusRow } from "../../lifecycle/census.ts";
import { callGateway } from "../control-client.ts";
import { usageError, UserError } from "../errors.ts";
import { gatewayOptions } from "../gateway-options.ts";
import {
  classIdOf,
  lifecycleOf,
  operatorOptions,
  submit,
  supportText,
  tell,
  type OperatorOptions,
} from "../operator.ts";
import { formatTable } from "../table.ts";

/** Commands on the devices of a running gateway, whoever signs for them. */
export function addLifecycle(program: Command): void {
  addDeviceStates(program);
  addReports(program);
}

function addDeviceStates(program: Command): void {
  operatorOptions(program.command("adopt <endpoint>"))
    .description("make a LwM2M client that no factory made a device of a class, so that it can be held and retired")
    .requiredOption("--class <name|uuid>", "its class here: it is given that one's images only")
    .addHelpText("after", "\nExample:\n  blockferry adopt meter-17 --class sensor-a --state gw")
    .action(async (endpoint: string, options: OperatorOptions & { class: string }) => {
      const { state, actor } = options;
      const body = { actor, endpoint, classId: await classIdOf(state, options.class) };
      const result = await callGateway(state, "POST", "/v1/lifecycle/clients", body);
      tell(result, options, `${endpoint} is a device of ${options.class}`);
    });
  operatorOptions(program.command("quarantine <device>"))
    .description("give a device nothing but the current image or the recovery image; by its name, or its endpoint")
    .option("--reason <text>", "why, for the audit log; needed, unless it ends")
    .option("--lift", "end its quarantine")
    .addHelpText("after", "\nExample:\n  blockferry quarantine 0a1b2c3d4e5f6071 --reason 'odd traffic' --state gw")
    .action(async (given: string, options: OperatorOptions & { reason?: string; lift?: boolean }) => {
      const { reason, lift } = options;
      const device = await deviceOf(options.state, given);
      if (lift === true) {
        await submit(options, { kind: "device-released", device }, `${device} is free again`);
        return;
      }
      if (reason === undefined) throw usageError("option-missing", "--reason is needed: the audit log says why");
      await submit(options, { kind: "device-quarantined", device, reason }, `${device} is in quarantine`);
    });
  operatorOptions(program.command("decommission <device>"))
    .description(
      "end a device's life: its credentials are erased here, and by a factory reset there if it is registered",
    )
    .option("--endpoint <name>", "LwM2M endpoint name, to reset it first (Device object, Factory Reset)")
    .addHelpText("after", "\nExample:\n  blockferry decommission 0a1b2c3d4e5f6071 --endpoint sensor-17 --state gw")
    .action(async (given: string, options: OperatorOptions & { endpoint?: string }) => {
      const { endpoint, actor } = options;
      const device = await deviceOf(options.state, given);
      if (endpoint !== undefined) {
        const path = `/v1/devices/${encodeURIComponent(endpoint)}/operations`;
        await callGateway(options.state, "POST", path, { operation: "execute", path: "/3/0/5" });
      }
      const path = `/v1/lifecycle/devices/${device}?actor=${encodeURIComponent(actor)}`;
      const result = await callGateway(options.state, "DELETE", path);
      tell(result, options, `${device} is decommissioned`);
    });
}

/** A client by the name that it registers by, or a device by the 16 digits that a factory gave it. */
async function deviceOf(state: string, given: string): Promise<string> {
  try {
    const path = `/v1/lifecycle/clients/${encodeURIComponent(given)}`;
    return ((await callGateway(state, "GET", path)) as { device: string }).device;
  } catch (error) {
    const isUnknown = error instanceof UserError && error.reason === "no-such-device";
    if (isUnknown && /^[0-9a-f]{16}$/.test(given)) return given;
    throw error;
  }
}

function addReports(program: Command): void {
  gatewayOptions(program.command("orphan"))
    .description("list devices for which no living authority can sign software")
    .addHelpText("after", "\nExample:\n  blockferry orphan --state gw")
    .action(async ({ state, json }: { state: string; json?: boolean }) => {
      const { orphans, warnings } = await lifecycleOf(state);
      if (json === true) {
        console.log(JSON.stringify({ orphans, warnings }));
        return;
      }
      if (orphans.length === 0) console.log("every device has an authority that is left");
      else
        console.log(
          formatTable(
            ["device", "class", "name"],
            orphans.map((one) => [one.device, one.classId, one.className]),
          ),
        );
      for (const warning of warnings) console.log(`warning: ${supportText(warning)}`);
    });
  gatewayOptions(program.command("census"))
    .description("count which versions run where, and who was not heard of; without any device's name")
    .option("--days <n>", "not heard of for so many days", "30")
    .addHelpText("after", "\nExample:\n  blockferry census --days 90 --state gw")
    .action(async (options: { state: string; json?: boolean; days: string }) => {
      const days = Number(options.days);
      if (!Number.isFinite(days) || days < 0) throw usageError("bad-days", "--days is 0 or more");
      const rows = (await callGateway(options.state, "GET", `/v1/census?days=${days}`)) as CensusRow[];
      if (options.json === true) {
        console.log(JSON.stringify({ days, rows }));
        return;
      }
      const { classes } = await lifecycleOf(options.state);
      const nameOf = (id: string): string => classes.find((one) => one.id === id)?.name ?? id;
      const head = ["class", "version", "devices", `not seen for ${options.days} days`];
      const cells = rows.map((row) => [nameOf(row.classId), row.version, row.devices, row.notSeen]);
      console.log(formatTable(head, cells));
    });
}
