import type { Command } from "commander";
import { nodeCrypto } from "../../adapters/node-crypto.ts";
import { decodeEnvelope, digestOf, EnvelopeError } from "../../suit/envelope.ts";
import { inspectEnvelope, uuidText, type Inspection, type WayText } from "../../suit/inspect.ts";
import { openEnvelope } from "../../suit/open.ts";
import { contentsOf, isOther, OTHER_PAYLOAD } from "../../suit/payloads.ts";
import { failureOf, openingOnce, planProcedure } from "../../suit/plan.ts";
import { labelOf } from "../../suit/text.ts";
import { DIALECTS } from "../../suit/dialect.ts";
import type { OpenEnvelope, TrustPolicy } from "../../suit/opened.ts";
import { bytesEqual } from "../../util/bytes.ts";
import { readInput } from "../authoring/input.ts";
import { ExitCode, usageError, UserError } from "../errors.ts";
import { identifiers, vendorIdOf } from "../identifiers.ts";
import { readPublicKey } from "../keys.ts";

interface InspectOptions {
  trust: string[];
  atLeast: string;
  dialect: string;
  vendor?: string;
  class?: string[];
  json?: boolean;
}

export function addInspect(program: Command): void {
  program
    .command("inspect <envelope>")
    .description("say what a manifest will do, to which devices, under whose authority, and what would make it stop")
    .requiredOption("--trust <file...>", "public keys of authors (PEM): nothing unsigned is read")
    .option("--at-least <n>", "how many of these keys must have signed", "1")
    .option("--dialect <name>", "draft-37, or riot-09", "draft-37")
    .option("--vendor <domain>", "a vendor to be told by name where it is meant: a manifest has its UUID only")
    .option("--class <name...>", "the same for classes of that vendor")
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      "\nExample:\n  blockferry inspect app-2.suit --trust author.pub.pem --vendor example.com --class sensor-a sensor-b",
    )
    .action((file: string, options: InspectOptions) => {
      const [open, bytes] = openFile(file, options);
      const dependency = (envelope: Uint8Array): OpenEnvelope => openEnvelope(nodeCrypto, envelope, trustOf(options));
      const inspection = inspectEnvelope(nodeCrypto, open, bytes.length, { open: dependency });
      const names = namesOf(options);
      if (options.json === true) console.log(JSON.stringify({ ...inspection, names: Object.fromEntries(names) }));
      else console.log(withNames(tell(file, inspection), names));
    });
}

/** UUIDs of version 5 with the names that they are made of. */
function namesOf({ vendor, class: classes = [] }: InspectOptions): Map<string, string> {
  if (vendor === undefined && classes.length > 0)
    throw usageError("option-missing", "a class is one of its vendor: give --vendor too");
  const names = new Map<string, string>();
  if (vendor === undefined) return names;
  names.set(uuidText(vendorIdOf(vendor)), vendor);
  for (const name of classes) names.set(uuidText(identifiers(vendor, name).classId), name);
  return names;
}

const withNames = (text: string, names: ReadonlyMap<string, string>): string =>
  text.replaceAll(/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/g, (id) =>
    names.has(id) ? `${names.get(id)} (${id})` : id,
  );

export function addVerify(program: Command): void {
  program
    .command("verify <envelope>")
    .description("check an envelope's signatures and digests, as a gateway and a mote do")
    .requiredOption("--trust <file...>", "public keys of authors (PEM)")
    .option("--at-least <n>", "how many of these keys must have signed", "1")
    .option("--dialect <name>", "draft-37, or riot-09", "draft-37")
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      "\nExample:\n  blockferry verify app-2.suit --trust author.pub.pem --trust operator.pub.pem --at-least 2",
    )
    .action((file: string, options: InspectOptions) => {
      const [open] = openFile(file, options);
      const { manifest, signers } = open;
      const { sequenceNumber } = manifest;
      const { dependencies, warnings } = contentsIn(file, open, options);
      const signatures = signers.map(({ algorithm }) => algorithm);
      if (options.json === true)
        console.log(JSON.stringify({ verified: true, sequenceNumber, signatures, dependencies, warnings }));
      else {
        console.log(`${file}: authentic, sequence ${sequenceNumber}, ${signers.length} trusted signature(s)`);
        for (const { component, sequenceNumber: number, signatures: theirs } of dependencies)
          console.log(`  ${component} in it: authentic, sequence ${number}, ${theirs.length} trusted signature(s)`);
        for (const text of warnings) console.log(`  warning: ${text}`);
      }
    });
}

interface Contents {
  readonly dependencies: readonly { component: string; sequenceNumber: number; signatures: string[] }[];
  /** What makes no byte of it less authentic. */
  readonly warnings: readonly string[];
}

/**
 * What comes along in the envelope, on whatever way: payloads as they were signed, and manifests that it processes, which
 * have signers of their own.
 */
function contentsIn(file: string, root: OpenEnvelope, options: InspectOptions): Contents {
  const open = openingOnce(nodeCrypto, (envelope) => openEnvelope(nodeCrypto, envelope, trustOf(options)));
  const ways = planProcedure(nodeCrypto, root, "update", { requireIdentity: false, open });
  // Whoever is on the way may put what they like into an envelope: only what the manifest names by its digest is signed.
  const other = contentsOf(nodeCrypto, ways).find((payload) => !payload.encrypted && isOther(nodeCrypto, payload));
  if (other !== undefined)
    throw new UserError(ExitCode.REFUSED, "integrated-payload-mismatch", `${file}: ${OTHER_PAYLOAD}`);
  const found = new Map<string, { component: string; sequenceNumber: number; signatures: string[] }>();
  for (const step of ways.flatMap(({ steps }) => steps)) {
    if (step.kind !== "store" || !step.isDependency) continue;
    const component = labelOf(step.component);
    const name = `${file}, ${component} in it`;
    const { manifest, signers } = orRefuse(name, options, () => open(step.content));
    if (step.digest !== undefined && !bytesEqual(digestOf(decodeEnvelope(step.content)), step.digest))
      throw new UserError(ExitCode.REFUSED, "other-dependency", `${name}: it is not the manifest that is meant`);
    const { sequenceNumber } = manifest;
    found.set(component, { component, sequenceNumber, signatures: signers.map(({ algorithm }) => algorithm) });
  }
  const failed = failureOf(ways);
  const warnings =
    failed === undefined ? [] : [`a device would not come through it: ${failed.section}: ${failed.detail}`];
  return { dependencies: [...found.values()], warnings };
}

function trustOf({ trust, atLeast, dialect: name }: InspectOptions): TrustPolicy {
  const dialect = DIALECTS.find((known) => known === name);
  if (dialect === undefined) throw usageError("bad-dialect", `--dialect is ${DIALECTS.join(" or ")}`);
  const least = Number(atLeast);
  if (!Number.isInteger(least) || least < 1) throw usageError("bad-at-least", "--at-least is a number from 1");
  return { anchors: trust.map(readPublicKey), atLeast: least, dialect };
}

function openFile(file: string, options: InspectOptions): [OpenEnvelope, Uint8Array] {
  const bytes = readInput(file);
  const open = orRefuse(file, options, (policy) => openEnvelope(nodeCrypto, bytes, policy), bytes);
  return [open, bytes];
}

/** `bytes`: looked at in the other encodings, where it does not read in this one. */
function orRefuse<T>(file: string, options: InspectOptions, open: (policy: TrustPolicy) => T, bytes?: Uint8Array): T {
  const policy = trustOf(options);
  try {
    return open(policy);
  } catch (error) {
    if (!(error instanceof EnvelopeError)) throw error;
    const other =
      bytes && DIALECTS.find((dialect) => dialect !== policy.dialect && reads(bytes, { ...policy, dialect }));
    const hint =
      other !== undefined
        ? `; it reads as one with --dialect ${other}`
        : error.reason === "signature-invalid"
          ? "; give the public key of its author with --trust"
          : "";
    throw new UserError(ExitCode.REFUSED, error.reason, `${file}: ${error.message}${hint}`);
  }
}

function reads(bytes: Uint8Array, policy: TrustPolicy): boolean {
  try {
    return openEnvelope(nodeCrypto, bytes, policy).signers.length > 0;
  } catch (error) {
    return error instanceof EnvelopeError && error.reason === "too-few-signatures";
  }
}

/** Ways on which the same is done are told once, with what they have in common and no other has. */
function waysText(title: string, ways: readonly WayText[]): string[] {
  const byDeeds = new Map<string, WayText[]>();
  for (const way of ways) {
    const deeds = JSON.stringify([way.steps, way.fails]);
    const alike = byDeeds.get(deeds);
    if (alike === undefined) byDeeds.set(deeds, [way]);
    else alike.push(way);
  }
  const groups = [...byDeeds.values()];
  const lines: string[] = [];
  for (const [i, group] of groups.entries()) {
    const { steps, fails } = group[0]!;
    const who = groups.length === 1 ? "" : ` (${i + 1} of ${groups.length}: ${whenText(group, ways)})`;
    lines.push("", title + who, ...steps.map((step, n) => `  ${n + 1}. ${step}`));
    if (fails !== undefined) lines.push(`  and there it fails: ${fails}`);
  }
  return lines;
}

function whenText(group: readonly WayText[], all: readonly WayText[]): string {
  const inAll = (condition: string, ways: readonly WayText[]): boolean =>
    ways.every(({ when }) => when.includes(condition));
  const telling = ({ when }: WayText): string[] => when.filter((condition) => !inAll(condition, all));
  const shared = telling(group[0]!).filter((condition) => inAll(condition, group));
  const isOnlyTheirs = all.every(
    (way) => group.includes(way) || !shared.every((condition) => way.when.includes(condition)),
  );
  const alternatives = isOnlyTheirs ? [shared] : group.map(telling);
  // The last branch of a try-each asks for nothing more.
  if (alternatives.every((conditions) => conditions.length === 0)) return "otherwise";
  return `when ${alternatives.map((conditions) => conditions.join(", and ")).join("; or when ")}`;
}

const keyText = ({ algorithm, fingerprint }: Inspection["signers"][number]): string =>
  `${algorithm} key ${fingerprint}`;

function dependencyText({
  sequenceNumber,
  version,
  signers,
  manifestDigest,
}: Inspection["dependencies"][number]): string[] {
  const what = `number ${sequenceNumber}${version === undefined ? "" : `, version ${version}`}`;
  return [
    `  another manifest in it, ${what}, is signed with the trusted ${signers.map(keyText).join(" and ")}`,
    `  (manifest ${manifestDigest})`,
  ];
}

function classesText({ classes, classesOf }: Inspection): string[] {
  if (classes.length === 0) return ["  it does not ask for a class: any device might take it"];
  const isOne = new Set(classesOf.map((one) => one.classes.join())).size === 1;
  if (isOne) return [`  of class ${classes.join(" or ")}`];
  return classesOf.map((one) => `  whose ${one.component} is of class ${one.classes.join(" or ")}`);
}

function handOverText({ handOver }: Inspection): string[] {
  if (handOver === undefined) return [];
  const keys = handOver.authorities.map((key) => `  ${keyText(key)}`);
  return ["", "Who may sign their software from then on, and nobody else", ...keys];
}

/** The inspection as text that needs no knowledge of SUIT. */
function tell(file: string, inspection: Inspection): string {
  const { sequenceNumber, version, description, manifestDigest, envelopeBytes, signers, vendors, devices } = inspection;
  const { handOver, dependencies } = inspection;
  const lines = [
    `${file}: update number ${sequenceNumber}${version === undefined ? "" : `, version ${version}`}, ${envelopeBytes} bytes`,
    ...(description === undefined ? [] : [`  "${description}"`]),
    "",
    "Under whose authority",
    ...signers.map((key) => `  signed with the trusted ${keyText(key)}`),
    `  (manifest ${manifestDigest})`,
    ...dependencies.flatMap(dependencyText),
    "",
    "For which devices",
    vendors.length === 0 ? "  it does not ask who the vendor is" : `  of vendor ${vendors.join(" or ")}`,
    ...classesText(inspection),
    ...(devices.length === 0 ? [] : [`  only the device ${devices.join(" or ")}`]),
    handOver === undefined
      ? `  that have not installed number ${sequenceNumber} or higher`
      : `  that have been handed over ${handOver.epoch - 1} times so far`,
    ...handOverText(inspection),
    "",
    "What it replaces",
    ...inspection.components.map((component) => {
      const to = component.version === undefined ? "" : ` becomes version ${component.version}`;
      return `  ${component.name}${to}${component.description === undefined ? "" : `: ${component.description}`}`;
    }),
  ];
  lines.push(
    ...waysText("What a device does", inspection.ways),
    ...waysText("What it does each time that it starts", inspection.starts),
    ...waysText("What it does when the software is removed", inspection.removal),
  );
  lines.push(
    "",
    "What would make it stop, and leave the old software in place",
    ...inspection.stopsWhen.map((line) => `  ${line}`),
  );
  lines.push("  anything that the device does not know or cannot do", ...inspection.missing.map((line) => `  ${line}`));
  return lines.join("\n");
}
