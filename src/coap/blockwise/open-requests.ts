import type { PeerAddress } from "../../ports/datagram.ts";
import type { OutgoingRequest, Requester } from "../request.ts";

/**
 * The requests of one Q-Block transfer that may still be answered. Answers come under a token of
 * late; those of long ago are given back (RFC 9177 section 6).
 */
export class OpenRequests {
  readonly #endpoint: Requester;
  readonly #peer: PeerAddress;
  readonly #limit: number;
  readonly #ids = new Set<number>();

  constructor({ endpoint, peer }: { endpoint: Requester; peer: PeerAddress }, limit: number) {
    this.#endpoint = endpoint;
    this.#peer = peer;
    this.#limit = limit;
  }

  has(id: number): boolean {
    return this.#ids.has(id);
  }

  /** The endpoint has ended it. */
  ended(id: number): void {
    this.#ids.delete(id);
  }

  /** Sends one more; undefined when the endpoint has no room. */
  send(nowUs: number, request: OutgoingRequest): number | undefined {
    const id = this.#endpoint.request(nowUs, this.#peer, { ...request, many: true, paced: true });
    if (id === undefined) return undefined;
    this.#ids.add(id);
    if (this.#ids.size > this.#limit) this.#cancel(nowUs, this.#ids.values().next().value!);
    return id;
  }

  cancelAll(nowUs: number): void {
    for (const id of this.#ids) this.#cancel(nowUs, id);
  }

  #cancel(nowUs: number, id: number): void {
    this.#ids.delete(id);
    this.#endpoint.cancel(nowUs, id);
  }
}
