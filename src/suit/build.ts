import { encodeCbor, tagged, type CborMap, type CborValue } from "../codec/cbor.ts";
import type { Crypto } from "../ports/crypto.ts";
import {
  CommonKey,
  ComponentTextKey,
  Condition,
  DependencyKey,
  DigestAlgorithm,
  Directive,
  EnvelopeKey,
  ManifestKey,
  Parameter,
  REPORT_ALWAYS,
  SuitTag,
  TextKey,
} from "./keys.ts";
import { encodePatchArguments, installedId } from "./delta.ts";
import type { ComponentId } from "./manifest.ts";

/** Bytes by their digest. */
export interface Image {
  readonly digest: Uint8Array;
  readonly size: number;
}

/** One image for a component, or for one slot of it. */
export interface Payload {
  readonly slot?: number | undefined;
  /** As it is stored and runs. */
  readonly image: Image;
  readonly uri: string;
  /** Goes into the envelope under its URI instead of being fetched. */
  readonly integrated?: Uint8Array | undefined;
  /** What is fetched is this ciphertext; it is decrypted as it is copied (firmware-encryption section 4.2). */
  readonly encryption?: { readonly info: Uint8Array; readonly ciphertext: Image } | undefined;
  /** By which devices make it that have the image `from`: they fetch the patch instead. */
  readonly patches?: readonly { readonly from: Image; readonly patch: Image; readonly uri: string }[] | undefined;
}

export interface ComponentUpdate {
  readonly id: ComponentId;
  /** One, or one for each slot: a device takes that of the slot it writes (draft -37 section 7.7). */
  readonly payloads: readonly Payload[];
  /** Version for people. */
  readonly version?: string | undefined;
  readonly description?: string | undefined;
  /** The versions that it may be installed over: all have to hold (update-management section 4.4). */
  readonly requires?: readonly { readonly comparison: number; readonly version: readonly number[] }[] | undefined;
}

export interface Dependency {
  readonly id: ComponentId;
  /** SHA-256 over the manifest in its byte string. */
  readonly digest: Uint8Array;
  readonly uri: string;
  readonly integrated?: Uint8Array | undefined;
  readonly prefix?: ComponentId | undefined;
  /** Starts something itself, and has to be asked for it (trust-domains section 4.1). */
  readonly invokes?: boolean | undefined;
}

/** An update as its author means it. */
export interface UpdateDescription {
  readonly sequenceNumber: number;
  readonly vendorId: Uint8Array;
  readonly classIds: readonly Uint8Array[];
  readonly components: readonly ComponentUpdate[];
  readonly dependencies?: readonly Dependency[] | undefined;
  /** A few bytes that the manifest itself brings, for a component of their own. */
  readonly write?: { readonly component: ComponentId; readonly content: Uint8Array } | undefined;
  readonly setVersion?: readonly number[] | undefined;
  readonly referenceUri?: string | undefined;
  readonly description?: string | undefined;
  readonly updateDescription?: string | undefined;
  /** Smaller is more urgent; the device's operator is asked for leave with it (update-management section 4.3). */
  readonly priority?: number | undefined;
  /** Seconds since 1970 (section 4.1). */
  readonly useBefore?: number | undefined;
  readonly minimumBatteryMwh?: number | undefined;
  /** Wait events by their key (section 4.5). */
  readonly wait?: CborMap | undefined;
  /** Component that is started; the first unless given, none where false. */
  readonly invoke?: number | false | undefined;
  /** Text and the install sequence stand outside the manifest, so that they can be left away. */
  readonly sever?: boolean | undefined;
}

const policy = REPORT_ALWAYS;
const suitDigest = (digest: Uint8Array): Uint8Array => encodeCbor([DigestAlgorithm.SHA_256, digest]);
const override = (...entries: (readonly [number, CborValue])[]): CborValue[] => [
  Directive.OVERRIDE_PARAMETERS,
  new Map<CborValue, CborValue>(entries),
];
const imageOf = ({ digest, size }: Image): (readonly [number, CborValue])[] => [
  [Parameter.IMAGE_DIGEST, suitDigest(digest)],
  [Parameter.IMAGE_SIZE, size],
];
const seq = (...commands: CborValue[]): Uint8Array => encodeCbor(commands);

/** Where ciphertext is kept until it is copied. */
const stagedId = (id: ComponentId): ComponentId => [...id, new TextEncoder().encode("staged")];

/** An unsigned envelope. */
export function buildEnvelope(crypto: Crypto, update: UpdateDescription): Uint8Array {
  const plan = new Builder(update);
  const members = plan.integrated();
  const manifest = new Map<CborValue, CborValue>([
    [ManifestKey.VERSION, 1],
    [ManifestKey.SEQUENCE_NUMBER, update.sequenceNumber],
    [ManifestKey.COMMON, encodeCbor(plan.common())],
  ]);
  const member = (key: number, body: Uint8Array | undefined, severable: boolean): void => {
    if (body === undefined) return;
    const isSevered = severable && update.sever === true;
    manifest.set(key, isSevered ? [DigestAlgorithm.SHA_256, crypto.sha256(encodeCbor(body))] : body);
    if (isSevered) members.set(key, body);
  };
  member(ManifestKey.DEPENDENCY_RESOLUTION, plan.resolve(), false);
  member(ManifestKey.VALIDATE, plan.validate(), false);
  member(ManifestKey.INSTALL, plan.install(), true);
  member(ManifestKey.INVOKE, plan.invoke(), false);
  member(ManifestKey.TEXT, plan.text(), true);
  if (update.referenceUri !== undefined) manifest.set(ManifestKey.REFERENCE_URI, update.referenceUri);
  if (update.setVersion !== undefined) manifest.set(ManifestKey.SET_VERSION, encodeCbor(update.setVersion));
  const bytes = encodeCbor(manifest);
  const digest = suitDigest(crypto.sha256(encodeCbor(bytes)));
  members.set(EnvelopeKey.AUTHENTICATION_WRAPPER, encodeCbor([digest]));
  members.set(EnvelopeKey.MANIFEST, bytes);
  return encodeCbor(tagged(SuitTag.ENVELOPE, members));
}

class Builder {
  readonly #update: UpdateDescription;
  readonly #ids: ComponentId[] = [];
  readonly #staged = new Map<ComponentUpdate, number>();
  readonly #installed = new Map<ComponentUpdate, number>();
  readonly #firstDependency: number;
  readonly #written: number;

  constructor(update: UpdateDescription) {
    this.#update = update;
    for (const { id } of update.components) this.#ids.push(id);
    for (const component of update.components) {
      if (!component.payloads.some(({ encryption }) => encryption !== undefined)) continue;
      this.#staged.set(component, this.#ids.length);
      this.#ids.push(stagedId(component.id));
    }
    for (const component of update.components) {
      if (!component.payloads.some(({ patches = [] }) => patches.length > 0)) continue;
      this.#installed.set(component, this.#ids.length);
      this.#ids.push(installedId(component.id));
    }
    this.#written = this.#ids.length;
    if (update.write !== undefined) this.#ids.push(update.write.component);
    this.#firstDependency = this.#ids.length;
    for (const { id } of update.dependencies ?? []) this.#ids.push(id);
  }

  /** Selects a component where there is more than one. */
  #at(index: CborValue): CborValue[] {
    return this.#ids.length > 1 ? [Directive.SET_COMPONENT_INDEX, index] : [];
  }

  common(): CborMap {
    const common = new Map<CborValue, CborValue>([
      [CommonKey.COMPONENTS, this.#ids],
      [CommonKey.SHARED_SEQUENCE, this.#shared()],
    ]);
    const dependencies = this.#update.dependencies ?? [];
    if (dependencies.length === 0) return common;
    const entries = dependencies.map(({ prefix }, i): [CborValue, CborValue] => [
      this.#firstDependency + i,
      new Map(prefix === undefined ? [] : [[DependencyKey.PREFIX, prefix]]),
    ]);
    return common.set(CommonKey.DEPENDENCIES, new Map(entries));
  }

  /** Who it is for comes first; what each component will be, by slot where it has some. */
  #shared(): Uint8Array {
    const { vendorId, classIds, components, dependencies = [] } = this.#update;
    const [first, ...others] = classIds;
    const vendor = [Parameter.VENDOR_IDENTIFIER, vendorId] as const;
    const classIs = (id: Uint8Array): CborValue[] => [
      ...override([Parameter.CLASS_IDENTIFIER, id]),
      Condition.CLASS_IDENTIFIER,
      policy,
    ];
    const commands: CborValue[] = [...this.#at(0)];
    // The usual manifest is as small as it can be: one set of parameters.
    const isPlain = this.#ids.length === 1 && components.length === 1 && isSimple(components[0]!);
    if (others.length === 0) {
      const image = isPlain ? imageOf(components[0]!.payloads[0]!.image) : [];
      commands.push(...override(vendor, [Parameter.CLASS_IDENTIFIER, first!], ...image));
      commands.push(Condition.VENDOR_IDENTIFIER, policy, Condition.CLASS_IDENTIFIER, policy);
      if (isPlain) return seq(...commands);
    } else {
      commands.push(...override(vendor), Condition.VENDOR_IDENTIFIER, policy);
      commands.push(
        Directive.TRY_EACH,
        classIds.map((id) => seq(...classIs(id))),
      );
    }
    components.forEach((component, index) => {
      commands.push(...this.#at(index), ...expectations(component));
    });
    dependencies.forEach(({ digest }, i) => {
      const index = this.#firstDependency + i;
      commands.push(...this.#at(index), ...override([Parameter.IMAGE_DIGEST, suitDigest(digest)]));
    });
    return seq(...commands);
  }

  resolve(): Uint8Array | undefined {
    const dependencies = this.#update.dependencies ?? [];
    if (dependencies.length === 0) return undefined;
    const commands: CborValue[] = [];
    dependencies.forEach(({ uri }, i) => {
      commands.push(...this.#at(this.#firstDependency + i), ...override([Parameter.URI, uri]), Directive.FETCH, policy);
      commands.push(Condition.DEPENDENCY_INTEGRITY, policy, Directive.PROCESS_DEPENDENCY, policy);
    });
    return seq(...commands);
  }

  #processDependencies(isMeant: (dependency: Dependency) => boolean = () => true): CborValue[] {
    const commands: CborValue[] = [];
    (this.#update.dependencies ?? []).forEach((dependency, i) => {
      if (!isMeant(dependency)) return;
      commands.push(...this.#at(this.#firstDependency + i), Condition.DEPENDENCY_INTEGRITY, policy);
      commands.push(Directive.PROCESS_DEPENDENCY, policy);
    });
    return commands;
  }

  /** All that can say no comes before the first byte is fetched (RFC 9124, REQ.USE.MFST.PRE_CHECK). */
  install(): Uint8Array {
    const commands: CborValue[] = [...this.#at(0), ...this.#gates()];
    this.#update.components.forEach((component, index) => {
      for (const { comparison, version } of component.requires ?? [])
        commands.push(
          ...this.#at(index),
          ...override([Parameter.VERSION, encodeCbor([comparison, version])]),
          Condition.VERSION,
          policy,
        );
    });
    commands.push(...this.#processDependencies());
    this.#update.components.forEach((component, index) => commands.push(...this.#obtain(component, index)));
    const { write } = this.#update;
    if (write !== undefined)
      commands.push(
        ...this.#at(this.#written),
        ...override([Parameter.CONTENT, write.content]),
        Directive.WRITE,
        policy,
      );
    return seq(...commands);
  }

  #gates(): CborValue[] {
    const { useBefore, minimumBatteryMwh, priority, wait } = this.#update;
    const commands: CborValue[] = [];
    if (useBefore !== undefined)
      commands.push(...override([Parameter.USE_BEFORE, useBefore]), Condition.USE_BEFORE, policy);
    if (minimumBatteryMwh !== undefined)
      commands.push(...override([Parameter.MINIMUM_BATTERY, minimumBatteryMwh]), Condition.MINIMUM_BATTERY, policy);
    if (priority !== undefined)
      commands.push(...override([Parameter.UPDATE_PRIORITY, priority]), Condition.UPDATE_AUTHORIZED, policy);
    if (wait !== undefined) commands.push(...override([Parameter.WAIT_INFO, encodeCbor(wait)]), Directive.WAIT, policy);
    return commands;
  }

  /** By slot only what is fetched differs: a branch sets parameters behind its condition, and nothing is done in it. */
  #obtain(component: ComponentUpdate, index: number): CborValue[] {
    const { payloads } = component;
    const staged = this.#staged.get(component);
    const sources = payloads.map((payload) => this.#source(payload, index, staged));
    const commands = [...this.#at(index)];
    const installed = this.#installed.get(component);
    if (installed !== undefined)
      commands.push(...this.#patchedOrWhole(payloads, sources, index, installed), ...this.#at(index));
    else if (isSimple(component)) commands.push(...sources[0]!);
    else
      commands.push(
        Directive.TRY_EACH,
        payloads.map(({ slot = 0 }, i) => seq(...inSlot(slot), ...sources[i]!)),
      );
    const fetch = [Directive.FETCH, policy, Condition.IMAGE_MATCH, policy];
    if (staged === undefined) return [...commands, ...fetch];
    // Matched before it is decrypted, so that a forged payload costs no more than its transfer.
    const stage = [...this.#at(staged), ...fetch, ...this.#at(index)];
    return [...commands, ...stage, Directive.COPY, policy, Condition.IMAGE_MATCH, policy];
  }

  /** By what is installed too: a patch where there is one, and the whole image for everybody else. */
  #patchedOrWhole(
    payloads: readonly Payload[],
    sources: readonly CborValue[][],
    index: number,
    installed: number,
  ): CborValue[] {
    const branches = payloads.flatMap(({ slot, patches = [] }, i) => {
      // A branch that failed may have left another component selected.
      const here = [...this.#at(index), ...(slot === undefined ? [] : inSlot(slot))];
      const patched = patches.map(({ from, patch, uri }) =>
        seq(
          ...here,
          ...this.#at(installed),
          ...override(...imageOf(from)),
          Condition.IMAGE_MATCH,
          policy,
          ...this.#at(index),
          ...override([Parameter.URI, uri], [Parameter.FETCH_ARGUMENTS, encodePatchArguments(patch)]),
        ),
      );
      return [...patched, seq(...here, ...sources[i]!)];
    });
    return [Directive.TRY_EACH, branches];
  }

  #source({ uri, encryption }: Payload, index: number, staged: number | undefined): CborValue[] {
    if (encryption === undefined || staged === undefined) return override([Parameter.URI, uri]);
    return [
      ...override([Parameter.ENCRYPTION_INFO, encryption.info], [Parameter.SOURCE_COMPONENT, staged]),
      ...this.#at(staged),
      ...override(...imageOf(encryption.ciphertext), [Parameter.URI, uri]),
      ...this.#at(index),
    ];
  }

  validate(): Uint8Array | undefined {
    const commands: CborValue[] = [];
    commands.push(...this.#processDependencies());
    this.#update.components.forEach((_, index) => commands.push(...this.#at(index), Condition.IMAGE_MATCH, policy));
    return commands.length === 0 ? undefined : seq(...commands);
  }

  invoke(): Uint8Array | undefined {
    const { invoke = 0, components } = this.#update;
    const commands = this.#processDependencies(({ invokes }) => invokes === true);
    if (invoke !== false && components.length > 0) commands.push(...this.#at(invoke), Directive.INVOKE, policy);
    return commands.length === 0 ? undefined : seq(...commands);
  }

  /** SUIT_Text_Map in English. */
  text(): Uint8Array | undefined {
    const { components, description, updateDescription } = this.#update;
    const text = new Map<CborValue, CborValue>();
    if (description !== undefined) text.set(TextKey.MANIFEST_DESCRIPTION, description);
    if (updateDescription !== undefined) text.set(TextKey.UPDATE_DESCRIPTION, updateDescription);
    for (const component of components) {
      const entries = new Map<CborValue, CborValue>();
      if (component.description !== undefined) entries.set(ComponentTextKey.DESCRIPTION, component.description);
      if (component.version !== undefined) entries.set(ComponentTextKey.VERSION, component.version);
      if (entries.size > 0) text.set(component.id, entries);
    }
    return text.size === 0 ? undefined : encodeCbor(new Map([["en", text]]));
  }

  integrated(): Map<CborValue, CborValue> {
    const { components, dependencies = [] } = this.#update;
    const all = [...components.flatMap(({ payloads }) => payloads), ...dependencies];
    return new Map(
      all.flatMap(({ uri, integrated }) => (integrated === undefined ? [] : [[uri, integrated] as const])),
    );
  }
}

const isSimple = ({ payloads }: ComponentUpdate): boolean => payloads.length === 1 && payloads[0]!.slot === undefined;

/** What the component's image must be; by slot where it has some. */
function expectations(component: ComponentUpdate): CborValue[] {
  const { payloads } = component;
  if (isSimple(component)) return override(...imageOf(payloads[0]!.image));
  const branches = payloads.map(({ slot = 0, image }) => seq(...inSlot(slot), ...override(...imageOf(image))));
  return [Directive.TRY_EACH, branches];
}

const inSlot = (slot: number): CborValue[] => [
  ...override([Parameter.COMPONENT_SLOT, slot]),
  Condition.COMPONENT_SLOT,
  policy,
];
