import { fromUtf8, utf8 } from "../util/bytes.ts";
import { optionValues, uintOption, type CoapMessage, type CoapOption } from "./message.ts";
import { isCritical, isRequestCode, isUnsafe, Option, OPTION_DEFINITIONS, type OptionDefinition } from "./numbers.ts";

/**
 * The number of the first critical option that this endpoint does not understand, is not defined
 * for messages of `code`, has a length out of its range or is repeated though it must not be
 * (RFC 7252 sections 5.4, 5.4.1, 5.4.3, 5.4.5); undefined when there is none.
 */
export function unrecognisedCritical(
  { code, options }: Carrier,
  understood: (optionNumber: number) => boolean,
): number | undefined {
  for (let i = 0; i < options.length; i++) {
    const { number } = options[i]!;
    if (isCritical(number) && !(isWellFormed(code, options, i) && understood(number))) return number;
  }
  return undefined;
}

/**
 * As above for what a proxy is to send on (sections 5.7.1 and 5.7.2): what it does not know must be
 * safe to forward, be it critical or elective.
 */
export function unforwardable(
  { code, options }: Carrier,
  understood: (optionNumber: number) => boolean,
): number | undefined {
  for (let i = 0; i < options.length; i++) {
    const { number } = options[i]!;
    const known = OPTION_DEFINITIONS.has(number);
    if (known ? isCritical(number) && !(isWellFormed(code, options, i) && understood(number)) : isUnsafe(number))
      return number;
  }
  return undefined;
}

/** What options stand in. */
export type Carrier = Pick<CoapMessage, "code" | "options">;

/** Known, defined for this code, of a length in its range, and not repeated unless it may be. */
function isWellFormed(code: number, options: readonly CoapOption[], i: number): boolean {
  const { number, value } = options[i]!;
  const definition = OPTION_DEFINITIONS.get(number);
  if (definition === undefined || !definedFor(definition, code)) return false;
  if (value.length < definition.minLength || value.length > definition.maxLength) return false;
  return definition.repeatable || i === 0 || options[i - 1]!.number !== number;
}

/** Whether the option means something in messages of this code (RFC 7252 section 5.4). */
export function definedFor({ requests, responses }: OptionDefinition, code: number): boolean {
  if (!isRequestCode(code)) return responses;
  return requests === "all" || (requests !== "none" && requests.has(code));
}

/** Elective options that are malformed, repeated or of no meaning here are dropped (sections 5.4, 5.4.3, 5.4.5). */
export function withoutUnrecognised({ code, options }: Carrier): readonly CoapOption[] {
  const keep = ({ number }: CoapOption, i: number): boolean =>
    !OPTION_DEFINITIONS.has(number) || isWellFormed(code, options, i);
  return options.every(keep) ? options : options.filter(keep);
}

/**
 * The options that a response may go out with: none that is not defined for it, and none twice that
 * is not repeatable, the first one stays (sections 5.4 and 5.4.5). An ETag names one representation
 * (section 5.10.6.1).
 */
export function sendable(options: readonly CoapOption[]): readonly CoapOption[] {
  const seen = new Set<number>();
  const keep = ({ number }: CoapOption): boolean => {
    const definition = OPTION_DEFINITIONS.get(number);
    if (definition === undefined) return true;
    if (!definition.responses) return false;
    if ((definition.repeatable && number !== Option.ETAG) || !seen.has(number)) {
      seen.add(number);
      return true;
    }
    return false;
  };
  return options.filter(keep);
}

/** Max-Age in seconds, or its default (RFC 7252 section 5.10.5). */
export function maxAgeS(options: readonly CoapOption[]): number {
  return uintOption(options, Option.MAX_AGE) ?? 60;
}

/** Path segments; undefined when one is not UTF-8 (RFC 7252 section 3.2). */
export function uriPath(options: readonly CoapOption[]): string[] | undefined {
  return texts(options, Option.URI_PATH);
}

export function uriQuery(options: readonly CoapOption[]): string[] | undefined {
  return texts(options, Option.URI_QUERY);
}

export function textOptions(optionNumber: number, values: readonly string[]): CoapOption[] {
  return values.map((value) => ({ number: optionNumber, value: utf8(value) }));
}

function texts(options: readonly CoapOption[], optionNumber: number): string[] | undefined {
  const out: string[] = [];
  for (const value of optionValues(options, optionNumber)) {
    const text = fromUtf8(value);
    if (text === undefined) return undefined;
    out.push(text);
  }
  return out;
}
