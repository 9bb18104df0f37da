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
  /** Of the journal's own word. */
  #stored = 0;
  /** Bytes that are in the slot already, whatever the journal says of them. */
  #inFlash = 0;
  /** Requests for such, beyond what power cuts explain. */
  #again = 0;
  #reboots = 0;
  #isAnew = false;
  /** Whether the slot that is written has the image's bytes at a place. */
  inFlash: (offset: number, length: number) => boolean = () => false;
  /** Bytes that one power cut may leave unmarked. */
  unmarkedBytes = 0;
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
    if (journal.isStored(Math.floor(offset / journal.blockBytes))) this.#stored++;
    const length = Math.min(blockSize(block.szx), journal.size - offset);
    if (length <= 0 || !this.inFlash(offset, length)) return;
    // One whose image was not what was signed begins again, and trusts nothing that is there.
    if (offset === 0) this.#isAnew = true;
    if (this.#isAnew) return;
    this.#inFlash += length;
    if (this.#inFlash > this.#reboots * this.unmarkedBytes) this.#again++;
  }

  /** A mote that forgets what it has is found by its flash. */
  get violations(): number {
    return Math.max(this.#stored, this.#again);
  }

  /** After a reboot message IDs begin anew. */
  onReboot(): void {
    this.#reboots++;
    this.#isAnew = false;
    this.#seen.clear();
  }
}
