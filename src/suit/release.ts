import type { Verifier } from "../codec/cose.ts";
import type { Crypto } from "../ports/crypto.ts";
import { toHex } from "../util/bytes.ts";
import { versionText } from "./author.ts";
import {
  authenticate,
  checkSevered,
  decodeEnvelope,
  decodeManifestMap,
  EnvelopeError,
  type EnvelopeReason,
} from "./envelope.ts";
import { readManifest, type ComponentDescription } from "./manifest.ts";

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
  | "several-components"
  | "replayed"
  | "older-sequence-number";

export type ReleaseResult =
  | { readonly ok: true; readonly release: Release }
  | { readonly ok: false; readonly reason: ReleaseReason; readonly detail: string };

/** Authenticates an envelope and takes from it what the gateway needs to serve its image. */
export function openRelease(crypto: Crypto, bytes: Uint8Array, anchors: readonly Verifier[]): ReleaseResult {
  try {
    const envelope = decodeEnvelope(bytes);
    authenticate(crypto, envelope, anchors);
    const map = decodeManifestMap(envelope);
    checkSevered(crypto, envelope, map);
    const manifest = readManifest(map, (key) => envelope.members.get(key) as Uint8Array | undefined);
    const [component, ...others] = manifest.components;
    if (component === undefined || others.length > 0) {
      return refuse(
        "several-components",
        `one component per manifest is served, this one has ${manifest.components.length}`,
      );
    }
    return describe(bytes, manifest.sequenceNumber, component, versionText(map));
  } catch (error) {
    if (error instanceof EnvelopeError) return refuse(error.reason, error.message);
    throw error;
  }
}

function describe(
  envelope: Uint8Array,
  sequenceNumber: number,
  component: ComponentDescription,
  version: string | undefined,
): ReleaseResult {
  const { vendorId, classId, imageDigest, imageSize, uri } = component;
  if (vendorId?.length !== 16 || classId?.length !== 16) {
    return refuse("no-vendor-or-class", "the manifest must name vendor and class as UUIDs of 16 bytes");
  }
  if (imageDigest === undefined || imageSize === undefined || imageSize === 0) {
    return refuse("no-digest-or-size", "the manifest must give the image's SHA-256 and its size in bytes");
  }
  const key = [toHex(vendorId), toHex(classId), component.id.map(toHex).join(".")].join("/");
  return {
    ok: true,
    release: { envelope, sequenceNumber, vendorId, classId, imageDigest, imageSize, uri, version, key },
  };
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
