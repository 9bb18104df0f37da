import { nodeCipher } from "../../src/adapters/node-cipher.ts";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { encodeCbor, tagged, type CborValue } from "../../src/codec/cbor.ts";
import type { Verifier } from "../../src/codec/cose.ts";
import { keyPairOf } from "../../src/crypto/noble-crypto.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import { signEnvelope } from "../../src/suit/author.ts";
import type { Image } from "../../src/suit/build.ts";
import { CommonKey, DigestAlgorithm, Directive, EnvelopeKey, ManifestKey, SuitTag } from "../../src/suit/keys.ts";
import { decodeEnvelope, digestOf } from "../../src/suit/envelope.ts";
import { ModelDevice, type DeviceModel } from "../../src/suit/model-device.ts";
import { openEnvelope } from "../../src/suit/open.ts";
import type { OpenEnvelope } from "../../src/suit/opened.ts";
import { processManifest, type Outcome, type Procedure } from "../../src/suit/processor/procedure.ts";
import type { ProcessorOptions } from "../../src/suit/processor/state.ts";
import { utf8 } from "../../src/util/bytes.ts";

export const AUTHOR: PrivateKey = keyPairOf("ES256", new Uint8Array(32).fill(7));
export const VENDOR: Uint8Array = new Uint8Array(16).fill(0xa1);
export const CLASS: Uint8Array = new Uint8Array(16).fill(0xc1);
export const sha256 = (bytes: Uint8Array): Uint8Array => nodeCrypto.sha256(bytes);
export const imageOf = (bytes: Uint8Array): Image => ({ digest: sha256(bytes), size: bytes.length });
export const suitDigest = (bytes: Uint8Array): Uint8Array => encodeCbor([DigestAlgorithm.SHA_256, sha256(bytes)]);

export type Sequence = readonly CborValue[];
export const map = (entries: readonly (readonly [CborValue, CborValue])[]): ReadonlyMap<CborValue, CborValue> =>
  new Map(entries);
export const seq = (...commands: CborValue[]): Uint8Array => encodeCbor(commands);

export interface Sketch {
  readonly sequenceNumber?: number;
  readonly components?: readonly (readonly string[])[];
  readonly dependencies?: ReadonlyMap<CborValue, CborValue>;
  readonly shared?: Sequence;
  /** Command sequences by manifest key. */
  readonly sections?: Readonly<Record<number, Sequence>>;
  /** Members that are moved to the envelope, or away altogether. */
  readonly sever?: readonly number[];
  readonly drop?: readonly number[];
  readonly integrated?: Readonly<Record<string, Uint8Array>>;
  readonly members?: readonly (readonly [number, CborValue])[];
  readonly key?: PrivateKey;
}

/** Sets parameters of the component at hand. */
export const override = (...entries: (readonly [CborValue, CborValue])[]): CborValue[] => [
  Directive.OVERRIDE_PARAMETERS,
  map(entries),
];

/** The digest by which a root names the envelope of a dependency. */
export const digestIn = (envelope: Uint8Array): Uint8Array =>
  encodeCbor([DigestAlgorithm.SHA_256, digestOf(decodeEnvelope(envelope))]);

/** Vendor and class checks, with some parameters before them. */
export const identity = (...parameters: (readonly [CborValue, CborValue])[]): CborValue[] => [
  20,
  map([[1, VENDOR], [2, CLASS], ...parameters]),
  1,
  15,
  2,
  15,
];

/** A signed envelope out of bare command sequences. */
export function envelopeOf(sketch: Sketch): Uint8Array {
  const { components = [["00"]], dependencies, shared = identity(), sections = {}, sever = [], drop = [] } = sketch;
  const ids = components.map((id) => id.map(utf8));
  const common = new Map<CborValue, CborValue>([[CommonKey.COMPONENTS, ids]]);
  if (dependencies !== undefined) common.set(CommonKey.DEPENDENCIES, dependencies);
  if (shared.length > 0) common.set(CommonKey.SHARED_SEQUENCE, encodeCbor(shared));
  const manifest = new Map<CborValue, CborValue>([
    [ManifestKey.VERSION, 1],
    [ManifestKey.SEQUENCE_NUMBER, sketch.sequenceNumber ?? 1],
    [ManifestKey.COMMON, encodeCbor(common)],
    ...(sketch.members ?? []),
  ]);
  const members = new Map<CborValue, CborValue>(Object.entries(sketch.integrated ?? {}));
  for (const [key, sequence] of Object.entries(sections)) {
    const body = encodeCbor(sequence);
    const isSevered = sever.includes(Number(key));
    manifest.set(Number(key), isSevered ? [DigestAlgorithm.SHA_256, sha256(encodeCbor(body))] : body);
    if (isSevered && !drop.includes(Number(key))) members.set(Number(key), body);
  }
  const bytes = encodeCbor(manifest);
  members.set(EnvelopeKey.AUTHENTICATION_WRAPPER, encodeCbor([suitDigest(encodeCbor(bytes))]));
  members.set(EnvelopeKey.MANIFEST, bytes);
  return signEnvelope(nodeCrypto, sketch.key ?? AUTHOR, encodeCbor(tagged(SuitTag.ENVELOPE, members)));
}

export const trust: { readonly anchors: readonly Verifier[] } = { anchors: [AUTHOR.publicKey] };
export const open = (bytes: Uint8Array): OpenEnvelope => openEnvelope(nodeCrypto, bytes, trust);

export function newDevice(model: Partial<DeviceModel> = {}): ModelDevice {
  return new ModelDevice(nodeCrypto, nodeCipher, {
    vendorIds: [VENDOR],
    classIds: [CLASS],
    fetch: () => undefined,
    ...model,
  });
}

/** Runs a procedure of a sketch on a device. */
export function run(
  sketch: Sketch | Uint8Array,
  device: ModelDevice = newDevice(),
  procedure: Procedure = "update",
  options: Partial<ProcessorOptions> = {},
): Outcome {
  const opened = open(sketch instanceof Uint8Array ? sketch : envelopeOf(sketch));
  return processManifest(opened, procedure, device, { crypto: nodeCrypto, open, ...options });
}
