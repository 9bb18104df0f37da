import type { Command } from "commander";
import type { ClassView, LifecycleView } from "../../http/lifecycle-view.ts";
import type { Leave } from "../../lifecycle/classes.ts";
import { readClass } from "../authoring/class-file.ts";
import { callGateway } from "../control-client.ts";
import { dateMs } from "../dates.ts";
import { usageError } from "../errors.ts";
import { gatewayOptions } from "../gateway-options.ts";
import {
  classIdOf,
  imageDigestOf,
  lifecycleOf,
  offerText,
  operatorOptions,
  submit,
  supportText,
  watchingOffers,
  type OperatorOptions,
} from "../operator.ts";
import { formatTable } from "../table.ts";

export function addClass(program: Command): void {
  const group = program
    .command("class")
    .description("say who may sign software for a class of devices, and what they are like");
  addDefine(group);
  addViews(group);
  addDecisions(group);
  addRecovery(group);
}

function addDefine(group: Command): void {
  operatorOptions(group.command("define <file>"))
    .description("define a class, or define it anew, from a YAML file")
    .addHelpText(
      "after",
      `
Example, sensor.yaml (docs/authoring.md has every key; files are named relative to it):
  name: sensor-a
  vendor: example.com
  hardware: { rng: true, rtc: true, slots: 2, recoveryImage: false, ramBytes: 65536 }
  authorities:
    - { name: author, publicKey: author.pub.pem }
    - { name: radio vendor, publicKey: radio.pub.pem, rights: [{ component: radio, actions: [fetch, invoke] }] }
  escrow: [escrow.pub.pem]
  quorum: { keys: [one.pub.pem, two.pub.pem, three.pub.pem], atLeast: 2 }
  operators: [operator.pub.pem]

  blockferry class define sensor.yaml --state gw

From then on the class takes releases of these authorities only, countersigned by an operator if one is named.
Releases on offer that none of them signed are offered no longer; the command says which.`,
    )
    .action(async (file: string, options: OperatorOptions) => {
      const definition = readClass(file);
      const { state, actor, json } = options;
      const event = { kind: "class-defined", definition };
      const [entry, offers] = await watchingOffers(state, async () =>
        callGateway(state, "POST", "/v1/lifecycle/events", { actor, event }),
      );
      const { number } = entry as { number: number };
      if (json === true) console.log(JSON.stringify({ ...(entry as object), class: definition.id, ...offers }));
      else
        console.log(
          `class ${definition.name} is ${definition.id}; entry ${number} of the audit log${offerText(offers)}`,
        );
    });
}

function addViews(group: Command): void {
  gatewayOptions(group.command("list"))
    .description("list the classes that a running gateway governs")
    .addHelpText("after", "\nExample:\n  blockferry class list --state gw")
    .action(async ({ state, json }: { state: string; json?: boolean }) => {
      const { classes, warnings } = await lifecycleOf(state);
      if (json === true) {
        console.log(JSON.stringify({ classes }));
        return;
      }
      if (classes.length === 0) console.log("no class is defined yet: blockferry class define --help shows how");
      else {
        const supportOf = (id: string): string => warnings.find(({ classId }) => classId === id)?.state ?? "-";
        const rows = classes.map((one) => [one.name, one.id, one.devices, one.epoch, supportOf(one.id)]);
        console.log(formatTable(["name", "class", "devices", "hand-overs", "support"], rows));
      }
      for (const warning of warnings) console.log(`warning: ${supportText(warning)}`);
    });
  gatewayOptions(group.command("show <class>"))
    .description("show who may sign for a class, what its devices are like, and what was decided for it")
    .addHelpText("after", "\nExample:\n  blockferry class show sensor-a --state gw")
    .action(async (name: string, { state, json }: { state: string; json?: boolean }) => {
      const id = await classIdOf(state, name);
      const view = await lifecycleOf(state);
      const found = view.classes.find((one) => one.id === id);
      if (found === undefined)
        throw usageError("no-such-class", `class ${id} is not defined here: blockferry class list --state ${state}`);
      console.log(json === true ? JSON.stringify(found) : classText(found, view));
    });
}

type KeyView = ClassView["authorities"][number];

function keyText({ name, algorithm, fingerprint, revoked, rights }: KeyView): string {
  const limits = rights?.map(
    ({ component = "everything", actions }) => `${component} (${actions?.join(", ") ?? "all"})`,
  );
  const may = limits === undefined ? "" : `, only for ${limits.join("; ")}`;
  return `  ${name === null ? "" : `${name}: `}${algorithm} key ${fingerprint}${may}${revoked ? ", REVOKED" : ""}`;
}

const leaveText = (leave: Leave): string =>
  typeof leave === "string" ? leave : `put off until ${new Date(leave.deferUntilMs).toISOString()}`;

function classText(one: ClassView, { warnings }: LifecycleView): string {
  const { hardware, quorum, support, policy } = one;
  const keys = (title: string, some: readonly KeyView[]): string[] =>
    some.length === 0 ? [] : ["", title, ...some.map(keyText)];
  const lacks = [
    ...(hardware.rng ? [] : ["no random numbers"]),
    ...(hardware.rtc ? [] : ["no clock"]),
    ...(hardware.recoveryImage ? ["a recovery image"] : []),
    ...(hardware.features === undefined
      ? []
      : [`only the features ${hardware.features.join(", ") || "that all have"}`]),
  ];
  const state = warnings.find(({ classId }) => classId === one.id)?.state;
  const ends = support === null ? "" : new Date(support.endsMs).toISOString().slice(0, 10);
  return [
    `${one.name}: class ${one.id} of vendor ${one.vendorId}`,
    `  ${one.devices} devices, handed over ${one.epoch} times, manifests of ${one.dialect}`,
    ...keys("Who may sign its software", one.authorities),
    ...keys("Who has to countersign: one of", one.operators),
    ...keys("Who may hand it over when they are gone", one.escrow),
    ...(quorum === null ? [] : keys(`and ${quorum.atLeast} together of`, quorum.keys)),
    "",
    "What its devices are like",
    `  ${hardware.slots} slots, ${hardware.ramBytes} bytes of RAM${lacks.map((lack) => `, ${lack}`).join("")}`,
    "",
    "What was decided for it",
    ...(support === null
      ? ["  no end of support is set: blockferry class support --help"]
      : [`  support ends ${ends}${state === undefined ? "" : ` (${state})`}, then ${support.afterwards}`]),
    ...(policy === null
      ? []
      : [`  features: ${leaveText(policy.features)}; security fixes: ${leaveText(policy.security)}`]),
    ...(one.recovery === null ? [] : [`  recovery image ${one.recovery}`]),
  ].join("\n");
}

function addDecisions(group: Command): void {
  operatorOptions(group.command("support <class>"))
    .description("say when support ends: told before, and nothing stops by itself")
    .requiredOption("--ends <date>", "such as 2031-12-31")
    .option("--warn-days <n>", "warn so many days before", "180")
    .option("--then <what>", "warn, or no-new-releases", "warn")
    .addHelpText("after", "\nExample:\n  blockferry class support sensor-a --ends 2031-12-31 --state gw")
    .action(async (name: string, options: OperatorOptions & { ends: string; warnDays: string; then: string }) => {
      const endsMs = dateMs(options.ends);
      if (endsMs === undefined) throw usageError("bad-date", "--ends is a day of the calendar, such as 2031-12-31");
      const warnDays = Number(options.warnDays);
      if (!(Number.isInteger(warnDays) && warnDays >= 0))
        throw usageError("bad-number", "--warn-days is a whole number of days");
      const classId = await classIdOf(options.state, name);
      const support = { endsMs, warnDays, afterwards: options.then };
      await submit(options, { kind: "support-set", classId, support }, `support of ${name} ends ${options.ends}`);
    });
  operatorOptions(group.command("policy <class>"))
    .description("let through, put off or refuse new features and security fixes (priority below 0) of a class")
    .option("--features <leave>", "allow, refuse, or a date until which they are put off; else as it is (allow)")
    .option("--security <leave>", "the same for security fixes")
    .addHelpText("after", "\nExample:\n  blockferry class policy sensor-a --features 2027-01-10 --state gw")
    .action(async (name: string, options: OperatorOptions & { features?: string; security?: string }) => {
      const { features, security } = options;
      if (features === undefined && security === undefined)
        throw usageError("option-missing", "say what of: --features, --security, or both");
      const classId = await classIdOf(options.state, name);
      const before = (await lifecycleOf(options.state)).classes.find(({ id }) => id === classId)?.policy;
      const policy = {
        features: features === undefined ? (before?.features ?? "allow") : leaveOf(features),
        security: security === undefined ? (before?.security ?? "allow") : leaveOf(security),
      };
      const text = `features of ${name}: ${leaveText(policy.features)}; security fixes: ${leaveText(policy.security)}`;
      await submit(options, { kind: "policy-set", classId, policy }, text);
    });
}

function addRecovery(group: Command): void {
  operatorOptions(group.command("recovery <class> <image>"))
    .description("name the image that devices in quarantine may have besides the current one")
    .addHelpText("after", "\nExample:\n  blockferry class recovery sensor-a /i/roRa2769 --state gw")
    .action(async (name: string, image: string, options: OperatorOptions) => {
      const classId = await classIdOf(options.state, name);
      const digest = await imageDigestOf(options.state, image);
      await submit(options, { kind: "recovery-set", classId, digest }, `${digest} is the recovery image of ${name}`);
    });
}

function leaveOf(text: string): Leave {
  if (text === "allow" || text === "refuse") return text;
  const deferUntilMs = dateMs(text);
  if (deferUntilMs === undefined)
    throw usageError("bad-leave", `${text} is neither allow, refuse nor a day of the calendar, such as 2031-12-31`);
  if (deferUntilMs <= Date.now())
    throw usageError("bad-leave", `${text} is over: what is put off until then is let through; write allow for that`);
  return { deferUntilMs };
}
