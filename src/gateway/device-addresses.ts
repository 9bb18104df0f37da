import { LRUCache } from "lru-cache";
import type { IncomingRequest } from "../coap/request.ts";
import type { StoreOp } from "../ports/store.ts";
import { utf8 } from "../util/bytes.ts";

/** Where devices are that may not have whatever they like: held across restarts. */
export const ADDRESS_PREFIX = "held/";
const MAX_ADDRESSES = 10_000;

/** Devices by the address from which they asked last; what is behind an address is never more than likely. */
export class DeviceAddresses {
  readonly #isHeld: (device: string) => boolean;
  readonly #store: (ops: readonly StoreOp[]) => void;
  readonly #addressOf = new Map<string, string>();
  readonly #devices = new LRUCache<string, string>({
    max: MAX_ADDRESSES,
    dispose: (device, address) => {
      if (this.#addressOf.get(device) === address) this.#addressOf.delete(device);
    },
  });

  constructor(isHeld: (device: string) => boolean, store: (ops: readonly StoreOp[]) => void) {
    this.#isHeld = isHeld;
    this.#store = store;
  }

  at(address: string): string | undefined {
    return address === "" ? undefined : this.#devices.get(address);
  }

  recover(address: string, device: string): void {
    this.#bind(address, device);
  }

  /**
   * A device has shown by its key that it is that one. The message may be an old one that somebody sends again from
   * another's address: nobody moves by it. False where that matters, since somebody is held: it has to show that it is
   * fresh (RFC 9175 section 2.3).
   */
  heardAt({ peer: { address }, fresh }: Pick<IncomingRequest, "peer" | "fresh">, device: string): boolean {
    const [there, before] = [this.#devices.get(address), this.#addressOf.get(device)];
    if (there === device) return true;
    if ((there !== undefined || before !== undefined) && !fresh)
      return !this.#isHeld(device) && (there === undefined || !this.#isHeld(there));
    this.#bind(address, device);
    if (this.#isHeld(device)) this.keep(device);
    return true;
  }

  /** On disk: a restart sets nobody free. */
  keepOps(device: string): StoreOp[] {
    const address = this.#addressOf.get(device);
    return address === undefined ? [] : [{ kind: "put", key: ADDRESS_PREFIX + device, value: utf8(address) }];
  }

  keep(device: string): void {
    const ops = this.keepOps(device);
    if (ops.length > 0) this.#store(ops);
  }

  releaseOps(device: string): StoreOp[] {
    return [{ kind: "delete", key: ADDRESS_PREFIX + device }];
  }

  /** A record of one that is held no longer. */
  release(device: string): void {
    this.#store(this.releaseOps(device));
  }

  /** It is no more: who has its address next is somebody else. */
  forget(device: string): void {
    this.#devices.delete(this.#addressOf.get(device) ?? "");
  }

  #bind(address: string, device: string): void {
    const before = this.#addressOf.get(device);
    if (before !== undefined) this.#devices.delete(before);
    this.#devices.set(address, device);
    this.#addressOf.set(device, address);
  }
}
