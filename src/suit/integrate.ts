import { encodeCbor, tagged, type CborValue } from "../codec/cbor.ts";
import type { Crypto } from "../ports/crypto.ts";
import { bytesEqual } from "../util/bytes.ts";
import { checkDigest, decodeEnvelope, digestOf, EnvelopeError } from "./envelope.ts";
import { SuitTag } from "./keys.ts";
import { openEnvelope } from "./open.ts";
import type { TrustPolicy } from "./opened.ts";
import { openingOnce, planProcedure } from "./plan.ts";

/**
 * The envelope with those manifests in it, each under the URI from which it has devices fetch it: nobody has signed which of
 * them come along, and whoever is on the way may have fetched them before (draft -37 section 7.5). One that is asked for by
 * no way through the manifest stays away. Throws EnvelopeError.
 */
export function withDependencies(
  crypto: Crypto,
  bytes: Uint8Array,
  dependencies: readonly Uint8Array[],
  trust: TrustPolicy,
): Uint8Array {
  const dependency = openingOnce(crypto, (envelope) => openEnvelope(crypto, envelope, trust));
  const offered = dependencies.map((bytesOfIt) => manifestIn(crypto, bytesOfIt));
  const isTrusted = (envelope: Uint8Array): boolean => {
    try {
      return dependency(envelope) !== undefined;
    } catch (error) {
      if (error instanceof EnvelopeError) return false;
      throw error;
    }
  };
  let whole = bytes;
  // A way ends at the first one that is missing, so each round finds another.
  for (let round = 0; round < dependencies.length; round++) {
    const open = openEnvelope(crypto, whole, trust);
    const members = new Map<CborValue, CborValue>(open.envelope.members);
    for (const step of planProcedure(crypto, open, "update", { open: dependency }).flatMap(({ steps }) => steps)) {
      if (step.kind !== "fetch" || step.digest === undefined) continue;
      const { digest, uri } = step;
      const found = offered.find((one) => bytesEqual(one.digest, digest) && isTrusted(one.envelope));
      if (found !== undefined) members.set(uri, found.envelope);
    }
    if (members.size === open.envelope.members.size) return whole;
    whole = encodeCbor(tagged(SuitTag.ENVELOPE, members));
  }
  return whole;
}

/** With the digest of its manifest, whoever has signed that. Throws EnvelopeError. */
function manifestIn(crypto: Crypto, bytes: Uint8Array): { readonly envelope: Uint8Array; readonly digest: Uint8Array } {
  const envelope = decodeEnvelope(bytes);
  checkDigest(crypto, envelope);
  return { envelope: bytes, digest: digestOf(envelope) };
}
