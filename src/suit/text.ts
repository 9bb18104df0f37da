import { isArray, isBytes, isMap, type CborMap } from "../codec/cbor.ts";
import { toHex } from "../util/bytes.ts";
import { EnvelopeError } from "./envelope.ts";
import { ComponentTextKey, TextKey } from "./keys.ts";
import { componentName, decodeItem, type ComponentId } from "./manifest.ts";

/** Without what would move a terminal's cursor, or hide what stands before it. */
export const oneLine = (text: string): string => text.replaceAll(/\p{C}/gu, " ");

/** A component identifier as its author wrote it, where that was text; quoted where it could be taken for another one. */
export function labelOf(id: ComponentId): string {
  const parts = id.map((segment) => {
    const text = String.fromCharCode(...segment);
    if (!/^[\x20-\x7e]+$/.test(text)) return `0x${toHex(segment)}`;
    return text.includes("/") || text.includes('"') || text.startsWith("0x") ? JSON.stringify(text) : text;
  });
  return parts.length === 0 ? "the device itself" : parts.join("/");
}

const PRE_RELEASE: Readonly<Record<number, string>> = { [-1]: "-rc", [-2]: "-beta", [-3]: "-alpha" };

/** 1.2-rc.3 for [1, 2, -1, 3] (update-management section 4.4.1). */
export function versionText(version: readonly number[]): string {
  return version
    .map((part, i) => (part < 0 ? (PRE_RELEASE[part] ?? `-${part}`) : i === 0 ? `${part}` : `.${part}`))
    .join("");
}

interface Text {
  readonly description: string | undefined;
  readonly components: ReadonlyMap<
    string,
    { readonly version: string | undefined; readonly description: string | undefined }
  >;
}

const NO_TEXT: Text = { description: undefined, components: new Map() };

/** SUIT_Text_Map, for people only: what cannot be read hinders nothing. Control characters do not reach a terminal. */
export function readText(bytes: Uint8Array | undefined): Text {
  if (bytes === undefined) return NO_TEXT;
  let languages;
  try {
    languages = decodeItem(bytes);
  } catch (error) {
    if (error instanceof EnvelopeError) return NO_TEXT;
    throw error;
  }
  const map = isMap(languages) ? (languages.get("en") ?? [...languages.values()][0]) : undefined;
  if (!isMap(map)) return NO_TEXT;
  const line = (from: CborMap, key: number): string | undefined => {
    const value = from.get(key);
    return typeof value === "string" ? oneLine(value).slice(0, 500) : undefined;
  };
  const components = new Map<string, { version: string | undefined; description: string | undefined }>();
  for (const [key, value] of map)
    if (isArray(key) && key.every(isBytes) && isMap(value))
      components.set(componentName(key), {
        version: line(value, ComponentTextKey.VERSION),
        description: line(value, ComponentTextKey.DESCRIPTION),
      });
  return {
    description: line(map, TextKey.UPDATE_DESCRIPTION) ?? line(map, TextKey.MANIFEST_DESCRIPTION),
    components,
  };
}
