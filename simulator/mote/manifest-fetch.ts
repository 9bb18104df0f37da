import type { ClientEvent } from "../../src/coap/request.ts";
import { manifestPath, releasePath, transferPath } from "../../src/gateway/catalogue.ts";
import type { Crypto } from "../../src/ports/crypto.ts";
import { openRelease, type Release, type ReleaseImage } from "../../src/suit/release.ts";
import { anchorsOf, type DeviceTrust } from "../../src/suit/trust.ts";
import type { BlockFetch } from "../../src/transfer/block-fetch.ts";
import { bytesEqual, toHex } from "../../src/util/bytes.ts";
import { EnvelopeFetch } from "./envelope-fetch.ts";
import { handedOver, installs, openBy, type Candidate, type SealedTrust } from "./sealed-trust.ts";

export type ManifestEvent =
  /** The envelope is there; `verify` says what it is, which takes a while. */
  { readonly kind: "fetched" } | { readonly kind: "failed"; readonly reason: string };

export interface ManifestParts {
  readonly crypto: Crypto;
  readonly classId: Uint8Array;
  readonly trust: DeviceTrust;
  /** What a factory sealed, of a device that had one: it follows hand-overs, and holds signers to their rights. */
  readonly sealed: SealedTrust | undefined;
  readonly newFetch: (path: readonly string[]) => BlockFetch;
}

/** The manifest by which a LwM2M client knows what it was given: believed once an anchor's signature says so. */
export class ManifestFetch {
  readonly #parts: ManifestParts;
  /** It is asked for by the image, and not as what the class is offered now. */
  readonly isByImage: boolean;
  readonly #path: readonly string[];
  #trust: DeviceTrust;
  /** Of the manifest, or of the next hand-over, which may name others than it believes now. */
  #fetch: EnvelopeFetch;
  #asksHandOver = false;
  #envelope: Uint8Array | undefined;

  constructor(parts: ManifestParts, digest?: Uint8Array) {
    this.#parts = parts;
    this.#trust = parts.trust;
    this.isByImage = digest !== undefined;
    this.#path = digest === undefined ? manifestPath(parts.classId, "00") : releasePath(parts.classId, digest);
    this.#fetch = this.#newFetch();
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
    if (event === undefined) return undefined;
    if (!this.#asksHandOver) {
      if (event.kind !== "fetched") return { kind: "failed", reason: `manifest-${event.reason}` };
      this.#envelope = event.envelope;
      // Signed by nobody that it knows: perhaps others maintain it by now.
      this.#asksHandOver = this.#parts.sealed !== undefined && !this.#isKnown();
    } else {
      const followed = event.kind === "fetched" && this.#follow(event.envelope);
      this.#asksHandOver = followed && !this.#isKnown();
    }
    if (!this.#asksHandOver) return { kind: "fetched" };
    this.#fetch = this.#newFetch();
    this.start(nowUs);
    return undefined;
  }

  #newFetch(): EnvelopeFetch {
    const { newFetch, classId } = this.#parts;
    return new EnvelopeFetch(newFetch(this.#asksHandOver ? transferPath(classId, this.#trust.epoch + 1) : this.#path));
  }

  #isKnown(): boolean {
    return openBy(this.#parts.crypto, this.#envelope!, this.#trust) !== undefined;
  }

  #follow(envelope: Uint8Array): boolean {
    const { crypto, classId, sealed } = this.#parts;
    const next = handedOver(crypto, envelope, this.#trust, { vendorId: sealed!.vendorId, classId });
    if (next === undefined || !sealed!.keep(next)) return false;
    this.#trust = next;
    return true;
  }

  /** The release that is meant, or why it is none for this mote; `image`: what is at hand. */
  verify(slotBytes: number, image: Pick<Candidate, "slot" | "running" | "digest" | "size">): Release | string {
    const { crypto, classId, sealed } = this.#parts;
    const envelope = this.#envelope;
    if (envelope === undefined) return "manifest-missing";
    this.#envelope = undefined;
    const opened = openRelease(crypto, envelope, { anchors: anchorsOf(this.#trust) });
    if (!opened.ok) return opened.reason;
    if (!opened.release.classIds.some((id) => bytesEqual(id, classId))) return "class-mismatch";
    const { vendorId, unixS } = sealed ?? {};
    if (vendorId !== undefined && !installs(crypto, envelope, this.#trust, { ...image, vendorId, classId, unixS }))
      return "not-installed";
    return opened.release.images.every(({ size }) => size > slotBytes) ? "image-larger-than-slot" : opened.release;
  }
}

/** The image of a release that these bytes are, where it is one for devices of the class. */
export function imageIn(release: Release, digest: Uint8Array, classId: Uint8Array): ReleaseImage | undefined {
  const name = toHex(classId);
  return release.images.find((one) => bytesEqual(one.digest, digest) && one.classes.includes(name));
}
