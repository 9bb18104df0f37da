import { beforeEach, describe, expect, it } from "vitest";
import { Tag } from "cbor-x";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { decodeCbor, encodeCbor, type CborValue } from "../../src/codec/cbor.ts";
import { protectPayload } from "../../src/codec/cose.ts";
import { imagePath, manifestPath, sectorTablePath } from "../../src/gateway/catalogue.ts";
import { keyRecord } from "../../src/lifecycle/classes.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import { signSectorTable } from "../../src/suit/sector-table.ts";
import { Condition as C, Directive as D, Parameter as P } from "../../src/suit/keys.ts";
import { toHex } from "../../src/util/bytes.ts";
import { author, classId, GatewayBench, makeImage } from "../support/gateway.ts";
import {
  CLASS,
  digestIn,
  envelopeOf,
  identity,
  map,
  override,
  sha256,
  suitDigest,
  VENDOR,
} from "../support/suit-build.ts";
import { decoded } from "../support/coap-get.ts";
import { image, keyOf, newer, publishNewer, TrustBench } from "../support/trust-bench.ts";

const [second, third] = [keyOf(71), keyOf(72)];
const other = new Uint8Array(16).fill(0xb2);
const manifest = manifestPath(classId, "00");
const images = imagePath(sha256(image));
const nameOf = (key: typeof author, name: string) => ({ ...keyRecord(key.publicKey), name });
const both = [nameOf(author, "one"), nameOf(second, "two")];

let site: TrustBench;
beforeEach(() => (site = new TrustBench()));

/** A release whose work is done by a dependency that another key signed. */
function dependent(root: PrivateKey, dependency: PrivateKey): Uint8Array {
  const fetch = [...override([P.URI, "sim:x"]), D.FETCH, 15, C.IMAGE_MATCH, 15];
  const shared = identity([P.IMAGE_DIGEST, suitDigest(image)], [P.IMAGE_SIZE, image.length]);
  const child = envelopeOf({ key: dependency, components: [["app"]], shared, sections: { 20: fetch } });
  const process = [C.DEPENDENCY_INTEGRITY, 15, D.PROCESS_DEPENDENCY, 15];
  return envelopeOf({
    key: root,
    components: [["app", "dep"]],
    dependencies: map([[0, map([])]]),
    integrated: { "#d": child },
    shared: identity([P.IMAGE_DIGEST, digestIn(child)]),
    sections: { 15: [...override([P.URI, "#d"]), D.FETCH, 15, ...process], 20: process },
  });
}

describe("a key that was revoked takes along what nobody else stands for", () => {
  it("where it signed the dependency that does the work", () => {
    site.define({ id: toHex(CLASS), vendorId: toHex(VENDOR), authorities: both });
    expect(site.publish(dependent(second, author))).toBe("published");
    const path = manifestPath(CLASS, site.bench.gateway.listings()[0]!.release.key.split("/")[2]!);
    expect([site.ask(path), site.ask(images)]).toEqual(["2.05", "2.05"]);
    site.revoke(third); // somebody else's
    expect(site.ask(path)).toBe("2.05");
    site.revoke(author);
    expect([site.ask(path), site.ask(images)]).toEqual(["4.04", "4.04"]);
    site.bench.restart();
    expect([site.ask(path), site.ask(images)]).toEqual(["4.04", "4.04"]);
  });

  it("of a class that nobody defined too", () => {
    site = new TrustBench({ anchors: [author.publicKey, second.publicKey] });
    expect(site.publish(dependent(second, author))).toBe("published");
    expect(site.ask(images)).toBe("2.05");
    site.revoke(author);
    expect(site.ask(images)).toBe("4.04");
    site.bench.restart();
    expect(site.ask(images)).toBe("4.04");
  });

  it("and signs none, and nor does escrow", () => {
    const escrow = [keyRecord(third.publicKey)];
    site.define({ id: toHex(CLASS), vendorId: toHex(VENDOR), authorities: both, escrow });
    site.revoke(author);
    for (const signer of [author, third]) expect(site.publish(dependent(second, signer))).toBe("not-processable");
    expect(site.publish(dependent(second, second))).toBe("published");
  });

  it("where another class of the release would refuse it for a reason of its own", () => {
    site.define({ authorities: [nameOf(author, "one")] });
    site.define({ id: toHex(other), name: "b", authorities: [nameOf(second, "two")] });
    expect(site.publish(site.update({ classIds: [classId, other] }, author, second))).toBe("published");
    site.submit({ kind: "policy-set", classId: toHex(classId), policy: { features: "refuse", security: "allow" } });
    expect(site.ask(manifest)).toBe("2.05"); // a policy of today is not about what is there
    site.revoke(second);
    expect([site.ask(manifestPath(other, "00")), site.ask(manifest)]).toEqual(["4.04", "4.04"]);
  });

  it("where one of the classes is none that anybody defined", () => {
    expect(site.publish(site.update({ classIds: [other, classId] }))).toBe("published");
    site.define({ authorities: both });
    expect(site.ask(manifest)).toBe("2.05");
    site.revoke();
    expect([site.ask(manifestPath(other, "00")), site.ask(manifest)]).toEqual(["4.04", "4.04"]);
  });

  it("where the release was replaced since, and not by a restart", () => {
    site.define({ authorities: both });
    site.publish(site.update());
    expect([publishNewer(site.bench, second), site.ask(images)]).toEqual(["published", "2.05"]); // who has begun may end
    site.revoke();
    expect([site.ask(images), site.ask(imagePath(sha256(newer)))]).toEqual(["4.04", "2.05"]);
    site.bench.restart();
    expect([site.ask(images), site.ask(imagePath(sha256(newer)))]).toEqual(["4.04", "2.05"]);
  });

  it("where it was replaced afterwards", () => {
    site.define({ authorities: both });
    site.publish(site.update());
    site.revoke();
    expect([publishNewer(site.bench, second), site.ask(images)]).toEqual(["published", "4.04"]);
    site.bench.restart();
    expect(site.ask(images)).toBe("4.04");
  });

  it("but not an image that another release by another key has too", () => {
    site.define({ authorities: both });
    site.publish(site.update());
    expect(site.publish(site.update({ sequenceNumber: 2 }, second))).toBe("published");
    publishNewer(site.bench, second);
    site.revoke();
    expect(site.ask(images)).toBe("2.05");
    site.bench.restart();
    expect(site.ask(images)).toBe("2.05");
  });

  it("and a table that it signed", () => {
    site.define({ authorities: both });
    site.bench.disk.upstream.set("sim:x", image);
    const tables = [signSectorTable(nodeCrypto, author, image, 1_024)];
    site.bench.loop.call((now) =>
      site.bench.gateway.publish(now, 1, { envelope: site.update({}, second), source: "sim:x", tables }),
    );
    site.bench.run(1);
    expect(site.ask(sectorTablePath(sha256(image)))).toBe("2.05");
    site.revoke();
    expect([site.ask(sectorTablePath(sha256(image))), site.ask(images)]).toEqual(["4.04", "2.05"]);
    site.bench.restart();
    expect([site.ask(sectorTablePath(sha256(image))), site.ask(images)]).toEqual(["4.04", "2.05"]);
  });
});

it("a table is judged while its image is there, though it leaves memory before the release is whole", () => {
  const MIB = 1_048_576;
  const budget = { maxImageBytes: MIB, diskBytes: 4 * MIB, memoryBytes: 70_000 };
  const bench = new GatewayBench({ budget });
  const parts = [makeImage(1, 60_000), makeImage(2, 60_000)];
  const components = parts.map((bytes, i) => ({
    id: [Uint8Array.of(i)],
    payloads: [{ image: { digest: sha256(bytes), size: bytes.length }, uri: `sim:${i}` }],
  }));
  for (const [i, bytes] of parts.entries()) bench.disk.upstream.set(`sim:${i}`, bytes);
  const changed = parts[0]!.slice();
  changed[5_000]! ^= 1;
  const signed = signSectorTable(nodeCrypto, author, changed, 4_096);
  // A table for the image by its digest, of which one sector is another one.
  const [version, , size, sector, algorithm, digests] = decodeCbor(attachedOf(signed)) as CborValue[];
  const table = protectPayload(
    nodeCrypto,
    author,
    encodeCbor([version!, sha256(parts[0]!), size!, sector!, algorithm!, digests!]),
  );
  const tell = (sequenceNumber: number, tables: Uint8Array[]): string => {
    bench.loop.call((now) =>
      bench.gateway.publish(now, sequenceNumber, { envelope: site.update({ sequenceNumber, components }), tables }),
    );
    bench.run(60);
    const outcome = bench.outcomes.at(-1)!;
    return outcome.kind === "refused" ? outcome.reason : outcome.kind;
  };
  expect(tell(1, [table])).toBe("sector-table-mismatch");
  expect(tell(2, [signSectorTable(nodeCrypto, author, parts[0]!, 4_096)])).toBe("published");
});

/** What a COSE_Sign1 carries. */
function attachedOf(bytes: Uint8Array): Uint8Array {
  const block = decodeCbor(bytes, new Set([18]), "any") as Tag;
  return (block.value as CborValue[])[2] as Uint8Array;
}

describe("who defines a class", () => {
  it("is obeyed by what is on offer already, and again when he thinks better of it", () => {
    site.publish(site.update());
    site.define({ authorities: [nameOf(second, "own")] });
    expect([site.ask(manifest), site.ask(images)]).toEqual(["4.04", "4.04"]);
    site.bench.restart();
    expect(site.ask(manifest)).toBe("4.04");
    site.define({ authorities: both });
    expect([site.ask(manifest), site.ask(images)]).toEqual(["2.05", "2.05"]);
  });

  it("and again behind a restart, with keys that no configuration knows", () => {
    const own = { authorities: [nameOf(third, "three")] };
    const asked = () => [manifest, images, ["fw"]].map((path) => site.ask(path));
    site.define(own);
    expect(site.publish(site.update({}, third), "fw")).toBe("published");
    expect(asked()).toEqual(["2.05", "2.05", "2.05"]);
    site.define({ authorities: [nameOf(second, "two")] });
    for (const _ of [1, 2]) {
      expect(asked()).toEqual(["4.04", "4.04", "4.04"]);
      expect(site.publish(site.update({ sequenceNumber: 2 }, third))).toBe("signature-invalid");
      site.bench.restart();
    }
    site.define(own);
    expect(asked()).toEqual(["2.05", "2.05", "2.05"]);
  });

  it("is obeyed by tables too: another class's author signs none", () => {
    site.define({ authorities: [nameOf(second, "two")] });
    site.define({ id: toHex(other), name: "b", authorities: [nameOf(third, "three")] });
    const tell = (key: PrivateKey): string => {
      site.bench.disk.upstream.set("sim:x", image);
      const tables = [signSectorTable(nodeCrypto, key, image, 1_024)];
      site.bench.loop.call((now) =>
        site.bench.gateway.publish(now, 1, { envelope: site.update({}, second), source: "sim:x", tables }),
      );
      site.bench.run(1);
      const outcome = site.bench.outcomes.at(-1)!;
      return outcome.kind === "refused" ? outcome.reason : outcome.kind;
    };
    expect(tell(third)).toBe("sector-table-not-authentic");
    expect(tell(second)).toBe("published");
  });

  it("and hands it over takes nothing from its devices: the last image stays, through a restart too", () => {
    site.define();
    site.publish(site.update());
    expect(site.hand(1, [second], author)).toBe("ok");
    expect(site.ask(manifest)).toBe("2.05");
    site.bench.restart();
    expect(site.ask(manifest)).toBe("2.05");
    expect(site.publish(site.update({ sequenceNumber: 2 }))).toBe("signature-invalid");
    site.revoke();
    expect(site.ask(manifest)).toBe("4.04");
  });
});

describe("a release that nobody stands for any more", () => {
  const other2 = new Uint8Array(16).fill(0xee);
  const [A, B] = [classId, other2].toSorted((a, b) => (toHex(a) < toHex(b) ? -1 : 1)) as [Uint8Array, Uint8Array];
  const own = { id: toHex(A), name: "a" };
  const asked = () => [A, B].map((id) => site.ask(manifestPath(id, "00")));
  /** Which release is at the path of a class. */
  const number = (id: Uint8Array): number | undefined => {
    site.ask(manifestPath(id, "00"));
    const { payload } = decoded(site.bench.sent.at(-1)!);
    return site.bench.gateway
      .listings()
      .map(({ release }) => release)
      .find(({ envelope }) => Buffer.compare(envelope.subarray(0, payload.length), payload) === 0)?.sequenceNumber;
  };
  const listed = () => site.bench.gateway.listings().map(({ release }) => release.sequenceNumber);

  it.each([false, true])("keeps none of its classes from a later one, restarted: %s", (kill) => {
    const again = (): void => (kill ? site.bench.restart() : undefined);
    site.define({ ...own, authorities: [nameOf(second, "a")] });
    site.define({ id: toHex(B), name: "b", authorities: [nameOf(third, "b")] });
    expect(site.publish(site.update({ classIds: [A, B] }, second, third), "fw")).toBe("published");
    site.define({ ...own, authorities: [nameOf(author, "a")] });
    again();
    expect([...asked(), site.ask(["fw"])]).toEqual(["4.04", "4.04", "4.04"]);
    expect(site.publish(site.update({ sequenceNumber: 2, classIds: [B] }, third), "fw")).toBe("alias-in-use");
    expect(site.publish(site.update({ sequenceNumber: 2, classIds: [B] }, third))).toBe("published");
    again();
    expect([...asked(), site.ask(["fw"])]).toEqual(["4.04", "2.05", "4.04"]);
    // Somebody stands for it again: it is what A is offered, and B has got further.
    site.define({ ...own, authorities: [nameOf(second, "a")] });
    again();
    expect([...asked(), site.ask(["fw"]), ...listed()]).toEqual(["2.05", "2.05", "2.05", 1, 2]);
    expect([A, B].map(number)).toEqual([1, 2]);
    // Whoever goes and comes back on the way, B stays with the later one.
    const b = { id: toHex(B), name: "b", authorities: [nameOf(third, "b")] };
    site.define({ ...b, operators: [keyRecord(author.publicKey)] });
    again();
    expect(asked()).toEqual(["4.04", "4.04"]);
    site.define(b);
    again();
    expect([A, B].map(number)).toEqual([1, 2]);
    site.revoke(third);
    again();
    expect([...asked(), ...listed()]).toEqual(["4.04", "4.04"]);
  });

  it("is not published because its key was good when it came, but was revoked while it waited for the log", () => {
    site.define({ authorities: both });
    expect(site.publish(site.update())).toBe("published");
    const { bench } = site;
    const before = bench.outcomes.length;
    bench.loop.call((now) => {
      const key = keyRecord(second.publicKey);
      bench.gateway.desk.submit(now, "o", { kind: "key-revoked", key, reason: "stolen" }, () => {});
      bench.gateway.publish(now, 50, { envelope: site.update({ sequenceNumber: 2 }, second), source: "sim:x" });
    });
    bench.run(1);
    expect(bench.outcomes.slice(before)).toMatchObject([{ kind: "refused", reason: "key-revoked" }]);
    expect([site.ask(manifest), ...listed()]).toEqual(["2.05", 1]);
    bench.restart();
    expect([site.ask(manifest), ...listed()]).toEqual(["2.05", 1]);
    expect(site.publish(site.update({ sequenceNumber: 2 }))).toBe("published"); // its number is not spent
  });
});

it("what an anchor signed goes with the anchor, when the configuration is without it", () => {
  site.publish(site.update());
  const fewer = new GatewayBench({ anchors: [second.publicKey] }, site.bench.disk);
  fewer.run(1);
  Object.assign(site, { bench: fewer });
  expect([site.ask(manifest), site.ask(images)]).toEqual(["4.04", "4.04"]);
  const again = new GatewayBench({}, fewer.disk);
  Object.assign(site, { bench: again });
  expect([site.ask(manifest), site.ask(images)]).toEqual(["2.05", "2.05"]);
});
