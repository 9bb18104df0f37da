import { blockOption, blockSize } from "../../src/coap/blockwise/block.ts";
import { decodeMessage } from "../../src/coap/decode.ts";
import { Code, Option } from "../../src/coap/numbers.ts";
import { uriPath } from "../../src/coap/options.ts";
import type { Journal } from "../mote/journal.ts";

/** Images, and the packages of LwM2M updates. */
const IMAGE_PATHS: ReadonlySet<string> = new Set(["i", "u"]);

/**
 * A block that is stored is never fetched again. This looks at the datagrams that leave the mote,
 * not at what its agent believes: a request with a new message ID for a block that the journal has.
 */
export class RefetchChecker {
  readonly #seen = new Set<number>();
  violations = 0;
  /** Image blocks asked for, without the retransmissions. */
  requests = 0;

  onSend(bytes: Uint8Array, journal: Journal | undefined): void {
    const decoded = decodeMessage(bytes);
    if (!decoded.ok || decoded.message.code !== Code.GET || journal === undefined) return;
    const { messageId, options } = decoded.message;
    const block = blockOption(options, Option.BLOCK2);
    if (block === undefined || !IMAGE_PATHS.has(uriPath(options)?.[0] ?? "") || this.#seen.has(messageId)) return;
    this.#seen.add(messageId);
    if (this.#seen.size > 4_096) this.#seen.delete(this.#seen.values().next().value!);
    this.requests++;
    const offset = block.num * blockSize(block.szx);
    if (journal.isStored(Math.floor(offset / journal.blockBytes))) this.violations++;
  }

  /** After a reboot message IDs begin anew. */
  onReboot(): void {
    this.#seen.clear();
  }
}
