import { createHash } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import type { Command } from "commander";
import { nodeCrypto } from "../../adapters/node-crypto.ts";
import { imagePath } from "../../gateway/catalogue.ts";
import { createEnvelope, signEnvelope, uuid5 } from "../../suit/author.ts";
import { fromHex, toHex } from "../../util/bytes.ts";
import { environmentError, usageError } from "../errors.ts";
import { readPrivateKey } from "../keys.ts";

interface SignOptions {
  key: string;
  vendor: string;
  class: string;
  sequence: string;
  label?: string;
  uri?: string;
  out: string;
  json?: boolean;
}

/** Namespace of domain names (RFC 9562 section 6.6). */
const DNS_NAMESPACE = fromHex("6ba7b8109dad11d180b400c04fd430c8")!;

export function addSign(program: Command): void {
  program
    .command("sign <image>")
    .description("describe an image in a SUIT manifest and sign it (draft-ietf-suit-manifest-37)")
    .requiredOption("--key <file>", "private key, from `blockferry key new`")
    .requiredOption("--vendor <domain|uuid>", "vendor identifier: a domain name, or a UUID")
    .requiredOption("--class <name|uuid>", "class identifier: a name within the vendor, or a UUID")
    .requiredOption("--sequence <number>", "sequence number; motes and gateways refuse what is not higher")
    .requiredOption("--out <file>", "the envelope to write")
    .option("--label <version>", "version text for people, such as 1.2.0")
    .option("--uri <uri>", "where motes fetch the image; the content-addressed path on the gateway unless given")
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      `
Vendor and class become UUIDs of version 5, as the draft's section 8.4.8.2 asks.

Example:
  blockferry sign build/app.bin --key author.key.pem --vendor example.com --class sensor-a \\
    --sequence 2 --label 2.0.0 --out app-2.suit`,
    )
    .action((imageFile: string, options: SignOptions) => sign(imageFile, options));
}

function sign(imageFile: string, options: SignOptions): void {
  const key = readPrivateKey(options.key);
  const image = readInput(imageFile);
  if (image.length === 0) throw usageError("empty-image", `${imageFile} is empty`);
  const sequenceNumber = Number(options.sequence);
  if (!/^\d+$/.test(options.sequence) || !Number.isSafeInteger(sequenceNumber)) {
    throw usageError("bad-sequence", "--sequence is a whole number of 0 or more");
  }
  const { vendorId, classId } = identifiers(options.vendor, options.class);
  const imageDigest = nodeCrypto.sha256(image);
  const description = {
    sequenceNumber,
    vendorId,
    classId,
    imageDigest,
    imageSize: image.length,
    uri: options.uri ?? `/${imagePath(imageDigest).join("/")}`,
    ...(options.label === undefined ? {} : { version: options.label }),
  };
  const envelope = signEnvelope(nodeCrypto, key, createEnvelope(nodeCrypto, description));
  try {
    writeFileSync(options.out, envelope);
  } catch (error) {
    throw environmentError("file-not-writable", `cannot write ${options.out}: ${(error as Error).message}`);
  }
  const summary = {
    envelope: options.out,
    envelopeBytes: envelope.length,
    imageBytes: image.length,
    digest: toHex(imageDigest),
    vendor: toHex(vendorId),
    class: toHex(classId),
    sequenceNumber,
  };
  if (options.json === true) console.log(JSON.stringify(summary));
  else {
    console.log(`${options.out}  ${envelope.length} bytes, signed with ${key.algorithm}`);
    console.log(`  image    ${image.length} bytes, SHA-256 ${summary.digest}`);
    console.log(`  vendor   ${summary.vendor}\n  class    ${summary.class}\n  sequence ${sequenceNumber}`);
  }
}

function readInput(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    throw usageError("file-unreadable", `${file}: ${(error as Error).message}`);
  }
}

/** The vendor's UUID, and that of its class; each is taken as it is written, or made of a name. */
export function identifiers(vendor: string, className: string): { vendorId: Uint8Array; classId: Uint8Array } {
  const vendorId = identifier(vendor, DNS_NAMESPACE);
  return { vendorId, classId: identifier(className, vendorId) };
}

/** A UUID as it is written, or one of version 5 for a name. */
function identifier(text: string, namespace: Uint8Array): Uint8Array {
  const bytes = fromHex(text.replaceAll("-", ""));
  if (bytes?.length === 16) return bytes;
  return uuid5((input) => new Uint8Array(createHash("sha1").update(input).digest()), namespace, text);
}
