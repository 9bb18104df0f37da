import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { parse } from "yaml";
import { nodeCipher } from "../../adapters/node-cipher.ts";
import { keyPairOf } from "../../crypto/noble-crypto.ts";
import { imagePath } from "../../gateway/catalogue.ts";
import type { ComponentUpdate, Image, Payload, UpdateDescription } from "../../suit/build.ts";
import { encryptPayload, type Recipient } from "../../suit/encryption.ts";
import { VersionComparison, WaitEvent } from "../../suit/keys.ts";
import { componentName } from "../../suit/manifest.ts";
import { bytesEqual, fromHex, toHex, utf8 } from "../../util/bytes.ts";
import { usageError, whyUnreadable, type UserError } from "../errors.ts";
import { identifiers } from "../identifiers.ts";
import { readPublicKey } from "../keys.ts";
import { clashOf, dependencyOf } from "./dependencies.ts";
import { componentId, readInput } from "./input.ts";
import { imageOf, patchesOf, type FetchedFile } from "./patches.ts";
import {
  parseUpdateFile,
  type ComponentFile,
  type PayloadFile,
  type RecipientFile,
  type UpdateFile,
  type WaitFile,
} from "./schema.ts";

/** What an update file stands for, and what has to be given to the gateway besides the envelope. */
export interface PreparedUpdate {
  readonly update: UpdateDescription;
  /** Files that devices fetch, each with its digest. */
  readonly files: readonly FetchedFile[];
  /** All that was read for it. */
  readonly inputs: readonly string[];
  /** What was left away, and why. */
  readonly warnings: readonly string[];
}

/** Reads an update's YAML description; images and keys are named relative to it. Throws UserError. */
export function readUpdateFile(path: string): PreparedUpdate {
  const file = parsed(path);
  const folder = dirname(path);
  const [files, warnings]: [Files, string[]] = [[], []];
  const classes = file.classes ?? [file.class!];
  const ids = classes.map((name) => identifiers(file.vendor, name));
  const { sequence: sequenceNumber, version, useBefore, invoke, sever, wait } = file;
  const { referenceUri, priority, minimumBatteryMwh } = file;
  const dependencies = file.dependencies.map((dependency) => dependencyOf(dependency, folder));
  const update: UpdateDescription = {
    sequenceNumber,
    vendorId: ids[0]!.vendorId,
    classIds: ids.map(({ classId }) => classId),
    components: file.components.map((component) => componentOf(component, { folder, files, warnings }, version)),
    dependencies: dependencies.map(({ dependency }) => dependency),
    setVersion: version === undefined ? undefined : versionOf(version),
    updateDescription: file.description,
    useBefore: useBefore === undefined ? undefined : unixS(useBefore),
    wait: wait === undefined ? undefined : waitOf(wait),
    referenceUri,
    priority,
    minimumBatteryMwh,
    invoke,
    sever,
  };
  checkSense(update, path);
  const clash = clashOf(update.components, dependencies);
  if (clash !== undefined) throw usageError("bad-update-file", `${path}: ${clash}`);
  return { update, files, inputs: inputsOf(file).map((name) => resolve(folder, name)), warnings };
}

function inputsOf({ components, dependencies }: UpdateFile): string[] {
  const payloads = components.flatMap((one): readonly (ComponentFile | PayloadFile)[] => one.slots ?? [one]);
  const recipients = payloads.flatMap(({ encrypt }) => encrypt?.recipients ?? []);
  return [
    ...payloads.flatMap(({ image, delta }) => [image ?? [], delta?.from ?? []].flat()),
    ...recipients.map((one) => ("kek" in one ? one.kek : one.publicKey)),
    ...dependencies.map(({ envelope }) => envelope),
  ];
}

function parsed(path: string): UpdateFile {
  let raw: unknown;
  try {
    raw = parse(readFileSync(path, "utf8"));
  } catch (error) {
    throw usageError("file-unreadable", `${path}: ${whyUnreadable(error)}`);
  }
  const file = parseUpdateFile(raw);
  if (typeof file === "string") throw usageError("bad-update-file", `${path}:\n${file}`);
  return file;
}

type Files = FetchedFile[];

/** Where an update is described, and what comes of that. */
interface Desk {
  readonly folder: string;
  readonly files: Files;
  readonly warnings: string[];
}

function componentOf(component: ComponentFile, desk: Desk, version: string | undefined): ComponentUpdate {
  const { id, slots, requires, description } = component;
  const payloads = (slots ?? [component as PayloadFile]).map((payload) => payloadOf(payload, desk));
  return {
    id: componentId(id),
    payloads,
    version: component.version ?? version,
    description,
    requires: requires.map(requirementOf),
  };
}

function payloadOf(payload: PayloadFile, { folder, files, warnings }: Desk): Payload {
  const path = resolve(folder, payload.image);
  const bytes = readInput(path);
  if (bytes.length === 0) throw usageError("empty-image", `${path} is empty`);
  const image = imageOf(bytes);
  const patched = patchesOf(payload, folder, bytes, (text) => warnings.push(text));
  const uriOf = ({ digest }: Image): string => payload.uri ?? `/${imagePath(digest).join("/")}`;
  if (payload.integrated === true) {
    if (payload.encrypt !== undefined)
      throw usageError("bad-update-file", "an integrated payload is not encrypted here");
    return { slot: payload.slot, image, uri: payload.uri ?? `#${payload.image}`, integrated: bytes };
  }
  if (payload.encrypt === undefined) {
    files.push({ file: path, ...image }, ...patched.files);
    return { slot: payload.slot, image, uri: uriOf(image), patches: patched.patches };
  }
  const { algorithm, recipients } = payload.encrypt;
  const secrets = {
    cek: fresh(16),
    iv: fresh(algorithm === "A128GCM" ? 12 : 16),
    ephemeral: ephemeralKey(),
  };
  const to = recipients.map((recipient) => recipientOf(recipient, folder));
  const { info, ciphertext } = encryptPayload(nodeCipher, algorithm, bytes, to, secrets);
  const sealed = imageOf(ciphertext);
  // One image for several slots is encrypted anew for each.
  const isTaken = (name: string): boolean => files.some(({ file }) => file === name);
  const [plain, numbered] = [`${path}.encrypted`, `${path}.${toHex(sealed.digest).slice(0, 8)}.encrypted`];
  files.push({ file: isTaken(plain) ? numbered : plain, ...sealed, bytes: ciphertext });
  return { slot: payload.slot, image, uri: uriOf(sealed), encryption: { info, ciphertext: sealed } };
}

const fresh = (length: number): Uint8Array => new Uint8Array(randomBytes(length));

function ephemeralKey(): { secret: Uint8Array; publicPoint: Uint8Array } {
  const { secret, publicKey } = keyPairOf("ES256", fresh(32));
  return { secret, publicPoint: publicKey.bytes };
}

function recipientOf(recipient: RecipientFile, folder: string): Recipient {
  const kid = utf8(recipient.kid);
  if ("kek" in recipient) {
    const kek = fromHex(
      Buffer.from(readInput(resolve(folder, recipient.kek)))
        .toString("utf8")
        .trim(),
    );
    if (kek === undefined || ![16, 24, 32].includes(kek.length))
      throw usageError("bad-key", `${recipient.kek} must hold 32, 48 or 64 hexadecimal digits`);
    return { kid, kek };
  }
  const key = readPublicKey(resolve(folder, recipient.publicKey));
  if (key.algorithm !== "ES256") throw usageError("bad-key", `${recipient.publicKey} must be a P-256 key`);
  return { kid, publicPoint: key.bytes };
}

/** What contradicts itself would be signed, and refused by each device. */
function checkSense({ components, classIds, invoke }: UpdateDescription, path: string): void {
  const wrong = (detail: string): UserError => usageError("bad-update-file", `${path}: ${detail}`);
  const hasTwice = (names: readonly string[]): boolean => new Set(names).size < names.length;
  if (hasTwice(classIds.map(toHex))) throw wrong("it names a class twice");
  if (hasTwice(components.map(({ id }) => componentName(id)))) throw wrong("it names a component twice");
  for (const { payloads } of components) {
    if (hasTwice(payloads.map(({ slot }) => String(slot)))) throw wrong("a component names a slot twice");
    if (new Set(payloads.map(({ encryption }) => encryption === undefined)).size > 1)
      throw wrong("a component is encrypted for all of its slots, or for none");
  }
  const brought = new Map<string, Uint8Array>();
  for (const { uri, integrated } of components.flatMap(({ payloads }) => payloads)) {
    if (integrated === undefined) continue;
    const other = brought.get(uri) ?? integrated;
    if (!bytesEqual(other, integrated)) throw wrong(`two different images would come along as ${uri}`);
    brought.set(uri, integrated);
  }
  if (typeof invoke === "number" && invoke >= components.length)
    throw wrong(`invoke: ${invoke}, and there are ${components.length} components (the first is 0)`);
}

const PRE_RELEASE: Readonly<Record<string, number>> = { rc: -1, beta: -2, alpha: -3 };

/** [1, 2, -1, 3] for 1.2-rc.3 (update-management section 4.4.1). */
export function versionOf(text: string): number[] {
  const [release, pre] = text.split("-");
  const numbers = release!.split(".").map(Number);
  if (pre === undefined) return numbers;
  const [name, number] = pre.split(".");
  return [...numbers, PRE_RELEASE[name!]!, ...(number === undefined ? [] : [Number(number)])];
}

const COMPARISONS: Readonly<Record<string, number>> = {
  ">": VersionComparison.GREATER,
  ">=": VersionComparison.GREATER_EQUAL,
  "=": VersionComparison.EQUAL,
  "<=": VersionComparison.LESSER_EQUAL,
  "<": VersionComparison.LESSER,
};

function requirementOf(text: string): { comparison: number; version: number[] } {
  const [, operator, version] = /^([<>=]+)\s*(.*)$/.exec(text)!;
  return { comparison: COMPARISONS[operator!]!, version: versionOf(version!) };
}

const unixS = (text: string): number => Math.floor(Date.parse(text) / 1_000);

function waitOf(wait: WaitFile): Map<number, number> {
  const { authorization, power, network, time } = wait;
  const events = new Map<number, number>();
  if (authorization !== undefined) events.set(WaitEvent.AUTHORIZATION, authorization);
  if (power !== undefined) events.set(WaitEvent.POWER, power);
  if (network !== undefined) events.set(WaitEvent.NETWORK, network);
  if (time !== undefined) events.set(WaitEvent.TIME, unixS(time));
  return events;
}
