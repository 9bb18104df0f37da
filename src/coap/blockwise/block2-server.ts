import { bytesEqual, utf8 } from "../../util/bytes.ts";
import { blockSize, encodeBlock, MAX_BLOCK_NUM, blockOption, type Szx } from "./block.ts";
import { encodeUint, EMPTY_BYTES, optionValue, optionValues, uintOption, type CoapOption } from "../message.ts";
import { Code, isSafe, Option } from "../numbers.ts";
import type { Body, CoapResponse, IncomingRequest } from "../request.ts";

/** A body, or the payload of a handler that makes no body of it. */
export type Representation = Pick<Body, "bytes" | "contentFormat"> & { readonly etag: Uint8Array | undefined };

/** Which bytes of a body a response carries. */
export interface BlockResult {
  readonly response: CoapResponse;
  /** Absent when no payload of the body is sent. */
  readonly sent?: { readonly offset: number; readonly length: number };
}

/**
 * The response to a GET of `body`: whole when it fits one block, else the block that was asked for
 * (RFC 7959 section 2.4). No state is kept: any NUM may come first and SZX may shrink at any time.
 * `preferredSzx` caps what a client that names no size gets, not what one asks for.
 */
export function respondWithBody(request: IncomingRequest, body: Representation, preferredSzx: Szx): BlockResult {
  if (!isAcceptable(request, body)) return { response: { code: Code.NOT_ACCEPTABLE } };
  const asked = blockOption(request.options, Option.BLOCK2);
  const num = asked?.num ?? 0;
  const szx = asked?.szx ?? preferredSzx; // 7 was refused before
  // An ETag validates the representation as a whole (RFC 7252 section 5.10.6.2). Clients that echo
  // it on later blocks want the block, so only the first request can be answered 2.03.
  const identity = body.etag === undefined ? [] : [{ number: Option.ETAG as number, value: body.etag }];
  const asksFor = optionValues(request.options, Option.ETAG);
  if (num === 0 && identity.some(({ value }) => asksFor.some((etag) => bytesEqual(etag, value))))
    return { response: { code: Code.VALID, options: identity } };
  const size = blockSize(szx);
  const offset = num * size;
  const end = Math.min(offset + size, body.bytes.length);
  if (num > 0 && offset >= body.bytes.length) return refuse(Code.BAD_OPTION, "Block2: NUM is past the end");
  if (body.bytes.length > (MAX_BLOCK_NUM + 1) * size)
    return refuse(Code.BAD_OPTION, "Block2: SZX is too small for this body");
  const more = end < body.bytes.length;
  const options: CoapOption[] = identity;
  if (body.contentFormat !== undefined)
    options.push({ number: Option.CONTENT_FORMAT, value: encodeUint(body.contentFormat) });
  if (asked !== undefined || more) options.push({ number: Option.BLOCK2, value: encodeBlock({ num, more, szx }) });
  // Section 4: Size2 in a request asks for the size of the whole.
  if (optionValue(request.options, Option.SIZE2) !== undefined) {
    options.push({ number: Option.SIZE2, value: encodeUint(body.bytes.length) });
  }
  const payload = offset === end ? EMPTY_BYTES : body.bytes.subarray(offset, end);
  return { response: { code: Code.CONTENT, options, payload }, sent: { offset, length: end - offset } };
}

function refuse(code: number, diagnostic: string): BlockResult {
  return { response: { code, payload: utf8(diagnostic) } };
}

/**
 * Whether the client takes the format of `body` (RFC 7252 section 5.10.4). One without a format is not
 * held against it, nor is what has been done undone because its result has another one.
 */
export function isAcceptable(
  request: IncomingRequest,
  { contentFormat }: Pick<Representation, "contentFormat">,
): boolean {
  if (!isSafe(request.method)) return true;
  const accept = uintOption(request.options, Option.ACCEPT);
  return accept === undefined || contentFormat === undefined || accept === contentFormat;
}
