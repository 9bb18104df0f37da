import { blockSize } from "../../src/coap/blockwise/block.ts";
import type { ClientEvent } from "../../src/coap/request.ts";
import { sectorTablePath } from "../../src/gateway/catalogue.ts";
import { openSectorTable, type SectorTable } from "../../src/suit/sector-table.ts";
import type { DeviceTrust } from "../../src/suit/trust.ts";
import type { BlockFetch } from "../../src/transfer/block-fetch.ts";
import type { AgentParts } from "./agent-parts.ts";
import { EnvelopeFetch, type EnvelopeEvent } from "./envelope-fetch.ts";
import type { Work } from "./work.ts";

/** Signed tables of images' sectors, where the mote has room for one and the gateway has one that is good. */
export class SectorTables {
  readonly #parts: AgentParts;
  readonly #work: Work;
  readonly #newFetch: (path: readonly string[]) => BlockFetch;
  #asked: { readonly fetch: EnvelopeFetch; readonly done: (nowUs: number, event: EnvelopeEvent) => void } | undefined;

  constructor(parts: AgentParts, work: Work, newFetch: (path: readonly string[]) => BlockFetch) {
    this.#parts = parts;
    this.#work = work;
    this.#newFetch = newFetch;
  }

  get(
    nowUs: number,
    image: { readonly digest: Uint8Array; readonly size: number; readonly base?: number | undefined },
    trust: DeviceTrust,
    done: (nowUs: number, table: SectorTable | undefined) => void,
  ): void {
    const { sectorTableBytes, crypto, costs, szx, blockSizes } = this.#parts;
    // Patches are small, and have none.
    if (sectorTableBytes === undefined || image.base !== undefined) return done(nowUs, undefined);
    const fetch = new EnvelopeFetch(this.#newFetch(sectorTablePath(image.digest)), sectorTableBytes);
    const judge = (now: number, event: EnvelopeEvent): void => {
      if (event.kind === "failed") return done(now, undefined);
      this.#work.compute(now, costs.verifySignatureUs, (then) => {
        const opened = openSectorTable(crypto, event.envelope, trust.authorities, image);
        const most = blockSizes === undefined ? blockSize(szx) : 1_024;
        const fits = opened.ok && opened.table.sectorBytes % most === 0;
        done(then, fits ? opened.table : undefined);
      });
    };
    this.#asked = { fetch, done: judge };
    fetch.start(nowUs);
  }

  handleEvent(nowUs: number, event: ClientEvent): void {
    const fetched = this.#asked?.fetch.handleEvent(nowUs, event);
    if (fetched === undefined) return;
    const { done } = this.#asked!;
    this.#asked = undefined;
    done(nowUs, fetched);
  }

  handleTimeout(nowUs: number): void {
    this.#asked?.fetch.handleTimeout(nowUs);
  }

  pollTimeout(): number | undefined {
    return this.#asked?.fetch.pollTimeout();
  }
}
