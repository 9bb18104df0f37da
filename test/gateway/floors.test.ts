import { beforeEach, describe, expect, it } from "vitest";
import { encodeCbor } from "../../src/codec/cbor.ts";
import { manifestPath } from "../../src/gateway/catalogue.ts";
import { FLOOR_PREFIX, Floors } from "../../src/gateway/floors.ts";
import { keyRecord } from "../../src/lifecycle/classes.ts";
import { componentName } from "../../src/suit/manifest.ts";
import type { Release } from "../../src/suit/release.ts";
import { utf8 } from "../../src/util/bytes.ts";
import { author, classId, makeImage, vendorId } from "../support/gateway.ts";
import { sha256 } from "../support/suit-build.ts";
import { keyOf, TrustBench } from "../support/trust-bench.ts";

const other = new Uint8Array(16).fill(0xee);
const second = keyOf(81);

let site: TrustBench;
beforeEach(() => (site = new TrustBench()));
const named = ({ publicKey }: typeof author) => ({ ...keyRecord(publicKey), name: "author" });
const of = (sequenceNumber: number, ...classIds: Uint8Array[]) => site.update({ sequenceNumber, classIds });

describe("a gateway", () => {
  it("takes a higher number only, from each class and component by itself", () => {
    expect(site.publish(of(5, classId))).toBe("published");
    expect(site.publish(of(5, classId))).toBe("replayed");
    expect(site.publish(of(4, classId))).toBe("older-sequence-number");
    expect(site.publish(of(4, other))).toBe("published");
    expect(site.publish(of(6, classId))).toBe("published");
  });

  it.each([false, true])(
    "does not forget the number of a class that a later release left out, restarted: %s",
    (kill) => {
      expect(site.publish(of(5, classId, other))).toBe("published");
      expect(site.publish(of(6, classId))).toBe("published");
      if (kill) site.bench.restart();
      expect(site.ask(manifestPath(other, "00"))).toBe("4.04");
      expect(site.publish(of(4, other))).toBe("older-sequence-number");
      expect(site.publish(of(5, other))).toBe("replayed");
      expect(site.publish(of(6, other))).toBe("published");
    },
  );

  it("does not forget it behind a hand-over and a restart either", () => {
    site.define();
    expect(site.publish(of(7, classId))).toBe("published");
    expect(site.hand(1, [second], author)).toBe("ok");
    site.bench.restart();
    const by = (sequenceNumber: number): string => site.publish(site.update({ sequenceNumber }, second));
    expect(by(6)).toBe("older-sequence-number");
    expect(by(8)).toBe("published");
  });

  it("takes the very manifest back that stands there, from an authority of today, once it is on offer no longer", () => {
    site.define({ authorities: [named(author), named(second)] });
    expect(site.publish(site.update({ sequenceNumber: 7 }))).toBe("published");
    expect(site.publish(site.update({ sequenceNumber: 7 }, second))).toBe("replayed");
    site.revoke();
    expect(site.ask(manifestPath(classId, "00"))).toBe("4.04");
    expect(site.publish(site.update({ sequenceNumber: 7, updateDescription: "another" }, second))).toBe("replayed");
    expect(site.publish(site.update({ sequenceNumber: 7 }, second))).toBe("published");
    expect(site.ask(manifestPath(classId, "00"))).toBe("2.05");
  });

  it("does not offer an old record that a damaged store brought back", () => {
    site.publish(of(5, classId));
    const { entries } = site.bench.disk;
    const kept = [...entries].find(([key]) => key.startsWith("release/"))!;
    site.publish(of(6, classId));
    entries.set(...kept);
    site.bench.restart();
    expect(site.ask(manifestPath(classId, "00"))).toBe("4.04");
    expect(site.bench.counters.snapshot()["records_not_recovered.older-sequence-number"]).toBe(1);
    expect(site.publish(of(6, classId))).toBe("published"); // the manifest that was lost
  });

  it("keeps the numbers of what a store from before it kept any had", () => {
    site.publish(of(5, classId, other));
    const { entries } = site.bench.disk;
    for (const key of entries.keys()) if (key.startsWith(FLOOR_PREFIX)) entries.delete(key);
    site.bench.restart();
    expect([...entries.keys()].filter((key) => key.startsWith(FLOOR_PREFIX))).toHaveLength(2);
    for (const key of entries.keys()) if (key.startsWith("release/")) entries.delete(key);
    site.bench.restart();
    expect(site.publish(of(4, other))).toBe("older-sequence-number");
  });

  it("says that a record of it is damaged, and goes by the release then", () => {
    site.publish(of(5, classId));
    const { entries } = site.bench.disk;
    for (const key of entries.keys()) if (key.startsWith(FLOOR_PREFIX)) entries.set(key, Uint8Array.of(0xff));
    site.bench.restart();
    expect(site.bench.counters.snapshot()["records_not_recovered.record-damaged"]).toBe(1);
    expect(site.publish(of(4, classId))).toBe("older-sequence-number");
  });
});

describe("two releases for one class", () => {
  const img = makeImage(44, 2_500);
  const components = (...ids: string[]) =>
    ids.map((id) => ({
      id: [utf8(id)],
      payloads: [{ image: { digest: sha256(img), size: img.length }, uri: "sim:x" }],
    }));
  const publishTogether = (...envelopes: Uint8Array[]): string[] => {
    const { bench } = site;
    bench.disk.upstream.set("sim:x", img);
    const before = bench.outcomes.length;
    bench.loop.call((nowUs) => {
      for (const [i, envelope] of envelopes.entries())
        bench.gateway.publish(nowUs, 100 + i, { envelope, source: "sim:x" });
    });
    bench.run(1);
    const told = bench.outcomes.slice(before).toSorted((a, b) => a.operation - b.operation);
    return told.map((one) => (one.kind === "refused" ? one.reason : one.kind));
  };
  const release = (sequenceNumber: number, classIds: Uint8Array[], ...ids: string[]) =>
    site.update({ sequenceNumber, classIds, components: components(...ids) });

  it("are not published beside each other", () => {
    const third = new Uint8Array(16).fill(0xef);
    const both = [release(9, [classId, other], "app"), release(2, [other, third], "app")];
    expect(publishTogether(...both)).toEqual(["published", "publication-under-way"]);
    expect(publishTogether(release(2, [other, third], "app"))).toEqual(["older-sequence-number"]);
    expect(publishTogether(release(10, [other, classId], "app"))).toEqual(["published"]); // in whatever order
    expect(site.bench.gateway.listings()).toHaveLength(1);
  });

  const offered = (...ids: string[]): string[] =>
    ids.map((id) => site.ask(manifestPath(classId, componentName([utf8(id)]))));

  it("both stay on offer where the newer one goes further with a component of the other, through a restart too", () => {
    expect(publishTogether(release(5, [classId], "app", "radio"))).toEqual(["published"]);
    expect(publishTogether(release(6, [classId], "radio"))).toEqual(["published"]);
    expect(publishTogether(release(7, [classId], "aaa", "app"))).toEqual(["published"]);
    for (const _ of [1, 2]) {
      expect(offered("app", "radio", "aaa")).toEqual(["2.05", "2.05", "2.05"]);
      site.bench.restart();
    }
    expect(publishTogether(release(6, [classId], "app"))).toEqual(["older-sequence-number"]);
    expect(site.bench.counters.snapshot()).not.toHaveProperty("records_not_recovered.older-sequence-number");
  });

  it("go by the numbers of each component that they change", () => {
    expect(publishTogether(release(5, [classId], "app"))).toEqual(["published"]);
    expect(publishTogether(release(1, [classId], "radio", "app"))).toEqual(["older-sequence-number"]);
    expect(publishTogether(release(1, [classId], "radio"))).toEqual(["published"]);
    expect(publishTogether(release(6, [classId], "modem", "app"))).toEqual(["published"]);
    expect(publishTogether(release(6, [classId], "app"))).toEqual(["replayed"]);
  });
});

describe("the record of a number", () => {
  const release = (sequenceNumber: number): Release =>
    ({
      sequenceNumber,
      manifestDigest: new Uint8Array(32),
      vendorId,
      classIds: [classId],
      changes: ["00"],
      key: "v/c/00",
    }) as unknown as Release;

  it.each([
    Uint8Array.of(0xff),
    encodeCbor(5),
    encodeCbor([5]),
    encodeCbor([-1, new Uint8Array(32)]),
    encodeCbor([5, 5]),
    encodeCbor([5, new Uint8Array(32), "5"]),
  ])("%s is none", (record) => {
    expect(new Floors().recover(`${FLOOR_PREFIX}a/b/00`, record)).toBe(false);
  });

  it("never goes down, in whatever order records come", () => {
    const floors = new Floors();
    for (const number of [5, 9, 3])
      for (const op of floors.ops(release(number)))
        expect(op.kind === "put" && floors.recover(op.key, op.value)).toBe(true);
    expect(floors.refusalOf(release(8), false)).toMatchObject({ reason: "older-sequence-number" });
    expect(floors.refusalOf(release(10), true)).toBeUndefined();
    expect(floors.size).toBe(1);
  });
});
