import { CborError } from "../codec/cbor-check.ts";
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
import { toHex } from "../util/bytes.ts";
import { EnvelopeError, type Envelope } from "./envelope.ts";
import { CommonKey, DependencyKey, EnvelopeKey, ManifestKey, SuitTag } from "./keys.ts";

/** Segments of a component identifier. */
export type ComponentId = readonly Uint8Array[];

/** A component identifier as text: hexadecimal segments between dots; one of no segments is none with an empty one. */
export const componentName = (id: ComponentId): string => (id.length === 0 ? "-" : id.map(toHex).join("."));

export const MANIFEST_LIMITS = { maxComponents: 32 } as const;

/** An authenticated manifest, its sequences not looked at (draft -37 section 8.4). */
export interface Manifest {
  readonly sequenceNumber: number;
  readonly referenceUri: string | undefined;
  /** Where a root manifest is kept (trust-domains section 5.1). */
  readonly componentId: ComponentId | undefined;
  /** Version of what it installs (update-management section 3.1). */
  readonly setVersion: readonly number[] | undefined;
  readonly components: readonly ComponentId[];
  /** Component indices that hold another envelope, with the prefix of its components. */
  readonly dependencies: ReadonlyMap<number, ComponentId>;
  readonly sharedSequence: Uint8Array | undefined;
  /** Encoded command sequences by manifest key. A severed one whose body is gone is not among them. */
  readonly sections: ReadonlyMap<number, Uint8Array>;
  /** Keys of severed members whose body is not in the envelope. */
  readonly severed: ReadonlySet<number>;
  readonly text: Uint8Array | undefined;
  /** Payloads and dependencies in the envelope, by their URI (section 5.5). */
  readonly integrated: ReadonlyMap<string, Uint8Array>;
}

const SEQUENCES = [
  ManifestKey.VALIDATE,
  ManifestKey.LOAD,
  ManifestKey.INVOKE,
  ManifestKey.DEPENDENCY_RESOLUTION,
  ManifestKey.PAYLOAD_FETCH,
  ManifestKey.CANDIDATE_VERIFICATION,
  ManifestKey.INSTALL,
  ManifestKey.UNINSTALL,
];
const KNOWN: ReadonlySet<CborValue> = new Set<CborValue>(Object.values(ManifestKey));

const KNOWN_COMMON: ReadonlySet<CborValue> = new Set<CborValue>(Object.values(CommonKey));
const KNOWN_DEPENDENCY: ReadonlySet<CborValue> = new Set<CborValue>(Object.values(DependencyKey));

/** Nothing is passed over that its author may have counted on. */
function checkKnown(map: CborMap, known: ReadonlySet<CborValue>, what: string): void {
  for (const key of map.keys())
    if (!known.has(key)) throw malformed(`${what} member ${JSON.stringify(key)} is not known; it may matter`);
}

/** Reads an authenticated manifest whose severed members have been checked. Throws EnvelopeError. */
export function readManifest(map: CborMap, envelope: Envelope): Manifest {
  const sequenceNumber = map.get(ManifestKey.SEQUENCE_NUMBER);
  if (!isUint(sequenceNumber)) throw malformed("the sequence number must be an unsigned integer");
  checkKnown(map, KNOWN, "manifest");
  const common = decodeItem(bytesOf(map.get(ManifestKey.COMMON), "common"));
  if (!isMap(common)) throw malformed("common must be a map");
  checkKnown(common, KNOWN_COMMON, "common");
  const components = readComponents(common.get(CommonKey.COMPONENTS));
  const dependencies = readDependencies(common.get(CommonKey.DEPENDENCIES), components);
  const sections = new Map<number, Uint8Array>();
  const severed = new Set<number>();
  for (const key of SEQUENCES) {
    const body = memberOf(map, envelope, key);
    if (body === "severed") severed.add(key);
    else if (body !== undefined) sections.set(key, body);
  }
  const text = memberOf(map, envelope, ManifestKey.TEXT);
  const shared = common.get(CommonKey.SHARED_SEQUENCE);
  return {
    sequenceNumber,
    referenceUri: optionalText(map.get(ManifestKey.REFERENCE_URI)),
    componentId: optionalComponent(map.get(ManifestKey.COMPONENT_ID)),
    setVersion: optionalVersion(map.get(ManifestKey.SET_VERSION)),
    components,
    dependencies,
    sharedSequence: shared === undefined ? undefined : bytesOf(shared, "the shared sequence"),
    sections,
    severed,
    text: text === "severed" ? undefined : text,
    integrated: integratedOf(envelope.members),
  };
}

/** A severable member: in the manifest, or its digest there and its body in the envelope (section 5.4). */
function memberOf(map: CborMap, { members }: Envelope, key: number): Uint8Array | "severed" | undefined {
  const member = map.get(key);
  if (member === undefined || isBytes(member)) return member;
  const severable = Object.values(EnvelopeKey).some((value) => value === key);
  if (!severable || !isArray(member)) throw malformed(`member ${key} must be a byte string`);
  const body = members.get(key);
  return body === undefined ? "severed" : bytesOf(body, `member ${key}`);
}

function integratedOf(members: CborMap): Map<string, Uint8Array> {
  const integrated = new Map<string, Uint8Array>();
  for (const [key, value] of members)
    if (typeof key === "string") integrated.set(key, bytesOf(value, `integrated payload ${key}`));
  return integrated;
}

export function isComponentId(value: CborValue | undefined): value is ComponentId {
  return isArray(value) && value.every(isBytes);
}

function readComponents(value: CborValue | undefined): ComponentId[] {
  if (value === undefined) return [];
  if (!isArray(value) || value.length === 0) throw malformed("components must be a list of one or more");
  if (value.length > MANIFEST_LIMITS.maxComponents) throw malformed(`${value.length} components are too many`);
  return value.map((id) => {
    if (!isComponentId(id)) throw malformed("a component identifier is a list of byte strings");
    return id;
  });
}

/** Dependencies are components by their index (trust-domains section 5.2); one behind the list adds itself to it. */
function readDependencies(value: CborValue | undefined, components: ComponentId[]): Map<number, ComponentId> {
  const dependencies = new Map<number, ComponentId>();
  if (value === undefined) return dependencies;
  if (!isMap(value)) throw malformed("dependencies must be a map");
  for (const [index, metadata] of value) {
    if (!isUint(index) || index > components.length)
      throw malformed(`dependency index ${JSON.stringify(index)} leaves a gap`);
    if (!isMap(metadata)) throw malformed("the metadata of a dependency must be a map");
    checkKnown(metadata, KNOWN_DEPENDENCY, "dependency");
    const prefix = metadata.get(DependencyKey.PREFIX);
    if (prefix !== undefined && !isComponentId(prefix))
      throw malformed("a dependency's prefix is a component identifier");
    // The drafts' examples still name a dependency that way; its metadata is where its envelope is kept, then.
    if (index === components.length) components.push(prefix ?? [encodeCbor(index)]);
    else if (prefix !== undefined) {
      dependencies.set(index, prefix);
      continue;
    }
    dependencies.set(index, []);
  }
  return dependencies;
}

function optionalText(value: CborValue | undefined): string | undefined {
  if (value !== undefined && typeof value !== "string") throw malformed("the reference URI must be text");
  return value;
}

function optionalComponent(value: CborValue | undefined): ComponentId | undefined {
  if (value !== undefined && !isComponentId(value)) throw malformed("the manifest's component must be an identifier");
  return value;
}

function optionalVersion(value: CborValue | undefined): readonly number[] | undefined {
  if (value === undefined) return undefined;
  const version = decodeItem(bytesOf(value, "set-version"));
  if (!isVersion(version)) throw malformed("a version is a list of integers");
  return version;
}

export function isVersion(value: CborValue | undefined): value is readonly number[] {
  return isArray(value) && value.length > 0 && value.every((part) => Number.isSafeInteger(part));
}

const ITEM_TAGS: ReadonlySet<number> = new Set([SuitTag.PEN]);

/** One item from within a manifest. Throws EnvelopeError. */
export function decodeItem(bytes: Uint8Array, tags: ReadonlySet<number> = ITEM_TAGS): CborValue {
  try {
    return decodeCbor(bytes, tags);
  } catch (error) {
    throw error instanceof CborError ? malformed(error.message) : error;
  }
}

function bytesOf(value: CborValue | undefined, what: string): Uint8Array {
  if (!isBytes(value)) throw malformed(`${what} must be a byte string`);
  return value;
}

export function malformed(detail: string): EnvelopeError {
  return new EnvelopeError("malformed", detail);
}
