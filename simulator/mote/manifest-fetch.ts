import type { Verifier } from "../../src/codec/cose.ts";
import type { ClientEvent } from "../../src/coap/request.ts";
import { manifestPath, releasePath } from "../../src/gateway/catalogue.ts";
import type { Crypto } from "../../src/ports/crypto.ts";
import { openRelease, type Release, type ReleaseImage } from "../../src/suit/release.ts";
import type { BlockFetch } from "../../src/transfer/block-fetch.ts";
import { bytesEqual, toHex } from "../../src/util/bytes.ts";
import { EnvelopeFetch } from "./envelope-fetch.ts";

export type ManifestEvent =
  /** The envelope is there; `verify` says what it is, which takes a while. */
  { readonly kind: "fetched" } | { readonly kind: "failed"; readonly reason: string };

/** The manifest by which a LwM2M client knows what it was given: believed once an anchor's signature says so. */
export class ManifestFetch {
  readonly #fetch: EnvelopeFetch;
  /** It is asked for by the image, and not as what the class is offered now. */
  readonly isByImage: boolean;
  #envelope: Uint8Array | undefined;

  constructor(newFetch: (path: readonly string[]) => BlockFetch, classId: Uint8Array, digest?: Uint8Array) {
    this.isByImage = digest !== undefined;
    const path = digest === undefined ? manifestPath(classId, "00") : releasePath(classId, digest);
    this.#fetch = new EnvelopeFetch(newFetch(path));
  }

  start(nowUs: number): void {
    this.#fetch.start(nowUs);
  }

  handleTimeout(nowUs: number): void {
    this.#fetch.handleTimeout(nowUs);
  }

  pollTimeout(): number | undefined {
    return this.#fetch.pollTimeout();
  }

  handleEvent(nowUs: number, clientEvent: ClientEvent): ManifestEvent | undefined {
    const event = this.#fetch.handleEvent(nowUs, clientEvent);
    if (event?.kind !== "fetched") return event && { kind: "failed", reason: `manifest-${event.reason}` };
    this.#envelope = event.envelope;
    return { kind: "fetched" };
  }

  /** The release that is meant, or why it is none for this mote. */
  verify(crypto: Crypto, anchors: readonly Verifier[], classId: Uint8Array, slotBytes: number): Release | string {
    if (this.#envelope === undefined) return "manifest-missing";
    const opened = openRelease(crypto, this.#envelope, { anchors });
    this.#envelope = undefined;
    if (!opened.ok) return opened.reason;
    if (!opened.release.classIds.some((id) => bytesEqual(id, classId))) return "class-mismatch";
    return opened.release.images.every(({ size }) => size > slotBytes) ? "image-larger-than-slot" : opened.release;
  }
}

/** The image of a release that these bytes are, where it is one for devices of the class. */
export function imageIn(release: Release, digest: Uint8Array, classId: Uint8Array): ReleaseImage | undefined {
  const name = toHex(classId);
  return release.images.find((one) => bytesEqual(one.digest, digest) && one.classes.includes(name));
}
