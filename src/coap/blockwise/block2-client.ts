import { bytesEqual } from "../../util/bytes.ts";
import { blockOption, blockSize, encodeBlock, MAX_BLOCK_NUM, type Szx } from "./block.ts";
import { encodeUint, optionValue, uintOption, type CoapOption } from "../message.ts";
import { Code, codeClass, codeText, Option } from "../numbers.ts";
import { textOptions } from "../options.ts";
import type { ResponseContent, OutgoingRequest } from "../request.ts";

export type BlockEvent =
  /** Bytes of the body at `offset`; `last` when the body ends behind them. */
  | { readonly kind: "block"; readonly offset: number; readonly bytes: Uint8Array; readonly last: boolean }
  /** The ETag is another one now: what was stored belongs to an older representation. */
  | { readonly kind: "changed" }
  /** 2.03: the representation that the ETag names is still the current one. */
  | { readonly kind: "valid" }
  | { readonly kind: "failed"; readonly reason: string };

export interface BlockDownloadOptions {
  readonly path: readonly string[];
  readonly query?: readonly string[];
  readonly szx: Szx;
  /** ETag of the representation of which parts are at hand already. */
  readonly etag?: Uint8Array;
  readonly extraOptions?: readonly CoapOption[];
  /** GET unless said; the later blocks of an answer to FETCH or POST are asked for by the same method. */
  readonly code?: number;
}

/**
 * Fetches a body block by block, from any offset and in any order (RFC 7959 section 2.4): the
 * caller says which offset it wants next, and gets what the response means. It holds no bytes of
 * the body, and of its state only the ETag and the block size, which a server may lower.
 */
export class BlockDownload {
  readonly #path: readonly CoapOption[];
  readonly #code: number;
  #szx: Szx;
  #etag: Uint8Array | undefined;
  /** True once `#etag`, or that there is none, is known of the representation in question. */
  #identified: boolean;
  #receivedSome = false;
  #asked: { offset: number; szx: Szx; validates: boolean } | undefined;
  #size: number | undefined;

  constructor(options: BlockDownloadOptions) {
    this.#path = [
      ...textOptions(Option.URI_PATH, options.path),
      ...textOptions(Option.URI_QUERY, options.query ?? []),
      ...(options.extraOptions ?? []),
    ];
    this.#szx = options.szx;
    this.#code = options.code ?? Code.GET;
    this.#etag = options.etag;
    this.#identified = options.etag !== undefined;
  }

  get szx(): Szx {
    return this.#szx;
  }

  /** Asks for blocks of another size from now on: any size from any offset that is a multiple of it (RFC 7959 section 2.4). */
  resize(szx: Szx): void {
    this.#szx = szx;
  }

  get etag(): Uint8Array | undefined {
    return this.#etag;
  }

  /** The whole body's size, once a response carried Size2. */
  get size(): number | undefined {
    return this.#size;
  }

  /** The request for the block at `offset`, a multiple of the block size in use. */
  requestAt(offset: number): OutgoingRequest {
    if (offset % blockSize(this.#szx) !== 0) throw new RangeError(`offset ${offset} is inside a block`);
    this.#asked = { offset, szx: this.#szx, validates: false };
    const block = { num: offset / blockSize(this.#szx), more: false, szx: this.#szx };
    const options = [...this.#path, { number: Option.BLOCK2, value: encodeBlock(block) }];
    return { code: this.#code, options };
  }

  /** The request, asking for the size of the whole too (RFC 7959 section 4). */
  withSize({ code, options }: OutgoingRequest): OutgoingRequest {
    return { code, options: [...options, { number: Option.SIZE2, value: encodeUint(0) }] };
  }

  /** The request for the first block, unless the representation is still the one of `etag` (2.03). */
  validate(etag: Uint8Array): OutgoingRequest {
    const { code, options } = this.requestAt(0);
    this.#asked!.validates = true;
    return { code, options: [...options, { number: Option.ETAG, value: etag }] };
  }

  /** Takes the response to a request that was made elsewhere as the first block. */
  begin(response: ResponseContent): BlockEvent {
    this.#asked = { offset: 0, szx: 6, validates: false };
    return this.handleResponse(response);
  }

  handleResponse(response: ResponseContent): BlockEvent {
    const asked = this.#asked;
    if (asked === undefined) return { kind: "failed", reason: "no block was asked for" };
    if (response.code === Code.VALID && asked.validates) return { kind: "valid" };
    const refused = response.code === Code.BAD_REQUEST || response.code === Code.BAD_OPTION;
    if (refused && asked.offset > 0 && !this.#receivedSome) {
      // The body has become shorter than what is at hand: it is another one.
      this.#forget();
      return { kind: "changed" };
    }
    if (codeClass(response.code) !== 2 || response.code === Code.VALID)
      return { kind: "failed", reason: codeText(response.code) };
    // Section 2.4: blocks belong together only when their ETags are the same, or all have none.
    const etag = optionValue(response.options, Option.ETAG);
    const same = etag === undefined || this.#etag === undefined ? etag === this.#etag : bytesEqual(etag, this.#etag);
    if (this.#identified && !same) {
      this.#forget();
      this.#etag = etag;
      this.#identified = true;
      return { kind: "changed" };
    }
    this.#etag = etag;
    this.#identified = true;
    this.#size = uintOption(response.options, Option.SIZE2) ?? this.#size;
    return this.#readBlock(asked, response);
  }

  #forget(): void {
    this.#etag = undefined;
    this.#identified = false;
    this.#size = undefined;
  }

  #readBlock(asked: { offset: number; szx: Szx }, response: ResponseContent): BlockEvent {
    const { payload } = response;
    const block = blockOption(response.options, Option.BLOCK2);
    if (block === undefined) {
      // Without Block2 the response is the whole body (section 2.3).
      if (asked.offset > 0) return { kind: "failed", reason: "response without Block2 to a later block" };
      this.#receivedSome = true;
      return { kind: "block", offset: 0, bytes: payload, last: true };
    }
    if (block.szx > asked.szx) return { kind: "failed", reason: "block larger than asked for" };
    const szx = block.szx as Szx;
    if (block.num * blockSize(szx) !== asked.offset) return { kind: "failed", reason: "another block than asked for" };
    const full = payload.length === blockSize(szx);
    if (block.more ? !full : payload.length > blockSize(szx)) {
      return { kind: "failed", reason: "payload is not of the block's size" };
    }
    if (block.more && block.num === MAX_BLOCK_NUM)
      return { kind: "failed", reason: "the body has more blocks than NUM can count" };
    this.#szx = szx;
    this.#receivedSome = true;
    return { kind: "block", offset: asked.offset, bytes: payload, last: !block.more };
  }
}
