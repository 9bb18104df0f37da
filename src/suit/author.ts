import { decodeCbor, encodeCbor, tagged, type CborMap, type CborValue } from "../codec/cbor.ts";
import { signDetached } from "../codec/cose.ts";
import type { Crypto, PrivateKey } from "../ports/crypto.ts";
import { utf8 } from "../util/bytes.ts";
import { decodeEnvelope } from "./envelope.ts";
import {
  CommonKey,
  ComponentTextKey,
  Condition,
  DigestAlgorithm,
  Directive,
  EnvelopeKey,
  ManifestKey,
  Parameter,
  REPORT_ALWAYS,
  SuitTag,
} from "./keys.ts";

/** One image for one component of one device class. */
export interface ManifestDescription {
  readonly sequenceNumber: number;
  readonly vendorId: Uint8Array;
  readonly classId: Uint8Array;
  readonly imageDigest: Uint8Array;
  readonly imageSize: number;
  readonly uri: string;
  /** Segments of the component identifier; one of two hexadecimal zeros unless given. */
  readonly componentId?: readonly Uint8Array[];
  /** Version for people; it decides nothing (the sequence number does). */
  readonly version?: string;
}

/** An unsigned envelope: Appendix B.2 of draft -37, with the conditions checked before the fetch. */
export function createEnvelope(crypto: Crypto, description: ManifestDescription): Uint8Array {
  const componentId = description.componentId ?? [Uint8Array.of(0)];
  const sharedSequence: CborValue[] = [
    Directive.OVERRIDE_PARAMETERS,
    new Map<CborValue, CborValue>([
      [Parameter.VENDOR_IDENTIFIER, description.vendorId],
      [Parameter.CLASS_IDENTIFIER, description.classId],
      [Parameter.IMAGE_DIGEST, encodeCbor([DigestAlgorithm.SHA_256, description.imageDigest])],
      [Parameter.IMAGE_SIZE, description.imageSize],
    ]),
    Condition.VENDOR_IDENTIFIER,
    REPORT_ALWAYS,
    Condition.CLASS_IDENTIFIER,
    REPORT_ALWAYS,
  ];
  const install: CborValue[] = [
    Directive.OVERRIDE_PARAMETERS,
    new Map([[Parameter.URI, description.uri]]),
    Directive.FETCH,
    REPORT_ALWAYS,
    Condition.IMAGE_MATCH,
    REPORT_ALWAYS,
  ];
  const common = new Map<CborValue, CborValue>([
    [CommonKey.COMPONENTS, [componentId]],
    [CommonKey.SHARED_SEQUENCE, encodeCbor(sharedSequence)],
  ]);
  const manifest = new Map<CborValue, CborValue>([
    [ManifestKey.VERSION, 1],
    [ManifestKey.SEQUENCE_NUMBER, description.sequenceNumber],
    [ManifestKey.COMMON, encodeCbor(common)],
    [ManifestKey.VALIDATE, encodeCbor([Condition.IMAGE_MATCH, REPORT_ALWAYS])],
    [ManifestKey.INVOKE, encodeCbor([Directive.INVOKE, REPORT_ALWAYS])],
    [ManifestKey.INSTALL, encodeCbor(install)],
  ]);
  const { version } = description;
  if (version !== undefined) manifest.set(ManifestKey.TEXT, encodeCbor(textOf(componentId, version)));
  const manifestBytes = encodeCbor(manifest);
  const digest = encodeCbor([DigestAlgorithm.SHA_256, crypto.sha256(encodeCbor(manifestBytes))]);
  return wrap(encodeCbor([digest]), manifestBytes, new Map());
}

/** The envelope with one signature more. */
export function signEnvelope(crypto: Crypto, key: PrivateKey, bytes: Uint8Array): Uint8Array {
  const { members, manifestBytes, digestBytes, blocks } = decodeEnvelope(bytes);
  const signature = signDetached(crypto, key, digestBytes);
  return wrap(encodeCbor([digestBytes, ...blocks, signature]), manifestBytes, members);
}

function wrap(wrapper: Uint8Array, manifestBytes: Uint8Array, others: CborMap): Uint8Array {
  const members = new Map<CborValue, CborValue>(others);
  members.set(EnvelopeKey.AUTHENTICATION_WRAPPER, wrapper);
  members.set(EnvelopeKey.MANIFEST, manifestBytes);
  return encodeCbor(tagged(SuitTag.ENVELOPE, members));
}

/** SUIT_Text_Map for one component in English. */
function textOf(componentId: readonly Uint8Array[], version: string): CborMap {
  const component = new Map([[ComponentTextKey.VERSION, version]]);
  return new Map([["en", new Map<CborValue, CborValue>([[componentId, component]])]]);
}

/** `label` as UUID version 5 in `namespace`, 16 bytes (RFC 9562 section 5.5); `sha1` is the hash. */
export function uuid5(sha1: (bytes: Uint8Array) => Uint8Array, namespace: Uint8Array, label: string): Uint8Array {
  const name = utf8(label);
  const input = new Uint8Array(namespace.length + name.length);
  input.set(namespace);
  input.set(name, namespace.length);
  const out = sha1(input).slice(0, 16);
  out[6] = (out[6]! & 0x0f) | 0x50;
  out[8] = (out[8]! & 0x3f) | 0x80;
  return out;
}

/** The version text that `createEnvelope` put in, for lists and tables. */
export function versionText(manifest: CborMap): string | undefined {
  const text = manifest.get(ManifestKey.TEXT);
  if (!(text instanceof Uint8Array)) return undefined;
  try {
    for (const language of (decodeCbor(text) as CborMap).values()) {
      for (const component of (language as CborMap).values()) {
        const version = component instanceof Map ? component.get(ComponentTextKey.VERSION) : undefined;
        if (typeof version === "string") return version;
      }
    }
  } catch {
    return undefined; // text is for people: one that cannot be read hinders nothing
  }
  return undefined;
}
