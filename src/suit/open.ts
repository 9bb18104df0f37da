import type { Crypto } from "../ports/crypto.ts";
import { authenticate, checkSevered, decodeEnvelope, decodeManifestMap, digestOf, EnvelopeError } from "./envelope.ts";
import { openEnvelope09 } from "./dialect-09.ts";
import { readManifest } from "./manifest.ts";
import type { OpenEnvelope, TrustPolicy } from "./opened.ts";

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
