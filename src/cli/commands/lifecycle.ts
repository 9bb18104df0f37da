import { writeFileSync } from "node:fs";
import type { Command } from "commander";
import { nodeCrypto } from "../../adapters/node-crypto.ts";
import type { LifecycleView } from "../../http/lifecycle.ts";
import { verifyChain } from "../../lifecycle/audit-log.ts";
import type { CensusRow } from "../../lifecycle/census.ts";
import { keyRecord } from "../../lifecycle/classes.ts";
import { signEnvelope } from "../../suit/author.ts";
import { buildEnvelope } from "../../suit/build.ts";
import { decodeTransfer, encodeTransfer, transferUpdate } from "../../suit/trust.ts";
import { toHex } from "../../util/bytes.ts";
import { readLines } from "../files.ts";
import { readClass } from "../authoring/class-file.ts";
import { readInput } from "../authoring/input.ts";
import { callGateway } from "../control-client.ts";
import { gatewayOptions } from "../gateway-options.ts";
import { environmentError, ExitCode, usageError, UserError } from "../errors.ts";
import { identifiers } from "../identifiers.ts";
import { readPrivateKey, readPublicKey } from "../keys.ts";
import { formatTable } from "../table.ts";

interface StateOption {
  state: string;
  actor: string;
  json?: boolean;
}

/** Commands on the lifecycle of a running gateway. */
export function addLifecycle(program: Command): void {
  addClass(program);
  addAuthority(program);
  addDeviceStates(program);
  addReports(program);
}

const onGateway = (command: Command): Command =>
  gatewayOptions(command).option("--actor <name>", "who does it, for the audit log", process.env["USER"] ?? "operator");

async function submit(options: StateOption, event: object, text: string): Promise<void> {
  tell(
    await callGateway(options.state, "POST", "/v1/lifecycle/events", { actor: options.actor, event }),
    options,
    text,
  );
}

function tell(result: unknown, { json }: StateOption, text: string): void {
  if (json === true) console.log(JSON.stringify(result));
  else console.log(`${text}; entry ${(result as { number: number }).number} of the audit log`);
}

function addClass(program: Command): void {
  const group = program
    .command("class")
    .description("say who may sign software for a class of devices, and what they are like");
  onGateway(group.command("define <file>"))
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

From then on the class takes releases of these authorities only, countersigned by an operator if one is named.`,
    )
    .action(async (file: string, options: StateOption) => {
      const definition = readClass(file);
      await submit(options, { kind: "class-defined", definition }, `class ${definition.name} is ${definition.id}`);
    });
  onGateway(group.command("support <class>"))
    .description("say when support ends: told before, and nothing stops by itself")
    .requiredOption("--ends <date>", "such as 2031-12-31")
    .option("--warn-days <n>", "warn so many days before", "180")
    .option("--then <what>", "warn, or no-new-releases", "warn")
    .addHelpText(
      "after",
      "\nExample:\n  blockferry class support 7343c8b895da55d2ac65bd05c7c8b5ec --ends 2031-12-31 --state gw",
    )
    .action(async (classId: string, options: StateOption & { ends: string; warnDays: string; then: string }) => {
      const endsMs = Date.parse(options.ends);
      if (!Number.isFinite(endsMs)) throw usageError("bad-date", "--ends is a date such as 2031-12-31");
      const support = { endsMs, warnDays: Number(options.warnDays), afterwards: options.then };
      await submit(options, { kind: "support-set", classId, support }, `support of ${classId} ends ${options.ends}`);
    });
  onGateway(group.command("policy <class>"))
    .description("let through, put off or refuse new features and security fixes (priority below 0) of a class")
    .option("--features <leave>", "allow, refuse, or a date until which they are put off", "allow")
    .option("--security <leave>", "the same for security fixes", "allow")
    .addHelpText(
      "after",
      "\nExample:\n  blockferry class policy 7343c8b895da55d2ac65bd05c7c8b5ec --features 2027-01-10 --state gw",
    )
    .action(async (classId: string, options: StateOption & { features: string; security: string }) => {
      const policy = { features: leaveOf(options.features), security: leaveOf(options.security) };
      await submit(options, { kind: "policy-set", classId, policy }, `policy of ${classId} is set`);
    });
}

function leaveOf(text: string): unknown {
  if (text === "allow" || text === "refuse") return text;
  const deferUntilMs = Date.parse(text);
  if (!Number.isFinite(deferUntilMs)) throw usageError("bad-leave", `${text} is neither allow, refuse nor a date`);
  return { deferUntilMs };
}

function addAuthority(program: Command): void {
  const group = program
    .command("authority")
    .description("hand devices over to new authorities: rotation, a sale, or escrow when the vendor is gone");
  group
    .command("transfer")
    .description("make and sign a hand-over; needs no gateway")
    .requiredOption("--vendor <domain|uuid>", "vendor of the class")
    .requiredOption("--class <name|uuid>", "the class")
    .requiredOption("--epoch <n>", "number of this hand-over: one more than the class has had")
    .requiredOption("--to <file...>", "public keys of the new authorities; name the old ones too for an overlap")
    .requiredOption("--key <file...>", "private keys of an authority, of escrow, or of enough of the quorum")
    .requiredOption("--out <file>", "the envelope to write")
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      "\nExample:\n  blockferry authority transfer --vendor example.com --class sensor-a --epoch 1 \\\n    --to old.pub.pem new.pub.pem --key old.key.pem --out handover.suit\n  blockferry authority apply handover.suit --class-id 7343… --name old new --state gw",
    )
    .action(
      (options: {
        vendor: string;
        class: string;
        epoch: string;
        to: string[];
        key: string[];
        out: string;
        json?: boolean;
      }) => {
        const epoch = Number(options.epoch);
        if (!Number.isSafeInteger(epoch) || epoch < 1) throw usageError("bad-epoch", "--epoch is 1 or more");
        const { vendorId, classId } = identifiers(options.vendor, options.class);
        const transfer = { epoch, authorities: options.to.map(readPublicKey) };
        if (decodeTransfer(encodeTransfer(transfer)) === undefined)
          throw usageError("too-many-keys", `--to names ${transfer.authorities.length} keys: devices take 1 to 8`);
        const update = transferUpdate(vendorId, [classId], transfer);
        const unsigned = buildEnvelope(nodeCrypto, update);
        const envelope = options.key
          .map(readPrivateKey)
          .reduce((bytes, key) => signEnvelope(nodeCrypto, key, bytes), unsigned);
        writeFile(options.out, envelope);
        const summary = { envelope: options.out, class: toHex(classId), epoch, authorities: options.to.length };
        console.log(
          options.json === true
            ? JSON.stringify(summary)
            : `${options.out}: hand-over ${epoch} of class ${summary.class}`,
        );
      },
    );
  addTransferOnGateway(group);
}

function addTransferOnGateway(group: Command): void {
  onGateway(group.command("apply <envelope>"))
    .description("give a hand-over to a running gateway, which offers it to the devices of the class")
    .requiredOption("--class-id <hex>", "the class")
    .option("--name <name...>", "names of the new authorities, in their order", [])
    .addHelpText(
      "after",
      "\nExample:\n  blockferry authority apply handover.suit --class-id 7343c8b895da55d2ac65bd05c7c8b5ec --state gw",
    )
    .action(async (file: string, options: StateOption & { classId: string; name: string[] }) => {
      const envelope = Buffer.from(readInput(file)).toString("base64");
      const body = { actor: options.actor, classId: options.classId, envelope, names: options.name };
      tell(await callGateway(options.state, "POST", "/v1/lifecycle/transfers", body), options, "handed over");
    });
  onGateway(group.command("revoke <public-key>"))
    .description("revoke a key; what was signed with it is offered no longer, and the devices that trust it are named")
    .requiredOption("--reason <text>", "why, for the audit log")
    .addHelpText(
      "after",
      "\nExample:\n  blockferry authority revoke stolen.pub.pem --reason 'laptop stolen' --state gw",
    )
    .action(async (file: string, options: StateOption & { reason: string }) => {
      const key = keyRecord(readPublicKey(file));
      const event = { kind: "key-revoked", key, reason: options.reason };
      const result = await callGateway(options.state, "POST", "/v1/lifecycle/events", { actor: options.actor, event });
      const { revoked } = (await callGateway(options.state, "GET", "/v1/lifecycle")) as LifecycleView;
      const trustedBy = revoked.find((entry) => entry.key.key === key.key)?.trustedBy ?? [];
      if (options.json === true) console.log(JSON.stringify({ ...(result as object), trustedBy }));
      else
        console.log(
          `revoked; ${trustedBy.length} devices trust this key until a hand-over reaches them${list(trustedBy)}`,
        );
    });
}

const list = (names: readonly string[]): string => names.map((name) => `\n  ${name}`).join("");

function addDeviceStates(program: Command): void {
  onGateway(program.command("quarantine <device>"))
    .description("give a device nothing but the current image or the recovery image")
    .requiredOption("--reason <text>", "why, for the audit log")
    .option("--lift", "end its quarantine")
    .addHelpText("after", "\nExample:\n  blockferry quarantine 0a1b2c3d4e5f6071 --reason 'odd traffic' --state gw")
    .action(async (device: string, options: StateOption & { reason: string; lift?: boolean }) => {
      const { reason } = options;
      const event =
        options.lift === true ? { kind: "device-released", device } : { kind: "device-quarantined", device, reason };
      await submit(options, event, options.lift === true ? `${device} is free again` : `${device} is in quarantine`);
    });
  onGateway(program.command("decommission <device>"))
    .description(
      "end a device's life: its credentials are erased here, and by a factory reset there if it is registered",
    )
    .option("--endpoint <name>", "LwM2M endpoint name, to reset it first (Device object, Factory Reset)")
    .addHelpText("after", "\nExample:\n  blockferry decommission 0a1b2c3d4e5f6071 --endpoint sensor-17 --state gw")
    .action(async (device: string, options: StateOption & { endpoint?: string }) => {
      const { endpoint, actor } = options;
      if (!/^[0-9a-f]{16}$/.test(device))
        throw usageError("bad-device", `${device} is no device: write the 16 digits that the factory gave it`);
      if (endpoint !== undefined) {
        const path = `/v1/devices/${encodeURIComponent(endpoint)}/operations`;
        await callGateway(options.state, "POST", path, { operation: "execute", path: "/3/0/5" });
      }
      const path = `/v1/lifecycle/devices/${device}?actor=${encodeURIComponent(actor)}`;
      const result = await callGateway(options.state, "DELETE", path);
      tell(result, options, `${device} is decommissioned`);
    });
}

function addReports(program: Command): void {
  onGateway(program.command("orphan"))
    .description("list devices for which no living authority can sign software")
    .addHelpText("after", "\nExample:\n  blockferry orphan --state gw")
    .action(async (options: StateOption) => {
      const { orphans, warnings } = (await callGateway(options.state, "GET", "/v1/lifecycle")) as LifecycleView;
      if (options.json === true) console.log(JSON.stringify({ orphans, warnings }));
      else if (orphans.length === 0) console.log("every device has an authority that is left");
      else
        console.log(
          formatTable(
            ["device", "class", "name"],
            orphans.map((one) => [one.device, one.classId, one.className]),
          ),
        );
      if (options.json === true) return;
      for (const { name, state, endsMs } of warnings)
        console.log(
          `warning: support of ${name} ${state === "ended" ? "ended" : "ends"} ${new Date(endsMs).toISOString().slice(0, 10)}`,
        );
    });
  onGateway(program.command("census"))
    .description("count which versions run where, and who was not heard of; without any device's name")
    .option("--days <n>", "not heard of for so many days", "30")
    .addHelpText("after", "\nExample:\n  blockferry census --days 90 --state gw")
    .action(async (options: StateOption & { days: string }) => {
      const days = Number(options.days);
      if (!Number.isFinite(days) || days < 0) throw usageError("bad-days", "--days is 0 or more");
      const rows = (await callGateway(options.state, "GET", `/v1/census?days=${days}`)) as CensusRow[];
      if (options.json === true) console.log(JSON.stringify({ days, rows }));
      else
        console.log(
          formatTable(
            ["class", "version", "devices", `not seen for ${options.days} days`],
            rows.map((row) => [row.classId, row.version, row.devices, row.notSeen]),
          ),
        );
    });
  onGateway(program.command("audit"))
    .description("check the hash-chained audit log, and write it out")
    .option("--file <file>", "check this log instead of a running gateway's")
    .option(
      "--head <hash>",
      "hash of the last entry, as it was noted elsewhere: shows whether entries at the end are missing",
    )
    .option("--out <file>", "write the log, one entry on each line")
    .addHelpText(
      "after",
      "\nExample:\n  blockferry audit --state gw --out audit.jsonl\n  blockferry audit --file audit.jsonl --head 9f86d081…",
    )
    .action(async (options: StateOption & { file?: string; head?: string; out?: string }) => {
      if (options.head !== undefined && !/^[0-9a-f]{64}$/.test(options.head))
        throw usageError("bad-head", "--head is the 64 digits that blockferry audit has printed");
      const lines = options.file === undefined ? await linesOf(options.state) : readLines(options.file);
      const chain = verifyChain(nodeCrypto, lines, options.head);
      if (options.out !== undefined) writeFile(options.out, Buffer.from(lines.map((line) => `${line}\n`).join("")));
      const head = chain.entries.at(-1)?.hash ?? null;
      if (options.json === true)
        console.log(
          JSON.stringify({
            ok: chain.ok,
            entries: chain.entries.length,
            head,
            ...(chain.ok ? {} : { line: chain.line, detail: chain.detail }),
          }),
        );
      else if (chain.ok) console.log(`${chain.entries.length} entries, unbroken; the last hash is ${head}`);
      if (!chain.ok) throw new UserError(ExitCode.FAILED, "audit-log-tampered", `line ${chain.line}: ${chain.detail}`);
    });
}

async function linesOf(state: string): Promise<readonly string[]> {
  return ((await callGateway(state, "GET", "/v1/audit")) as { lines: string[] }).lines;
}

export function writeFile(file: string, bytes: Uint8Array): void {
  try {
    writeFileSync(file, bytes);
  } catch (error) {
    throw environmentError("file-not-writable", `cannot write ${file}: ${(error as Error).message}`);
  }
}
