import { createHash } from "node:crypto";
import { uuid5 } from "../suit/author.ts";
import { usageError } from "./errors.ts";
import { fromHex } from "../util/bytes.ts";

/** Namespace of domain names (RFC 9562 section 6.6). */
const DNS_NAMESPACE = fromHex("6ba7b8109dad11d180b400c04fd430c8")!;

/** The vendor's UUID, and that of its class; each is taken as it is written, or made of a name. */
export function identifiers(vendor: string, className: string): { vendorId: Uint8Array; classId: Uint8Array } {
  if (vendor === "" || className === "") throw usageError("bad-identifier", "neither vendor nor class may be empty");
  const vendorId = vendorIdOf(vendor);
  // Nobody would see where they differ.
  if (className !== className.trim() || /\p{Cc}/u.test(className))
    throw usageError(
      "bad-identifier",
      `${JSON.stringify(className)}: a class has no space around it, nor control characters`,
    );
  return { vendorId, classId: identifier(className, vendorId) };
}

/** RFC 1123 section 2.1: letters, digits and hyphens between dots; other names are written as Punycode has them. */
const DOMAIN = /^(?=.{1,253}$)[a-z0-9](?:[a-z0-9-]*[a-z0-9])?(?:\.[a-z0-9](?:[a-z0-9-]*[a-z0-9])?)*$/i;

export function vendorIdOf(vendor: string): Uint8Array {
  if (!DOMAIN.test(vendor))
    throw usageError("bad-identifier", `${JSON.stringify(vendor)} is neither a domain such as example.com nor a UUID`);
  return identifier(vendor, DNS_NAMESPACE);
}

/** A UUID as it is written, or one of version 5 for a name. */
function identifier(text: string, namespace: Uint8Array): Uint8Array {
  const bytes = fromHex(text.replaceAll("-", ""));
  if (bytes?.length === 16) return bytes;
  return uuid5((input) => new Uint8Array(createHash("sha1").update(input).digest()), namespace, text);
}
