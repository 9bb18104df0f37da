import { utf8 } from "../util/bytes.ts";
import { blockOption, blockSize, type Szx } from "./blockwise/block.ts";
import { respondWithBody, type BlockResult, type Representation } from "./blockwise/block2-server.ts";
import { block1Echo } from "./blockwise/body-assembly.ts";
import { EMPTY_BYTES, optionValue, uintOption, type CoapOption } from "./message.ts";
import { Code, codeClass, hasPayload, Option } from "./numbers.ts";
import { sendable } from "./options.ts";
import type { CoapResponse, IncomingRequest } from "./request.ts";

/** DEFAULT_LEISURE (RFC 7252 section 8.2): over how long the answers of a group are spread. */
export const LEISURE_US = 5_000_000;

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
      : response.body === undefined && needsSets(request, representation)
        ? { response: NO_SETS, sent: undefined }
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

/** Whether Q-Block2 asks for more than one message can say; that takes a body with an ETag (RFC 9177 section 4.4). */
function needsSets(request: IncomingRequest, { bytes }: Representation): boolean {
  const asked = blockOption(request.options, Option.Q_BLOCK2);
  return asked !== undefined && (asked.num > 0 || bytes.length > blockSize(asked.szx));
}

const NO_SETS: CoapResponse = { code: Code.BAD_OPTION, payload: utf8("Q-Block2: this answer has no ETag, use Block2") };

/** What the response is a block of, and the options that do not belong to it. */
function representationOf({ code, body, payload, options = [] }: CoapResponse): {
  readonly representation: Representation | undefined;
  readonly rest: readonly CoapOption[];
} {
  if (body !== undefined) return { representation: body, rest: options };
  const empty = payload === undefined || payload.length === 0;
  if (codeClass(code) !== 2 || !hasPayload(code) || (empty && code !== Code.CONTENT))
    return { representation: undefined, rest: [] };
  const etag = optionValue(options, Option.ETAG);
  const contentFormat = uintOption(options, Option.CONTENT_FORMAT);
  const representation = {
    bytes: payload ?? EMPTY_BYTES,
    ...(etag === undefined ? {} : { etag }),
    ...(contentFormat === undefined ? {} : { contentFormat }),
  };
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
