import { createPrivateKey, createPublicKey, randomBytes, type KeyObject } from "node:crypto";
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { toPrivateKeyObject, toPublicKeyObject } from "../adapters/node-crypto.ts";
import { isSameKey } from "../codec/cose.ts";
import { keyPairOf } from "../crypto/noble-crypto.ts";
import type { PrivateKey, PublicKey, SignatureAlgorithm } from "../ports/crypto.ts";
import { concatBytes } from "../util/bytes.ts";
import { environmentError, usageError, UserError, whyUnreadable } from "./errors.ts";

export function newKey(algorithm: SignatureAlgorithm): PrivateKey {
  return keyPairOf(algorithm, new Uint8Array(randomBytes(32)));
}

/** Writes `<prefix>.key.pem` (PKCS #8, mode 0600) and `<prefix>.pub.pem` (SPKI); never over a file that is there. */
export function writeKeyFiles(prefix: string, key: PrivateKey): { privateFile: string; publicFile: string } {
  const [privateFile, publicFile] = [`${prefix}.key.pem`, `${prefix}.pub.pem`];
  for (const file of [privateFile, publicFile]) {
    if (existsSync(file))
      throw usageError("file-exists", `${file} is there already; choose another --out, keys are never overwritten`);
  }
  const pem = { format: "pem" } as const;
  try {
    const [secret, shown] = [toPrivateKeyObject(key), toPublicKeyObject(key.publicKey)];
    writeFileSync(privateFile, secret.export({ ...pem, type: "pkcs8" }), { mode: 0o600, flag: "wx" });
    writeFileSync(publicFile, shown.export({ ...pem, type: "spki" }), { flag: "wx" });
  } catch (error) {
    throw environmentError("file-not-writable", `cannot write the key files: ${(error as Error).message}`);
  }
  return { privateFile, publicFile };
}

export function readPrivateKey(file: string): PrivateKey {
  const key = readKey(file, (pem) => createPrivateKey(pem), "a private key in PEM, as `blockferry key new` writes it");
  const jwk = key.export({ format: "jwk" });
  const publicKey = publicKeyOf(file, createPublicKey(key));
  return { algorithm: publicKey.algorithm, secret: decode(jwk.d!), publicKey };
}

/** A public key: a private one is refused, since it would be copied to where others can read it (RFC 8240 section 3). */
export function readPublicKey(file: string): PublicKey {
  const parse = (pem: string): KeyObject => {
    if (pem.includes("PRIVATE KEY"))
      throw usageError(
        "private-key-given",
        `${file} is a private key: only public keys belong here, such as the .pub.pem of \`blockferry key new\`. Revoke it if others could read it.`,
      );
    return createPublicKey(pem);
  };
  return publicKeyOf(file, readKey(file, parse, "a public key in PEM, such as the .pub.pem of `blockferry key new`"));
}

export const namesKeyTwice = (keys: readonly PublicKey[]): boolean =>
  keys.some((key, i) => keys.findIndex((other) => isSameKey(other, key)) < i);

/** The given files, and all of `<state>/trust`. */
export function readAnchors(files: readonly string[], state: string): PublicKey[] {
  const folder = join(state, "trust");
  const isFolder = statSync(folder, { throwIfNoEntry: false })?.isDirectory() ?? false;
  const names = isFolder ? readdirSync(folder).filter((name) => name.endsWith(".pem")) : [];
  return [...files, ...names.map((name) => join(folder, name))].map(readPublicKey);
}

function readKey(file: string, parse: (pem: string) => KeyObject, expected: string): KeyObject {
  let pem: string;
  try {
    pem = readFileSync(file, "utf8");
  } catch (error) {
    throw usageError("key-unreadable", `${file}: ${whyUnreadable(error)}; it should be ${expected}`);
  }
  try {
    return parse(pem);
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw usageError("bad-key", `${file} is not ${expected}`);
  }
}

function publicKeyOf(file: string, key: KeyObject): PublicKey {
  const jwk = key.export({ format: "jwk" });
  if (jwk.crv === "Ed25519") return { algorithm: "Ed25519", bytes: decode(jwk.x!) };
  if (jwk.crv === "P-256")
    return { algorithm: "ES256", bytes: concatBytes(Uint8Array.of(4), decode(jwk.x!), decode(jwk.y!)) };
  throw usageError("bad-key", `${file} is neither a P-256 nor an Ed25519 key`);
}

const decode = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64url"));
