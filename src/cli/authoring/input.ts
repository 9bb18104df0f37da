import { readFileSync } from "node:fs";
import type { ComponentId } from "../../suit/manifest.ts";
import { fromHex, utf8 } from "../../util/bytes.ts";
import { usageError, whyUnreadable } from "../errors.ts";

export function readInput(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    throw usageError("file-unreadable", `${file}: ${whyUnreadable(error)}`);
  }
}

/** Segments as text, or as hexadecimal digits behind 0x. */
export function componentId(id: string | readonly string[]): ComponentId {
  return (typeof id === "string" ? [id] : id).map((segment) => {
    if (!segment.startsWith("0x")) return utf8(segment);
    const bytes = fromHex(segment.slice(2));
    if (bytes === undefined || bytes.length === 0)
      throw usageError("bad-component", `${segment}: behind 0x an id has hexadecimal digits, two for each byte`);
    return bytes;
  });
}
