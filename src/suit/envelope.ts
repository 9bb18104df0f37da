import { CborError, type MapOrder } from "../codec/cbor-check.ts";
import { decodeCbor, encodeCbor, isArray, isBytes, isMap, type CborMap, type CborValue } from "../codec/cbor.ts";
import { addKeys, CoseTag, verifyDetached, type CoseResult, type Verifier } from "../codec/cose.ts";
import type { Crypto } from "../ports/crypto.ts";
import { bytesEqual } from "../util/bytes.ts";
import { Tag } from "cbor-x";
import { DigestAlgorithm, EnvelopeKey, ManifestKey, SuitTag } from "./keys.ts";

/** Why an envelope was refused: stable words that logs, metrics and messages share. */
export type EnvelopeReason =
  | "too-large"
  | "malformed"
  | "not-an-envelope"
  | "unsigned"
  | "digest-algorithm-unsupported"
  | "digest-mismatch"
  | "signature-invalid"
  | "too-few-signatures"
  | "algorithm-unsupported"
  | "severed-member-mismatch";

export class EnvelopeError extends Error {
  readonly reason: EnvelopeReason;

  constructor(reason: EnvelopeReason, detail: string) {
    super(`${reason}: ${detail}`);
    this.reason = reason;
  }
}

export const SUIT_LIMITS = {
  /** An envelope without payloads; the ones of draft -37 Appendix B have 237 to 923 bytes. */
  maxEnvelopeBytes: 65_536,
  maxAuthenticationBlocks: 8,
} as const;

const ENVELOPE_TAGS: ReadonlySet<number> = new Set([SuitTag.ENVELOPE]);
const COSE_TAGS: ReadonlySet<number> = new Set(Object.values(CoseTag));
const SEVERABLE = [
  EnvelopeKey.COSWID,
  EnvelopeKey.DEPENDENCY_RESOLUTION,
  EnvelopeKey.PAYLOAD_FETCH,
  EnvelopeKey.CANDIDATE_VERIFICATION,
  EnvelopeKey.INSTALL,
  EnvelopeKey.TEXT,
];

/** An envelope of which nothing but the outer shape has been looked at. */
export interface Envelope {
  readonly members: CborMap;
  /** Content of the manifest's byte string: not to be parsed before it is authenticated. */
  readonly manifestBytes: Uint8Array;
  /** Encoded SUIT_Digest, the payload of every authentication block. */
  readonly digestBytes: Uint8Array;
  readonly blocks: readonly Uint8Array[];
}

/** Takes the envelope apart (draft -37 section 8.2). Throws EnvelopeError. */
export function decodeEnvelope(bytes: Uint8Array): Envelope {
  if (bytes.length > SUIT_LIMITS.maxEnvelopeBytes) {
    throw new EnvelopeError("too-large", `${bytes.length} bytes; at most ${SUIT_LIMITS.maxEnvelopeBytes} are read`);
  }
  const outer = decode(bytes, "envelope", ENVELOPE_TAGS);
  // Within another envelope, and in TEEP, the tag is left out (trust-domains, SUIT_Integrated_Dependency).
  const members = outer instanceof Tag && outer.tag === SuitTag.ENVELOPE ? (outer.value as CborValue) : outer;
  if (!isMap(members)) throw new EnvelopeError("not-an-envelope", "expected a map, or tag 107 around one");
  const wrapper = members.get(EnvelopeKey.AUTHENTICATION_WRAPPER);
  const manifestBytes = members.get(EnvelopeKey.MANIFEST);
  if (!isBytes(wrapper) || !isBytes(manifestBytes)) {
    throw new EnvelopeError("not-an-envelope", "authentication wrapper (2) and manifest (3) must be byte strings");
  }
  const authentication = decode(wrapper, "authentication wrapper");
  if (!isArray(authentication) || authentication.length === 0 || !authentication.every(isBytes)) {
    throw new EnvelopeError("not-an-envelope", "the authentication wrapper must be a list of byte strings");
  }
  const [digestBytes, ...blocks] = authentication as Uint8Array[];
  if (blocks.length > SUIT_LIMITS.maxAuthenticationBlocks) {
    throw new EnvelopeError("too-large", `${blocks.length} authentication blocks`);
  }
  return { members, manifestBytes, digestBytes: digestBytes!, blocks };
}

/**
 * Authenticates an envelope: the digest must be that of the manifest, and at least one block must
 * verify with one of `keys`. Returns the keys that did. Throws EnvelopeError; nothing inside the
 * manifest is parsed here.
 */
export function authenticate(crypto: Crypto, envelope: Envelope, keys: readonly Verifier[]): Verifier[] {
  checkDigest(crypto, envelope);
  if (envelope.blocks.length === 0) throw new EnvelopeError("unsigned", "there is no authentication block");
  const good: Verifier[] = [];
  let worst: CoseResult & { ok: false } = { ok: false, reason: "no-key-matches" };
  for (const blockBytes of envelope.blocks) {
    const block = decode(blockBytes, "authentication block", COSE_TAGS, "any");
    const result: CoseResult =
      block instanceof Tag
        ? verifyDetached(crypto, block.tag, block.value as CborValue, envelope.digestBytes, keys)
        : { ok: false, reason: "malformed" };
    if (result.ok) addKeys(good, result.keys);
    else worst = result;
  }
  if (good.length > 0) return good;
  if (worst.reason === "malformed") throw new EnvelopeError("malformed", "an authentication block is not COSE");
  if (worst.reason === "algorithm-unsupported") {
    throw new EnvelopeError("algorithm-unsupported", "no authentication block has an algorithm that is supported");
  }
  throw new EnvelopeError("signature-invalid", "no trusted key made any of its signatures");
}

/** What is signed is the digest in the wrapper: it has to be that of the manifest beside it. */
export function checkDigest(crypto: Crypto, { digestBytes, manifestBytes }: Envelope): void {
  if (!matchesDigest(crypto, digestBytes, encodeCbor(manifestBytes)))
    throw new EnvelopeError("digest-mismatch", "the manifest is not the one that was signed");
}

/**
 * A severed member: the manifest holds its digest, the envelope its bytes (section 5.4 of the
 * draft). A member that is there must match.
 */
export function checkSevered(crypto: Crypto, envelope: Envelope, manifest: CborMap): void {
  for (const key of SEVERABLE) {
    const member = envelope.members.get(key);
    if (member === undefined) continue;
    const digest = manifest.get(key);
    if (!isBytes(member) || !isArray(digest) || !matchesDigest(crypto, encodeCbor(digest), encodeCbor(member))) {
      throw new EnvelopeError("severed-member-mismatch", `envelope member ${key} is not what the manifest names`);
    }
  }
}

/** The map inside an authenticated manifest. */
export function decodeManifestMap(envelope: Envelope): CborMap {
  const manifest = decode(envelope.manifestBytes, "manifest");
  if (!isMap(manifest)) throw new EnvelopeError("malformed", "the manifest must be a map");
  if (manifest.get(ManifestKey.VERSION) !== 1) throw new EnvelopeError("malformed", "manifest version must be 1");
  return manifest;
}

/** The SHA-256 that an authenticated envelope names. */
export function digestOf({ digestBytes }: Envelope): Uint8Array {
  return (decode(digestBytes, "digest") as readonly CborValue[])[1] as Uint8Array;
}

/** SUIT_Digest over the byte-string-wrapped content; throws where its algorithm is not SHA-256. */
function matchesDigest(crypto: Crypto, digestBytes: Uint8Array, wrapped: Uint8Array): boolean {
  const digest = decode(digestBytes, "digest");
  if (!isArray(digest) || !isBytes(digest[1]))
    throw new EnvelopeError("malformed", "a SUIT_Digest is [algorithm, bytes]");
  if (digest[0] !== DigestAlgorithm.SHA_256) {
    throw new EnvelopeError(
      "digest-algorithm-unsupported",
      `algorithm ${typeof digest[0] === "number" ? digest[0] : "of another kind"}; only SHA-256 (-16) is`,
    );
  }
  return bytesEqual(digest[1], crypto.sha256(wrapped));
}

function decode(bytes: Uint8Array, what: string, tags?: ReadonlySet<number>, order?: MapOrder): CborValue {
  try {
    return decodeCbor(bytes, tags, order);
  } catch (error) {
    if (error instanceof CborError) throw new EnvelopeError("malformed", `${what}: ${error.message}`);
    throw error;
  }
}
