import { createPrivateKey } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Verifier } from "../../src/codec/cose.ts";
import type { DecryptionKey } from "../../src/suit/encryption.ts";
import { fromHex, utf8 } from "../../src/util/bytes.ts";
import { readHex, vectorPath } from "./shared.ts";

/** The keys that the drafts print: for signatures, and the one for MACs. */
export function draftKeys(): Verifier[] {
  const jwk = createPrivateKey(readFileSync(vectorPath("appendixB-test-private-key.pem"))).export({ format: "jwk" });
  const point = Buffer.concat([Buffer.of(4), Buffer.from(jwk.x!, "base64url"), Buffer.from(jwk.y!, "base64url")]);
  return [
    { algorithm: "ES256", bytes: new Uint8Array(point) },
    { algorithm: "HMAC-256", bytes: new Uint8Array(32).fill(0x61) },
  ];
}

export interface AppendixB {
  vectors: Record<string, { title: string; signed: string; unsigned: string }>;
}

/** The official envelopes that verify. */
export function vectors(): [name: string, bytes: Uint8Array][] {
  const appendix = JSON.parse(readFileSync(vectorPath("manifest-37-appendixB.json"), "utf8")) as AppendixB;
  const examples = Object.entries(appendix.vectors).map(([name, vector]): [string, Uint8Array] => [
    `Appendix B ${name}`,
    new Uint8Array(Buffer.from(vector.signed, "hex")),
  ]);
  const files = [
    "mtd__example0_dependent.hex",
    "mtd__example1_process.hex",
    "mtd__example2_integrated.hex",
    "fwenc__suit-manifest-aes-kw-content.hex.signed",
    "fwenc__suit-manifest-aes-kw-slot.hex.signed",
    "fwenc__suit-manifest-aes-kw.hex.signed",
    "fwenc__suit-manifest-es-ecdh-content.hex.signed",
  ];
  return [...examples, ...files.map((file): [string, Uint8Array] => [file, readHex(file)])];
}

/** The keys that draft-ietf-suit-firmware-encryption section 7 prints. */
export const DECRYPTION_KEYS: readonly DecryptionKey[] = [
  { kid: utf8("kid-1"), kek: utf8("aaaaaaaaaaaaaaaa") },
  {
    kid: utf8("kid-2"),
    ecdh: {
      secret: fromHex("60fe6dd6d85d5740a5349b6f91267eeac5ba81b8cb53ee249e4b4eb102c476b3")!,
      publicPoint: fromHex(
        "045886cd61dd875862e5aaa820e7a15274c968a9bc96048ddcace32f50c3651ba39eed8125e932cd60c0ead3650d0a485cf726d378d1b016ed4298b2961e258f1b",
      )!,
    },
  },
];
