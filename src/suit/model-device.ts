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
  /** Slot that a component will be written to, by its name; 0 unless given. */
  readonly slots?: Readonly<Record<string, number>> | undefined;
  readonly unixS?: (() => number) | undefined;
  readonly batteryMwh?: (() => number) | undefined;
  readonly authorises?: ((priority: number) => boolean) | undefined;
  readonly versions?: Readonly<Record<string, readonly number[]>> | undefined;
  /** Bytes behind a URI. */
  readonly fetch: (uri: string) => Uint8Array | undefined;
  readonly decryptionKeys?: readonly DecryptionKey[] | undefined;
  readonly maxComponentBytes?: number | undefined;
}

/** A device in memory that does at once what a manifest says: for dry runs and tests. */
export class ModelDevice implements Device {
  readonly components: Map<string, Uint8Array> = new Map();
  readonly invoked: { readonly component: string; readonly args: Uint8Array | undefined }[] = [];
  /** All that it was told to do, in order. */
  readonly actions: Action[] = [];
  readonly #crypto: Crypto;
  readonly #cipher: Cipher;
  readonly #model: DeviceModel;

  constructor(crypto: Crypto, cipher: Cipher, model: DeviceModel) {
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
        const bytes = this.envelope(question.component);
        if (bytes === undefined || (question.size !== undefined && bytes.length !== question.size)) return "no";
        return told(bytesEqual(this.#crypto.sha256(bytes), question.digest));
      }
      case "content": {
        const bytes = this.envelope(question.component);
        return told(bytes !== undefined && constantTimeEqual(bytes, question.content));
      }
      case "slot":
        return told((slots?.[componentName(question.component)] ?? 0) === question.slot);
      case "before":
        return told(unixS === undefined ? undefined : unixS() < question.unixS);
      case "battery":
        return told(batteryMwh === undefined ? undefined : batteryMwh() >= question.atLeastMwh);
      case "authorised":
        return told(authorises?.(question.priority));
      case "version":
      default: {
        const installed = versions?.[componentName(question.component)];
        return told(installed && matchesVersion(installed, question.comparison, question.version));
      }
    }
  }

  act(action: Action): Done {
    this.actions.push(action);
    switch (action.kind) {
      case "fetch": {
        const bytes = this.#model.fetch(action.uri);
        return bytes === undefined ? { ok: false, detail: `nothing at ${action.uri}` } : this.#store(action, bytes);
      }
      case "store":
        return this.#store(action, action.content);
      case "copy": {
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

  #store(action: Action & { kind: "fetch" | "store" | "copy" }, bytes: Uint8Array): Done {
    let stored = bytes;
    if (action.encryption !== undefined) {
      const opened = decryptPayload(this.#cipher, action.encryption, bytes, this.#model.decryptionKeys ?? []);
      if (!opened.ok) return opened;
      stored = opened.plaintext;
    }
    const room = this.#model.maxComponentBytes ?? Infinity;
    if (stored.length > room) return { ok: false, detail: `${stored.length} bytes do not fit into ${room}` };
    this.components.set(componentName(action.component), stored);
    return DONE;
  }
}
