import type { Crypto } from "../ports/crypto.ts";
import { bytesEqual, toHex } from "../util/bytes.ts";
import { readPatchArguments } from "./delta.ts";
import type { ComponentId } from "./manifest.ts";
import type { PlannedWay } from "./plan.ts";
import type { Action, ExpectedImage } from "./processor/effects.ts";

/** A payload of a device. */
export interface PlannedPayload {
  readonly component: ComponentId;
  readonly uri: string;
  readonly digest: Uint8Array | undefined;
  readonly size: number | undefined;
  readonly encrypted: boolean;
  /** It is a patch, by which the component is made from what is installed. */
  readonly isPatch: boolean;
  /** Its bytes, where it is fetched from nowhere. */
  readonly content?: Uint8Array;
}

/** What is behind the URI of a fetch: the image, or a patch by which it is made. */
export function bytesBehind({ digest, size, args }: Extract<Action, { kind: "fetch" }>): ExpectedImage & {
  readonly isPatch: boolean;
} {
  const patch = args && readPatchArguments(args);
  return patch === undefined ? { digest, size, isPatch: false } : { ...patch, isPatch: true };
}

/** What the ways have a device fetch, each payload once; `copy` with encryption marks the one it reads as encrypted. */
export function payloadsOf(ways: readonly PlannedWay[]): PlannedPayload[] {
  const payloads: PlannedPayload[] = [];
  for (const { steps } of ways) {
    for (const step of steps) {
      if (step.kind !== "fetch") continue;
      const { component, uri } = step;
      const { digest, size, isPatch } = bytesBehind(step);
      const isSame = (other: PlannedPayload): boolean =>
        other.uri === uri &&
        other.isPatch === isPatch &&
        other.size === size &&
        (digest === undefined
          ? other.digest === undefined
          : other.digest !== undefined && bytesEqual(other.digest, digest));
      const encrypted = step.encryption !== undefined;
      if (!payloads.some(isSame)) payloads.push({ component, uri, digest, size, encrypted, isPatch });
    }
  }
  return payloads;
}

export const OTHER_PAYLOAD = "an integrated payload is not the one whose digest was signed";

/** Bytes that are not those whose digest and size were signed. */
export const isOther = (crypto: Crypto, { content, digest, size }: PlannedPayload): boolean =>
  content !== undefined &&
  digest !== undefined &&
  ((size !== undefined && size !== content.length) || !bytesEqual(crypto.sha256(content), digest));

/**
 * What the ways have a device store that comes with the manifest: integrated in its envelope, where the digest is the
 * one that was signed, or written out in it.
 */
export function contentsOf(crypto: Crypto, ways: readonly PlannedWay[]): PlannedPayload[] {
  const contents = new Map<string, PlannedPayload>();
  const hashes = new Map<Uint8Array, Uint8Array>();
  const hashOf = (content: Uint8Array): Uint8Array => {
    const hash = hashes.get(content) ?? crypto.sha256(content);
    hashes.set(content, hash);
    return hash;
  };
  for (const step of ways.flatMap(({ steps }) => steps)) {
    if (step.kind !== "store" || step.isDependency) continue;
    const { component, content, encryption, uri = "" } = step;
    const [digest, size] = uri === "" ? [hashOf(content), content.length] : [step.digest, step.size];
    const name = `${digest === undefined ? "" : toHex(digest)} ${size} ${toHex(hashOf(content))}`;
    const encrypted = encryption !== undefined;
    contents.set(name, { component, uri, digest, size, encrypted, isPatch: false, content });
  }
  return [...contents.values()];
}
