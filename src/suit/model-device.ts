import type { Cipher } from "../ports/cipher.ts";
import type { Crypto } from "../ports/crypto.ts";
import { bytesEqual, constantTimeEqual } from "../util/bytes.ts";
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
}

/** Bytes that are elsewhere, and were found to be these. */
export interface Verified {
  readonly digest: Uint8Array;
  readonly size: number;
}

/** A device in memory that does at once what a manifest says: for dry runs and tests. */
export class ModelDevice implements Device {
  readonly components: Map<string, Uint8Array> = new Map();
  readonly invoked: { readonly component: string; readonly args: Uint8Array | undefined }[] = [];
  /** All that it was told to do, in order. */
  readonly actions: Action[] = [];
  readonly #crypto: Crypto;
  readonly #cipher: Cipher | undefined;
  /** Components whose plaintext only a real device can see. */
  readonly #opaque = new Set<string>();
  readonly #verified = new Map<string, Verified>();
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
      case "digest": {
        if (this.#opaque.has(componentName(question.component))) return "yes";
        const known = this.#verified.get(componentName(question.component));
        if (known !== undefined)
          return told(bytesEqual(known.digest, question.digest) && (question.size ?? known.size) === known.size);
        const bytes = this.envelope(question.component);
        if (bytes === undefined || (question.size !== undefined && bytes.length !== question.size)) return "no";
        return told(bytesEqual(this.#crypto.sha256(bytes), question.digest));
      }
      case "content": {
        const bytes = this.envelope(question.component);
        return told(bytes !== undefined && constantTimeEqual(bytes, question.content));
      }
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
        const bytes = this.#model.fetch(action.uri, action.digest);
        if (bytes === undefined) return { ok: false, detail: `nothing at ${action.uri}` };
        return bytes instanceof Uint8Array ? this.#store(action, bytes) : this.#note(action, bytes);
      }
      case "store":
        return this.#store(action, action.content);
      case "copy": {
        const known = this.#verified.get(componentName(action.source));
        if (known !== undefined) return this.#note(action, known);
        const bytes = this.envelope(action.source);
        return bytes === undefined ? { ok: false, detail: "the source is empty" } : this.#store(action, bytes);
      }
      case "swap": {
        const [here, there] = [this.envelope(action.component), this.envelope(action.source)];
        if (here === undefined || there === undefined)
          return { ok: false, detail: "a component to be swapped is empty" };
        this.components.set(componentName(action.component), there);
        this.components.set(componentName(action.source), here);
        return DONE;
      }
      case "invoke":
        this.invoked.push({ component: componentName(action.component), args: action.args });
        return DONE;
      case "unlink":
        this.components.delete(componentName(action.component));
        return DONE;
      case "wait":
      default:
        return DONE;
    }
  }

  #note(action: Action & { kind: "fetch" | "copy" }, known: Verified): Done {
    const name = componentName(action.component);
    this.#opaque.delete(name);
    if (action.encryption !== undefined) this.#opaque.add(name);
    this.#verified.set(name, known);
    return DONE;
  }

  #store(action: Action & { kind: "fetch" | "store" | "copy" }, bytes: Uint8Array): Done {
    let stored = bytes;
    this.#verified.delete(componentName(action.component));
    this.#opaque.delete(componentName(action.component));
    if (action.encryption !== undefined && this.#cipher === undefined)
      this.#opaque.add(componentName(action.component));
    else if (action.encryption !== undefined) {
      const opened = decryptPayload(this.#cipher!, action.encryption, bytes, this.#model.decryptionKeys ?? []);
      if (!opened.ok) return opened;
      stored = opened.plaintext;
    }
    const room = this.#model.maxComponentBytes ?? Infinity;
    if (stored.length > room) return { ok: false, detail: `${stored.length} bytes do not fit into ${room}` };
    this.components.set(componentName(action.component), stored);
    return DONE;
  }
}
