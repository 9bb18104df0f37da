import { encodeCbor, tagged, type CborMap, type CborValue } from "../codec/cbor.ts";
import { signDetached } from "../codec/cose.ts";
import type { Crypto, PrivateKey } from "../ports/crypto.ts";
import { utf8 } from "../util/bytes.ts";
import { buildEnvelope } from "./build.ts";
import { checkDigest, decodeEnvelope } from "./envelope.ts";
import { EnvelopeKey, SuitTag } from "./keys.ts";

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
  /** Seconds since 1970. */
  readonly useBefore?: number | undefined;
}

/** An unsigned envelope for one image, as in Appendix B.2 of draft -37. */
export function createEnvelope(crypto: Crypto, description: ManifestDescription): Uint8Array {
  const { sequenceNumber, vendorId, classId, imageDigest, imageSize, uri, version, useBefore } = description;
  const id = description.componentId ?? [Uint8Array.of(0)];
  const payloads = [{ image: { digest: imageDigest, size: imageSize }, uri }];
  return buildEnvelope(crypto, {
    sequenceNumber,
    vendorId,
    classIds: [classId],
    components: [{ id, payloads, version }],
    useBefore,
  });
}

/** The envelope with one signature more; throws EnvelopeError where its digest is another manifest's, or something else's. */
export function signEnvelope(crypto: Crypto, key: PrivateKey, bytes: Uint8Array): Uint8Array {
  const envelope = decodeEnvelope(bytes);
  checkDigest(crypto, envelope);
  const { members, manifestBytes, digestBytes, blocks } = envelope;
  const signature = signDetached(crypto, key, digestBytes);
  return wrap(encodeCbor([digestBytes, ...blocks, signature]), manifestBytes, members);
}

function wrap(wrapper: Uint8Array, manifestBytes: Uint8Array, others: CborMap): Uint8Array {
  const members = new Map<CborValue, CborValue>(others);
  members.set(EnvelopeKey.AUTHENTICATION_WRAPPER, wrapper);
  members.set(EnvelopeKey.MANIFEST, manifestBytes);
  return encodeCbor(tagged(SuitTag.ENVELOPE, members));
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
