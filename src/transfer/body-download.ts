import { BlockDownload } from "../coap/blockwise/block2-client.ts";
import type { Szx } from "../coap/blockwise/block.ts";
import { CoapEndpoint } from "../coap/endpoint.ts";
import type { TransmissionParameters } from "../coap/parameters.ts";
import type { PeerAddress, Transmit } from "../ports/datagram.ts";
import type { Random } from "../ports/random.ts";
import { earlier } from "../util/deadline.ts";
import { BlockFetch, type FetchEvent, type RetryPolicy } from "./block-fetch.ts";

export interface BodyDownloadParts {
  readonly random: Random;
  readonly parameters: TransmissionParameters;
  readonly policy: RetryPolicy;
  readonly peer: PeerAddress;
  readonly path: readonly string[];
  readonly query: readonly string[];
  readonly szx: Szx;
  /** Where to go on; what comes before is of the representation that `etag` names. */
  readonly offset: number;
  readonly etag: Uint8Array | undefined;
}

/** Fetches one body in order, from an offset on: what `blockferry get` does, without its files. */
export class BodyDownload {
  readonly #endpoint: CoapEndpoint;
  readonly #fetch: BlockFetch;
  readonly #events: FetchEvent[] = [];
  readonly #firstOffset: number;

  constructor(parts: BodyDownloadParts) {
    const { random, parameters, peer, policy, path, query, szx, etag } = parts;
    this.#endpoint = new CoapEndpoint({ random: random.fork("coap"), parameters });
    const download = new BlockDownload({ path, query, szx, ...(etag === undefined ? {} : { etag }) });
    this.#fetch = new BlockFetch({ endpoint: this.#endpoint, peer, random: random.fork("retry"), policy, download });
    this.#firstOffset = parts.offset;
  }

  /** The whole body's size, once it is known. */
  get size(): number | undefined {
    return this.#fetch.download.size;
  }

  get etag(): Uint8Array | undefined {
    return this.#fetch.download.etag;
  }

  start(nowUs: number): void {
    const { download } = this.#fetch;
    this.#fetch.ask(nowUs, download.withSize(download.requestAt(this.#firstOffset)));
  }

  handleDatagram(nowUs: number, bytes: Uint8Array, peer: PeerAddress): void {
    this.#endpoint.handleDatagram(nowUs, bytes, peer);
    this.#takeEvents(nowUs);
  }

  handleTimeout(nowUs: number): void {
    this.#endpoint.handleTimeout(nowUs);
    this.#takeEvents(nowUs);
    this.#fetch.handleTimeout(nowUs);
  }

  pollTransmit(): Transmit | undefined {
    return this.#endpoint.pollTransmit();
  }

  pollEvent(): FetchEvent | undefined {
    return this.#events.shift();
  }

  pollTimeout(): number | undefined {
    return earlier(this.#endpoint.pollTimeout(), this.#fetch.pollTimeout());
  }

  #takeEvents(nowUs: number): void {
    for (let event = this.#endpoint.pollEvent(); event !== undefined; event = this.#endpoint.pollEvent()) {
      const result = this.#fetch.handleEvent(nowUs, event);
      if (result === undefined) continue;
      this.#events.push(result);
      const { download } = this.#fetch;
      if (result.kind === "block" && !result.last)
        this.#fetch.ask(nowUs, download.requestAt(result.offset + result.bytes.length));
      else if (result.kind === "changed") this.#fetch.ask(nowUs, download.withSize(download.requestAt(0)));
    }
  }
}
