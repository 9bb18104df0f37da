import type { Command } from "commander";
import { z } from "zod";
import { nodeCrypto } from "../../adapters/node-crypto.ts";
import { imagePath } from "../../gateway/catalogue.ts";
import type { PrivateKey } from "../../ports/crypto.ts";
import { signEnvelope } from "../../suit/author.ts";
import { buildEnvelope, type UpdateDescription } from "../../suit/build.ts";
import { buildEnvelope09 } from "../../suit/dialect-09.ts";
import { authenticate, decodeEnvelope, EnvelopeError } from "../../suit/envelope.ts";
import { openRelease } from "../../suit/release.ts";
import { SECTOR_LIMITS, signSectorTable } from "../../suit/sector-table.ts";
import { toHex } from "../../util/bytes.ts";
import { readInput } from "../authoring/input.ts";
import { readUpdateFile, type PreparedUpdate } from "../authoring/update-file.ts";
import { ImageOptions } from "../authoring/schema.ts";
import { usageError } from "../errors.ts";
import { writeOutput } from "../files.ts";
import { identifiers } from "../identifiers.ts";
import { namesKeyTwice, readPrivateKey } from "../keys.ts";

interface SignOptions {
  key: string[];
  vendor?: string;
  class?: string;
  sequence?: string;
  label?: string;
  uri?: string;
  out: string;
  countersign?: boolean;
  dialect: string;
  sectorTable?: string;
  sectorBytes: string;
  json?: boolean;
}

export function addSign(program: Command): void {
  program
    .command("sign <file>")
    .description("describe an update in a SUIT manifest and sign it (draft-ietf-suit-manifest-37)")
    .requiredOption("--key <file...>", "private keys, from `blockferry key new`; each makes a signature")
    .option("--vendor <domain|uuid>", "vendor identifier: a domain name, or a UUID")
    .option("--class <name|uuid>", "class identifier: a name within the vendor, or a UUID")
    .option("--sequence <number>", "sequence number; motes and gateways refuse what is not higher")
    .requiredOption("--out <file>", "the envelope to write")
    .option("--label <version>", "version text for people, such as 1.2.0")
    .option("--uri <uri>", "where motes fetch the image; the content-addressed path on the gateway unless given")
    .option("--countersign", "<file> is an envelope: add signatures to those that it has")
    .option(
      "--dialect <name>",
      "draft-37, or riot-09 for devices that run RIOT: one component, keys Ed25519",
      "draft-37",
    )
    .option("--sector-table <file>", "write a signed table of the image's sectors too, for motes that check each one")
    .option("--sector-bytes <n>", "bytes of a sector of that table", "4096")
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      `
<file> is an image, with --vendor, --class and --sequence; or a description in YAML, for several components, slots,
classes and dependencies, patches, encryption, validity and conditions; or, with --countersign, an envelope.
Vendor and class become UUIDs of version 5, as the draft's section 8.4.8.2 asks.

Example:
  blockferry sign build/app.bin --key author.key.pem --vendor example.com --class sensor-a \\
    --sequence 2 --label 2.0.0 --out app-2.suit
  blockferry sign update.yaml --key author.key.pem --out app-3.suit
  blockferry sign app-3.suit --countersign --key operator.key.pem --out app-3-approved.suit

update.yaml (docs/authoring.md has every key):
  sequence: 3
  vendor: example.com
  class: sensor-a
  version: 3.0.0
  useBefore: 2027-06-01T00:00:00Z
  components:
    - id: app
      requires: [">=2.0.0"]
      slots:
        - { slot: 0, image: app-a.bin }
        - { slot: 1, image: app-b.bin }
    - { id: sensor, image: sensor-3.bin, delta: { from: [sensor-2.bin] } }
    - { id: radio, image: radio.bin, encrypt: { recipients: [{ kid: k1, publicKey: device.pub.pem }] } }`,
    )
    .action((file: string, options: SignOptions) => sign(file, options));
}

function sign(file: string, options: SignOptions): void {
  const keys = options.key.map(readPrivateKey);
  if (namesKeyTwice(keys.map(({ publicKey }) => publicKey)))
    throw usageError("already-signed", "--key names one key twice: two signatures by it count as one");
  const prepared = options.countersign === true ? undefined : prepare(file, options);
  const envelope = signed(file, keys, prepared?.update, options);
  // An envelope may be countersigned where it is.
  const inputs = [...options.key, ...(prepared?.inputs ?? []), ...(options.countersign === true ? [] : [file])];
  checkPatches(file, envelope, keys, prepared);
  writeOutput(options.out, envelope, inputs);
  for (const { file: patch, bytes } of prepared?.files ?? [])
    if (bytes !== undefined) writeOutput(patch, bytes, [...inputs, options.out]);
  const table = options.sectorTable === undefined ? undefined : writeTable(file, options, keys[0]!);
  const images = (prepared?.files ?? []).map((image) => ({
    file: image.file,
    bytes: image.size,
    digest: toHex(image.digest),
  }));
  const summary = {
    envelope: options.out,
    envelopeBytes: envelope.length,
    signatures: keys.map(({ algorithm }) => algorithm),
    ...(prepared === undefined ? {} : factsOf(prepared.update)),
    ...(images[0] === undefined ? {} : { imageBytes: images[0].bytes, digest: images[0].digest }),
    images,
    warnings: prepared === undefined ? [] : [...warningsOf(prepared.update), ...prepared.warnings],
    ...(table === undefined ? {} : { sectorTable: options.sectorTable, sectorTableBytes: table.length }),
  };
  if (options.json === true) console.log(JSON.stringify(summary));
  else print(summary, prepared?.update);
}

/** An image with options, or a description that stands for itself. */
function prepare(file: string, options: SignOptions): PreparedUpdate {
  if (/\.ya?ml$/i.test(file)) {
    for (const name of ["vendor", "class", "sequence", "label", "uri"] as const)
      if (options[name] !== undefined)
        throw usageError("bad-option", `--${name} goes with an image; ${file} says it itself`);
    return readUpdateFile(file);
  }
  for (const name of ["vendor", "class", "sequence"] as const)
    if (options[name] === undefined) throw usageError("option-missing", `--${name} is needed to sign an image`);
  const image = readInput(file);
  if (image.length === 0) throw usageError("empty-image", `${file} is empty`);
  const sequenceNumber = Number(options.sequence);
  if (!/^\d+$/.test(options.sequence!) || !Number.isSafeInteger(sequenceNumber))
    throw usageError("bad-sequence", "--sequence is a whole number of 0 or more");
  const said = ImageOptions.safeParse(options);
  if (!said.success) throw usageError("bad-option", z.prettifyError(said.error));
  const { vendorId, classId } = identifiers(options.vendor!, options.class!);
  const digest = nodeCrypto.sha256(image);
  const uri = options.uri ?? `/${imagePath(digest).join("/")}`;
  const payloads = [{ image: { digest, size: image.length }, uri }];
  const components = [{ id: [Uint8Array.of(0)], payloads, version: options.label }];
  const update: UpdateDescription = { sequenceNumber, vendorId, classIds: [classId], components };
  return { update, files: [{ file, digest, size: image.length }], inputs: [file], warnings: [] };
}

function signed(
  file: string,
  keys: readonly PrivateKey[],
  update: UpdateDescription | undefined,
  { dialect }: SignOptions,
): Uint8Array {
  try {
    if (dialect === "riot-09" && update !== undefined) return buildEnvelope09(nodeCrypto, keys, update);
    if (dialect !== "draft-37") throw usageError("bad-dialect", "--dialect is draft-37, or riot-09 for a new envelope");
    const unsigned = update === undefined ? readInput(file) : buildEnvelope(nodeCrypto, update);
    const signer = update === undefined ? keys.find((key) => hasSigned(unsigned, key)) : undefined;
    if (signer !== undefined)
      throw usageError("already-signed", `${file} has a signature by the ${signer.algorithm} key already`);
    return keys.reduce((bytes, key) => signEnvelope(nodeCrypto, key, bytes), unsigned);
  } catch (error) {
    if (error instanceof EnvelopeError)
      throw update === undefined
        ? usageError("bad-envelope", `${file} is no envelope to be countersigned: ${error.message}`)
        : usageError("bad-update-file", `${file} makes an envelope that nobody would read: ${error.message}`);
    if (error instanceof RangeError) throw usageError("bad-update-file", `${file}: ${error.message}`);
    throw error;
  }
}

function hasSigned(envelope: Uint8Array, { publicKey }: PrivateKey): boolean {
  try {
    return authenticate(nodeCrypto, decodeEnvelope(envelope), [publicKey]).length > 0;
  } catch (error) {
    if (error instanceof EnvelopeError) return false;
    throw error;
  }
}

/** More of them than a gateway looks through would be refused by each. */
function checkPatches(
  file: string,
  envelope: Uint8Array,
  keys: readonly PrivateKey[],
  prepared: PreparedUpdate | undefined,
): void {
  if (prepared?.files.some(({ bytes }) => bytes !== undefined) !== true) return;
  const opened = openRelease(nodeCrypto, envelope, { anchors: keys.map(({ publicKey }) => publicKey) });
  if (opened.ok || !(opened.reason === "too-many-payloads" || opened.detail.includes("more than"))) return;
  const detail = `name fewer images in delta.from, since each gateway refuses this: ${opened.detail}`;
  throw usageError("too-many-patches", `${file}: ${detail}`);
}

/** What may be meant, and hardly is. */
function warningsOf({ useBefore, sequenceNumber }: UpdateDescription): string[] {
  const warnings: string[] = [];
  if (useBefore !== undefined && useBefore * 1_000 <= Date.now())
    warnings.push("useBefore has passed: no device with a clock will install this any more");
  if (sequenceNumber > 0xffff_ffff)
    warnings.push(
      `sequence ${sequenceNumber} has more than 32 bits: motes keep as many, and each later release has to be higher`,
    );
  return warnings;
}

function writeTable(file: string, options: SignOptions, key: PrivateKey): Uint8Array {
  const sectorBytes = Number(options.sectorBytes);
  const { leastSectorBytes, mostSectorBytes } = SECTOR_LIMITS;
  if (!Number.isInteger(sectorBytes) || sectorBytes < leastSectorBytes || sectorBytes > mostSectorBytes)
    throw usageError("bad-sector-bytes", `--sector-bytes is ${leastSectorBytes} to ${mostSectorBytes}`);
  if (/\.ya?ml$/i.test(file) || options.countersign === true)
    throw usageError("bad-option", "--sector-table goes with one image; sign the table of each image by itself");
  const table = signSectorTable(nodeCrypto, key, readInput(file), sectorBytes);
  writeOutput(options.sectorTable!, table, [file, ...options.key, options.out]);
  return table;
}

function factsOf({ vendorId, classIds, sequenceNumber }: UpdateDescription): object {
  return { vendor: toHex(vendorId), class: toHex(classIds[0]!), classes: classIds.map(toHex), sequenceNumber };
}

interface Summary {
  readonly envelope: string;
  readonly envelopeBytes: number;
  readonly signatures: readonly string[];
  readonly warnings: readonly string[];
  readonly images: readonly { readonly file: string; readonly bytes: number; readonly digest: string }[];
}

function print(summary: Summary, update: UpdateDescription | undefined): void {
  const { envelope, envelopeBytes, signatures, images, warnings } = summary;
  console.log(`${envelope}  ${envelopeBytes} bytes, signed with ${signatures.join(", ")}`);
  for (const { file, bytes, digest } of images) console.log(`  image    ${file}, ${bytes} bytes, SHA-256 ${digest}`);
  for (const warning of warnings) console.log(`  warning: ${warning}`);
  if (update === undefined) return;
  const { vendorId, classIds, sequenceNumber } = update;
  console.log(
    `  vendor   ${toHex(vendorId)}\n  class    ${classIds.map(toHex).join(", ")}\n  sequence ${sequenceNumber}`,
  );
}
