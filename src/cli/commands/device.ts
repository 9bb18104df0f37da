import type { Command } from "commander";
import type { DeviceView } from "../../http/devices.ts";
import { OPERATION_KINDS } from "../../lwm2m/operation-spec.ts";
import type { TimelineEntry } from "../../lwm2m/timeline.ts";
import { callGateway } from "../control-client.ts";
import { ExitCode, UserError } from "../errors.ts";
import { formatTable } from "../table.ts";

interface Answer {
  readonly code: string;
  readonly readings: readonly { readonly path: string; readonly value: string | number | boolean }[];
  readonly links: readonly { readonly target: string; readonly attributes: Record<string, string | true> }[];
}

interface DeviceOptions {
  state: string;
  json?: boolean;
  timeline?: boolean;
  waiting?: boolean;
  wait: boolean;
  priority?: string;
  deadline?: string;
  withdraw?: string;
}

export function addDevice(program: Command): void {
  program
    .command("device")
    .description("show one LwM2M client, what happened to it, or ask something of it")
    .argument("<endpoint>", "its endpoint name")
    .argument("[operation]", OPERATION_KINDS.join(", "))
    .argument("[path]", "object, instance, resource: /3/0/3; several with commas for composites and observations")
    .argument("[value]", "what is written, or the argument of an execute")
    .option("--timeline", "print what happened to it: registrations, operations, blocks, states, versions")
    .option("--waiting", "print the operations that wait for it")
    .option("--no-wait", "return once the operation is on the gateway's disk; its outcome goes into the timeline")
    .option("--priority <0-9>", "of the operation: lower goes first (5)")
    .option("--deadline <seconds>", "give the operation up when it has not begun by then")
    .option("--withdraw <number>", "take an operation back that waits")
    .option("--state <folder>", "state folder of the gateway", ".blockferry")
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      `
A client in Queue Mode is asked when it is awake next: the command waits for that, and the operation
outlives a restart of the gateway. Values of an instance or of a composite are id=value, with commas.

Example:
  blockferry device mote-7 --timeline
  blockferry device mote-7 read /3/0
  blockferry device mote-7 write /1/0/1 300
  blockferry device mote-7 write-attributes /3/0/9 'pmin=10&pmax=300'
  blockferry device mote-7 execute /1/0/8 --no-wait --deadline 3600
  blockferry device mote-7 read-composite /3/0/3,/5/0/3`,
    )
    .action(
      async (
        endpoint: string,
        operation: string | undefined,
        path: string | undefined,
        value: string | undefined,
        options: DeviceOptions,
      ) => {
        const base = `/v1/devices/${encodeURIComponent(endpoint)}`;
        const json = options.json === true;
        if (options.timeline === true) return showTimeline(options.state, base, endpoint, json);
        if (options.waiting === true) return showWaiting(options.state, base, endpoint, json);
        if (options.withdraw !== undefined) {
          await callGateway(options.state, "DELETE", `${base}/operations/${encodeURIComponent(options.withdraw)}`);
          console.log(
            json ? JSON.stringify({ id: Number(options.withdraw) }) : `operation ${options.withdraw} is withdrawn`,
          );
        } else if (operation === undefined) show(await find(options.state, endpoint), json);
        else
          await operate(options, base, endpoint, {
            operation,
            path: path ?? "",
            ...(value === undefined ? {} : { value }),
          });
      },
    );
}

async function operate(
  options: DeviceOptions,
  base: string,
  endpoint: string,
  spec: { operation: string; path: string; value?: string },
): Promise<void> {
  const priority = options.priority === undefined ? {} : { priority: Number(options.priority) };
  const deadline = options.deadline === undefined ? {} : { deadlineS: Number(options.deadline) };
  const body = { ...spec, ...priority, ...deadline, wait: options.wait };
  const answer = (await callGateway(options.state, "POST", `${base}/operations`, body)) as Partial<Answer> & {
    id: number;
  };
  if (options.json === true) return console.log(JSON.stringify({ endpoint, ...spec, ...answer }));
  if (!options.wait) return console.log(`operation ${answer.id} waits for ${endpoint}`);
  const { readings = [], links = [], code } = answer;
  if (readings.length > 0)
    console.log(
      formatTable(
        ["path", "value"],
        readings.map(({ path: of, value: is }) => [of, String(is)]),
      ),
    );
  else if (links.length > 0)
    for (const { target, attributes } of links)
      console.log(
        target,
        Object.entries(attributes)
          .map(([name, is]) => (is === true ? name : `${name}=${is}`))
          .join(" "),
      );
  else console.log(`${endpoint} answers ${code}`);
}

async function showTimeline(state: string, base: string, endpoint: string, json: boolean): Promise<void> {
  const entries = (await callGateway(state, "GET", `${base}/timeline`)) as TimelineEntry[];
  if (json) return console.log(JSON.stringify({ endpoint, entries }));
  if (entries.length === 0) return console.log(`nothing is known of ${endpoint}: see blockferry devices`);
  for (const entry of entries) {
    const at = new Date(entry.atMs).toISOString().replace("T", " ").slice(0, 19);
    console.log(`${at}  ${entryText(entry)}`.trimEnd());
  }
}

function entryText(entry: TimelineEntry): string {
  if (entry.kind === "event") return `${entry.event.padEnd(15)} ${entry.text}`;
  const { by, from, to, blocks, repeats, retransmissions, atMs, endMs } = entry;
  const seconds = ((endMs - atMs) / 1_000).toFixed(1);
  const more = [repeats > 0 ? `${repeats} again` : "", retransmissions > 0 ? `${retransmissions} retransmissions` : ""];
  return [`${by.padEnd(15)} bytes ${from} to ${to}`, `${blocks} blocks in ${seconds} s`, ...more]
    .filter(Boolean)
    .join(", ");
}

async function showWaiting(state: string, base: string, endpoint: string, json: boolean): Promise<void> {
  const waiting = (await callGateway(state, "GET", `${base}/operations`)) as {
    id: number;
    operation: string;
    path: string;
    running: boolean;
  }[];
  if (json) return console.log(JSON.stringify({ endpoint, waiting }));
  if (waiting.length === 0) return console.log(`nothing waits for ${endpoint}`);
  const rows = waiting.map(({ id, operation, path, running }) => [
    id,
    operation,
    path,
    running ? "under way" : "waits",
  ]);
  console.log(formatTable(["number", "operation", "path", ""], rows));
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
