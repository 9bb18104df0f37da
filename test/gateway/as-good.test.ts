import { beforeEach, describe, expect, it } from "vitest";
import { Catalogue, releasePath, type Listing } from "../../src/gateway/catalogue.ts";
import { GATEWAY_LIMITS } from "../../src/gateway/limits.ts";
import { superfluous } from "../../src/gateway/retention.ts";
import { keyRecord } from "../../src/lifecycle/classes.ts";
import type { Method } from "../../src/lwm2m/update/job.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import { toHex } from "../../src/util/bytes.ts";
import { branching, CLASSES, imageOf, named, ReleaseBench } from "../support/release-bench.ts";
import { sha256 } from "../support/suit-build.ts";
import { keyOf } from "../support/trust-bench.ts";

/* Of releases with an image that is needed eight stay: of those that are as good as each other, whatever happens. */

const [K2, K3] = [81, 82].map(keyOf) as [PrivateKey, PrivateKey];
const { A, B } = CLASSES;
const NEEDED = 70;
const needed = imageOf(NEEDED);

let site: ReleaseBench;
beforeEach(() => (site = new ReleaseBench()));

const nowS = (): number => Math.floor(site.bench.engine.nowUs() / 1e6);
const setRecovery = (id: Uint8Array): void =>
  expect(site.submit({ kind: "recovery-set", classId: toHex(id), digest: toHex(sha256(needed)) })[0]!.ok).toBe(true);
const describedBy = (bytes: Uint8Array) => ({ digest: sha256(bytes), size: bytes.length });
const give = (endpoint: string, ...methods: Method[]): string =>
  site.bench.gateway.fleet.refusalToGive(nowS() * 1_000, endpoint, [{ digest: toHex(sha256(needed)) }], methods)
    ?.reason ?? "given";

describe("a release is as good as another only if it", () => {
  it("gives the image to the same classes", () => {
    for (const id of [A, B]) site.defineFor(id, [K2]);
    site.provision(A, B);
    const publish = (n: number, forB: number): void => {
      for (const image of [NEEDED, forB]) site.bench.disk.upstream.set(`sim:${image}`, imageOf(image));
      const envelope = branching(n, K2, [
        [A, needed, `sim:${NEEDED}`],
        [B, imageOf(forB), `sim:${forB}`],
      ]);
      expect(site.bench.publishEnvelope(envelope, undefined)?.kind).toBe("published");
    };
    publish(1, NEEDED);
    setRecovery(B);
    for (let n = 2; n <= 20; n++) publish(n, n);
    site.both(() => expect(["e0", "e1"].map((who) => give(who, "push"))).toEqual(["given", "given"]));
  });

  it("is valid as long", () => {
    site.defineFor(A, [K2]);
    site.provision(A);
    site.release(1, [A], [K2], { image: NEEDED });
    setRecovery(A);
    const over = { useBefore: nowS() + 100 };
    for (let n = 2; n <= 12; n++) expect(site.release(n, [A], [K2], { image: NEEDED, over })).toBe("published");
    site.release(13, [A], [K2]);
    site.bench.run(200);
    site.both(() => expect([give("e0", "push"), give("e0", "trigger")]).toEqual(["given", "given"]));
  });

  it("needs no other's right", () => {
    const rights = (component: string) => ({ rights: [{ component }] });
    const [two, three] = named(K2, K3);
    site.define({
      id: toHex(A),
      authorities: [
        { ...two!, ...rights("0x00") },
        { ...three!, ...rights("0x01") },
      ],
    });
    site.release(1, [A], [K2], { image: NEEDED });
    setRecovery(A);
    for (let n = 2; n <= 20; n++) {
      const more = imageOf(n);
      site.bench.disk.upstream.set(`sim:${n}`, more);
      const components = [
        { id: [Uint8Array.of(0)], payloads: [{ image: describedBy(needed), uri: `sim:${NEEDED}` }] },
        { id: [Uint8Array.of(1)], payloads: [{ image: describedBy(more), uri: `sim:${n}` }] },
      ];
      expect(site.release(n, [A], [K2, K3], { image: NEEDED, over: { components } })).toBe("published");
    }
    site.revoke(K3);
    site.both(() => expect([site.image(NEEDED), give("e0", "push")]).toEqual(["2.05", "given"]));
  });

  it.each([false, true])("was signed by all who count later; a restart between: %s", (restarts) => {
    site.defineFor(A, [K2]);
    site.release(1, [A], [K2, K3], { image: NEEDED });
    setRecovery(A);
    site.defineFor(A, [K2, K3]);
    if (restarts) site.bench.restart();
    for (let n = 2; n <= 20; n++) expect(site.release(n, [A], [K2], { image: NEEDED })).toBe("published");
    site.release(21, [A], [K3]);
    site.revoke(K2);
    site.both(() => expect([site.image(NEEDED), give("e0", "push")]).toEqual(["2.05", "given"]));
  });

  it("was countersigned by whoever is named an operator later", () => {
    site.defineFor(A, [K2]);
    site.release(1, [A], [K2, K3], { image: NEEDED });
    setRecovery(A);
    for (let n = 2; n <= 20; n++) site.release(n, [A], [K2], { image: NEEDED });
    site.defineFor(A, [K2], { operators: [keyRecord(K3.publicKey)] });
    site.both(() => expect([site.image(NEEDED), give("e0", "push")]).toEqual(["2.05", "given"]));
  });

  it("does no more, to the same component", () => {
    site.defineFor(A, [K2]);
    site.release(1, [A], [K2], { image: NEEDED, over: { invoke: false } });
    setRecovery(A);
    for (let n = 2; n <= 20; n++) expect(site.release(n, [A], [K2], { image: NEEDED })).toBe("published");
    site.define({ id: toHex(A), authorities: [{ ...named(K2)[0]!, rights: [{ actions: ["fetch"] }] }] });
    site.both(() => expect([site.image(NEEDED), give("e0", "push")]).toEqual(["2.05", "given"]));
  });

  it("is for no class more, whose authorities may change", () => {
    for (const id of [A, B]) site.defineFor(id, [K2]);
    site.release(1, [A], [K2], { image: NEEDED });
    setRecovery(A);
    for (let n = 2; n <= 20; n++) expect(site.release(n, [A, B], [K2], { image: NEEDED })).toBe("published");
    site.defineFor(B, [K3]);
    site.both(() => expect([site.image(NEEDED), give("e0", "push")]).toEqual(["2.05", "given"]));
  });
});

it("the manifest at the path of an image is one that is valid yet", () => {
  site.defineFor(A, [K2]);
  site.release(1, [A], [K2], { image: NEEDED });
  const expiring = { image: NEEDED, over: { useBefore: nowS() + 100 } };
  site.release(2, [A], [K2], expiring);
  site.release(3, [A], [K2]);
  const path = releasePath(A, sha256(needed));
  const before = site.look(path);
  site.bench.run(200);
  expect(site.look(path)).not.toBe(before);
});

it("the manifest at the path of an image gives its devices no other image, though it is valid no longer", () => {
  for (const id of [A, B]) site.defineFor(id, [K2]);
  site.provision(A, B);
  site.release(1, [A], [K2], { image: NEEDED, over: { useBefore: nowS() + 100 } });
  for (const image of [NEEDED, 5]) site.bench.disk.upstream.set(`sim:${image}`, imageOf(image));
  const next = branching(2, K2, [
    [A, imageOf(5), "sim:5"],
    [B, needed, `sim:${NEEDED}`],
  ]);
  expect(site.bench.publishEnvelope(next, undefined)?.kind).toBe("published");
  const [path, theirs] = [A, B].map((id) => releasePath(id, sha256(needed)));
  const before = site.look(path!);
  site.bench.run(200);
  site.both(() => {
    expect(site.look(path!)).toBe(before);
    expect(site.look(theirs!)).not.toBe(before);
    expect([give("e0", "push"), give("e0", "trigger")]).toEqual(["expired", "expired"]);
  });
});

it("what an operator needs has a bound too, where no release is as good as another", () => {
  const { maxReplaced, maxReplacedOrdered } = GATEWAY_LIMITS;
  const release = { classes: ["a"], signers: [], deviceOf: new Map(), dialect: "draft-37" };
  const replaced = Array.from({ length: 300 }, () => ({ release, images: [{ digest: "x" }] }) as unknown as Listing);
  const needOf = (): "ordered" => "ordered";
  const kept = { current: replaced[0], replaced, stands: () => true, needOf, last: maxReplaced };
  expect(superfluous({ ...kept, deedsOf: () => undefined })).toHaveLength(300 - maxReplaced - maxReplacedOrdered);
});

it("a key that counted before a hand-over has the rights of today where it counts today", () => {
  site.defineFor(A, [K2]);
  expect(site.hand(1, [K2, K3], K2)).toBe("ok");
  expect([site.release(1, [A], [K2]), site.manifest(A)]).toEqual(["published", "2.05"]);
  const [two, three] = named(K2, K3);
  site.define({ id: toHex(A), epoch: 1, authorities: [{ ...two!, rights: [{ component: "nothing" }] }, three!] });
  site.both(() => expect([site.manifest(A), site.image(1)]).toEqual(["4.04", "4.04"]));
});

it("a number that was published is not taken again, though nothing but replaced releases is left of it", () => {
  site.defineFor(A, [K2]);
  for (let n = 1; n <= 5; n++) site.release(n, [A], [K2]);
  const { entries } = site.bench.disk;
  const isDamaged = (key: string): boolean => key.startsWith("release/") || key.startsWith("floor/");
  for (const key of [...entries.keys()].filter(isDamaged)) entries.set(key, Uint8Array.of(1, 2, 3));
  site.bench.restart();
  expect([2, 4, 5].map((n) => site.release(n, [A], [K2], { image: 90 }))).toEqual([
    "older-sequence-number",
    "replayed",
    "published",
  ]);
});

it("a version with blanks is the same behind a restart", () => {
  site.defineFor(A, [K2]);
  site.provision(A);
  site.bench.loop.call((nowUs) => site.bench.gateway.desk.seen(nowUs, "00".repeat(8), "1.0 beta 2"));
  site.bench.run(1);
  site.both(() => expect(JSON.stringify(site.bench.gateway.desk.census(nowS() * 1_000, 30))).toContain("1.0 beta 2"));
});

it("what is kept because somebody needs it has an end, at which nothing more is published", () => {
  const catalogue = new Catalogue({ maxReplaced: 8, maxReplacedBytes: 10_000, maxKeptBytes: 20_000 });
  site.defineFor(A, [K2]);
  for (let n = 1; n <= 4; n++) {
    expect(catalogue.hasRoom).toBe(true);
    site.release(n, [A], [K2]);
    catalogue.put(site.bench.gateway.listings()[0]!, true);
  }
  expect(catalogue.hasRoom).toBe(false);
});
