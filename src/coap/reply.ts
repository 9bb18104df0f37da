import type { Szx } from "./blockwise/block.ts";
import { respondWithBody, type BlockResult } from "./blockwise/block2-server.ts";
import { block1Echo } from "./blockwise/body-assembly.ts";
import { optionValue, uintOption, type CoapOption } from "./message.ts";
import { Code, codeClass, Option } from "./numbers.ts";
import type { CoapResponse, IncomingRequest } from "./request.ts";

/** DEFAULT_LEISURE (RFC 7252 section 8.2): over how long the answers of a group are spread. */
export const LEISURE_US = 5_000_000;

/** The response as it goes out: the block of its body that was asked for, and what its request calls for. */
export function shapeResponse(
  request: IncomingRequest,
  response: CoapResponse,
  extra: readonly CoapOption[],
  preferredSzx: Szx,
): { readonly shaped: CoapResponse; readonly sent: BlockResult["sent"] } {
  const { body } = response;
  const sliced = body === undefined ? { response, sent: undefined } : respondWithBody(request, body, preferredSzx);
  const { code, payload } = sliced.response;
  const fromBody = body === undefined ? [] : (response.options ?? []);
  const options = [...(sliced.response.options ?? []), ...fromBody, ...(codeClass(code) === 2 ? extra : [])];
  // RFC 7959 section 2.3: the final response says which block of the request it answers.
  const q = optionValue(request.options, Option.Q_BLOCK1) !== undefined;
  const block1 = q ? Option.Q_BLOCK1 : Option.BLOCK1;
  const echo = optionValue(options, block1) === undefined ? block1Echo(request, block1, code) : undefined;
  if (echo !== undefined) options.push({ number: block1, value: echo });
  const finalCode = code === Code.CONTENT && body !== undefined ? response.code : code;
  return { shaped: { code: finalCode, options, ...(payload === undefined ? {} : { payload }) }, sent: sliced.sent };
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
