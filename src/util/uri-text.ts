/** A URI as logs and viewers may see it: what stands behind `?` may be a key that opens it for whoever has it. */
export function withoutQuery(uri: string): string {
  const at = uri.indexOf("?");
  return at < 0 ? uri : `${uri.slice(0, at)}?…`;
}
