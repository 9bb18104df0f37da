import { asksLaterBlock, blockOption, blockSize, type Szx } from "./blockwise/block.ts";
import { respondWithBody, type BlockResult, type Representation } from "./blockwise/block2-server.ts";
import { block1Echo } from "./blockwise/body-assembly.ts";
import { encodeMessage } from "./encode.ts";
import { EMPTY_BYTES, optionValue, uintOption, type CoapOption } from "./message.ts";
import { Code, codeClass, hasPayload, Option, type MessageType } from "./numbers.ts";
import { sendable } from "./options.ts";
import type { Body, CoapResponse, IncomingRequest } from "./request.ts";

/** The payload that RFC 7252 section 4.6 suggests where nothing is known of the path. */
const MAX_DIAGNOSTIC_BYTES = 1_024;

/** The response as it goes out: the block of its body that was asked for, and what its request calls for. */
export function shapeResponse(
  request: IncomingRequest,
  response: CoapResponse,
  extra: readonly CoapOption[],
  preferredSzx: Szx,
): { readonly shaped: CoapResponse; readonly sent: BlockResult["sent"] } {
  const { representation, rest } = representationOf(response);
  const sliced =
    representation === undefined
      ? { response: withShortDiagnostic(response), sent: undefined }
      : respondWithBody(request, representation, preferredSzx);
  const { code, payload } = sliced.response;
  const options = [...(sliced.response.options ?? []), ...rest, ...(codeClass(code) === 2 ? extra : [])];
  // RFC 7959 section 2.3: the final response says which block of the request it answers.
  const q = optionValue(request.options, Option.Q_BLOCK1) !== undefined;
  const block1 = q ? Option.Q_BLOCK1 : Option.BLOCK1;
  const echo = optionValue(options, block1) === undefined ? block1Echo(request, block1, code) : undefined;
  if (echo !== undefined) options.push({ number: block1, value: echo });
  const finalCode = code === Code.CONTENT && representation !== undefined ? response.code : code;
  return {
    shaped: { code: finalCode, options: sendable(options), ...(payload === undefined ? {} : { payload }) },
    sent: sliced.sent,
  };
}

/**
 * A payload that takes several blocks, or of which a later one is asked for, is a body: its blocks
 * belong together by an ETag (RFC 7959 section 2.4, RFC 9177 section 4.4).
 */
export function asBody(request: IncomingRequest, response: CoapResponse, preferredSzx: Szx): CoapResponse {
  const { representation, rest } = representationOf(response);
  if (response.body !== undefined || representation === undefined) return response;
  const asked = blockOption(request.options, Option.BLOCK2) ?? blockOption(request.options, Option.Q_BLOCK2);
  const szx = asked?.szx ?? blockOption(request.options, Option.Q_BLOCK1)?.szx ?? preferredSzx;
  const { bytes, etag, contentFormat } = representation;
  if (bytes.length <= blockSize(szx) && !asksLaterBlock(request.options)) return response;
  const { payload: _cut, ...others } = response;
  return { ...others, options: rest, body: { bytes, etag: etag ?? contentTag(bytes), contentFormat } };
}

/** 64 bits of FNV-1a: to tell one state of a resource from the next, not to withstand anybody. */
function contentTag(bytes: Uint8Array): Uint8Array {
  let [a, b] = [0x811c9dc5, bytes.length];
  for (const byte of bytes) {
    a = Math.imul(a ^ byte, 0x01000193);
    b = Math.imul(b ^ byte, 0x01000193) + a;
  }
  return Uint8Array.from([a, b].flatMap((word) => [word >>> 24, word >>> 16, word >>> 8, word]));
}

/** What the response is a block of, and the options that do not belong to it. */
function representationOf({ code, body, payload, options = [] }: CoapResponse): {
  readonly representation: Representation | undefined;
  readonly rest: readonly CoapOption[];
} {
  if (body !== undefined) return { representation: body, rest: options };
  const empty = payload === undefined || payload.length === 0;
  if (codeClass(code) !== 2 || !hasPayload(code) || (empty && code !== Code.CONTENT))
    return { representation: undefined, rest: [] };
  const contentFormat = uintOption(options, Option.CONTENT_FORMAT);
  const etag = optionValue(options, Option.ETAG);
  const isEtag = etag !== undefined && etag.length >= 1 && etag.length <= 8;
  const representation = { bytes: payload ?? EMPTY_BYTES, etag: isEtag ? etag : undefined, contentFormat };
  const rest = options.filter(({ number }) => number !== Option.ETAG && number !== Option.CONTENT_FORMAT);
  return { representation, rest };
}

/** Diagnostics come in one message (RFC 7252 section 5.5.2): a long one is cut, between characters. */
function withShortDiagnostic(response: CoapResponse): CoapResponse {
  const { code, payload } = response;
  if (payload === undefined) return response;
  if (!hasPayload(code)) return { ...response, payload: EMPTY_BYTES };
  if (payload.length <= MAX_DIAGNOSTIC_BYTES) return response;
  let end = MAX_DIAGNOSTIC_BYTES;
  while (end > 0 && (payload[end]! & 0xc0) === 0x80) end--;
  return { ...response, payload: payload.subarray(0, end) };
}

/**
 * Whether the client does not want this response: No-Response (RFC 7967 section 2.1), and for a
 * group whatever is no success (RFC 7252 section 8.2), unless the option asks for it.
 */
export function isSuppressed(request: IncomingRequest, code: number): boolean {
  const noResponse = uintOption(request.options, Option.NO_RESPONSE);
  if (noResponse === undefined) return request.multicast && codeClass(code) !== 2;
  return (noResponse & (1 << (codeClass(code) - 1))) !== 0;
}

/** RFC 9177 section 4.1: by Q-Block2 where it is asked for, or where Q-Block1 shows that the client knows it. */
export function isSentInSets({ options }: IncomingRequest, { bytes }: Body): boolean {
  if (optionValue(options, Option.Q_BLOCK2) !== undefined) return true;
  const sent = blockOption(options, Option.Q_BLOCK1);
  return sent !== undefined && bytes.length > blockSize(sent.szx);
}

export function encodeResponse(
  token: Uint8Array,
  type: MessageType,
  messageId: number,
  response: CoapResponse,
): Uint8Array {
  return encodeMessage({
    type,
    code: response.code,
    messageId,
    token,
    options: response.options ?? [],
    payload: response.payload ?? EMPTY_BYTES,
  });
}
