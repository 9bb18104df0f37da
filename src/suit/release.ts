import type { Verifier } from "../codec/cose.ts";
import type { Crypto } from "../ports/crypto.ts";
import { bytesEqual, toHex } from "../util/bytes.ts";
import { EnvelopeError, type EnvelopeReason } from "./envelope.ts";
import type { Dialect } from "./dialect.ts";
import { beforeWhich, readPatchArguments } from "./delta.ts";
import { componentName, type Manifest } from "./manifest.ts";
import { labelOf, readText, versionText } from "./text.ts";
import { isTrustComponent, TRUST_IN_RELEASE } from "./trust.ts";
import { openEnvelope } from "./open.ts";
import type { OpenEnvelope, TrustPolicy } from "./opened.ts";
import { bytesBehind, contentsOf, isOther, OTHER_PAYLOAD, payloadsOf, type PlannedPayload } from "./payloads.ts";
import { componentsChangedBy, firstFailure, openingOnce, planLater, planProcedure, type PlannedWay } from "./plan.ts";

/** Bytes that devices fetch, as the gateway has them: ciphertext where they are encrypted. */
export interface ReleaseImage {
  readonly digest: Uint8Array;
  readonly size: number;
  readonly uri: string;
  readonly encrypted: boolean;
  /** A patch, by which devices make one of the others from what they have. */
  readonly isPatch: boolean;
  /** Its bytes, where the manifest brings them along and devices fetch nothing. */
  readonly content?: Uint8Array | undefined;
  /** Classes whose devices come to fetch it, in hex. */
  readonly classes: readonly string[];
}

/** An authenticated manifest for one image, as the catalogue keeps it. */
export interface Release {
  readonly envelope: Uint8Array;
  readonly sequenceNumber: number;
  /** SHA-256 over the manifest: the same whoever signed it. */
  readonly manifestDigest: Uint8Array;
  readonly vendorId: Uint8Array;
  /** The first of `classIds`. */
  readonly classId: Uint8Array;
  /** Classes of devices that may take it. */
  readonly classIds: readonly Uint8Array[];
  /** The same in hex. */
  readonly classes: readonly string[];
  readonly imageDigest: Uint8Array;
  readonly imageSize: number;
  readonly uri: string | undefined;
  /** All payloads that some device of the class fetches: of each component, slot and branch. The first is the one above; patches are the last. */
  readonly images: readonly ReleaseImage[];
  readonly version: string | undefined;
  /** Seconds since 1970: the first moment at which some device would refuse it. */
  readonly useBefore: number | undefined;
  /** A device of each class that takes it, by the class in hex, where it asks which one it is. */
  readonly deviceOf: ReadonlyMap<string, Uint8Array>;
  /** Names of the components that some device changes by it. */
  readonly changes: readonly string[];
  /** Those of the trusted keys that signed it. */
  readonly signers: readonly Verifier[];
  /** Whether others signed it too, of whom nobody knows yet what their word will count. */
  readonly isSignedByOthers: boolean;
  /** Whether it processes manifests of others, which have signers of their own. */
  readonly depends: boolean;
  /** `vendor/class/component`: releases with the same key replace each other. */
  readonly key: string;
  readonly dialect: Dialect;
}

/** Each image once, though it may come from several places; no patches, which are nothing that runs. */
export const distinctImages = ({ images }: Pick<Release, "images">): ReleaseImage[] =>
  wholeImages(images).filter((one, i, whole) => whole.findIndex(({ digest }) => bytesEqual(digest, one.digest)) === i);

const wholeImages = <T extends { readonly isPatch: boolean }>(images: readonly T[]): T[] =>
  images.filter(({ isPatch }) => !isPatch);

export const RELEASE_LIMITS = { maxImages: 16 } as const;

export type ReleaseReason =
  | EnvelopeReason
  | "no-vendor-or-class"
  | "no-digest-or-size"
  | "several-vendors"
  | "no-payload"
  | "too-many-payloads"
  | typeof TRUST_IN_RELEASE.reason
  /** The envelope's bytes are not what the manifest names by their digest. */
  | "integrated-payload-mismatch"
  /** Some device would not come through the manifest, or nobody can say beforehand what it would do. */
  | "not-processable";

export type ReleaseResult =
  | { readonly ok: true; readonly release: Release }
  | { readonly ok: false; readonly reason: ReleaseReason; readonly detail: string };

/** Authenticates an envelope, plans its update, and takes from it what the gateway needs to serve its image. */
export function openRelease(crypto: Crypto, bytes: Uint8Array, trust: TrustPolicy): ReleaseResult {
  try {
    const open = openEnvelope(crypto, bytes, trust);
    const depends = open.manifest.dependencies.size > 0;
    const dependency = openingOnce(crypto, (envelope) => openEnvelope(crypto, envelope, trust));
    const ways = planProcedure(crypto, open, "update", { open: dependency });
    const later = planLater(crypto, open, ways, { open: dependency });
    const failed = firstFailure([ways, ...later.invocation, ...later.uninstall]);
    if (failed !== undefined) return refuse("not-processable", `${failed.section}: ${failed.detail}`);
    const all = [...ways, ...later.invocation.flat(), ...later.uninstall.flat()];
    const odd = oddPatching(all);
    if (odd !== undefined) return refuse("not-processable", odd);
    const contents = contentsOf(crypto, all);
    if (componentsChangedBy(all).some(isTrustComponent))
      return refuse(TRUST_IN_RELEASE.reason, TRUST_IN_RELEASE.detail);
    const other = contents.find((payload) => isOther(crypto, payload));
    if (other !== undefined) return refuse("integrated-payload-mismatch", other.encrypted ? DECRYPTED : OTHER_PAYLOAD);
    const payloads = ownFirst(open.manifest, servedOf(payloadsOf(all), contents));
    return describe(bytes, open, { ways, all, payloads, depends }, trust.dialect ?? "draft-37");
  } catch (error) {
    if (error instanceof EnvelopeError) return refuse(error.reason, error.message);
    throw error;
  }
}

/** What no device does, or another one than the one that knows this format. */
function oddPatching(ways: readonly PlannedWay[]): string | undefined {
  const fetches = ways.flatMap(({ steps }) => steps.filter((step) => step.kind === "fetch"));
  if (fetches.some(({ args }) => args !== undefined && readPatchArguments(args) === undefined))
    return "fetch-arguments that are not known here: devices do with them what nobody can say";
  if (fetches.every(({ args }) => args === undefined)) return undefined;
  const written = componentsChangedBy(ways).find((id) => beforeWhich(id) !== undefined);
  return written && `${labelOf(written)} stands for what is there before an update, and cannot be written to`;
}

const DECRYPTED =
  "an integrated payload is decrypted as it is stored, so that nobody else can check it: store it as it is, and copy it with encryption-info";

/** What devices fetch and what the envelope has for them; what commands write only where there is nothing else. */
function servedOf(fetched: readonly PlannedPayload[], contents: readonly PlannedPayload[]): readonly PlannedPayload[] {
  const isFetched = ({ digest }: PlannedPayload): boolean => fetched.some((other) => isSame(other.digest, digest));
  const brought = contents.filter((one) => one.uri !== "" && !isFetched(one));
  return fetched.length + brought.length > 0 ? [...fetched, ...brought] : contents;
}

/** A release is named by what it brings itself, whatever its dependencies do before that, and by what runs. */
function ownFirst({ components }: Manifest, payloads: readonly PlannedPayload[]): readonly PlannedPayload[] {
  const own = new Set(components.map(componentName));
  const isOwn = ({ component }: PlannedPayload): boolean => own.has(componentName(component));
  const patches = payloads.filter(({ isPatch }) => isPatch);
  const whole = patches.length === 0 ? payloads : asIfWhole(payloads);
  return [...whole.filter(isOwn), ...whole.filter((payload) => !isOwn(payload)), ...patches];
}

/** Whole images in the order in which their components are come to, be it for a patch: that gives a release no other name. */
function asIfWhole(payloads: readonly PlannedPayload[]): PlannedPayload[] {
  const names = payloads.map(({ component }) => componentName(component));
  const rankOf = ({ component }: PlannedPayload): number => names.indexOf(componentName(component));
  const whole = wholeImages(payloads);
  const fetched = whole.filter(({ content }) => content === undefined);
  return [
    ...fetched.toSorted((a, b) => rankOf(a) - rankOf(b)),
    ...whole.filter(({ content }) => content !== undefined),
  ];
}

const isSame = (a: Uint8Array | undefined, b: Uint8Array | undefined): boolean =>
  a !== undefined && b !== undefined && (a === b || bytesEqual(a, b));

interface Planned {
  readonly ways: readonly PlannedWay[];
  /** With what devices do behind the update. */
  readonly all: readonly PlannedWay[];
  readonly payloads: readonly PlannedPayload[];
  readonly depends: boolean;
}

function describe(
  envelope: Uint8Array,
  open: OpenEnvelope,
  { ways, all, payloads, depends }: Planned,
  dialect: Dialect,
): ReleaseResult {
  const [vendorId, ...otherVendors] = identifiersOf(ways, "vendor");
  // In an order of their own, so that the release has one key however its author lists them.
  const classIds = identifiersOf(ways, "class").toSorted((a, b) => (toHex(a) < toHex(b) ? -1 : 1));
  const [classId] = classIds;
  if (vendorId?.length !== 16 || classId?.length !== 16)
    return refuse("no-vendor-or-class", "the manifest must name vendor and class as UUIDs of 16 bytes");
  if (otherVendors.length > 0) return refuse("several-vendors", "a manifest is served to devices of one vendor");
  const images: ReleaseImage[] = [];
  for (const payload of payloads) {
    const { digest, size, uri, encrypted, isPatch, content } = payload;
    if (digest === undefined || size === undefined || size === 0)
      return refuse(
        "no-digest-or-size",
        "the manifest must give the SHA-256 and the size of each payload that is fetched",
      );
    const classes = (classesThatGet(all, payload) ?? classIds).map(toHex);
    images.push({ digest, size, uri, encrypted, isPatch, content, classes });
  }
  const [first] = images;
  if (first?.isPatch === true)
    return refuse("no-payload", "only patches are fetched: devices that have another image would get nothing");
  if (first === undefined)
    return refuse("no-payload", "nothing in this manifest is fetched or stored, so there is nothing to serve");
  if (images.length > RELEASE_LIMITS.maxImages)
    return refuse("too-many-payloads", `${images.length} payloads; at most ${RELEASE_LIMITS.maxImages} are served`);
  const { manifest } = open;
  const key = [toHex(vendorId), toHex(classId), componentName(payloads[0]!.component)].join("/");
  const { digest: imageDigest, size: imageSize, uri } = first;
  const { sequenceNumber } = manifest;
  const version = versionOf(manifest);
  return {
    ok: true,
    release: {
      envelope,
      sequenceNumber,
      manifestDigest: open.digest,
      vendorId,
      classId,
      classIds,
      classes: classIds.map(toHex),
      imageDigest,
      imageSize,
      uri,
      images,
      version,
      useBefore: useBeforeOf(ways),
      deviceOf: devicesOf(ways, classIds),
      changes: changedBy(ways),
      signers: open.signers,
      isSignedByOthers: open.envelope.blocks.length > open.signers.length,
      depends,
      key,
      dialect,
    },
  };
}

export function identifiersOf(ways: readonly PlannedWay[], which: "vendor" | "class" | "device"): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (const { steps } of ways)
    for (const step of steps)
      if (step.kind === "identifier" && step.which === which && !found.some((other) => bytesEqual(other, step.value)))
        found.push(step.value);
  return found;
}

function devicesOf(ways: readonly PlannedWay[], classIds: readonly Uint8Array[]): Map<string, Uint8Array> {
  const found = new Map<string, Uint8Array>();
  for (const way of ways) {
    const [device] = identifiersOf([way], "device");
    const asked = identifiersOf([way], "class");
    if (device === undefined) continue;
    for (const id of asked.length > 0 ? asked : classIds) if (!found.has(toHex(id))) found.set(toHex(id), device);
  }
  return found;
}

/** Undefined where a way to it asks for no class. */
function classesThatGet(
  ways: readonly PlannedWay[],
  { digest, content }: PlannedPayload,
): readonly Uint8Array[] | undefined {
  const getting = ways.filter(({ steps }) =>
    steps.some(
      (step) =>
        (step.kind === "fetch" && isSame(bytesBehind(step).digest, digest)) ||
        (step.kind === "store" && (isSame(step.content, content) || isSame(step.digest, digest))),
    ),
  );
  const asked = getting.map((way) => identifiersOf([way], "class"));
  return asked.some((ids) => ids.length === 0) ? undefined : identifiersOf(getting, "class");
}

const changedBy = (ways: readonly PlannedWay[]): string[] => [...new Set(componentsChangedBy(ways).map(componentName))];

export function useBeforeOf(ways: readonly PlannedWay[]): number | undefined {
  const times = ways.flatMap(({ steps }) => steps.flatMap((step) => (step.kind === "before" ? [step.unixS] : [])));
  return times.length === 0 ? undefined : Math.min(...times);
}

/** What people call it: the text of its component, else the version that a processor compares. */
function versionOf({ text, setVersion }: Manifest): string | undefined {
  const named = [...readText(text).components.values()].find(({ version }) => version !== undefined);
  return named?.version ?? (setVersion === undefined ? undefined : versionText(setVersion));
}

function refuse(reason: ReleaseReason, detail: string): ReleaseResult & { ok: false } {
  return { ok: false, reason, detail };
}
