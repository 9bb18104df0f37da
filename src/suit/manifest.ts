import { decodeCbor, isArray, isBytes, isMap, isUint, type CborMap, type CborValue } from "../codec/cbor.ts";
import { CborError } from "../codec/cbor-check.ts";
import { EnvelopeError } from "./envelope.ts";
import { CommonKey, DigestAlgorithm, Directive, ManifestKey, Parameter } from "./keys.ts";

/** What one component's parameters say once the shared sequence and the update sequences have run. */
export interface ComponentDescription {
  readonly id: readonly Uint8Array[];
  vendorId?: Uint8Array;
  classId?: Uint8Array;
  /** SHA-256 of the image. */
  imageDigest?: Uint8Array;
  imageSize?: number;
  uri?: string;
  encrypted?: boolean;
}

export interface Manifest {
  readonly sequenceNumber: number;
  readonly components: readonly ComponentDescription[];
}

/**
 * Reads an authenticated manifest: its sequence number, and per component what the parameters say
 * that its sequences set. It describes; it does not execute conditions. `severed` gives the body of
 * a severed sequence where the envelope has it.
 */
export function readManifest(manifest: CborMap, severed: (key: number) => Uint8Array | undefined): Manifest {
  const sequenceNumber = manifest.get(ManifestKey.SEQUENCE_NUMBER);
  if (!isUint(sequenceNumber)) throw malformed("the sequence number must be an unsigned integer");
  const commonBytes = manifest.get(ManifestKey.COMMON);
  if (!isBytes(commonBytes)) throw malformed("common must be a byte string");
  const common = decode(commonBytes);
  if (!isMap(common)) throw malformed("common must be a map");
  const components = readComponents(common.get(CommonKey.COMPONENTS));
  addDependencies(components, common.get(CommonKey.DEPENDENCIES));
  const reader = new SequenceReader(components);
  reader.read(common.get(CommonKey.SHARED_SEQUENCE), 0);
  for (const key of [ManifestKey.PAYLOAD_FETCH, ManifestKey.INSTALL, ManifestKey.VALIDATE]) {
    const member = manifest.get(key);
    reader.startSequence();
    reader.read(isArray(member) ? severed(key) : member, 0);
  }
  return { sequenceNumber, components };
}

function readComponents(value: CborValue | undefined): ComponentDescription[] {
  if (value === undefined) return [];
  if (!isArray(value)) throw malformed("components must be a list");
  return value.map((id) => {
    if (!isArray(id) || !id.every(isBytes)) throw malformed("a component identifier is a list of byte strings");
    return { id: id };
  });
}

/** Dependencies take the component indices that are their keys (trust-domains section 5.2). */
function addDependencies(components: ComponentDescription[], value: CborValue | undefined): void {
  if (value === undefined) return;
  if (!isMap(value)) throw malformed("dependencies must be a map");
  for (const index of value.keys()) {
    if (index === components.length) components.push({ id: [] });
    else if (!isUint(index) || index > components.length)
      throw malformed(`dependency index ${JSON.stringify(index)} leaves a gap`);
  }
}

const MAX_SEQUENCE_DEPTH = 8;

class SequenceReader {
  readonly #components: readonly ComponentDescription[];
  #current: readonly ComponentDescription[];

  constructor(components: readonly ComponentDescription[]) {
    this.#components = components;
    this.#current = components.slice(0, 1);
  }

  /** Component index 0 is the start of every sequence (draft -37 section 6.4). */
  startSequence(): void {
    this.#current = this.#components.slice(0, 1);
  }

  read(bytes: CborValue | undefined, depth: number): void {
    if (bytes === undefined || bytes === null) return;
    if (!isBytes(bytes) || depth > MAX_SEQUENCE_DEPTH) throw malformed("a command sequence must be a byte string");
    const sequence = decode(bytes);
    if (!isArray(sequence) || sequence.length % 2 !== 0) throw malformed("a command sequence is a list of pairs");
    for (let i = 0; i < sequence.length; i += 2) this.#command(sequence[i]!, sequence[i + 1]!, depth);
  }

  #command(command: CborValue, argument: CborValue, depth: number): void {
    if (command === Directive.SET_COMPONENT_INDEX) {
      this.#select(argument);
    } else if (command === Directive.OVERRIDE_PARAMETERS || command === Directive.SET_PARAMETERS) {
      if (!isMap(argument)) throw malformed("parameters must be a map");
      for (const component of this.#current) setParameters(component, argument);
    } else if (command === Directive.RUN_SEQUENCE) {
      this.read(argument, depth + 1);
    } else if (command === Directive.TRY_EACH) {
      if (!isArray(argument)) throw malformed("try-each takes a list of sequences");
      // The first branch describes the manifest; a processor decides by its conditions which one runs.
      this.read(argument[0], depth + 1);
    }
  }

  #select(argument: CborValue): void {
    if (argument === true) {
      this.#current = this.#components;
      return;
    }
    const indices = isArray(argument) ? argument : [argument];
    this.#current = indices.map((index) => {
      const component = isUint(index) ? this.#components[index] : undefined;
      if (component === undefined) throw malformed(`component index ${JSON.stringify(index)} does not exist`);
      return component;
    });
  }
}

function setParameters(component: ComponentDescription, parameters: CborMap): void {
  for (const [key, value] of parameters) {
    if (key === Parameter.VENDOR_IDENTIFIER && isBytes(value)) component.vendorId = value;
    else if (key === Parameter.CLASS_IDENTIFIER && isBytes(value)) component.classId = value;
    else if (key === Parameter.IMAGE_SIZE && isUint(value)) component.imageSize = value;
    else if (key === Parameter.URI && typeof value === "string") component.uri = value;
    else if (key === Parameter.ENCRYPTION_INFO) component.encrypted = true;
    else if (key === Parameter.IMAGE_DIGEST && isBytes(value)) component.imageDigest = readDigest(value);
  }
}

function readDigest(bytes: Uint8Array): Uint8Array {
  const digest = decode(bytes);
  if (!isArray(digest) || digest[0] !== DigestAlgorithm.SHA_256 || !isBytes(digest[1]) || digest[1].length !== 32) {
    throw malformed("an image digest must be SHA-256");
  }
  return digest[1];
}

const SUIT_ITEM_TAGS: ReadonlySet<number> = new Set([112]); // cbor-pen: a vendor by enterprise number

function decode(bytes: Uint8Array): CborValue {
  try {
    return decodeCbor(bytes, SUIT_ITEM_TAGS);
  } catch (error) {
    throw error instanceof CborError ? malformed(error.message) : error;
  }
}

function malformed(detail: string): EnvelopeError {
  return new EnvelopeError("malformed", detail);
}
