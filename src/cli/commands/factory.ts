import { existsSync, readFileSync, truncateSync } from "node:fs";
import { join } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { nodeCrypto } from "../../adapters/node-crypto.ts";
import type { Verifier } from "../../codec/cose.ts";
import { systemRandom } from "../../adapters/system.ts";
import { entryLine, nextEntry, verifyChain, type AuditEntry } from "../../lifecycle/audit-log.ts";
import { trustOfClass } from "../../lifecycle/classes.ts";
import { exportCredential, isSealed, stageOne, stageTwo, type StageTwo } from "../../lifecycle/factory.ts";
import { decodeTrust, encodeTrust, mostTrustBytes, trustOf } from "../../suit/trust.ts";
import { fromHex, toHex } from "../../util/bytes.ts";
import { readDefinition } from "../authoring/class-file.ts";
import { callGateway } from "../control-client.ts";
import { usageError, UserError } from "../errors.ts";
import { appendDurably, makeFolder, readJsonLines, readLines, refuseExisting, writeSecretLines } from "../files.ts";
import { identifiers } from "../identifiers.ts";
import { namesKeyTwice, readPublicKey } from "../keys.ts";
import { deviceLine, flashLine, readDevices } from "../factory-files.ts";
import { Progress } from "../progress.ts";

/** A sector of 2 KiB, as the smallest chips here have, without its head. */
const MAX_TRUST_BYTES = 2_016;

interface StageTwoOptions {
  in: string;
  out: string;
  definition?: string;
  vendor?: string;
  class?: string;
  trust: string[];
  escrow: string[];
  operator: string[];
  quorum: string[];
  quorumAtLeast: string;
  json?: boolean;
}

const CredentialLine = z.looseObject({
  device: z.string(),
  class: z.string(),
  confirmation: z.looseObject({ key: z.string() }),
});

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
    .option("--definition <file>", "the class as blockferry class define reads it, rights of its authorities included")
    .option("--vendor <domain|uuid>", "in its place: vendor of the product")
    .option("--class <name|uuid>", "class of the product")
    .option("--trust <file...>", "public keys of the authorities, each with every right", [])
    .option("--escrow <file...>", "public keys that may hand over when the vendor is gone", [])
    .option("--quorum <file...>", "public keys of which some together may hand over", [])
    .option("--quorum-at-least <k>", "how many of them", "2")
    .option("--operator <file...>", "public keys of whom one has to countersign", [])
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      "\nExample:\n  blockferry factory stage-two --in batch-7 --out product --vendor example.com --class sensor-a \\\n    --trust author.pub.pem --escrow escrow.pub.pem\n  blockferry factory stage-two --in batch-7 --out product --definition sensor.yaml",
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
  makeFolder(out, 0o700);
  const file = join(out, "devices.jsonl");
  refuseExisting(file);
  const audit = new FactoryAudit(out);
  const lines: string[] = [];
  for (let i = 0; i < devices; i++) {
    const device = stageOne(systemRandom);
    lines.push(deviceLine(device));
    audit.note({ kind: "stage-one", device: toHex(device.kid) });
  }
  audit.write();
  writeSecretLines(file, lines);
  report({ devices, folder: out, head: audit.head }, json, `${devices} devices with keys of their own in ${out}`);
}

function makeStageTwo(options: StageTwoOptions): void {
  const { vendorId, classId, trust } = productOf(options);
  const { quorum } = trust;
  // What is sealed here nobody can change: it has to be what a device can read.
  if (
    decodeTrust(encodeTrust(trust)) === undefined ||
    (quorum !== undefined && !(quorum.atLeast <= quorum.keys.length))
  )
    throw usageError("bad-anchors", "at most 8 keys of each kind, and a quorum of 1 to as many as it has keys");
  const most = mostTrustBytes(trust);
  if (most > MAX_TRUST_BYTES)
    throw usageError(
      "bad-anchors",
      `a hand-over could bring these keys to ${most} bytes, and devices have room for ${MAX_TRUST_BYTES}: name fewer keys, or fewer rights`,
    );
  const made = readDevices(options.in);
  makeFolder(options.out, 0o700);
  for (const name of ["flash.jsonl", "credentials.jsonl"]) refuseExisting(join(options.out, name));
  const audit = new FactoryAudit(options.out);
  const flash: string[] = [];
  const credentials: string[] = [];
  for (const one of made) {
    const device = stageTwo(nodeCrypto, one, { vendorId, classId, trust });
    if (!isSealed(nodeCrypto, device)) throw new Error("a seal does not hold");
    flash.push(flashLine(device));
    credentials.push(JSON.stringify({ ...exportCredential(nodeCrypto, device), class: toHex(classId) }));
    audit.note({ kind: "stage-two", device: toHex(device.kid), classId: toHex(classId), seal: toHex(device.seal) });
  }
  audit.write();
  writeSecretLines(join(options.out, "flash.jsonl"), flash);
  writeSecretLines(join(options.out, "credentials.jsonl"), credentials);
  const summary = { devices: made.length, class: toHex(classId), folder: options.out, head: audit.head };
  report(summary, options.json, `${made.length} devices of class ${toHex(classId)}, anchors sealed, in ${options.out}`);
}

/** Class and anchors: out of a file that a gateway reads too, or key by key. */
function productOf(options: StageTwoOptions): Pick<StageTwo, "vendorId" | "classId" | "trust"> {
  const { definition, vendor, class: className, trust, escrow, operator, quorum } = options;
  const files = [...trust, ...escrow, ...operator, ...quorum];
  if (definition !== undefined) {
    if (vendor !== undefined || className !== undefined || files.length > 0)
      throw usageError("option-conflict", "--definition names vendor, class and keys; leave the other options away");
    const product = readDefinition(definition);
    return { vendorId: fromHex(product.vendorId)!, classId: fromHex(product.id)!, trust: trustOfClass(product) };
  }
  if (vendor === undefined || className === undefined || trust.length === 0)
    throw usageError("option-missing", "give --definition, or --vendor, --class and --trust");
  const keys = (some: readonly string[]): Verifier[] => {
    const read = some.map(readPublicKey);
    if (namesKeyTwice(read)) throw usageError("bad-anchors", `one key is named twice: ${some.join(", ")}`);
    return read;
  };
  const atLeast = Number(options.quorumAtLeast);
  if (!Number.isInteger(atLeast) || atLeast < 1)
    throw usageError("bad-quorum", "--quorum-at-least is a whole number from 1");
  return {
    ...identifiers(vendor, className),
    trust: {
      ...trustOf(keys(trust)),
      escrow: keys(escrow),
      operators: keys(operator),
      quorum: quorum.length === 0 ? undefined : { keys: keys(quorum), atLeast },
    },
  };
}

async function importDevices(folder: string, { state, json }: { state: string; json?: boolean }): Promise<void> {
  const lines = readJsonLines(join(folder, "credentials.jsonl"), CredentialLine);
  let known = 0;
  const progress = new Progress(json !== true && lines.length > 200);
  progress.start("devices", lines.length);
  for (const [i, { device, class: classId, confirmation }] of lines.entries()) {
    const body = { actor: "factory", device, classId, endpoint: device, key: confirmation.key };
    await callGateway(state, "POST", "/v1/lifecycle/devices", body).catch((error: unknown) => {
      // An import that was cut short goes on where it stopped.
      if (!(error instanceof UserError) || error.reason !== "already-provisioned") throw error;
      known++;
    });
    progress.update(i + 1);
  }
  progress.stop();
  report({ devices: lines.length, known }, json, `${lines.length} devices are known to the gateway, ${known} before`);
}

/**
 * The line's own log, chained: nobody makes a device more, or other anchors, without leaving a mark. It is written before
 * what it tells of; a line that a stop has cut off is taken away.
 */
class FactoryAudit {
  readonly #file: string;
  #last: AuditEntry | undefined;
  readonly #noted: string[] = [];

  constructor(folder: string) {
    this.#file = join(folder, "audit.jsonl");
    if (!existsSync(this.#file)) return;
    const text = readFileSync(this.#file, "utf8");
    const whole = text.slice(0, text.lastIndexOf("\n") + 1);
    if (whole !== text) truncateSync(this.#file, Buffer.byteLength(whole));
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
    this.#noted.push(`${entryLine(this.#last)}\n`);
  }

  write(): void {
    appendDurably(this.#file, this.#noted.splice(0).join(""));
  }
}

function report(summary: object, json: boolean | undefined, text: string): void {
  console.log(json === true ? JSON.stringify(summary) : text);
}
