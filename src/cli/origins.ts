import { originOf as coapOriginOf, parseUri } from "../coap/uri.ts";

/** Tells the URIs of these origins from all others. */
export function ofOrigins(origins: readonly string[]): (uri: string) => boolean {
  const known = new Set(origins.map(originOf));
  known.delete(undefined);
  return (uri) => known.has(originOf(uri));
}

/** As whoever fetches it reads it. */
function originOf(text: string): string | undefined {
  if (/^https?:\/\//.test(text)) return URL.canParse(text) ? new URL(text).origin : undefined;
  const uri = text.startsWith("coap://") ? parseUri(text) : undefined;
  return uri && coapOriginOf(uri);
}
