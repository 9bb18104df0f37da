import { LRUCache } from "lru-cache";
import type { IncomingRequest } from "../coap/request.ts";
import type { StoreOp } from "../ports/store.ts";
import { utf8 } from "../util/bytes.ts";

/** Where devices are that may not have whatever they like: held across restarts. */
export const ADDRESS_PREFIX = "held/";
const MAX_ADDRESSES = 10_000;

/**
 * Devices by the address from which they asked last; what is behind an address is never more than likely. Of those that are
 * not held so many are known; those that are, all.
 */
export class DeviceAddresses {
  readonly #isHeld: (device: string) => boolean;
  readonly #store: (ops: readonly StoreOp[]) => void;
  readonly #addressOf = new Map<string, string>();
  readonly #held = new Map<string, string>();
  readonly #others: LRUCache<string, string>;

  constructor(
    isHeld: (device: string) => boolean,
    store: (ops: readonly StoreOp[]) => void,
    max: number = MAX_ADDRESSES,
  ) {
    this.#isHeld = isHeld;
    this.#store = store;
    this.#others = new LRUCache({
      max,
      dispose: (device, _address, reason) => {
        if (reason === "evict") this.#addressOf.delete(device);
      },
    });
  }

  at(address: string): string | undefined {
    return address === "" ? undefined : (this.#held.get(address) ?? this.#others.get(address));
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
    const [there, before] = [this.at(address), this.#addressOf.get(device)];
    if (there === device) return true;
    if ((there !== undefined || before !== undefined) && !fresh)
      return !this.#isHeld(device) && (there === undefined || !this.#isHeld(there));
    this.#bind(address, device);
    if (this.#isHeld(device)) this.#store(this.keepOps(device));
    return true;
  }

  /** On disk: a restart sets nobody free. */
  keepOps(device: string): StoreOp[] {
    const address = this.#addressOf.get(device);
    return address === undefined ? [] : [{ kind: "put", key: ADDRESS_PREFIX + device, value: utf8(address) }];
  }

  /** A device is held from now on, at the address that it has by now, or is so no longer. */
  changed(device: string): void {
    const address = this.#addressOf.get(device);
    if (address === undefined) return;
    this.#bind(address, device);
    if (this.#isHeld(device)) this.#store(this.keepOps(device));
  }

  releaseOps(device: string): StoreOp[] {
    return [{ kind: "delete", key: ADDRESS_PREFIX + device }];
  }

  /** A record of one that is held no longer. */
  release(device: string): void {
    this.#store(this.releaseOps(device));
  }

  /** It is no more, or somewhere else: who has its address next is somebody else. */
  forget(device: string): void {
    const address = this.#addressOf.get(device);
    if (address === undefined) return;
    this.#addressOf.delete(device);
    this.#held.delete(address);
    this.#others.delete(address);
  }

  #bind(address: string, device: string): void {
    const there = this.at(address);
    if (there !== undefined) this.forget(there);
    // A restart would put it back there.
    if (there !== undefined && there !== device && this.#isHeld(there)) this.release(there);
    this.forget(device);
    (this.#isHeld(device) ? this.#held : this.#others).set(address, device);
    this.#addressOf.set(device, address);
  }
}
