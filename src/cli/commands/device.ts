import type { Command } from "commander";
import type { DeviceView } from "../../http/devices.ts";
import { callGateway } from "../control-client.ts";
import { ExitCode, UserError } from "../errors.ts";
import { formatTable } from "../table.ts";

interface Answer {
  readonly code: string;
  readonly readings: readonly { readonly path: string; readonly value: string | number | boolean }[];
  readonly links: readonly { readonly target: string; readonly attributes: Record<string, string | true> }[];
}

export function addDevice(program: Command): void {
  program
    .command("device")
    .description("show one LwM2M client, or ask something of it")
    .argument("<endpoint>", "its endpoint name")
    .argument("[operation]", "read, discover, write, execute or delete")
    .argument("[path]", "object, instance, resource: /3/0/3")
    .argument("[value]", "what is written, or the argument of an execute")
    .option("--state <folder>", "state folder of the gateway", ".blockferry")
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      `
A client in Queue Mode is asked when it is awake next: the command waits for that.

Example:
  blockferry device mote-7 read /3/0
  blockferry device mote-7 write /1/0/1 300
  blockferry device mote-7 execute /1/0/8`,
    )
    .action(
      async (
        endpoint: string,
        operation: string | undefined,
        path: string | undefined,
        value: string | undefined,
        options: { state: string; json?: boolean },
      ) => {
        const json = options.json === true;
        if (operation === undefined) return show(await find(options.state, endpoint), json);
        const body = { operation, path: path ?? "", ...(value === undefined ? {} : { value }) };
        const url = `/v1/devices/${encodeURIComponent(endpoint)}/operations`;
        const answer = (await callGateway(options.state, "POST", url, body)) as Answer;
        if (json) console.log(JSON.stringify({ endpoint, ...body, ...answer }));
        else if (answer.readings.length > 0)
          console.log(
            formatTable(
              ["path", "value"],
              answer.readings.map(({ path: of, value: is }) => [of, String(is)]),
            ),
          );
        else if (answer.links.length > 0)
          for (const { target, attributes } of answer.links)
            console.log(
              target,
              Object.entries(attributes)
                .map(([name, is]) => (is === true ? name : `${name}=${is}`))
                .join(" "),
            );
        else console.log(`${endpoint} answers ${answer.code}`);
      },
    );
}

async function find(state: string, endpoint: string): Promise<DeviceView> {
  const devices = (await callGateway(state, "GET", "/v1/devices")) as DeviceView[];
  const device = devices.find((one) => one.endpoint === endpoint);
  if (device !== undefined) return device;
  throw new UserError(
    ExitCode.REFUSED,
    "no-such-device",
    `no client is registered as ${endpoint}: see blockferry devices`,
  );
}

function show(device: DeviceView, json: boolean): void {
  if (json) {
    console.log(JSON.stringify(device));
    return;
  }
  for (const [name, value] of Object.entries(device)) {
    const text = name === "objects" ? device.objects.map(({ path }) => path).join(" ") : JSON.stringify(value);
    console.log(`${name.padEnd(10)} ${text}`);
  }
}
