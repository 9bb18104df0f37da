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
    const hex = segment.startsWith("0x") ? fromHex(segment.slice(2)) : undefined;
    return hex ?? utf8(segment);
  });
}
