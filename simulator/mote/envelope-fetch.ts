import type { ClientEvent } from "../../src/coap/request.ts";
import type { BlockFetch } from "../../src/transfer/block-fetch.ts";
import { concatBytes } from "../../src/util/bytes.ts";

/** Largest envelope that a mote takes into RAM. */
export const MAX_ENVELOPE_BYTES = 1_024;

export type EnvelopeEvent =
  /** The envelope is there, and nothing is known of it yet. */
  { readonly kind: "fetched"; readonly envelope: Uint8Array } | { readonly kind: "failed"; readonly reason: string };

/** Fetches an envelope into RAM. */
export class EnvelopeFetch {
  readonly #fetch: BlockFetch;
  readonly #maxBytes: number;
  #parts: Uint8Array[] = [];

  constructor(fetch: BlockFetch, maxBytes: number = MAX_ENVELOPE_BYTES) {
    this.#fetch = fetch;
    this.#maxBytes = maxBytes;
  }

  /** From the beginning, whatever has come already. */
  start(nowUs: number): void {
    this.#parts = [];
    this.#fetch.ask(nowUs, this.#fetch.download.requestAt(0));
  }

  handleTimeout(nowUs: number): void {
    this.#fetch.handleTimeout(nowUs);
  }

  pollTimeout(): number | undefined {
    return this.#fetch.pollTimeout();
  }

  handleEvent(nowUs: number, clientEvent: ClientEvent): EnvelopeEvent | undefined {
    const event = this.#fetch.handleEvent(nowUs, clientEvent);
    if (event === undefined || event.kind === "paused") return undefined;
    if (event.kind === "changed") {
      this.start(nowUs); // a newer one came while this one was being read
      return undefined;
    }
    if (event.kind !== "block") return { kind: "failed", reason: event.kind === "failed" ? event.reason : "missing" };
    this.#parts.push(event.bytes.slice());
    const received = event.offset + event.bytes.length;
    if (received > this.#maxBytes) return { kind: "failed", reason: "too-large" };
    if (event.last) return { kind: "fetched", envelope: concatBytes(...this.#parts) };
    this.#fetch.ask(nowUs, this.#fetch.download.requestAt(received));
    return undefined;
  }
}
