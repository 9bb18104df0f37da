import { Code, codeText, hasPayload, isRequestCode, Option, OPTION_DEFINITIONS } from "./numbers.ts";
import { definedFor } from "./options.ts";
import type { OutgoingRequest } from "./request.ts";

const URI_OPTIONS: ReadonlySet<number> = new Set([Option.URI_HOST, Option.URI_PORT, Option.URI_PATH, Option.URI_QUERY]);

/**
 * Throws a RangeError for a request that no client may send: a caller's mistake, which a server
 * would answer with less to go by (RFC 7252 sections 5.4, 5.5, 5.10.2 and 8.2.1).
 */
export function checkOutgoing({ code, options, payload, toGroup }: OutgoingRequest): void {
  if (!isRequestCode(code)) throw new RangeError(`${codeText(code)} is no request`);
  if (payload !== undefined && payload.length > 0 && !hasPayload(code))
    throw new RangeError(`${codeText(code)} has no payload`);
  const seen = new Set<number>();
  for (const { number } of options) {
    const definition = OPTION_DEFINITIONS.get(number);
    if (definition === undefined) continue;
    if (!definedFor(definition, code)) throw new RangeError(`${definition.name} means nothing in ${codeText(code)}`);
    if (seen.has(number) && !definition.repeatable) throw new RangeError(`${definition.name} is there twice`);
    seen.add(number);
  }
  if (toGroup === true && seen.has(Option.ETAG) && code === Code.GET)
    throw new RangeError("a GET to a group has no ETag");
  if (seen.has(Option.PROXY_URI) && [...URI_OPTIONS].some((number) => seen.has(number)))
    throw new RangeError("Proxy-Uri stands in for all Uri-* options");
}
