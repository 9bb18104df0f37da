/** One link of RFC 6690: a path and its attributes. */
export interface Link {
  readonly target: string;
  readonly attributes: Readonly<Record<string, string | number | true>>;
}

/** application/link-format (RFC 6690 section 2). Integers stand bare, text is quoted. */
export function encodeLinks(links: readonly Link[]): string {
  return links
    .map((link) => `<${link.target}>${Object.entries(link.attributes).map(encodeAttribute).join("")}`)
    .join(",");
}

function encodeAttribute([name, value]: [string, string | number | true]): string {
  if (value === true) return `;${name}`;
  if (typeof value === "number") return `;${name}=${value}`;
  return `;${name}="${value.replaceAll(/["\\]/g, (character) => `\\${character}`)}"`;
}
