import type { Cipher } from "../ports/cipher.ts";
import type { Crypto } from "../ports/crypto.ts";
import { bytesEqual, constantTimeEqual } from "../util/bytes.ts";
import { applyPatch } from "../delta/patch.ts";
import { PatchError } from "../delta/patch-error.ts";
import { installedName, readPatchArguments, type PatchArguments } from "./delta.ts";
import { decryptPayload, type DecryptionKey } from "./encryption.ts";
import { componentName, type ComponentId } from "./manifest.ts";
import { DONE, type Action, type Answer, type Device, type Done, type Question } from "./processor/effects.ts";
import { matchesVersion } from "./processor/parameters.ts";

/** What a device is like, as far as a manifest can ask. What is absent it does not have: no clock, no battery gauge. */
export interface DeviceModel {
  readonly vendorIds: readonly Uint8Array[];
  readonly classIds: readonly Uint8Array[];
  readonly deviceId?: Uint8Array | undefined;
  /** Slot that a component will be written to, by its name; else `slot`, else 0. */
  readonly slots?: Readonly<Record<string, number>> | undefined;
  readonly slot?: number | undefined;
  readonly unixS?: (() => number) | undefined;
  readonly batteryMwh?: (() => number) | undefined;
  readonly authorises?: ((priority: number) => boolean) | undefined;
  readonly versions?: Readonly<Record<string, readonly number[]>> | undefined;
  /** Whatever is asked of installed versions holds. */
  readonly anyVersion?: boolean | undefined;
  /** Bytes behind a URI; or what somebody verified them to be, which is as good. `digest`: those that are wanted, if known. */
  readonly fetch: (uri: string, digest: Uint8Array | undefined) => Uint8Array | Verified | undefined;
  readonly decryptionKeys?: readonly DecryptionKey[] | undefined;
  readonly maxComponentBytes?: number | undefined;
  /** What is there before is whatever the manifest asks for, of what may be there, as long as it asks for one thing. */
  readonly mayBeInstalled?: ((digest: Uint8Array, component: string) => boolean) | undefined;
}

/** Bytes that are elsewhere, and were found to be these. */
export interface Verified {
  readonly digest: Uint8Array;
  readonly size: number;
}

/** Bytes of which nothing is known, until somebody asks for something: from then on they are that, wherever they were copied. */
class Unknown {
  digest: Uint8Array | undefined;
  size: number | undefined;
  /** Ciphertext decrypts to anything; what is installed is no news. */
  readonly mayBe: (digest: Uint8Array) => boolean;

  constructor(mayBe: (digest: Uint8Array) => boolean) {
    this.mayBe = mayBe;
  }
}

/** What a component holds of which the bytes are not at hand. */
type Elsewhere = Verified | Unknown;
type Held = Uint8Array | Elsewhere | undefined;

/** A device in memory that does at once what a manifest says: for dry runs and tests. */
export class ModelDevice implements Device {
  readonly components: Map<string, Uint8Array> = new Map();
  readonly invoked: { readonly component: string; readonly args: Uint8Array | undefined }[] = [];
  /** All that it was told to do, in order. */
  readonly actions: Action[] = [];
  readonly #crypto: Crypto;
  readonly #cipher: Cipher | undefined;
  readonly #elsewhere = new Map<string, Elsewhere>();
  /** Components that hold something else by now than before, or nothing. */
  readonly #changed = new Set<string>();
  readonly #model: DeviceModel;

  /** Without a cipher what is encrypted stays so, and is taken to be right. */
  constructor(crypto: Crypto, cipher: Cipher | undefined, model: DeviceModel) {
    this.#crypto = crypto;
    this.#cipher = cipher;
    this.#model = model;
  }

  envelope(component: ComponentId): Uint8Array | undefined {
    return this.components.get(componentName(component));
  }

  ask(question: Question): Answer {
    const { vendorIds, classIds, deviceId, slots, unixS, batteryMwh, authorises, versions } = this.#model;
    const told = (known: boolean | undefined): Answer => (known === undefined ? "unsupported" : known ? "yes" : "no");
    switch (question.kind) {
      case "identifier": {
        const own = { vendor: vendorIds, class: classIds, device: deviceId === undefined ? [] : [deviceId] };
        return told(own[question.which].some((id) => bytesEqual(id, question.value)));
      }
      case "digest":
        return told(this.#isDigest(question));
      case "content":
        return told(this.#isContent(question));
      case "slot":
        return told((slots?.[componentName(question.component)] ?? this.#model.slot ?? 0) === question.slot);
      case "before":
        return told(unixS === undefined ? undefined : unixS() < question.unixS);
      case "battery":
        return told(batteryMwh === undefined ? undefined : batteryMwh() >= question.atLeastMwh);
      case "authorised":
        return told(authorises?.(question.priority));
      case "version":
      default: {
        if (this.#model.anyVersion === true) return "yes";
        const installed = versions?.[componentName(question.component)];
        return told(installed && matchesVersion(installed, question.comparison, question.version));
      }
    }
  }

  act(action: Action): Done {
    this.actions.push(action);
    switch (action.kind) {
      case "fetch": {
        const patch = action.args && readPatchArguments(action.args);
        if (action.args !== undefined && patch === undefined)
          return { ok: false, detail: "fetch-arguments that are not known here" };
        const bytes = this.#model.fetch(action.uri, (patch ?? action).digest);
        if (bytes === undefined) return { ok: false, detail: `nothing at ${action.uri}` };
        if (patch !== undefined) return this.#patch(action, patch, bytes);
        return bytes instanceof Uint8Array ? this.#store(action, bytes) : this.#note(action, bytes);
      }
      case "store":
        return this.#store(action, action.content);
      case "copy": {
        const held = this.#held(componentName(action.source));
        if (held === undefined) return { ok: false, detail: "the source is empty" };
        return held instanceof Uint8Array ? this.#store(action, held) : this.#note(action, held);
      }
      case "swap": {
        const [here, there] = [componentName(action.component), componentName(action.source)];
        const [one, other] = [this.#held(here), this.#held(there)];
        if (one === undefined || other === undefined)
          return { ok: false, detail: "a component to be swapped is empty" };
        this.#put(here, other);
        this.#put(there, one);
        return DONE;
      }
      case "invoke":
        this.invoked.push({ component: componentName(action.component), args: action.args });
        return DONE;
      case "unlink":
        this.#put(componentName(action.component), undefined);
        return DONE;
      case "wait":
      default:
        return DONE;
    }
  }

  #held(name: string): Held {
    const known = this.components.get(name) ?? this.#elsewhere.get(name);
    const { mayBeInstalled } = this.#model;
    if (known !== undefined || mayBeInstalled === undefined || this.#changed.has(name)) return known;
    const installed = new Unknown((digest) => mayBeInstalled(digest, name));
    this.#put(name, installed);
    return installed;
  }

  #put(name: string, held: Held): void {
    this.#changed.add(name);
    this.components.delete(name);
    this.#elsewhere.delete(name);
    if (held instanceof Uint8Array) this.components.set(name, held);
    else if (held !== undefined) this.#elsewhere.set(name, held);
  }

  #isDigest({ component, digest, size }: Question & { kind: "digest" }): boolean {
    const name = componentName(component);
    const held = this.#held(name);
    if (held === undefined) return false;
    if (held instanceof Uint8Array)
      return (size ?? held.length) === held.length && bytesEqual(this.#crypto.sha256(held), digest);
    if (held instanceof Unknown) {
      if (held.digest === undefined && !held.mayBe(digest)) return false;
      held.digest ??= digest;
      held.size ??= size;
    }
    return bytesEqual(held.digest!, digest) && (size ?? held.size) === (held.size ?? size);
  }

  #isContent({ component, content }: Question & { kind: "content" }): boolean {
    const held = this.#held(componentName(component));
    if (held instanceof Uint8Array) return constantTimeEqual(held, content);
    return this.#isDigest({ kind: "digest", component, digest: this.#crypto.sha256(content), size: content.length });
  }

  /** The image that a patch makes of what was there before. */
  #patch(action: Action & { kind: "fetch" }, patch: PatchArguments, bytes: Uint8Array | Verified): Done {
    const found = bytes instanceof Uint8Array ? this.#crypto.sha256(bytes) : bytes.digest;
    if (!bytesEqual(found, patch.digest)) return { ok: false, detail: "the patch is another one" };
    const { digest, size } = action;
    const old = this.#held(installedName(action.component));
    if (digest === undefined || size === undefined || old === undefined)
      return { ok: false, detail: "there is nothing to be patched, or nobody says into what" };
    // Whoever signed it has tried it.
    if (!(old instanceof Uint8Array && bytes instanceof Uint8Array)) return this.#note(action, { digest, size });
    try {
      return this.#store(action, applyPatch(bytes, old, size));
    } catch (error) {
      if (error instanceof PatchError) return { ok: false, detail: error.reason };
      throw error;
    }
  }

  /** What only a real device can decrypt is anything. */
  #note(action: Action & { kind: "fetch" | "store" | "copy" }, held: Elsewhere): Done {
    this.#put(componentName(action.component), action.encryption === undefined ? held : new Unknown(() => true));
    return DONE;
  }

  #store(action: Action & { kind: "fetch" | "store" | "copy" }, bytes: Uint8Array): Done {
    let stored = bytes;
    if (action.encryption !== undefined) {
      // Without a cipher nobody can see what it is.
      if (this.#cipher === undefined) return this.#note(action, new Unknown(() => true));
      const opened = decryptPayload(this.#cipher, action.encryption, bytes, this.#model.decryptionKeys ?? []);
      if (!opened.ok) return opened;
      stored = opened.plaintext;
    }
    const room = this.#model.maxComponentBytes ?? Infinity;
    if (stored.length > room) return { ok: false, detail: `${stored.length} bytes do not fit into ${room}` };
    this.#put(componentName(action.component), stored);
    return DONE;
  }
}
