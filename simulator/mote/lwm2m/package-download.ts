import { BlockDownload } from "../../../src/coap/blockwise/block2-client.ts";
import type { Szx } from "../../../src/coap/blockwise/block.ts";
import type { ClientEvent } from "../../../src/coap/request.ts";
import { parseUri } from "../../../src/coap/uri.ts";
import type { PeerAddress } from "../../../src/ports/datagram.ts";
import type { BlockFetch } from "../../../src/transfer/block-fetch.ts";
import { fromHex } from "../../../src/util/bytes.ts";

export type DownloadStep =
  | { readonly kind: "block"; readonly offset: number; readonly bytes: Uint8Array; readonly last: boolean }
  /** The server is silent; it is asked again. */
  | { readonly kind: "paused" }
  /** It is another image now: what is stored is worth nothing. */
  | { readonly kind: "changed" }
  | { readonly kind: "failed"; readonly reason: string };

/** A package that the client fetches by its URI, block by block, from wherever it stopped. */
export class PackageDownload {
  readonly #fetch: BlockFetch;
  #asked: number | undefined;

  /** Undefined when the URI is none of CoAP. */
  static open(
    uri: string,
    szx: Szx,
    etag: string | undefined,
    newFetch: (download: BlockDownload, peer: PeerAddress) => BlockFetch,
  ): PackageDownload | undefined {
    const parsed = parseUri(uri);
    if (parsed?.scheme !== "coap") return undefined;
    const bytes = etag === undefined ? undefined : fromHex(etag);
    const download = new BlockDownload({
      path: parsed.path,
      query: parsed.query,
      szx,
      ...(bytes === undefined ? {} : { etag: bytes }),
    });
    return new PackageDownload(newFetch(download, { address: parsed.host.replace(/^\[|\]$/g, ""), port: parsed.port }));
  }

  private constructor(fetch: BlockFetch) {
    this.#fetch = fetch;
  }

  get size(): number | undefined {
    return this.#fetch.download.size;
  }

  get etag(): Uint8Array | undefined {
    return this.#fetch.download.etag;
  }

  ask(nowUs: number, offset: number): void {
    this.#asked = offset;
    const { download } = this.#fetch;
    const request = download.requestAt(offset);
    this.#fetch.ask(nowUs, this.size === undefined ? download.withSize(request) : request);
  }

  /** Asks once more at once, after a sleep. */
  again(nowUs: number): void {
    if (this.#asked !== undefined) this.ask(nowUs, this.#asked);
  }

  handleEvent(nowUs: number, event: ClientEvent): DownloadStep | undefined {
    const step = this.#fetch.handleEvent(nowUs, event);
    if (step === undefined) return undefined;
    if (step.kind === "paused") return { kind: "paused" };
    this.#asked = undefined;
    if (step.kind === "block" || step.kind === "failed") return step;
    return { kind: "changed" };
  }

  handleTimeout(nowUs: number): void {
    this.#fetch.handleTimeout(nowUs);
  }

  pollTimeout(): number | undefined {
    return this.#fetch.pollTimeout();
  }
}
