import { bytesEqual } from "../util/bytes.ts";
import { optionValue, optionValues, type CoapOption } from "./message.ts";
import { Option } from "./numbers.ts";

/**
 * Whether If-Match and If-None-Match let the request be carried out (RFC 7252 section 5.10.8).
 * `etag` is that of the current representation: undefined when nothing exists there, "unknown"
 * when something does that has no ETag.
 */
export function preconditionsHold(options: readonly CoapOption[], etag: Uint8Array | "unknown" | undefined): boolean {
  if (optionValue(options, Option.IF_NONE_MATCH) !== undefined && etag !== undefined) return false;
  const wanted = optionValues(options, Option.IF_MATCH);
  if (wanted.length === 0) return true;
  if (etag === undefined) return false;
  // An empty value only asks that something exists (section 5.10.8.1).
  return wanted.some((value) => value.length === 0 || (etag !== "unknown" && bytesEqual(value, etag)));
}
