import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { nodeCrypto } from "../../adapters/node-crypto.ts";
import { systemRandom } from "../../adapters/system.ts";
import { entryLine, nextEntry, verifyChain, type AuditEntry } from "../../lifecycle/audit-log.ts";
import { exportCredential, isSealed, stageOne, stageTwo, type StageOne } from "../../lifecycle/factory.ts";
import { encodeTrust, trustOf, type DeviceTrust } from "../../suit/trust.ts";
import { fromHex, toHex } from "../../util/bytes.ts";
import { callGateway } from "../control-client.ts";
import { usageError } from "../errors.ts";
import { identifiers } from "../identifiers.ts";
import { readPublicKey } from "../keys.ts";
import { Progress } from "../progress.ts";

interface StageTwoOptions {
  in: string;
  out: string;
  vendor: string;
  class: string;
  trust: string[];
  escrow: string[];
  operator: string[];
  quorum: string[];
  quorumAtLeast: string;
  json?: boolean;
}

/** What a stage writes for each device: secret, mode 0600, one JSON object on each line. */
interface DeviceLine {
  readonly kid: string;
  readonly key: string;
}

/** Two factories, as most devices have them: who makes the board knows no vendor yet, who makes the product seals the anchors. */
export function addFactory(program: Command): void {
  const group = program
    .command("factory")
    .description("make devices in two stages; no signing key is ever on the line");
  group
    .command("stage-one")
    .description("at who makes the board: a key and a name for each device")
    .requiredOption("--count <n>", "devices to make")
    .requiredOption("--out <folder>", "folder for devices.jsonl (secret) and audit.jsonl")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  blockferry factory stage-one --count 100 --out batch-7")
    .action((options: { count: string; out: string; json?: boolean }) => makeStageOne(options));
  group
    .command("stage-two")
    .description(
      "at who makes the product: class and anchors for each device, sealed; credentials for the operator's servers",
    )
    .requiredOption("--in <folder>", "what stage one wrote")
    .requiredOption("--out <folder>", "folder for flash images, credentials and audit.jsonl")
    .requiredOption("--vendor <domain|uuid>", "vendor of the product")
    .requiredOption("--class <name|uuid>", "class of the product")
    .requiredOption("--trust <file...>", "public keys of the authorities")
    .option("--escrow <file...>", "public keys that may hand over when the vendor is gone", [])
    .option("--quorum <file...>", "public keys of which some together may hand over", [])
    .option("--quorum-at-least <k>", "how many of them", "2")
    .option("--operator <file...>", "public keys of whom one has to countersign", [])
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      "\nExample:\n  blockferry factory stage-two --in batch-7 --out product --vendor example.com --class sensor-a \\\n    --trust author.pub.pem --escrow escrow.pub.pem",
    )
    .action((options: StageTwoOptions) => makeStageTwo(options));
  group
    .command("import <folder>")
    .description("give the devices of stage two to a running gateway")
    .option("--state <folder>", "state folder of the gateway", ".blockferry")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  blockferry factory import product --state gw")
    .action(importDevices);
}

function makeStageOne({ count, out, json }: { count: string; out: string; json?: boolean }): void {
  const devices = Number(count);
  if (!Number.isInteger(devices) || devices < 1 || devices > 100_000)
    throw usageError("bad-count", "--count is 1 to 100000");
  mkdirSync(out, { recursive: true, mode: 0o700 });
  const audit = new FactoryAudit(out);
  const lines: string[] = [];
  for (let i = 0; i < devices; i++) {
    const { kid, key } = stageOne(systemRandom);
    lines.push(JSON.stringify({ kid: toHex(kid), key: toHex(key) } satisfies DeviceLine));
    audit.note({ kind: "stage-one", device: toHex(kid) });
  }
  writeSecret(join(out, "devices.jsonl"), lines);
  report({ devices, folder: out, head: audit.head }, json, `${devices} devices with keys of their own in ${out}`);
}

function makeStageTwo(options: StageTwoOptions): void {
  for (const file of [...options.trust, ...options.escrow, ...options.operator, ...options.quorum]) refuseSecret(file);
  const { vendorId, classId } = identifiers(options.vendor, options.class);
  const keys = (files: readonly string[]): DeviceTrust["escrow"] => files.map(readPublicKey);
  const quorum =
    options.quorum.length === 0 ? undefined : { keys: keys(options.quorum), atLeast: Number(options.quorumAtLeast) };
  const trust: DeviceTrust = {
    ...trustOf(keys(options.trust)),
    escrow: keys(options.escrow),
    operators: keys(options.operator),
    quorum,
  };
  const made = readDevices(options.in);
  mkdirSync(options.out, { recursive: true, mode: 0o700 });
  const audit = new FactoryAudit(options.out);
  const anchors = toHex(encodeTrust(trust));
  const flash: string[] = [];
  const credentials: string[] = [];
  for (const one of made) {
    const device = stageTwo(nodeCrypto, one, { vendorId, classId, trust });
    if (!isSealed(nodeCrypto, device)) throw new Error("a seal does not hold");
    const [kid, seal] = [toHex(device.kid), toHex(device.seal)];
    flash.push(
      JSON.stringify({ kid, key: toHex(device.key), vendor: toHex(vendorId), class: toHex(classId), anchors, seal }),
    );
    credentials.push(JSON.stringify({ ...exportCredential(nodeCrypto, device), class: toHex(classId) }));
    audit.note({ kind: "stage-two", device: kid, classId: toHex(classId), seal });
  }
  writeSecret(join(options.out, "flash.jsonl"), flash);
  writeSecret(join(options.out, "credentials.jsonl"), credentials);
  const summary = { devices: made.length, class: toHex(classId), folder: options.out, head: audit.head };
  report(summary, options.json, `${made.length} devices of class ${toHex(classId)}, anchors sealed, in ${options.out}`);
}

async function importDevices(folder: string, { state, json }: { state: string; json?: boolean }): Promise<void> {
  const lines = readLines(join(folder, "credentials.jsonl"));
  const progress = new Progress(json !== true && lines.length > 200);
  progress.start("devices", lines.length);
  for (const [i, line] of lines.entries()) {
    const {
      device,
      class: classId,
      confirmation,
    } = JSON.parse(line) as { device: string; class: string; confirmation: { key: string } };
    const body = { actor: "factory", device, classId, endpoint: device, key: confirmation.key };
    await callGateway(state, "POST", "/v1/lifecycle/devices", body);
    progress.update(i + 1);
  }
  progress.stop();
  report({ devices: lines.length }, json, `${lines.length} devices are known to the gateway`);
}

/** The line's own log, chained: nobody makes a device more, or other anchors, without leaving a mark. */
class FactoryAudit {
  readonly #file: string;
  #last: AuditEntry | undefined;

  constructor(folder: string) {
    this.#file = join(folder, "audit.jsonl");
    if (!existsSync(this.#file)) return;
    const chain = verifyChain(nodeCrypto, readLines(this.#file));
    if (!chain.ok)
      throw usageError(
        "audit-log-tampered",
        `${this.#file}, line ${chain.line}: ${chain.detail}; find out why before more devices are made`,
      );
    this.#last = chain.entries.at(-1);
  }

  get head(): string | null {
    return this.#last?.hash ?? null;
  }

  note(event: AuditEntry["event"]): void {
    this.#last = nextEntry(nodeCrypto, this.#last, Date.now(), "factory", event);
    appendFileSync(this.#file, `${entryLine(this.#last)}\n`);
  }
}

/** A private key has no business on a factory line (RFC 8240 section 3). */
function refuseSecret(file: string): void {
  if (readFileSync(file, "utf8").includes("PRIVATE KEY"))
    throw usageError(
      "private-key-on-the-line",
      `${file} is a private key: only public keys belong on a factory line. Revoke it if it was copied there.`,
    );
}

function readDevices(folder: string): StageOne[] {
  return readLines(join(folder, "devices.jsonl")).map((line) => {
    const { kid, key } = JSON.parse(line) as DeviceLine;
    return { kid: fromHex(kid)!, key: fromHex(key)! };
  });
}

function readLines(file: string): string[] {
  try {
    return readFileSync(file, "utf8")
      .split("\n")
      .filter((line) => line.length > 0);
  } catch (error) {
    throw usageError("file-unreadable", `${file}: ${(error as Error).message}`);
  }
}

function writeSecret(file: string, lines: readonly string[]): void {
  writeFileSync(file, lines.map((line) => `${line}\n`).join(""), { mode: 0o600, flag: "wx" });
}

function report(summary: object, json: boolean | undefined, text: string): void {
  console.log(json === true ? JSON.stringify(summary) : text);
}
