// Verify and plan a manifest as the gateway does when it is published, beside the bare signature check of node:crypto.
import { createPublicKey, verify } from "node:crypto";
import { nodeCrypto, toPublicKeyObject } from "../src/adapters/node-crypto.ts";
import { encodeCbor } from "../src/codec/cbor.ts";
import { keyPairOf } from "../src/crypto/noble-crypto.ts";
import type { PrivateKey } from "../src/ports/crypto.ts";
import { signEnvelope } from "../src/suit/author.ts";
import { buildEnvelope, type UpdateDescription } from "../src/suit/build.ts";
import { openRelease } from "../src/suit/release.ts";
import { median } from "./median.ts";

const ROUNDS = 5;
const CALLS = 400;

export interface SuitRow {
  readonly manifest: string;
  readonly algorithm: string;
  readonly bytes: number;
  readonly usPerManifest: number;
  /** One signature check of node:crypto over as many bytes, with the key at hand. */
  readonly bareVerifyUs: number;
  readonly timesBare: number;
}

const digest = new Uint8Array(32).fill(7);
const image = { digest, size: 100_000 };

function descriptions(): Record<string, UpdateDescription> {
  const common = { sequenceNumber: 1, vendorId: new Uint8Array(16).fill(1), classIds: [new Uint8Array(16).fill(2)] };
  const id = [Uint8Array.of(0)];
  const one = { id, payloads: [{ image, uri: "/i/aaaaaaaa" }] };
  const slots = {
    id,
    payloads: [0, 1].map((slot) => ({
      slot,
      image: { digest: new Uint8Array(32).fill(slot), size: 9 },
      uri: `/i/${slot}`,
    })),
  };
  const many = Array.from({ length: 8 }, (_, i) => ({
    id: [Uint8Array.of(i)],
    payloads: [{ image: { digest: new Uint8Array(32).fill(i), size: 9 }, uri: `/i/${i}` }],
  }));
  return {
    "one image": { ...common, components: [one] },
    "two slots, all conditions": { ...common, components: [slots], useBefore: 2e9, minimumBatteryMwh: 5, priority: 1 },
    "eight components": { ...common, components: many },
  };
}

/** Medians of ROUNDS rounds, ours and the bare check in turns. */
export function suitRows(): SuitRow[] {
  const rows: SuitRow[] = [];
  for (const algorithm of ["ES256", "Ed25519"] as const) {
    const key = keyPairOf(algorithm, new Uint8Array(32).fill(3));
    for (const [manifest, description] of Object.entries(descriptions())) {
      const envelope = signEnvelope(nodeCrypto, key, buildEnvelope(nodeCrypto, description));
      if (!openRelease(nodeCrypto, envelope, { anchors: [key.publicKey] }).ok)
        throw new Error(`${manifest} is refused`);
      const ours = (): unknown => openRelease(nodeCrypto, envelope, { anchors: [key.publicKey] });
      rows.push(row(manifest, algorithm, envelope.length, ours, bareCheck(key)));
    }
  }
  return rows;
}

/** As many bytes as a Sig_structure over a SUIT_Digest has. */
function bareCheck(key: PrivateKey): () => unknown {
  const bytes = encodeCbor(["Signature1", new Uint8Array(4), new Uint8Array(0), new Uint8Array(36)]);
  const signature = nodeCrypto.sign(key, bytes);
  const object = createPublicKey(toPublicKeyObject(key.publicKey).export({ type: "spki", format: "pem" }));
  const hash = key.algorithm === "ES256" ? "sha256" : null;
  return () => verify(hash, bytes, { key: object, dsaEncoding: "ieee-p1363" }, signature);
}

function row(manifest: string, algorithm: string, bytes: number, ours: () => unknown, bare: () => unknown): SuitRow {
  const [a, b]: [number[], number[]] = [[], []];
  for (let round = 0; round <= ROUNDS; round++) {
    const [mine, theirs] = [timed(ours), timed(bare)];
    if (round === 0) continue; // which only warms up
    a.push(mine);
    b.push(theirs);
  }
  const [usPerManifest, bareVerifyUs] = [median(a), median(b)];
  return {
    manifest,
    algorithm,
    bytes,
    usPerManifest,
    bareVerifyUs,
    timesBare: Number((usPerManifest / bareVerifyUs).toFixed(2)),
  };
}

function timed(call: () => unknown): number {
  const start = process.hrtime.bigint();
  for (let i = 0; i < CALLS; i++) call();
  return Math.round(Number(process.hrtime.bigint() - start) / CALLS / 10) / 100;
}
