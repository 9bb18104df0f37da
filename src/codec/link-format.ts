/** One link of RFC 6690: a path and its attributes. */
export interface Link {
  readonly target: string;
  readonly attributes: Readonly<Record<string, string | number | true>>;
}

/**
 * application/link-format (RFC 6690 section 2). Integers stand bare, text is quoted. Throws a
 * RangeError for a `ct` that is no Content-Format (RFC 7252 section 7.2.1), and for an `obs` with a
 * value (RFC 7641 section 6).
 */
export function encodeLinks(links: readonly Link[]): string {
  return links
    .map((link) => `<${link.target}>${Object.entries(link.attributes).map(encodeAttribute).join("")}`)
    .join(",");
}

function encodeAttribute([name, value]: [string, string | number | true]): string {
  if (name === "ct" && !String(value).split(" ").every(isContentFormat))
    throw new RangeError(`ct is a Content-Format from 0 to 65535, or several, not ${value}`);
  if (name === "obs" && value !== true) throw new RangeError("obs has no value");
  if (value === true) return `;${name}`;
  if (typeof value === "number") return `;${name}=${value}`;
  return `;${name}="${value.replaceAll(/["\\]/g, (character) => `\\${character}`)}"`;
}

const isContentFormat = (text: string): boolean => /^\d{1,5}$/.test(text) && Number(text) <= 65_535;

/**
 * Whether a link passes one filter of a query (RFC 6690 section 4.1): `name=value`, where a value
 * that ends in `*` stands for all that begin so, `href` is the target, and the words of an
 * attribute each count. A filter without `=` passes nothing.
 */
export function matchesQuery(link: Link, filter: string): boolean {
  const at = filter.indexOf("=");
  if (at < 0) return false;
  const name = filter.slice(0, at);
  const wanted = filter.slice(at + 1);
  const matches = wanted.endsWith("*")
    ? (text: string): boolean => text.startsWith(wanted.slice(0, -1))
    : (text: string): boolean => text === wanted;
  if (name === "href") return matches(link.target);
  const value = Object.hasOwn(link.attributes, name) ? link.attributes[name]! : true;
  if (value === true) return false;
  const text = String(value);
  return matches(text) || text.split(" ").some(matches);
}

/** Links in one list, a bound on what a small body can make of itself. */
const MAX_LINKS = 1_024;
// Each blank can match in one place only: with two, a list of n attributes is tried in 2^n ways before it is refused.
const LINK = /\s*<([^>]*)>((?:\s*;\s*[^\s=;,"<>]+(?:\s*=(?:\s*"(?:[^"\\]|\\.)*"|\s*[^",;\s]+)?)?)*)\s*(,|$)/y;
const ATTRIBUTE = /;\s*([^\s=;,"<>]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^",;\s]*)))?/g;

/** The links of a list (RFC 6690 section 2); undefined when it is none. Of an attribute that comes twice the first counts. */
export function parseLinks(text: string): Link[] | undefined {
  const out: Link[] = [];
  LINK.lastIndex = 0;
  for (let at = 0; at < text.length; at = LINK.lastIndex) {
    const match = LINK.exec(text);
    if (match === null || out.length === MAX_LINKS) return undefined;
    if (match[3] === "," && LINK.lastIndex === text.length) return undefined;
    const attributes = Object.create(null) as Record<string, string | true>; // `constructor` is a name like another
    for (const [, name, quoted, bare] of match[2]!.matchAll(ATTRIBUTE))
      attributes[name!] ??= quoted?.replaceAll(/\\(.)/g, "$1") ?? bare ?? true;
    out.push({ target: match[1]!, attributes });
  }
  return out;
}
