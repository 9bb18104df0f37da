import { encodeCbor, tagged, type CborValue } from "../codec/cbor.ts";
import type { Crypto } from "../ports/crypto.ts";
import { bytesEqual } from "../util/bytes.ts";
import { decodeEnvelope, digestOf } from "./envelope.ts";
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
  const offered = dependencies.map((envelope) => ({ envelope, digest: digestOf(decodeEnvelope(envelope)) }));
  const dependency = openingOnce(crypto, (envelope) => openEnvelope(crypto, envelope, trust));
  let whole = bytes;
  // A way ends at the first one that is missing, so each round finds another.
  for (let round = 0; round < dependencies.length; round++) {
    const open = openEnvelope(crypto, whole, trust);
    const members = new Map<CborValue, CborValue>(open.envelope.members);
    for (const step of planProcedure(crypto, open, "update", { open: dependency }).flatMap(({ steps }) => steps)) {
      if (step.kind !== "fetch" || step.digest === undefined) continue;
      const { digest, uri } = step;
      const found = offered.find((one) => bytesEqual(one.digest, digest));
      if (found !== undefined) members.set(uri, found.envelope);
    }
    if (members.size === open.envelope.members.size) return whole;
    whole = encodeCbor(tagged(SuitTag.ENVELOPE, members));
  }
  return whole;
}
