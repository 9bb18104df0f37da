import { describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { decodeCbor, encodeCbor, tagged, type CborMap } from "../../src/codec/cbor.ts";
import { CborError } from "../../src/codec/cbor-check.ts";
import type { Crypto } from "../../src/ports/crypto.ts";
import { openEnvelope09 } from "../../src/suit/dialect-09.ts";
import { decryptPayload } from "../../src/suit/encryption.ts";
import { EnvelopeError } from "../../src/suit/envelope.ts";
import { openEnvelope } from "../../src/suit/open.ts";
import type { OpenEnvelope } from "../../src/suit/opened.ts";
import { processManifest } from "../../src/suit/processor/procedure.ts";
import { openReport, reportOf, signReport } from "../../src/suit/report.ts";
import { openRelease } from "../../src/suit/release.ts";
import { openSectorTable, signSectorTable } from "../../src/suit/sector-table.ts";
import { nodeCipher } from "../../src/adapters/node-cipher.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { fromHex, utf8 } from "../../src/util/bytes.ts";
import { mutate } from "../support/mutate.ts";
import { RIOT_VECTORS } from "../support/riot-vectors.ts";
import { AUTHOR, envelopeOf, identity, map, newDevice, run, seq, suitDigest, trust } from "../support/suit-build.ts";
import { Tag } from "cbor-x";
import { effort } from "../support/effort.ts";

/** 5,000,000 by hand (FUZZ_SUIT); here as many as a test run can bear. */
const INPUTS = Number(process.env["FUZZ_SUIT"] ?? effort(10_000, 30_000));
const SEED = Number(process.env["FUZZ_SEED"] ?? 20_261_125);

const IMAGE = utf8("image");
const child = envelopeOf({ components: [["c"]], sections: { 20: [19, map([[18, utf8("x")]]), 18, 15] } });
const childDigest = encodeCbor([-16, openEnvelope(nodeCrypto, child, trust).digest]);
const two = [["a"], ["b"]];
const patchArguments = encodeCbor(["bfd1", nodeCrypto.sha256(IMAGE), 5]);
const sketches: Uint8Array[] = [
  envelopeOf({
    components: [["a"], ["a", "installed"]],
    shared: [12, 0, ...identity([3, suitDigest(IMAGE)], [14, 5])],
    sections: {
      20: [
        12,
        0,
        15,
        [
          seq(
            12,
            1,
            20,
            map([[3, suitDigest(IMAGE)]]),
            3,
            15,
            12,
            0,
            20,
            map([
              [21, "/p"],
              [25, patchArguments],
            ]),
          ),
          seq(12, 0, 20, map([[21, "/i"]])),
        ],
        21,
        15,
        3,
        15,
      ],
    },
  }),
  envelopeOf({
    shared: identity([3, suitDigest(IMAGE)], [14, 5]),
    sections: { 20: [20, map([[21, "/i"]]), 21, 15, 3, 15], 7: [3, 15], 9: [23, 15] },
    sever: [20],
  }),
  envelopeOf({
    components: two,
    shared: [12, true, ...identity()],
    sections: {
      20: [
        12,
        0,
        15,
        [seq(14, 15), seq(20, map([[13, false]]), 14, 15), null],
        32,
        seq(20, map([[18, utf8("y")]]), 18, 15),
        12,
        1,
        20,
        map([[22, 0]]),
        22,
        15,
        31,
        15,
      ],
    },
  }),
  envelopeOf({
    components: [["own"], ["dep"]],
    dependencies: map([[1, map([])]]),
    shared: [12, 0, ...identity(), 12, 1, 20, map([[3, childDigest]])],
    sections: { 15: [12, 1, 20, map([[21, "#child"]]), 21, 15, 7, 15, 11, 15], 20: [12, 1, 11, 15] },
    integrated: { "#child": child },
  }),
  envelopeOf({
    shared: identity(
      [4, 2_000_000_000],
      [26, 5],
      [27, 1],
      [28, encodeCbor([2, [1, 2]])],
      [29, encodeCbor(map([[1, 2]]))],
    ),
    sections: {
      20: [
        4,
        15,
        26,
        15,
        27,
        15,
        28,
        15,
        29,
        15,
        34,
        map([[0, map([[18, utf8("z")]])]]),
        35,
        map([[0, [18]]]),
        18,
        15,
        33,
        15,
      ],
    },
  }),
];

/** An author who is hostile too: the manifest of an envelope mutated, and everything around it made to fit again. */
function resigned(envelope: Uint8Array, random: SeededRandom): Uint8Array | undefined {
  const members = new Map((decodeCbor(envelope, new Set([107])) as Tag).value as CborMap);
  const manifest = mutate(random, [members.get(3) as Uint8Array]);
  members.set(3, manifest);
  members.set(2, encodeCbor([suitDigest(encodeCbor(manifest))]));
  return encodeCbor(tagged(107, members));
}

/** Takes whatever is signed at all: so that what is behind the signature is reached. */
const gullible: Crypto = { ...nodeCrypto, verify: () => true };

function heapMiB(): number {
  return process.memoryUsage().heapUsed / 1_048_576;
}

describe(`SUIT, ${INPUTS} mutations of each kind, seed ${SEED}`, () => {
  it("of envelopes: none is taken that was not signed, and no exception but the one that says why", () => {
    const random = new SeededRandom(SEED, "envelopes");
    // The child too: a piece of its parent's envelope is an authentic envelope by itself.
    const known = new Set(
      [...sketches, child].map((bytes) =>
        Buffer.from(openEnvelope(nodeCrypto, bytes, trust).envelope.manifestBytes).toString("hex"),
      ),
    );
    let accepted = 0;
    for (let i = 0; i < INPUTS; i++) {
      const bytes = mutate(random, [sketches[i % sketches.length]!]);
      try {
        const { envelope } = openEnvelope(nodeCrypto, bytes, trust);
        // Only what stands beside the manifest may have changed.
        expect(known.has(Buffer.from(envelope.manifestBytes).toString("hex"))).toBe(true);
        accepted++;
      } catch (error) {
        expect(error).toBeInstanceOf(EnvelopeError);
      }
    }
    expect(accepted).toBeLessThan(INPUTS / 2);
  });

  it("of manifests by a hostile author: every end has a name, in bounded time and memory", () => {
    const random = new SeededRandom(SEED, "manifests");
    const open = (bytes: Uint8Array): OpenEnvelope => openEnvelope(gullible, bytes, trust);
    const before = heapMiB();
    let processed = 0;
    for (let i = 0; i < INPUTS; i++) {
      const bytes = resigned(sketches[i % sketches.length]!, random);
      if (bytes === undefined) continue;
      const signed = new Uint8Array(bytes);
      const release = openRelease(gullible, withBlock(signed), trust);
      if (!release.ok) expect(typeof release.reason).toBe("string");
      let opened: OpenEnvelope;
      try {
        opened = open(withBlock(signed));
      } catch (error) {
        expect(error).toBeInstanceOf(EnvelopeError);
        continue;
      }
      const device = newDevice({ fetch: () => IMAGE, unixS: () => 1, batteryMwh: () => 9, authorises: () => true });
      const outcome = processManifest(opened, "update", device, { crypto: gullible, open });
      expect(typeof outcome.ok).toBe("boolean");
      processed++;
    }
    expect(processed).toBeGreaterThan(INPUTS / 20);
    expect(heapMiB() - before).toBeLessThan(200);
  });

  it("of RIOT's envelopes, encryption infos, reports and sector tables: refused with a word", () => {
    const random = new SeededRandom(SEED, "others");
    const key = { algorithm: "HMAC-256", bytes: new Uint8Array(32).fill(3) } as const;
    const outcome = run({ shared: identity(), sections: { 20: [3, 15] } });
    const report = signReport(
      nodeCrypto,
      key,
      reportOf(outcome, { uri: "u", digest: new Uint8Array(32) }),
      utf8("kid"),
    );
    const image = new Uint8Array(2_000).fill(5);
    const about = { digest: nodeCrypto.sha256(image), size: image.length };
    const table = signSectorTable(nodeCrypto, AUTHOR, image, 512);
    const riot = Object.values(RIOT_VECTORS).map((hex) => fromHex(hex)!);
    const info = fromHex(
      "d8608440a20139fffd0550dae613b2e0dc55f4322be38bdba9dc68f6818340a2012204456b69642d315818ce34035ce5c2e2666e46d4c131fc561dd190a6d26cfa1990",
    )!;
    const keks = [{ kek: utf8("aaaaaaaaaaaaaaaa") }];
    for (let i = 0; i < INPUTS / 4; i++) {
      try {
        openEnvelope09(gullible, mutate(random, riot), trust);
      } catch (error) {
        expect(error).toBeInstanceOf(EnvelopeError);
      }
      const changed = mutate(random, [report]);
      const opened = openReport(nodeCrypto, changed, () => [key]);
      if (opened.ok) expect(opened.report.manifestUri).toBe("u"); // only what nobody authenticates was changed
      openReport({ ...nodeCrypto, hmacSha256: () => new Uint8Array(32) }, changed, () => [key]);
      if (openSectorTable(nodeCrypto, mutate(random, [table]), [AUTHOR.publicKey], about).ok) continue;
      openSectorTable(gullible, mutate(random, [table]), [AUTHOR.publicKey], about);
      decryptPayload(nodeCipher, mutate(random, [info]), image, keks);
    }
    expect(CborError).toBeDefined();
  });
});

/** The envelope with one authentication block that a gullible verifier takes. */
function withBlock(envelope: Uint8Array): Uint8Array {
  const members = new Map((decodeCbor(envelope, new Set([107])) as Tag).value as CborMap);
  const [digest] = decodeCbor(members.get(2) as Uint8Array) as readonly Uint8Array[];
  const block = encodeCbor(tagged(18, [encodeCbor(map([[1, -9]])), map([]), null, new Uint8Array(64)]));
  members.set(2, encodeCbor([digest!, block]));
  return encodeCbor(tagged(107, members));
}
