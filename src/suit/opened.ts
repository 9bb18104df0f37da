import type { CborMap } from "../codec/cbor.ts";
import type { Verifier } from "../codec/cose.ts";
import type { Dialect } from "./dialect.ts";
import type { Envelope } from "./envelope.ts";
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
