import { describe, expect, it } from "vitest";
import { nodeCipher } from "../../src/adapters/node-cipher.ts";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { Tag } from "cbor-x";
import { decodeCbor, encodeCbor, isArray, isMap, tagged, type CborMap, type CborValue } from "../../src/codec/cbor.ts";
import { protectPayload, signAttached } from "../../src/codec/cose.ts";
import { keyPairOf } from "../../src/crypto/noble-crypto.ts";
import { signEnvelope } from "../../src/suit/author.ts";
import { buildEnvelope } from "../../src/suit/build.ts";
import { buildEnvelope09, openEnvelope09 } from "../../src/suit/dialect-09.ts";
import { decryptPayload, encryptPayload, type DecryptionKey } from "../../src/suit/encryption.ts";
import { EnvelopeError } from "../../src/suit/envelope.ts";
import { openEnvelope } from "../../src/suit/open.ts";
import { planProcedure } from "../../src/suit/plan.ts";
import { encodeReport, openReport, reportOf } from "../../src/suit/report.ts";
import { openSectorTable } from "../../src/suit/sector-table.ts";
import { decodeTransfer, decodeTrust, encodeTransfer, encodeTrust, trustOf } from "../../src/suit/trust.ts";
import { toHex, utf8 } from "../../src/util/bytes.ts";
import { makeImage } from "../support/gateway.ts";
import { AUTHOR, CLASS, identity, map, run, sha256, trust, VENDOR, imageOf } from "../support/suit-build.ts";
import { damagedOf } from "../support/suit-damage.ts";

const IMAGE = utf8("the image");
const key = { algorithm: "HMAC-256", bytes: new Uint8Array(32).fill(3) } as const;
const ED = keyPairOf("Ed25519", new Uint8Array(32).fill(6));

/** Each fate, and how many ways of damage lead to it, in a file of its own. */
async function fates(name: string, all: Iterable<CborValue>, fateOf: (damaged: CborValue) => string): Promise<void> {
  const counts = new Map<string, number>();
  for (const damaged of all) {
    const fate = fateOf(damaged);
    counts.set(fate, (counts.get(fate) ?? 0) + 1);
  }
  const lines = [...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([fate, count]) => `${count} ${fate}`);
  await expect(`${lines.join("\n")}\n`).toMatchFileSnapshot(`golden/${name}.txt`);
  expect(lines.length).toBeGreaterThan(2);
}

const shown = (bytes: Uint8Array): string =>
  bytes.length <= 16 ? toHex(bytes) : `${toHex(bytes.subarray(0, 4))} of ${bytes.length}`;

/** The reason and words of a refusal, or what came of it. */
function refused(call: () => unknown): string {
  try {
    return JSON.stringify(call(), (_key, value: unknown) =>
      value instanceof Uint8Array ? shown(value) : value instanceof Map ? [...(value as CborMap)] : value,
    );
  } catch (error) {
    if (error instanceof EnvelopeError) return `${error.reason}: ${error.message}`;
    throw error;
  }
}

const update = {
  sequenceNumber: 7,
  vendorId: VENDOR,
  classIds: [CLASS],
  components: [{ id: [utf8("app")], payloads: [{ image: imageOf(IMAGE), uri: "coap://[fd00::1]/i" }] }],
};
const twoOffsets = {
  ...update,
  components: [
    {
      id: [utf8("app")],
      payloads: [4_096, 8_192].map((slot) => ({ slot, image: imageOf(utf8(`${slot}`)), uri: `coap://[::1]/${slot}` })),
    },
  ],
};

describe("what stands around a manifest, damaged in one place", () => {
  it("an envelope and its signatures", async () => {
    const bytes = signEnvelope(nodeCrypto, ED, signEnvelope(nodeCrypto, AUTHOR, buildEnvelope(nodeCrypto, update)));
    const item = decodeCbor(bytes, new Set([107])) as Tag;
    const { members } = { members: item.value as CborMap };
    const wrapper = decodeCbor(members.get(2) as Uint8Array);
    const anchors = [AUTHOR.publicKey, ED.publicKey];
    function* all(): Iterable<CborValue> {
      yield* damagedOf(tagged(107, members));
      for (const other of damagedOf(wrapper)) yield new Map(members).set(2, encodeCbor(other));
      if (isArray(wrapper))
        yield new Map(members).set(2, encodeCbor([wrapper[0]!, ...Array.from({ length: 9 }, () => wrapper[1]!)]));
    }
    await fates("an-envelope", all(), (damaged) =>
      refused(() =>
        openEnvelope(nodeCrypto, encodeCbor(damaged), { anchors }).signers.map(({ algorithm }) => algorithm),
      ),
    );
  });

  it.each([
    ["one-image", update],
    ["two-offsets", twoOffsets],
  ])("an envelope as RIOT reads it: %s", async (name, described) => {
    const bytes = buildEnvelope09(nodeCrypto, [ED], described);
    const members = decodeCbor(bytes, undefined, "any") as CborMap;
    const manifest = decodeCbor(members.get(3) as Uint8Array, undefined, "any");
    const signed = (body: Uint8Array): CborValue =>
      map([
        [2, encodeCbor([signAttached(nodeCrypto, ED, encodeCbor([2, sha256(encodeCbor(body))]))])],
        [3, body],
      ]);
    function* all(): Iterable<CborValue> {
      yield* damagedOf(members);
      for (const other of damagedOf(decodeCbor(members.get(2) as Uint8Array)))
        yield new Map(members).set(2, encodeCbor(other));
      for (const other of damagedOf(manifest)) yield signed(encodeCbor(other));
    }
    await fates(`riot-${name}`, all(), (damaged) =>
      refused(() => {
        const open = openEnvelope09(nodeCrypto, encodeCbor(damaged), { anchors: [ED.publicKey, AUTHOR.publicKey] });
        const ways = planProcedure(nodeCrypto, open, "update");
        return ways.map(({ steps, outcome }) => [
          outcome.ok ? "ok" : outcome.detail,
          steps.map(({ kind }) => kind).join(" "),
        ]);
      }),
    );
  });

  it("a report", async () => {
    const failed = run({ shared: identity(), sections: { 20: [20, map([[18, utf8("x")]]), 18, 15, 3, 15] } });
    const capabilities = { components: [[utf8("00")]], commands: [1, 2], parameters: [3], algorithms: [-16] };
    const about = { uri: "coap://site/m/1", digest: new Uint8Array(32).fill(9), nonce: utf8("asked") };
    const report = decodeCbor(encodeReport({ ...reportOf(failed, about), capabilities }), undefined, "any");
    await fates("a-report", damagedOf(report), (damaged) => {
      const bytes = protectPayload(nodeCrypto, key, encodeCbor(damaged), utf8("k"));
      return refused(() => openReport(nodeCrypto, bytes, () => [key]));
    });
    const block = decodeCbor(protectPayload(nodeCrypto, key, encodeCbor(report), utf8("k")), new Set([17]), "any");
    await fates("a-report-in-cose", damagedOf(block), (damaged) => {
      const opened = openReport(nodeCrypto, encodeCbor(damaged), () => [key]);
      return opened.ok ? "read" : opened.reason;
    });
  });

  it("a table of sectors", async () => {
    const image = makeImage(70, 700);
    const digests = [0, 256, 512].map((at) => sha256(image.subarray(at, at + 256)));
    const all = new Uint8Array(96);
    digests.forEach((digest, i) => all.set(digest, i * 32));
    const table: CborValue = [1, sha256(image), image.length, 256, -16, all];
    const sizes: CborValue[] = [255, 256, 65_536, 65_537].map((bytes) => [
      1,
      sha256(image),
      image.length,
      bytes,
      -16,
      all.subarray(0, bytes > 256 ? 32 : 96),
    ]);
    function* damagedTables(): Iterable<CborValue> {
      yield* damagedOf(table);
      yield* sizes;
    }
    await fates("a-table-of-sectors", damagedTables(), (damaged) => {
      const bytes = protectPayload(nodeCrypto, AUTHOR, encodeCbor(damaged));
      return refused(() => openSectorTable(nodeCrypto, bytes, [AUTHOR.publicKey], imageOf(image)));
    });
  });

  it("the trust of a device, and a hand-over", async () => {
    const rights = [{ component: [utf8("app")], actions: [21] }];
    const keys = [AUTHOR, ED].map(({ publicKey }) => publicKey);
    const whole = {
      ...trustOf([{ ...keys[0]!, rights }, keys[1]!]),
      escrow: keys,
      operators: keys,
      quorum: { keys, atLeast: 1 },
    };
    await fates("a-trust", damagedOf(decodeCbor(encodeTrust(whole), undefined, "any")), (damaged) =>
      refused(() => decodeTrust(encodeCbor(damaged)) ?? "none"),
    );
    await fates("a-hand-over", damagedOf(decodeCbor(encodeTransfer({ epoch: 4, authorities: keys }))), (damaged) =>
      refused(() => decodeTransfer(encodeCbor(damaged)) ?? "none"),
    );
  });
});

describe("encryption info, damaged in one place", () => {
  const secrets = (seed: number) => {
    const pair = keyPairOf("ES256", new Uint8Array(32).fill(seed));
    return { publicPoint: pair.publicKey.bytes, secret: pair.secret };
  };
  const [ephemeral, device] = [secrets(11), secrets(12)];
  const cek = new Uint8Array(16).fill(1);
  const kek = (bytes: number): Uint8Array => new Uint8Array(bytes).fill(2);
  const recipients = {
    "aes-128-kw": {
      who: { kid: utf8("k"), kek: kek(16) },
      keys: [
        { kid: utf8("other"), kek: kek(16) },
        { kid: utf8("k"), kek: kek(16) },
      ],
    },
    "aes-192-kw": { who: { kid: utf8("k"), kek: kek(24) }, keys: [{ kek: kek(24) }] },
    "aes-256-kw": { who: { kid: utf8("k"), kek: kek(32) }, keys: [{ kek: kek(16) }, { kek: kek(32) }] },
    "ecdh-es": { who: { kid: utf8("k"), publicPoint: device.publicPoint }, keys: [{ kek: kek(16) }, { ecdh: device }] },
  } as const;
  const plaintext = utf8("plaintext of more than one block of sixteen bytes");
  const decrypted = (info: Uint8Array, ciphertext: Uint8Array, keys: readonly DecryptionKey[]): string => {
    const opened = decryptPayload(nodeCipher, info, ciphertext, keys);
    return opened.ok ? (toHex(opened.plaintext) === toHex(plaintext) ? "decrypted" : "something else") : opened.detail;
  };

  it.each(
    Object.keys(recipients).flatMap((name) =>
      (["A128GCM", "A128CTR"] as const).map((algorithm) => [name, algorithm] as const),
    ),
  )("for %s with %s", async (name, algorithm) => {
    const { who, keys } = recipients[name as keyof typeof recipients];
    const iv = new Uint8Array(algorithm === "A128GCM" ? 12 : 16).fill(3);
    const made = encryptPayload(nodeCipher, algorithm, plaintext, [who], { cek, iv, ephemeral });
    expect(decrypted(made.info, made.ciphertext, keys)).toBe("decrypted");
    await expect(`${toHex(made.info)}\n${toHex(made.ciphertext)}\n`).toMatchFileSnapshot(
      `golden/encrypted-${name}-${algorithm}.txt`,
    );
    const info = decodeCbor(made.info, new Set([96]), "any");
    await fates(`decrypt-${name}-${algorithm}`, damagedOf(info), (damaged) =>
      decrypted(encodeCbor(damaged), made.ciphertext, keys),
    );
    expect(decrypted(made.info, made.ciphertext.subarray(1), keys)).not.toBe("decrypted");
    expect(decrypted(made.info, made.ciphertext, [])).toBe("no recipient of the encryption info is this device");
  });

  it("names at most 64 recipients, and finds its own among them", () => {
    const iv = new Uint8Array(12);
    const many = (count: number) => Array.from({ length: count }, (_, i) => ({ kid: utf8(`${i}`), kek: kek(16) }));
    for (const count of [64, 65]) {
      const made = encryptPayload(nodeCipher, "A128GCM", plaintext, many(count), { cek, iv, ephemeral });
      const own = [{ kid: utf8("63"), kek: kek(16) }];
      expect(decrypted(made.info, made.ciphertext, own)).toBe(count === 64 ? "decrypted" : "more than 64 recipients");
    }
    const wrong = { kid: utf8("k"), publicPoint: new Uint8Array(65).fill(4) };
    expect(() => encryptPayload(nodeCipher, "A128GCM", plaintext, [wrong], { cek, iv, ephemeral })).toThrow(
      "a recipient's public key is no point of P-256",
    );
  });

  it("takes a compressed point, and a salt, from a distributor that writes them so", () => {
    const made = encryptPayload(nodeCipher, "A128GCM", plaintext, [recipients["ecdh-es"].who], {
      cek,
      iv: new Uint8Array(12),
      ephemeral,
    });
    const tag = decodeCbor(made.info, new Set([96]), "any") as Tag;
    const [head, open, payload, list] = tag.value as CborValue[];
    const [protectedBytes, header, wrapped] = (list as CborValue[])[0] as [Uint8Array, CborMap, Uint8Array];
    const isOdd = (ephemeral.publicPoint[64]! & 1) === 1;
    const info = (y: CborValue, more: readonly (readonly [CborValue, CborValue])[] = []): Uint8Array => {
      const point = new Map(header.get(-1) as CborMap).set(-3, y);
      const other = new Map([...header, [-1, point] as const, ...more]);
      return encodeCbor(tagged(96, [head!, open!, payload!, [[protectedBytes, other, wrapped]]]));
    };
    const keys = [{ ecdh: device }];
    expect(decrypted(info(isOdd), made.ciphertext, keys)).toBe("decrypted");
    expect(decrypted(info(!isOdd), made.ciphertext, keys)).toBe("decrypted"); // its x alone is the secret
    expect(decrypted(info(isOdd, [[-20, utf8("salt")]]), made.ciphertext, keys)).toBe(
      "no recipient of the encryption info is this device",
    );
    expect(decrypted(info(isOdd, [[-20, 5]]), made.ciphertext, keys)).toBe("decrypted");
    expect(isMap(header)).toBe(true);
  });
});

describe("what RIOT could not read is not written", () => {
  const [component] = update.components;
  const payload = component!.payloads[0]!;
  const withPayload = (change: object) => ({
    ...update,
    components: [{ ...component!, payloads: [{ ...payload, ...change }] }],
  });
  const long = `coap://[fd00::1]/${"x".repeat(200)}`;
  it.each<[string, object, string]>([
    ["no component", { ...update, components: [] }, "RIOT takes one component of one class"],
    ["two components", { ...update, components: [component, component] }, "RIOT takes one component of one class"],
    ["two classes", { ...update, classIds: [CLASS, VENDOR] }, "RIOT takes one component of one class"],
    ["a path", withPayload({ uri: "/i" }), "RIOT takes images by a coap: URI of at most 127 bytes, not encrypted"],
    [
      "http",
      withPayload({ uri: "http://coap://x" }),
      "RIOT takes images by a coap: URI of at most 127 bytes, not encrypted",
    ],
    [
      "a long URI",
      withPayload({ uri: long.slice(0, 128) }),
      "RIOT takes images by a coap: URI of at most 127 bytes, not encrypted",
    ],
    [
      "ciphertext",
      withPayload({ encryption: {} }),
      "RIOT takes images by a coap: URI of at most 127 bytes, not encrypted",
    ],
    [
      "bytes in the envelope",
      withPayload({ integrated: IMAGE }),
      "RIOT takes images by a coap: URI of at most 127 bytes, not encrypted",
    ],
  ])("%s", (_name, described, message) => {
    expect(() => buildEnvelope09(nodeCrypto, [ED], described as typeof update)).toThrow(message);
  });

  it("but a URI of 127 bytes, coaps too; and no more than its buffer holds", () => {
    const uri = long.slice(0, 127);
    expect(buildEnvelope09(nodeCrypto, [ED], withPayload({ uri })).length).toBeLessThanOrEqual(640);
    expect(() => buildEnvelope09(nodeCrypto, [ED], withPayload({ uri: `coaps${uri.slice(4, 126)}` }))).not.toThrow();
    const slots = Array.from({ length: 4 }, (_, slot) => ({ ...payload, slot, uri }));
    const many = { ...update, components: [{ ...component!, payloads: slots }] };
    expect(() => buildEnvelope09(nodeCrypto, [ED], many)).toThrow(/\d+ bytes; RIOT's buffer has 640/);
    expect(trust.anchors).toHaveLength(1);
  });
});
