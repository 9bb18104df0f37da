import type { Refusal } from "../lifecycle/admission.ts";
import type { Release } from "../suit/release.ts";
import { toHex } from "../util/bytes.ts";
import { imagePath, manifestPaths, type Listing } from "./catalogue.ts";
import { floorKeys } from "./floors.ts";

const SCHEME = /^[a-z][a-z0-9+.-]*:/i;

/**
 * Why devices would not come to an image: its URI is relative, and so one on the gateway (RFC 3986 section 5), which has
 * it at the path of its digest, and at its alias: `isAt`. Behind an absolute one is another server, or the gateway in its place.
 */
export function unservedBy({ images }: Release, isAt: (path: string, digest: string) => boolean): Refusal | undefined {
  for (const { uri, digest, content } of images) {
    const path = `/${imagePath(digest).join("/")}`;
    if (content !== undefined || SCHEME.test(uri) || uri === path) continue;
    if (uri.startsWith("/") && isAt(uri.slice(1), toHex(digest))) continue;
    const detail = `devices would ask for ${uri}, where the gateway does not have the image that the manifest wants: sign it without a URI of its own (it is at ${path}), or publish it with that as --alias`;
    return { reason: "uri-not-served", detail };
  }
  return undefined;
}

/** Whether two different images would be served at one path: 48 bits of their digests are the same. */
export function clashes(digests: readonly string[]): boolean {
  const byPath = new Map<string, string>();
  for (const digest of digests) {
    const path = digest.slice(0, 12);
    if ((byPath.get(path) ?? digest) !== digest) return true;
    byPath.set(path, digest);
  }
  return false;
}

/** Whether two releases are for the same component of a class, or served at the same path. */
export function overlap({ release }: Listing, other: Release): boolean {
  const places = (one: Release): string[] => [...floorKeys(one), ...manifestPaths(one).map((path) => path.join("/"))];
  const taken = new Set(places(release));
  return places(other).some((place) => taken.has(place));
}
