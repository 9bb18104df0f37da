import { manifestPath } from "../../src/gateway/catalogue.ts";
import type { Verifier } from "../../src/codec/cose.ts";
import type { ClientEvent } from "../../src/coap/request.ts";
import type { Crypto } from "../../src/ports/crypto.ts";
import { openRelease, type Release } from "../../src/suit/release.ts";
import type { BlockFetch } from "../../src/transfer/block-fetch.ts";
import { bytesEqual, concatBytes } from "../../src/util/bytes.ts";

/** Largest envelope that a mote takes into RAM. */
const MAX_MANIFEST_BYTES = 1_024;

export type ManifestEvent =
  /** The envelope is there; `verify` says what it is, which takes a while. */
  { readonly kind: "fetched" } | { readonly kind: "failed"; readonly reason: string };

/** The manifest of a mote's class: fetched, and believed once an anchor's signature says so. */
export class ManifestFetch {
  readonly #fetch: BlockFetch;
  #parts: Uint8Array[] = [];

  constructor(newFetch: (path: readonly string[]) => BlockFetch, classId: Uint8Array) {
    this.#fetch = newFetch(manifestPath(classId, "00"));
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

  handleEvent(nowUs: number, clientEvent: ClientEvent): ManifestEvent | undefined {
    const event = this.#fetch.handleEvent(nowUs, clientEvent);
    if (event === undefined || event.kind === "paused") return undefined;
    if (event.kind === "changed") {
      this.start(nowUs); // a newer release came while this one was being read
      return undefined;
    }
    if (event.kind !== "block")
      return { kind: "failed", reason: event.kind === "failed" ? `manifest-${event.reason}` : "manifest-missing" };
    this.#parts.push(event.bytes.slice());
    const received = event.offset + event.bytes.length;
    if (received > MAX_MANIFEST_BYTES) return { kind: "failed", reason: "manifest-too-large" };
    if (event.last) return { kind: "fetched" };
    this.#fetch.ask(nowUs, this.#fetch.download.requestAt(received));
    return undefined;
  }

  /** The release that is meant, or why it is none for this mote. */
  verify(crypto: Crypto, anchors: readonly Verifier[], classId: Uint8Array, slotBytes: number): Release | string {
    const opened = openRelease(crypto, concatBytes(...this.#parts), { anchors });
    this.#parts = [];
    if (!opened.ok) return opened.reason;
    if (!opened.release.classIds.some((id) => bytesEqual(id, classId))) return "class-mismatch";
    return opened.release.imageSize > slotBytes ? "image-larger-than-slot" : opened.release;
  }
}
