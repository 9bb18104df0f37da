import type { Crypto } from "../ports/crypto.ts";
import { bytesEqual, toHex } from "../util/bytes.ts";
import { versionText } from "./author.ts";
import { EnvelopeError, type EnvelopeReason } from "./envelope.ts";
import { componentName } from "./manifest.ts";
import { openEnvelope, type OpenEnvelope, type TrustPolicy } from "./open.ts";
import { payloadsOf, planProcedure, type PlannedWay } from "./plan.ts";
import type { OpenManifest } from "./processor/state.ts";

/** An authenticated manifest for one image, as the catalogue keeps it. */
export interface Release {
  readonly envelope: Uint8Array;
  readonly sequenceNumber: number;
  readonly vendorId: Uint8Array;
  readonly classId: Uint8Array;
  readonly imageDigest: Uint8Array;
  readonly imageSize: number;
  readonly uri: string | undefined;
  readonly version: string | undefined;
  /** `vendor/class/component`: releases with the same key replace each other. */
  readonly key: string;
}

export type ReleaseReason =
  | EnvelopeReason
  | "no-vendor-or-class"
  | "no-digest-or-size"
  | "several-classes"
  | "several-payloads"
  /** No way through the manifest succeeds, whatever the device. */
  | "not-processable"
  | "replayed"
  | "older-sequence-number";

export type ReleaseResult =
  | { readonly ok: true; readonly release: Release }
  | { readonly ok: false; readonly reason: ReleaseReason; readonly detail: string };

/** Authenticates an envelope, plans its update, and takes from it what the gateway needs to serve its image. */
export function openRelease(crypto: Crypto, bytes: Uint8Array, trust: TrustPolicy): ReleaseResult {
  try {
    const open = openEnvelope(crypto, bytes, trust);
    const dependency = (envelope: Uint8Array): OpenManifest => openEnvelope(crypto, envelope, trust);
    const ways = planProcedure(crypto, open, "update", { open: dependency });
    const good = ways.filter(({ outcome }) => outcome.ok);
    const failed = ways.find(({ outcome }) => !outcome.ok)?.outcome;
    if (good.length === 0 && failed?.ok === false)
      return refuse("not-processable", `${failed.section}: ${failed.detail}`);
    return describe(bytes, open, good);
  } catch (error) {
    if (error instanceof EnvelopeError) return refuse(error.reason, error.message);
    throw error;
  }
}

function describe(envelope: Uint8Array, open: OpenEnvelope, ways: readonly PlannedWay[]): ReleaseResult {
  const [vendorId, ...otherVendors] = identifiersOf(ways, "vendor");
  const [classId, ...otherClasses] = identifiersOf(ways, "class");
  if (vendorId?.length !== 16 || classId?.length !== 16)
    return refuse("no-vendor-or-class", "the manifest must name vendor and class as UUIDs of 16 bytes");
  if (otherVendors.length > 0 || otherClasses.length > 0)
    return refuse("several-classes", "a manifest is served to one class of devices, this one names more");
  const [payload, ...others] = payloadsOf(ways);
  if (payload?.digest === undefined || payload.size === undefined || payload.size === 0)
    return refuse("no-digest-or-size", "the manifest must give the image's SHA-256 and its size in bytes");
  if (others.length > 0)
    return refuse("several-payloads", `one payload per manifest is served, this one has ${others.length + 1}`);
  const { manifest, map } = open;
  const key = [toHex(vendorId), toHex(classId), componentName(payload.component)].join("/");
  const { digest: imageDigest, size: imageSize, uri } = payload;
  const { sequenceNumber } = manifest;
  const version = versionText(map);
  return {
    ok: true,
    release: { envelope, sequenceNumber, vendorId, classId, imageDigest, imageSize, uri, version, key },
  };
}

function identifiersOf(ways: readonly PlannedWay[], which: "vendor" | "class"): Uint8Array[] {
  const found: Uint8Array[] = [];
  for (const { steps } of ways)
    for (const step of steps)
      if (step.kind === "identifier" && step.which === which && !found.some((other) => bytesEqual(other, step.value)))
        found.push(step.value);
  return found;
}

/** Rollback check (draft -37 section 6.3; RFC 9124 REQ.SEC.SEQUENCE). */
export function checkSequence(candidate: Release, current: Release | undefined): ReleaseResult {
  if (current === undefined || candidate.sequenceNumber > current.sequenceNumber)
    return { ok: true, release: candidate };
  const have = `sequence number ${candidate.sequenceNumber}; the class is at ${current.sequenceNumber}`;
  if (candidate.sequenceNumber < current.sequenceNumber) return refuse("older-sequence-number", have);
  return refuse("replayed", have);
}

function refuse(reason: ReleaseReason, detail: string): ReleaseResult & { ok: false } {
  return { ok: false, reason, detail };
}
