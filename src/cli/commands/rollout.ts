import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import { parse } from "yaml";
import type { RolloutView } from "../../http/rollouts.ts";
import type { Prediction } from "../../rollout/prediction.ts";
import type { Decision, Member } from "../../rollout/record.ts";
import { isoTime } from "../../util/iso-time.ts";
import { callGateway, readPages } from "../control-client.ts";
import { gatewayOptions } from "../gateway-options.ts";
import { ExitCode, usageError, UserError, whyUnreadable } from "../errors.ts";
import { happened, printComparison, printPrediction } from "../rollout-report.ts";
import { Progress } from "../progress.ts";
import { formatTable } from "../table.ts";

interface Options {
  state: string;
  as: string;
  json?: boolean;
}

/** Rollouts of a running gateway. */
export function addRollout(program: Command): void {
  const group = program
    .command("rollout")
    .description("bring an image to a fleet group by group, and stop by itself when it goes wrong")
    .addHelpText(
      "after",
      `
config/rollout.yaml is an example with every key. In place of an id, \`last\` is the newest.

Example:
  blockferry rollout plan config/rollout.yaml --state gw      # what it would cost, and who is at risk
  blockferry rollout start config/rollout.yaml --state gw     # create it, start it, and watch it
  blockferry rollout show last --state gw
  blockferry rollout resume last --state gw`,
    );
  addCreating(group);
  addCommands(group);
  addReading(group);
}

const onGateway = (command: Command): Command =>
  gatewayOptions(command).option(
    "--as <name>",
    "who does it: it stands in the audit log, and approves",
    process.env["USER"] ?? "operator",
  );

function addCreating(group: Command): void {
  onGateway(group.command("create <file>"))
    .description("create a rollout from a YAML file; nothing is started")
    .action(async (file: string, options: Options) => {
      const view = await create(file, options);
      if (options.json === true) console.log(JSON.stringify(view));
      else console.log(`${view.id}: ${view.name} is ${view.state}\nnext: ${nextOf(view, options)}`);
      warn(view, options);
    });
  onGateway(group.command("start <file|id>"))
    .description("start a rollout; a file is created first. Watches it until it is over, or pauses")
    .option("--no-wait", "return once it is started")
    .option("--wait-for <devices>", "first wait until so many devices match, for a minute at most")
    .action(async (what: string, options: Options & { wait: boolean; waitFor?: string }) => {
      const isFile = /\.ya?ml$|\//.test(what);
      const { id, spec } = isFile ? await create(what, options) : await find(what, options);
      if (options.waitFor !== undefined) await waitFor(Number(options.waitFor), spec.target, options);
      const view = await tellIt(id, "start", "", options);
      if (options.wait) await watch(id, options);
      else print(view, options);
    });
  onGateway(group.command("plan <file>"))
    .description("run a rollout in the simulator over the fleet as it was measured; nothing is changed")
    .action(async (file: string, options: Options) => {
      if (options.json !== true) console.error("simulating the fleet eight times, which may take a minute or two…");
      const prediction = (await call(options, "POST", "/v1/rollouts/plan", readYaml(file))) as Prediction & Warned;
      if (options.json === true) console.log(JSON.stringify(prediction));
      else printPrediction(prediction);
      warn(prediction, options);
    });
  onGateway(group.command("rollback <id>"))
    .description("create a rollout that brings another image to those that this one has updated")
    .requiredOption("--image <key|digest|version>", "what they are to run instead: a published image")
    .option("--expect <version>", "what their version resource has to read then")
    .action(async (id: string, options: Options & { image: string; expect?: string }) => {
      const view = await rollback(id, options);
      if (options.json === true) console.log(JSON.stringify(view));
      else console.log(`${view.id}: ${view.name} is ${view.state}\nnext: ${nextOf(view, options)}`);
      warn(view, options);
    });
}

async function rollback(given: string, options: Options & { image: string; expect?: string }): Promise<RolloutView> {
  const before = await find(given, options);
  const { id } = before;
  const members = await readPages<Member>(options.state, `${path(id)}/devices?state=succeeded`);
  if (members.length === 0) throw usageError("nothing-to-roll-back", `${before.name} has updated no device`);
  const { maxConcurrent, policy, deadlineS, window } = before.spec;
  const { methods, graceS, soakS } = policy;
  return (await call(options, "POST", "/v1/rollouts", {
    name: `rollback of ${before.name}`.slice(0, 128),
    priority: before.priority,
    endpoints: members.map(({ endpoint }) => endpoint),
    components: [{ image: options.image, ...(options.expect === undefined ? {} : { version: options.expect }) }],
    policy: { methods, graceS, soakS },
    groups: [{ name: "all", successThreshold: 100, errorThreshold: 10 }],
    maxConcurrent,
    deadlineS,
    ...(window === undefined ? {} : { window }),
  })) as RolloutView;
}

const COMMANDS = {
  approve: "let a rollout of somebody else be started",
  deny: "refuse a rollout of somebody else",
  pause: "command no device more; updates under way go on",
  resume: "go on, and accept the failures so far; watches it",
  stop: "command no device more, and end when the updates under way have",
  cancel: "end now: updates that have not been applied are taken back",
  retry: "try those that failed once more; watches it",
} as const;

function addCommands(group: Command): void {
  for (const [name, description] of Object.entries(COMMANDS))
    onGateway(group.command(`${name} <id>`))
      .description(description)
      .option("--why <text>", "stands beside the decision", "")
      .option("--no-wait", "return at once, where it would watch")
      .action(async (given: string, options: Options & { why: string; wait: boolean }) => {
        const { id } = await find(given, options);
        const view = await tellIt(id, name, options.why, options);
        if (options.wait && (name === "resume" || name === "retry")) await watch(id, options);
        else print(view, options);
      });
  onGateway(group.command("delete <id>"))
    .description("forget a rollout that has ended, and its record")
    .action(async (given: string, options: Options) => {
      const { id } = await find(given, options);
      await call(options, "DELETE", path(id));
      console.log(options.json === true ? JSON.stringify({ deleted: id }) : `${id} is forgotten`);
    });
}

function addReading(group: Command): void {
  onGateway(group.command("list"))
    .description("all rollouts")
    .action(async (options: Options) => {
      const rollouts = await readPages<RolloutView>(options.state, "/v1/rollouts");
      if (options.json === true) return console.log(JSON.stringify({ rollouts }));
      if (rollouts.length === 0) return console.log("there is none: blockferry rollout create --help");
      const rows = rollouts.map(({ id, name, state, reason, priority, devices }) => [
        id,
        name,
        state,
        reason,
        priority,
        `${devices.succeeded} done, ${devices.failed} failed, ${devices.pending} wait`,
      ]);
      return console.log(formatTable(["id", "name", "state", "why", "priority", "devices"], rows));
    });
  onGateway(group.command("show <id>"))
    .description("one rollout: its groups, what it decided and why, and what was predicted beside what happened")
    .action(async (given: string, options: Options) => {
      const view = await find(given, options);
      const { id } = view;
      const decisions = await readPages<Decision>(options.state, `${path(id)}/decisions`);
      const done = await readPages<Member>(options.state, `${path(id)}/devices?state=succeeded`);
      const outcome = happened(view, decisions, done) ?? null;
      if (options.json === true) return console.log(JSON.stringify({ ...view, decisions, happened: outcome }));
      print(view, options);
      for (const { atMs, by, what, why } of decisions)
        console.log(`  ${isoTime(Math.floor(atMs / 1_000))}  ${what}: ${why} (${by})`);
      if (view.prediction !== null) printComparison(view.prediction, outcome ?? undefined);
      return undefined;
    });
  onGateway(group.command("devices <id>"))
    .description("the devices of a rollout, and why each is where it is")
    .option(
      "--in <state>",
      "only those that are pending, commanded, downloaded, succeeded, failed, skipped or cancelled",
    )
    .action(async (given: string, options: Options & { in?: string }) => {
      const { id } = await find(given, options);
      const query = options.in === undefined ? "" : `?state=${encodeURIComponent(options.in)}`;
      const devices = await readPages<Member>(options.state, `${path(id)}/devices${query}`);
      if (options.json === true) return console.log(JSON.stringify({ devices }));
      const rows = devices.map(({ endpoint, group: of, state, attempt, reason = "", detail = "" }) => [
        endpoint,
        String(of + 1),
        state,
        String(attempt),
        reason,
        detail,
      ]);
      return console.log(formatTable(["device", "group", "state", "attempt", "why", "in full"], rows));
    });
}

type Warned = Pick<RolloutView, "warnings">;

function warn({ warnings }: Warned, { json }: Options): void {
  if (json !== true) for (const text of warnings) console.error(`warning: ${text}`);
}

const path = (id: string): string => `/v1/rollouts/${encodeURIComponent(id)}`;

async function call(options: Options, method: "GET" | "POST" | "DELETE", url: string, body?: object): Promise<unknown> {
  return callGateway(options.state, method, url, body, options.as);
}

async function create(file: string, options: Options): Promise<RolloutView> {
  return (await call(options, "POST", "/v1/rollouts", readYaml(file))) as RolloutView;
}

/** A rollout by its id, or the newest by the word `last`. */
async function find(id: string, options: Options): Promise<RolloutView> {
  if (id !== "last") return (await call(options, "GET", path(id))) as RolloutView;
  const newest = (await readPages<RolloutView>(options.state, "/v1/rollouts")).at(-1);
  if (newest === undefined) throw usageError("no-rollout", "there is none yet: blockferry rollout create --help");
  return newest;
}

async function waitFor(count: number, target: string, options: Options): Promise<void> {
  if (!(Number.isInteger(count) && count > 0)) throw usageError("bad-number", "--wait-for is a number of devices");
  if (options.json !== true) console.error(`waiting for ${count} devices, for ${WAIT_LOOKS / 2} s at most…`);
  for (let i = 0; i < WAIT_LOOKS; i++) {
    const there = await readPages(options.state, `/v1/fleet?filter=${encodeURIComponent(target)}`);
    if (there.length >= count) return;
    await sleep(500);
  }
  const what = target === "" ? "devices" : `devices that match ${target}`;
  throw new UserError(
    ExitCode.FAILED,
    "too-few-devices",
    `there are fewer than ${count} ${what}: see blockferry fleet list`,
  );
}

const WAIT_LOOKS = 120;

async function tellIt(id: string, name: string, why: string, options: Options): Promise<RolloutView> {
  return (await call(options, "POST", `${path(id)}/commands`, { command: name, why })) as RolloutView;
}

function readYaml(file: string): object {
  try {
    const value: unknown = parse(readFileSync(file, "utf8"), { maxAliasCount: 10 });
    if (typeof value === "object" && value !== null && !Array.isArray(value)) return value;
    throw new Error("it is no map of keys; config/rollout.yaml is an example");
  } catch (error) {
    throw usageError("bad-rollout", `${file}: ${whyUnreadable(error)}`);
  }
}

/** Shows how far it is, until it is over or pauses; one that has gone wrong is exit code 1. */
async function watch(id: string, options: Options): Promise<void> {
  const progress = new Progress(options.json !== true);
  let started = false;
  let view: RolloutView;
  for (;;) {
    view = (await call(options, "GET", path(id))) as RolloutView;
    const { succeeded, failed, skipped, cancelled } = view.devices;
    const total = Object.values(view.devices).reduce((sum, count) => sum + count, 0);
    if (!started && total > 0) progress.start(view.name, total, "devices");
    started ||= total > 0;
    if (started) progress.update(succeeded + failed + skipped + cancelled);
    if (view.state !== "running" && view.state !== "stopping") break;
    await sleep(500);
  }
  progress.stop();
  const { name, state, reason } = view;
  if (IS_WELL.has(reason)) return print(view, options);
  if (options.json !== true) print(view, options);
  const why = WHY_NOT[reason] ?? reason;
  throw new UserError(ExitCode.FAILED, reason, `${name} is ${state}: ${why}`, view);
}

/** What watching a rollout may end with where nothing has gone wrong. */
const IS_WELL: ReadonlySet<string> = new Set(["finished", "none-to-update", "scheduled", "paused", "group-done"]);
const WHY_NOT: Readonly<Record<string, string>> = {
  "no-device-matched": "no device matched it: see its target with blockferry fleet list --filter '…'",
  "error-threshold": "more devices have failed than may",
  "success-threshold-missed": "too few devices have succeeded",
  "group-empty": "a group has no device that was to be updated, and shows nothing of those that come after it",
};

function print(view: RolloutView, options: Options): void {
  if (options.json === true) return console.log(JSON.stringify(view));
  const why = view.reason === view.state ? "" : ` (${view.reason})`;
  console.log(`${view.id}: ${view.name} is ${view.state}${why}${view.waitsFor === null ? "" : `; ${view.waitsFor}`}`);
  const rows = view.groups.map(({ name, state, total, devices }) => [
    name,
    state,
    String(total),
    ...SHOWN.map(([, key]) => String(devices[key])),
  ]);
  console.log(formatTable(["group", "state", "devices", ...SHOWN.map(([title]) => title)], rows));
  warn(view, options);
  const next = nextOf(view, options);
  if (next !== "") console.log(`next: ${next}`);
  return undefined;
}

const SHOWN = [
  ["succeeded", "succeeded"],
  ["failed", "failed"],
  ["skipped", "skipped"],
  ["cancelled", "cancelled"],
  ["at it", "commanded"],
  ["downloaded", "downloaded"],
  ["waiting", "pending"],
] as const;

function nextOf({ id, state, reason, devices }: RolloutView, options: Options): string {
  const tail = options.state === ".blockferry" ? "" : ` --state ${options.state}`;
  if (state === "ready") return `blockferry rollout start ${id}${tail}`;
  if (state === "waiting-for-approval") return `somebody else: blockferry rollout approve ${id}${tail} --as <name>`;
  if (state === "paused" && (reason === "group-done" || reason === "paused"))
    return `blockferry rollout resume ${id}${tail}`;
  if (state === "finished" && devices.failed + devices.cancelled > 0)
    return `blockferry rollout devices ${id} --in failed${tail}, then blockferry rollout retry ${id}${tail}`;
  if (state === "paused")
    return `blockferry rollout devices ${id} --in failed${tail}, then resume, retry, stop or cancel it`;
  return "";
}
