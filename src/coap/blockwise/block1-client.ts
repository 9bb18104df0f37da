import { encodeUint, uintOption, type CoapOption } from "../message.ts";
import { Code, codeClass, codeText, Option } from "../numbers.ts";
import type { OutgoingRequest, ResponseContent } from "../request.ts";
import { blockOption, blockSize, encodeBlock, MAX_BLOCK_NUM, type Szx } from "./block.ts";

/** Times that an upload begins anew since the server has lost what it had (4.08), without having got further than before. */
const MAX_RESTARTS = 2;

export type UploadEvent =
  /** So many bytes have arrived; the next block is to be sent. */
  | { readonly kind: "next"; readonly sent: number }
  /** The whole body has arrived, and this is what became of it. */
  | { readonly kind: "done"; readonly response: ResponseContent }
  | { readonly kind: "failed"; readonly reason: string; readonly response: ResponseContent };

export interface BlockUploadOptions {
  readonly code: number;
  /** Uri-*, Content-Format, If-Match and the like, the same on each block. */
  readonly options: readonly CoapOption[];
  readonly body: Uint8Array;
  readonly szx: Szx;
  /** Tells this body from others to the same resource (RFC 9175 section 3); none where the server knows only one. */
  readonly requestTag?: Uint8Array;
  /** Where to go on, in a transfer that the server still has the beginning of. */
  readonly offset?: number;
}

/**
 * Sends a body block by block (RFC 7959 section 2.5), one at a time: `request` is the next one, and
 * the same again until an answer was handed in, so that a block can be repeated after a loss.
 */
export class BlockUpload {
  readonly #options: BlockUploadOptions;
  readonly #fixed: readonly CoapOption[];
  #szx: Szx;
  #offset: number;
  #restarts = 0;
  #furthest = 0;

  constructor(options: BlockUploadOptions) {
    this.#options = options;
    this.#szx = options.szx;
    this.#offset = options.offset ?? 0;
    if (this.#offset % blockSize(this.#szx) !== 0) throw new RangeError(`offset ${this.#offset} is inside a block`);
    const { requestTag } = options;
    this.#fixed =
      requestTag === undefined
        ? options.options
        : [...options.options, { number: Option.REQUEST_TAG, value: requestTag }];
  }

  get offset(): number {
    return this.#offset;
  }

  get szx(): Szx {
    return this.#szx;
  }

  request(): OutgoingRequest {
    const { code, body } = this.#options;
    const size = blockSize(this.#szx);
    // A body of one block needs no option (section 2.3).
    if (this.#offset === 0 && body.length <= size) return { code, options: this.#fixed, payload: body };
    const num = this.#offset / size;
    const end = Math.min(this.#offset + size, body.length);
    // Section 2.10: once a block is there, If-None-Match would be in its own way.
    const fixed = num === 0 ? this.#fixed : this.#fixed.filter(({ number }) => number !== Option.IF_NONE_MATCH);
    const options = [
      ...fixed,
      { number: Option.BLOCK1, value: encodeBlock({ num, more: end < body.length, szx: this.#szx }) },
    ];
    // Section 4: the first block says how large the whole will be.
    if (num === 0) options.push({ number: Option.SIZE1, value: encodeUint(body.length) });
    return { code, options, payload: body.subarray(this.#offset, end) };
  }

  handleResponse(response: ResponseContent): UploadEvent {
    const { body } = this.#options;
    const block = blockOption(response.options, Option.BLOCK1);
    const size = blockSize(this.#szx);
    const end = Math.min(this.#offset + size, body.length);
    if (codeClass(response.code) === 2) {
      if (end === body.length && response.code !== Code.CONTINUE) return { kind: "done", response };
      if (end === body.length || block === undefined) return fail("unexpected-continue", response);
      if (block.num * blockSize(block.szx) !== this.#offset && block.num !== this.#offset / size)
        return fail("another-block", response);
      this.#offset = end;
      return this.#resize(block.szx) ?? { kind: "next", sent: end };
    }
    if (response.code === Code.REQUEST_ENTITY_INCOMPLETE) {
      if (this.#offset > this.#furthest) this.#restarts = 0;
      this.#furthest = Math.max(this.#furthest, this.#offset);
      if (++this.#restarts > MAX_RESTARTS) return fail("keeps-losing-blocks", response);
      this.#offset = 0;
      return { kind: "next", sent: 0 };
    }
    return this.#handleTooLarge(response, block?.szx) ?? fail(codeText(response.code), response);
  }

  /** Section 2.9.3: 4.13 with a smaller SZX asks for smaller blocks; with Size1 it may say that none will do. */
  #handleTooLarge(response: ResponseContent, szx: number | undefined): UploadEvent | undefined {
    if (response.code !== Code.REQUEST_ENTITY_TOO_LARGE) return undefined;
    const limit = uintOption(response.options, Option.SIZE1);
    if (limit !== undefined && limit < this.#options.body.length) return fail("too-large", response);
    if (szx === undefined || szx >= this.#szx) return fail("too-large", response);
    this.#offset = 0;
    return this.#resize(szx) ?? { kind: "next", sent: 0 };
  }

  /** Section 2.3: the server may ask for smaller blocks, never for larger ones. */
  #resize(szx: number): UploadEvent | undefined {
    if (szx >= this.#szx) return undefined;
    this.#szx = szx as Szx;
    if (this.#options.body.length <= (MAX_BLOCK_NUM + 1) * blockSize(this.#szx)) return undefined;
    return fail("too-many-blocks", { code: Code.REQUEST_ENTITY_TOO_LARGE, options: [], payload: new Uint8Array(0) });
  }
}

function fail(reason: string, response: ResponseContent): UploadEvent {
  return { kind: "failed", reason, response };
}
