import { describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { decodeCbor, encodeCbor, tagged, type CborMap } from "../../src/codec/cbor.ts";
import { keyPairOf, nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { createEnvelope, signEnvelope, uuid5 } from "../../src/suit/author.ts";
import { Condition as C, Directive as D, ManifestKey, Parameter as P } from "../../src/suit/keys.ts";
import { openRelease } from "../../src/suit/release.ts";
import { randomBytes } from "../../src/util/random.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { AUTHOR, envelopeOf, identity, override, suitDigest } from "../support/suit-build.ts";
import { createHash } from "node:crypto";
import type { Tag } from "cbor-x";

const random = new SeededRandom(2, "release");
const es256 = keyPairOf("ES256", randomBytes(random, 32));
const ed25519 = keyPairOf("Ed25519", randomBytes(random, 32));
const stranger = keyPairOf("ES256", randomBytes(random, 32));
const description = {
  sequenceNumber: 7,
  vendorId: randomBytes(random, 16),
  classId: randomBytes(random, 16),
  imageDigest: randomBytes(random, 32),
  imageSize: 40_000,
  uri: "/i/abc",
  version: "1.2.3",
};
const unsigned = createEnvelope(nodeCrypto, description);
const reasonOf = (bytes: Uint8Array, anchors = [es256.publicKey]): string => {
  const result = openRelease(nodeCrypto, bytes, { anchors });
  return result.ok ? "ok" : result.reason;
};

describe("a release", () => {
  it.each([es256, ed25519])("signed with $algorithm is opened with its own fields", (key) => {
    for (const crypto of [nodeCrypto, nobleCrypto]) {
      const result = openRelease(crypto, signEnvelope(crypto, key, unsigned), { anchors: [key.publicKey] });
      expect(result.ok && result.release).toMatchObject(description);
    }
  });

  it("needs one signature of a trusted key among several", () => {
    const twice = signEnvelope(nodeCrypto, ed25519, signEnvelope(nodeCrypto, stranger, unsigned));
    expect(reasonOf(twice, [ed25519.publicKey])).toBe("ok");
    expect(reasonOf(twice, [stranger.publicKey])).toBe("ok");
    expect(reasonOf(twice, [es256.publicKey])).toBe("signature-invalid");
  });

  it("k of n are k keys: one that is listed twice, or signs twice, is one", () => {
    const twice = signEnvelope(nodeCrypto, es256, signEnvelope(nodeCrypto, es256, unsigned));
    const doubled = [es256.publicKey, { ...es256.publicKey, bytes: es256.publicKey.bytes.slice() }];
    const two = (envelope: Uint8Array): string => {
      const result = openRelease(nodeCrypto, envelope, { anchors: [...doubled, ed25519.publicKey], atLeast: 2 });
      return result.ok ? "ok" : result.reason;
    };
    expect(two(twice)).toBe("too-few-signatures");
    expect(two(signEnvelope(nodeCrypto, ed25519, twice))).toBe("ok");
  });

  it("is refused unsigned, wrongly signed, or with no anchor at all", () => {
    expect(reasonOf(unsigned)).toBe("unsigned");
    expect(reasonOf(signEnvelope(nodeCrypto, stranger, unsigned))).toBe("signature-invalid");
    expect(reasonOf(signEnvelope(nodeCrypto, es256, unsigned), [])).toBe("signature-invalid");
  });

  it("is refused with a manifest swapped under the signature", () => {
    const signed = decodeCbor(signEnvelope(nodeCrypto, es256, unsigned), new Set([107])) as Tag;
    const other = decodeCbor(createEnvelope(nodeCrypto, { ...description, sequenceNumber: 8 }), new Set([107])) as Tag;
    const members = new Map(signed.value as CborMap).set(3, (other.value as CborMap).get(3)!);
    expect(reasonOf(encodeCbor(tagged(107, members)))).toBe("digest-mismatch");
  });

  it("is refused cut short anywhere, without an exception", () => {
    const signed = signEnvelope(nodeCrypto, es256, unsigned);
    for (let length = 0; length < signed.length; length++)
      expect(reasonOf(signed.subarray(0, length))).toBe("malformed");
    expect(reasonOf(Uint8Array.of(...signed, 0))).toBe("malformed");
    expect(reasonOf(new Uint8Array(70_000))).toBe("too-large");
    expect(reasonOf(encodeCbor(new Map()))).toBe("not-an-envelope");
  });

  it("needs vendor, class, digest and size", () => {
    const sign = (change: object): Uint8Array =>
      signEnvelope(nodeCrypto, es256, createEnvelope(nodeCrypto, { ...description, ...change }));
    expect(reasonOf(sign({ vendorId: new Uint8Array(3) }))).toBe("not-processable");
    expect(reasonOf(sign({ imageSize: 0 }))).toBe("no-digest-or-size");
    expect(reasonOf(sign({ imageDigest: new Uint8Array(31) }))).toBe("not-processable");
  });
});

it("UUIDs of version 5 are those that Appendix B of the draft prints for arm.com", () => {
  const dns = Buffer.from("6ba7b8109dad11d180b400c04fd430c8", "hex");
  const sha1 = (bytes: Uint8Array): Uint8Array => new Uint8Array(createHash("sha1").update(bytes).digest());
  expect(Buffer.from(uuid5(sha1, dns, "arm.com")).toString("hex")).toBe("fa6b4a53d5ad5fdfbe9de663e4d41ffe");
});

it("a release that changes who is trusted is none, in whatever procedure", () => {
  const image = new Uint8Array(100);
  const write = [D.SET_COMPONENT_INDEX, 1, ...override([P.CONTENT, Uint8Array.of(1)]), D.WRITE, 15];
  const install = [D.SET_COMPONENT_INDEX, 0, ...override([P.URI, "sim:x"]), D.FETCH, 15, C.IMAGE_MATCH, 15];
  const shared = [
    D.SET_COMPONENT_INDEX,
    0,
    ...identity([P.IMAGE_DIGEST, suitDigest(image)], [P.IMAGE_SIZE, image.length]),
  ];
  const reasonWith = (section: number | undefined): string => {
    const sections = { 20: install, ...(section === undefined ? {} : { [section]: write }) };
    const components = [["app"], ["blockferry", "trust"]];
    const opened = openRelease(nodeCrypto, envelopeOf({ components, shared, sections }), {
      anchors: [AUTHOR.publicKey],
    });
    return opened.ok ? "ok" : opened.reason;
  };
  const written = [ManifestKey.LOAD, ManifestKey.INVOKE, ManifestKey.UNINSTALL].map(reasonWith);
  expect([reasonWith(undefined), ...written]).toEqual(["ok", ...written.map(() => "trust-in-release")]);
});
