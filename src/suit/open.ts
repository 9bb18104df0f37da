import type { CborMap } from "../codec/cbor.ts";
import type { Verifier } from "../codec/cose.ts";
import type { Crypto } from "../ports/crypto.ts";
import {
  authenticate,
  checkSevered,
  decodeEnvelope,
  decodeManifestMap,
  digestOf,
  EnvelopeError,
  type Envelope,
} from "./envelope.ts";
import type { Dialect } from "./dialect.ts";
import { openEnvelope09 } from "./dialect-09.ts";
import { readManifest } from "./manifest.ts";
import type { OpenManifest } from "./processor/state.ts";

/** Whose signatures an envelope needs. */
export interface TrustPolicy {
  readonly anchors: readonly Verifier[];
  /** How many of the anchors must have signed; 1 unless given. */
  readonly atLeast?: number | undefined;
  /** What the class of devices speaks that it is for; draft -37 unless given. */
  readonly dialect?: Dialect | undefined;
}

export interface OpenEnvelope extends OpenManifest {
  readonly envelope: Envelope;
  readonly map: CborMap;
}

/**
 * Authenticates an envelope, then reads its manifest; nothing inside the manifest is parsed before (draft -37 section
 * 6.2). Throws EnvelopeError.
 */
export function openEnvelope(crypto: Crypto, bytes: Uint8Array, policy: TrustPolicy): OpenEnvelope {
  const { anchors, atLeast = 1, dialect } = policy;
  if (dialect === "riot-09") return openEnvelope09(crypto, bytes, policy);
  const envelope = decodeEnvelope(bytes);
  const signers = authenticate(crypto, envelope, anchors);
  if (signers.length < atLeast)
    throw new EnvelopeError("too-few-signatures", `${signers.length} trusted keys signed, ${atLeast} have to`);
  const map = decodeManifestMap(envelope);
  checkSevered(crypto, envelope, map);
  return { envelope, map, manifest: readManifest(map, envelope), digest: digestOf(envelope), signers };
}
