import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { pathToFileURL } from "node:url";
import { resolve } from "node:path";
import type { Command } from "commander";
import { z } from "zod";
import { nodeCrypto } from "../../adapters/node-crypto.ts";
import type { ImageView } from "../../http/images.ts";
import { decodeEnvelope, decodeManifestMap, EnvelopeError } from "../../suit/envelope.ts";
import { withDependencies } from "../../suit/integrate.ts";
import { readManifest } from "../../suit/manifest.ts";
import { openRelease } from "../../suit/release.ts";
import { DIALECTS } from "../../suit/dialect.ts";
import type { TrustPolicy } from "../../suit/opened.ts";
import { isTrustComponent } from "../../suit/trust.ts";
import { toHex, utf8 } from "../../util/bytes.ts";
import { readInput } from "../authoring/input.ts";
import { callGateway } from "../control-client.ts";
import { makeFolder, writeOutput } from "../files.ts";
import { ExitCode, usageError, UserError } from "../errors.ts";
import { readPublicKey } from "../keys.ts";
import { aliasField, RELEASE_OPTIONS, type AliasOption } from "../release-options.ts";
import { lifecycleOf, operatorOptions, type OperatorOptions } from "../operator.ts";

const BundleIndex = z.strictObject({
  bundle: z.literal(1),
  envelope: z.string(),
  images: z.array(z.strictObject({ file: z.string(), digest: z.string(), bytes: z.number() })),
  handovers: z.array(z.string()),
  /** Of the release, whose hand-overs these are. */
  classes: z.array(z.string().regex(/^[0-9a-f]{32}$/)).default([]),
  tables: z.array(z.string()).default([]),
  dialect: z.enum(DIALECTS).default("draft-37"),
});
type BundleIndex = z.infer<typeof BundleIndex>;

/** A folder that is carried to a site without a network: nothing in it is believed but what is signed. */
export function addBundle(program: Command): void {
  const group = program.command("bundle").description("carry a release to a site that no network reaches");
  group
    .command("export <folder>")
    .description("put an envelope and its images into a folder, each checked")
    .requiredOption("--envelope <file>", "signed envelope")
    .option("--image <file...>", "all images that its manifest names and does not bring along itself", [])
    .requiredOption("--trust <file...>", "public keys of its authors")
    .addOption(RELEASE_OPTIONS.dependency)
    .option("--sector-table <file...>", "signed tables of the images' sectors", [])
    .option("--dialect <name>", "encoding of the manifest: draft-37, or riot-09", "draft-37")
    .option("--handover <file...>", "authority transfers that the site may not have yet", [])
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      "\nExample:\n  blockferry bundle export usb/ --envelope app-2.suit --image app.bin --trust author.pub.pem",
    )
    .action(exportBundle);
  operatorOptions(group.command("import <folder>"))
    .description("hand over, and publish, what a folder holds on the gateway of this site; it verifies all of it again")
    .addOption(RELEASE_OPTIONS.alias)
    .addOption(RELEASE_OPTIONS.noAlias)
    .addHelpText("after", "\nExample:\n  blockferry bundle import usb/ --state gw")
    .action(importBundle);
}

interface ExportOptions {
  readonly envelope: string;
  readonly image: readonly string[];
  readonly trust: readonly string[];
  readonly dependency?: readonly string[];
  readonly handover: readonly string[];
  readonly sectorTable: readonly string[];
  readonly dialect: string;
  readonly json?: boolean;
}

function exportBundle(folder: string, options: ExportOptions): void {
  const dialect = DIALECTS.find((known) => known === options.dialect);
  if (dialect === undefined) throw usageError("bad-dialect", `--dialect is one of ${DIALECTS.join(", ")}`);
  const trust = { anchors: options.trust.map(readPublicKey), dialect };
  const envelope = wholeEnvelope(options, trust);
  const opened = openRelease(nodeCrypto, envelope, trust);
  if (!opened.ok) throw new UserError(ExitCode.REFUSED, opened.reason, `${options.envelope}: ${opened.detail}`);
  const files = options.image.map((file) => ({ file, bytes: readInput(file) }));
  const found = files.map(({ file, bytes }) => ({ file, bytes, digest: toHex(nodeCrypto.sha256(bytes)) }));
  const missing = opened.release.images.find(
    ({ digest, content }) => content === undefined && !found.some((one) => one.digest === toHex(digest)),
  );
  if (missing !== undefined)
    throw usageError(
      "image-missing",
      `the manifest names an image with SHA-256 ${toHex(missing.digest)}; give it with --image`,
    );
  const odd = options.handover.find((file) => handOverIn(readInput(file)) === undefined);
  if (odd !== undefined)
    throw usageError("not-a-transfer", `${odd} is no hand-over: blockferry authority transfer makes one`);
  makeFolder(folder);
  const inputs = [
    options.envelope,
    ...options.image,
    ...(options.dependency ?? []),
    ...options.handover,
    ...options.sectorTable,
  ];
  const put = (name: string, bytes: Uint8Array): void => writeOutput(join(folder, name), bytes, inputs);
  put("manifest.suit", envelope);
  for (const { bytes, digest } of found) put(`${digest}.bin`, bytes);
  const copied = (from: readonly string[], name: string): string[] =>
    from.map((file, i) => {
      const copy = `${name}-${i + 1}.suit`;
      put(copy, readInput(file));
      return copy;
    });
  const index: BundleIndex = {
    bundle: 1,
    envelope: "manifest.suit",
    images: found.map(({ bytes, digest }) => ({ file: `${digest}.bin`, digest, bytes: bytes.length })),
    handovers: copied(options.handover, "handover"),
    classes: [...opened.release.classes],
    tables: copied(options.sectorTable, "sectors"),
    dialect,
  };
  put("bundle.json", utf8(`${JSON.stringify(index, undefined, 2)}\n`));
  const summary = { folder, sequenceNumber: opened.release.sequenceNumber, images: index.images.length };
  console.log(
    options.json === true
      ? JSON.stringify(summary)
      : `${folder}: release ${summary.sequenceNumber} with ${summary.images} image(s)`,
  );
}

/** With the manifests in it that it depends on. */
function wholeEnvelope({ envelope: file, dependency = [] }: ExportOptions, trust: TrustPolicy): Uint8Array {
  const envelope = readInput(file);
  try {
    return withDependencies(nodeCrypto, envelope, dependency.map(readInput), trust);
  } catch (error) {
    if (error instanceof EnvelopeError)
      throw new UserError(ExitCode.REFUSED, error.reason, `${file}: ${error.message}`);
    throw error;
  }
}

/** Number of the hand-over that an envelope is meant as; who signed it the gateway finds out. */
function handOverIn(bytes: Uint8Array): number | undefined {
  try {
    const envelope = decodeEnvelope(bytes);
    const { components, sequenceNumber } = readManifest(decodeManifestMap(envelope), envelope);
    return components.length === 1 && isTrustComponent(components[0]!) ? sequenceNumber : undefined;
  } catch (error) {
    if (error instanceof EnvelopeError) return undefined;
    throw error;
  }
}

async function importBundle(folder: string, options: OperatorOptions & AliasOption): Promise<void> {
  const index = readIndex(folder);
  const sources: Record<string, string> = {};
  for (const { file, digest } of index.images) {
    const path = inFolder(folder, file);
    const actual = createHash("sha256").update(readInput(path)).digest("hex");
    if (actual !== digest)
      throw usageError("image-damaged", `${path} is not the image that was put in: copy the folder again`);
    sources[digest] = pathToFileURL(resolve(path)).href;
  }
  const base64 = (file: string): string => Buffer.from(readInput(inFolder(folder, file))).toString("base64");
  const { dialect } = index;
  const body = {
    envelope: base64(index.envelope),
    sources,
    dialect,
    tables: index.tables.map(base64),
    ...aliasField(options),
  };
  // Who signed the release may be among those to whom its devices are handed.
  const handovers: HandedOver[] = [];
  for (const file of index.handovers)
    handovers.push(...(await handOver(readInput(inFolder(folder, file)), file, index.classes, options)));
  const image = (await callGateway(options.state, "POST", "/v1/images", body)) as ImageView;
  if (options.json === true) return console.log(JSON.stringify({ ...image, handovers }));
  for (const { file, class: id, outcome } of handovers) console.log(`${file}: class ${id} ${OUTCOMES[outcome]}`);
  return console.log(`published: sequence ${image.sequenceNumber}, ${image.bytes} bytes`);
}

interface HandedOver {
  readonly file: string;
  readonly class: string;
  readonly outcome: keyof typeof OUTCOMES;
}

const OUTCOMES = {
  "handed-over": "is handed over",
  "older-transfer": "has had it before",
  "no-such-class": "is not defined here, so its devices are offered no hand-over",
} as const;

/** A hand-over is of one class, of those that the release is for; who signed one that a class has had may be gone by now. */
async function handOver(
  bytes: Uint8Array,
  file: string,
  classes: readonly string[],
  { state, actor }: OperatorOptions,
): Promise<HandedOver[]> {
  const epoch = handOverIn(bytes);
  if (epoch === undefined) throw usageError("bad-bundle", `${file} is no hand-over`);
  const { classes: known } = await lifecycleOf(state);
  const envelope = Buffer.from(bytes).toString("base64");
  const done: HandedOver[] = [];
  let refusal: UserError | undefined;
  for (const id of classes) {
    const before = known.find((one) => one.id === id)?.epoch;
    if (before === undefined || before >= epoch) {
      done.push({ file, class: id, outcome: before === undefined ? "no-such-class" : "older-transfer" });
      continue;
    }
    try {
      await callGateway(state, "POST", "/v1/lifecycle/transfers", { actor, classId: id, envelope, names: [] });
      return [{ file, class: id, outcome: "handed-over" }];
    } catch (error) {
      if (!(error instanceof UserError)) throw error;
      // Each class opens it by its own keys, so that of another may say anything.
      if (error.reason !== "other-class") refusal = error;
    }
  }
  if (done.length === 0) throw refusal ?? usageError("bad-bundle", `${file} is of none of the release's classes`);
  return done;
}

/** Names in the index are of files in the folder, and of none beside it. */
function inFolder(folder: string, file: string): string {
  if (file !== basename(file)) throw usageError("bad-bundle", `${file} is not a file of ${folder}`);
  return join(folder, file);
}

function readIndex(folder: string): BundleIndex {
  try {
    return BundleIndex.parse(JSON.parse(readFileSync(join(folder, "bundle.json"), "utf8")));
  } catch (error) {
    const why = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message;
    throw usageError("bad-bundle", `${folder} holds no bundle: ${why}`);
  }
}
