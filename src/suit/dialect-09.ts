import { Tag } from "cbor-x";
import {
  decodeCbor,
  encodeCbor,
  isArray,
  isBytes,
  isMap,
  isUint,
  type CborMap,
  type CborValue,
} from "../codec/cbor.ts";
import { CborError } from "../codec/cbor-check.ts";
import { addKeys, CoseTag, signAttached, verifyAttached, type Verifier } from "../codec/cose.ts";
import type { Crypto, PrivateKey } from "../ports/crypto.ts";
import { bytesEqual } from "../util/bytes.ts";
import type { Payload, UpdateDescription } from "./build.ts";
import { EnvelopeError, SUIT_LIMITS } from "./envelope.ts";
import { Condition, DigestAlgorithm, Directive, ManifestKey, Parameter, REPORT_ALWAYS } from "./keys.ts";
import { isComponentId, malformed, type Manifest } from "./manifest.ts";
import type { OpenEnvelope, TrustPolicy } from "./opened.ts";

/*
 * draft-ietf-suit-manifest-09 as RIOT's sys/suit reads it: read into the manifest of draft -37, whose processor then runs
 * it, and written. Numbers that mean something else there are in this file only.
 */

const Key09 = { AUTHENTICATION: 2, MANIFEST: 3 } as const;
const Manifest09 = { VERSION: 1, SEQUENCE_NUMBER: 2, COMMON: 3, INSTALL: 9, VALIDATE: 10 } as const;
const Common09 = { COMPONENTS: 2, SEQUENCE: 4 } as const;
const RUN_SEQUENCE_09 = 30;
const SHA_256_09 = 2;

export const RIOT_LIMITS = { maxManifestBytes: 640, maxUriBytes: 127, maxComponents: 1 } as const;

/** Authenticates and reads such an envelope. Throws EnvelopeError. */
export function openEnvelope09(crypto: Crypto, bytes: Uint8Array, { anchors, atLeast = 1 }: TrustPolicy): OpenEnvelope {
  if (bytes.length > SUIT_LIMITS.maxEnvelopeBytes) throw new EnvelopeError("too-large", `${bytes.length} bytes`);
  const members = decode(bytes);
  if (!isMap(members)) throw new EnvelopeError("not-an-envelope", "expected an untagged map");
  const wrapper = members.get(Key09.AUTHENTICATION);
  const manifestBytes = members.get(Key09.MANIFEST);
  if (!isBytes(wrapper) || !isBytes(manifestBytes) || members.size !== 2)
    throw new EnvelopeError(
      "not-an-envelope",
      "expected an authentication wrapper (2) and a manifest (3), and nothing else",
    );
  const digest = crypto.sha256(encodeCbor(manifestBytes));
  const payload = encodeCbor([SHA_256_09, digest]);
  const signers = signersOf(crypto, wrapper, payload, anchors);
  if (signers.length < atLeast)
    throw new EnvelopeError("too-few-signatures", `${signers.length} trusted keys signed, ${atLeast} have to`);
  const map = decode(manifestBytes);
  if (!isMap(map)) throw malformed("the manifest must be a map");
  const envelope = { members, manifestBytes, digestBytes: encodeCbor([DigestAlgorithm.SHA_256, digest]), blocks: [] };
  try {
    return { envelope, map, manifest: readManifest09(map), digest, signers };
  } catch (error) {
    throw error instanceof CborError ? malformed(error.message) : error; // what it is translated to may be too large
  }
}

function signersOf(crypto: Crypto, wrapper: Uint8Array, payload: Uint8Array, anchors: readonly Verifier[]): Verifier[] {
  const blocks = decode(wrapper);
  if (!isArray(blocks) || !blocks.every(isBytes)) throw new EnvelopeError("not-an-envelope", "the wrapper is no list");
  if (blocks.length === 0) throw new EnvelopeError("unsigned", "there is no authentication block");
  if (blocks.length > SUIT_LIMITS.maxAuthenticationBlocks) throw new EnvelopeError("too-large", "too many signatures");
  const good: Verifier[] = [];
  let otherManifest = false;
  for (const bytes of blocks) {
    const block = decode(bytes, new Set<number>([CoseTag.SIGN1]));
    if (!(block instanceof Tag)) throw malformed("an authentication block is no COSE_Sign1");
    for (const key of anchors) {
      const signed = verifyAttached(crypto, block.tag, block.value as CborValue, [key]);
      if (signed === undefined) continue;
      if (!bytesEqual(signed, payload)) otherManifest = true;
      else addKeys(good, [key]);
    }
  }
  if (good.length > 0) return good;
  if (otherManifest) throw new EnvelopeError("digest-mismatch", "the manifest is not the one that was signed");
  throw new EnvelopeError("signature-invalid", "no trusted key made any of its signatures");
}

function readManifest09(map: CborMap): Manifest {
  const known: readonly CborValue[] = Object.values(Manifest09);
  for (const key of map.keys())
    if (!known.includes(key)) throw malformed(`manifest member ${JSON.stringify(key)} is not read by RIOT`);
  if (map.get(Manifest09.VERSION) !== 1) throw malformed("manifest version must be 1");
  const sequenceNumber = map.get(Manifest09.SEQUENCE_NUMBER);
  if (!isUint(sequenceNumber) || sequenceNumber > 0xffff_ffff)
    throw malformed("the sequence number must be a uint of 32 bits");
  const common = decode(bytesOf(map.get(Manifest09.COMMON)));
  const components = isMap(common) ? common.get(Common09.COMPONENTS) : undefined;
  if (!isMap(common) || !isArray(components) || components.length === 0 || !components.every(isComponentId))
    throw malformed("common must name components");
  const shared = common.get(Common09.SEQUENCE);
  const sections = new Map<number, Uint8Array>();
  const add = (from: number, to: number): void => {
    const body = map.get(from);
    if (body !== undefined) sections.set(to, encodeCbor(translated(bytesOf(body), components.length, 0)));
  };
  add(Manifest09.INSTALL, ManifestKey.INSTALL);
  add(Manifest09.VALIDATE, ManifestKey.VALIDATE);
  return {
    sequenceNumber,
    referenceUri: undefined,
    componentId: undefined,
    setVersion: undefined,
    components,
    dependencies: new Map(),
    sharedSequence: shared === undefined ? undefined : encodeCbor(translated(bytesOf(shared), components.length, 0)),
    sections,
    severed: new Set(),
    text: undefined,
    integrated: new Map(),
  };
}

const MAX_DEPTH = 8;
const SAME: ReadonlySet<number> = new Set([
  Condition.VENDOR_IDENTIFIER,
  Condition.CLASS_IDENTIFIER,
  Condition.IMAGE_MATCH,
  Condition.COMPONENT_SLOT, // component-offset there: where the image lies in flash
  Directive.FETCH,
]);

/** A sequence in the numbers of draft -37. The index is 0 where none was set, also with several components. */
function translated(bytes: Uint8Array, components: number, depth: number): CborValue[] {
  if (depth > MAX_DEPTH) throw malformed("sequences too deep");
  const items = decode(bytes);
  if (!isArray(items) || items.length % 2 !== 0) throw malformed("a command sequence is a list of pairs");
  const out: CborValue[] = [];
  const isBare = components > 1 && depth === 0 && items[0] !== Directive.SET_COMPONENT_INDEX;
  if (isBare) out.push(Directive.SET_COMPONENT_INDEX, 0);
  for (let i = 0; i < items.length; i += 2) out.push(...command(items[i]!, items[i + 1]!, components, depth));
  return out;
}

function command(code: CborValue, argument: CborValue, components: number, depth: number): CborValue[] {
  const nested = (body: CborValue): Uint8Array => encodeCbor(translated(bytesOf(body), components, depth + 1));
  if (typeof code === "number" && SAME.has(code)) return [code, REPORT_ALWAYS];
  if (code === Directive.SET_COMPONENT_INDEX) return [code, argument];
  if (code === Directive.SET_PARAMETERS || code === Directive.OVERRIDE_PARAMETERS)
    return [Directive.OVERRIDE_PARAMETERS, parameters(argument)];
  if (code === RUN_SEQUENCE_09) return [Directive.RUN_SEQUENCE, nested(argument)];
  if (code === Directive.TRY_EACH && isArray(argument)) return [code, argument.map(nested)];
  throw malformed(`command ${JSON.stringify(code)} is not read by RIOT`);
}

const PARAMETERS: ReadonlySet<CborValue> = new Set<CborValue>([
  Parameter.VENDOR_IDENTIFIER,
  Parameter.CLASS_IDENTIFIER,
  Parameter.IMAGE_DIGEST,
  Parameter.COMPONENT_SLOT,
  Parameter.IMAGE_SIZE,
  Parameter.URI,
]);

function parameters(argument: CborValue): CborMap {
  if (!isMap(argument)) throw malformed("parameters must be a map");
  return new Map(
    [...argument].map(([key, value]): [CborValue, CborValue] => {
      if (!PARAMETERS.has(key)) throw malformed(`parameter ${JSON.stringify(key)} is not read by RIOT`);
      if (key !== Parameter.IMAGE_DIGEST) return [key, value];
      const digest = decode(bytesOf(value));
      if (!isArray(digest) || digest[0] !== SHA_256_09 || !isBytes(digest[1]))
        throw malformed("a digest must be SHA-256 (2)");
      return [key, encodeCbor([DigestAlgorithm.SHA_256, digest[1]])];
    }),
  );
}

/** A signed envelope for RIOT: one component, one image or one for each offset. Throws RangeError where RIOT could not read it. */
export function buildEnvelope09(crypto: Crypto, keys: readonly PrivateKey[], update: UpdateDescription): Uint8Array {
  const { components, vendorId, classIds, sequenceNumber } = update;
  const [component] = components;
  if (component === undefined || components.length > RIOT_LIMITS.maxComponents || classIds.length !== 1)
    throw new RangeError("RIOT takes one component of one class");
  if (keys.some(({ algorithm }) => algorithm !== "Ed25519")) throw new RangeError("RIOT's keys are Ed25519");
  if (sequenceNumber > 0xffff_ffff) throw new RangeError("RIOT's sequence numbers have 32 bits");
  const unknown = unknownTo09(update);
  if (unknown !== undefined) throw new RangeError(`RIOT does not know ${unknown}: it would do without, unsaid`);
  const { payloads } = component;
  if (payloads.some(({ patches = [] }) => patches.length > 0)) throw new RangeError("RIOT applies no patches");
  for (const { uri, encryption, integrated } of payloads)
    if (
      !/^coaps?:\/\//.test(uri) ||
      uri.length > RIOT_LIMITS.maxUriBytes ||
      encryption !== undefined ||
      integrated !== undefined
    )
      throw new RangeError("RIOT takes images by a coap: URI of at most 127 bytes, not encrypted");
  const { shared, install } = sequences(payloads, vendorId, classIds[0]!);
  const common = new Map<CborValue, CborValue>([
    [Common09.COMPONENTS, [component.id]],
    [Common09.SEQUENCE, encodeCbor(shared)],
  ]);
  const manifest = encodeCbor(
    new Map<CborValue, CborValue>([
      [Manifest09.VERSION, 1],
      [Manifest09.SEQUENCE_NUMBER, sequenceNumber],
      [Manifest09.COMMON, encodeCbor(common)],
      [Manifest09.INSTALL, encodeCbor(install)],
      [Manifest09.VALIDATE, encodeCbor([Condition.IMAGE_MATCH, 15])],
    ]),
  );
  const payload = encodeCbor([SHA_256_09, crypto.sha256(encodeCbor(manifest))]);
  const blocks = keys.map((key) => signAttached(crypto, key, payload));
  const envelope = encodeCbor(
    new Map<CborValue, CborValue>([
      [Key09.AUTHENTICATION, encodeCbor(blocks)],
      [Key09.MANIFEST, manifest],
    ]),
  );
  if (envelope.length > RIOT_LIMITS.maxManifestBytes)
    throw new RangeError(`${envelope.length} bytes; RIOT's buffer has ${RIOT_LIMITS.maxManifestBytes}`);
  return envelope;
}

/** What decides something, and draft -09 as RIOT reads it has no word for; texts for people decide nothing. */
function unknownTo09(update: UpdateDescription): string | undefined {
  const { components, dependencies = [], write, useBefore, minimumBatteryMwh, priority, wait } = update;
  if (components.some(({ requires = [] }) => requires.length > 0)) return "required versions";
  const said = { dependencies: dependencies[0], write, useBefore, minimumBatteryMwh, priority, wait };
  return Object.entries(said).find(([, value]) => value !== undefined)?.[0];
}

/** The common sequence and the install sequence, as RIOT's own tool lays them out. */
function sequences(
  payloads: readonly Payload[],
  vendorId: Uint8Array,
  classId: Uint8Array,
): { readonly shared: CborValue[]; readonly install: CborValue[] } {
  const digestOf = (image: Uint8Array): Uint8Array => encodeCbor([SHA_256_09, image]);
  const ids: [CborValue, CborValue][] = [
    [Parameter.VENDOR_IDENTIFIER, vendorId],
    [Parameter.CLASS_IDENTIFIER, classId],
  ];
  const identify: CborValue[] = [Condition.VENDOR_IDENTIFIER, 15, Condition.CLASS_IDENTIFIER, 15];
  const at = (slot: number): CborValue[] => [
    Directive.OVERRIDE_PARAMETERS,
    new Map([[Parameter.COMPONENT_SLOT, slot]]),
    Condition.COMPONENT_SLOT,
    5,
  ];
  const imageOf = ({ image }: Payload): [CborValue, CborValue][] => [
    [Parameter.IMAGE_DIGEST, digestOf(image.digest)],
    [Parameter.IMAGE_SIZE, image.size],
  ];
  const fetch: CborValue[] = [Directive.FETCH, 2, Condition.IMAGE_MATCH, 15];
  const [only] = payloads;
  const isOne = payloads.length === 1 && only!.slot === undefined;
  const shared: CborValue[] = isOne
    ? [Directive.OVERRIDE_PARAMETERS, new Map([...ids, ...imageOf(only!)]), ...identify]
    : [
        Directive.OVERRIDE_PARAMETERS,
        new Map(ids),
        ...identify,
        Directive.TRY_EACH,
        payloads.map((one) => encodeCbor([...at(one.slot ?? 0), Directive.OVERRIDE_PARAMETERS, new Map(imageOf(one))])),
      ];
  const install: CborValue[] = isOne
    ? [Directive.SET_PARAMETERS, new Map([[Parameter.URI, only!.uri]]), ...fetch]
    : [
        Directive.TRY_EACH,
        payloads.map((one) =>
          encodeCbor([...at(one.slot ?? 0), Directive.SET_PARAMETERS, new Map([[Parameter.URI, one.uri]])]),
        ),
        ...fetch,
      ];
  return { shared, install };
}

function bytesOf(value: CborValue | undefined): Uint8Array {
  if (!isBytes(value)) throw malformed("expected a byte string");
  return value;
}

function decode(bytes: Uint8Array, tags?: ReadonlySet<number>): CborValue {
  try {
    return decodeCbor(bytes, tags, tags === undefined ? undefined : "any");
  } catch (error) {
    throw error instanceof CborError ? malformed(error.message) : error;
  }
}
