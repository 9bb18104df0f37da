import { beforeEach, describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { imagePath, manifestPath, sectorTablePath } from "../../src/gateway/catalogue.ts";
import { keyRecord, type DeviceClass } from "../../src/lifecycle/classes.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import { signSectorTable } from "../../src/suit/sector-table.ts";
import { toHex } from "../../src/util/bytes.ts";
import { author, classId, makeImage } from "../support/gateway.ts";
import { sha256 } from "../support/suit-build.ts";
import { keyOf, TrustBench } from "../support/trust-bench.ts";

const [K2, K3, K4] = [81, 82, 83].map(keyOf) as [PrivateKey, PrivateKey, PrivateKey];
const OTHER = new Uint8Array(16).fill(0xee);
const [A, B] = [classId, OTHER].toSorted((a, b) => (toHex(a) < toHex(b) ? -1 : 1)) as [Uint8Array, Uint8Array];
const named = (...keys: PrivateKey[]) => {
  const authorities: DeviceClass["authorities"][number][] = [];
  for (const [i, { publicKey }] of keys.entries()) authorities.push({ ...keyRecord(publicKey), name: `key ${i}` });
  return authorities;
};
const imageOf = (n: number): Uint8Array => makeImage(100 + n, 2_000 + n);

let site: TrustBench;
beforeEach(() => (site = new TrustBench()));

const define = (id: Uint8Array, keys: PrivateKey[], over: Partial<DeviceClass> = {}) =>
  site.define({ id: toHex(id), name: toHex(id).slice(0, 4), authorities: named(...keys), ...over });
interface Request {
  readonly alias?: string;
  readonly image?: number;
  readonly table?: PrivateKey;
}
function begin(n: number, ids: Uint8Array[], keys: PrivateKey[], { alias, image = n, table }: Request = {}): void {
  const bytes = imageOf(image);
  const uri = `sim:${image}`;
  site.bench.disk.upstream.set(uri, bytes);
  const payloads = [{ image: { digest: sha256(bytes), size: bytes.length }, uri }];
  const components = [{ id: [Uint8Array.of(0)], payloads }];
  const envelope = site.update({ sequenceNumber: n, classIds: ids, components }, ...keys);
  const tables = table === undefined ? [] : [signSectorTable(nodeCrypto, table, bytes, 1_024)];
  site.bench.loop.call((nowUs) =>
    site.bench.gateway.publish(nowUs, n, { envelope, source: uri, tables, ...(alias === undefined ? {} : { alias }) }),
  );
}
function publish(n: number, ids: Uint8Array[], keys: PrivateKey[], request: Request = {}): string {
  const before = site.bench.outcomes.length;
  begin(n, ids, keys, request);
  site.bench.run(1);
  const outcome = site.bench.outcomes[before];
  return outcome?.kind === "refused" ? outcome.reason : (outcome?.kind ?? "nothing");
}
const image = (n: number): string => site.ask(imagePath(sha256(imageOf(n))));
const table = (n: number): string => site.ask(sectorTablePath(sha256(imageOf(n))));
const manifest = (id: Uint8Array): string => site.ask(manifestPath(id, "00"));
const given = (n: number, endpoint = "somebody"): string =>
  site.bench.gateway.fleet.refusalToGive(0, endpoint, [{ digest: toHex(sha256(imageOf(n))) }], ["push"])?.reason ??
  "given";
/** Holds for the gateway that runs and for one that was started on its disk. */
function both(check: () => void): void {
  check();
  site.bench.restart();
  check();
}

describe("the image of a release that was withdrawn before another one took its place", () => {
  it.each<[string, Partial<DeviceClass>]>([
    ["its authority is none any more", { authorities: named(K2) }],
    ["an operator was named", { operators: [keyRecord(author.publicKey)] }],
    ["its authority lost the rights", { authorities: [{ ...named(K3)[0]!, rights: [{ component: "app" }] }] }],
  ])("is gone: %s", (_why, over) => {
    define(A, [K3]);
    expect(publish(1, [A], [K3])).toBe("published");
    define(A, [K3], over);
    expect([image(1), given(1)]).toEqual(["4.04", "release-withdrawn"]);
    define(A, [K2]);
    expect(publish(2, [A], [K2])).toBe("published");
    both(() => expect([image(1), given(1), image(2)]).toEqual(["4.04", "release-withdrawn", "2.05"]));
  });

  it("goes with an older one of the same authority", () => {
    define(A, [K3]);
    for (const n of [1, 2]) publish(n, [A], [K3]);
    define(A, [K2]);
    both(() => expect([image(1), image(2), given(1)]).toEqual(["4.04", "4.04", "release-withdrawn"]));
  });

  it("stays behind a rotation of keys, for whoever stands for it since", () => {
    define(A, [K3]);
    expect(publish(1, [A], [K3, K2])).toBe("published");
    define(A, [K2]);
    site.revoke(K3);
    expect(publish(2, [A], [K2])).toBe("published");
    both(() => expect([image(1), given(1), image(2)]).toEqual(["2.05", "given", "2.05"]));
  });
});

it("an image stays for the class whose release with it was replaced, though another class's with it is withdrawn and replaced", () => {
  for (const id of [A, B]) define(id, [K2]);
  publish(1, [A], [K2], { image: 7 });
  publish(1, [B], [K2], { image: 7 });
  publish(2, [A], [K2]); // whoever of A has begun may end
  define(B, [K3]);
  expect(publish(2, [B], [K3], { image: 3 })).toBe("published");
  both(() => expect([image(7), given(7)]).toEqual(["2.05", "given"]));
  define(A, [K3]);
  both(() => expect([image(7), given(7)]).toEqual(["4.04", "release-withdrawn"]));
});

it("an image is given to no device of a class for which nobody stands for it, though others do for another", () => {
  for (const [i, id] of [A, B].entries()) {
    define(id, [[K2, K3][i]!]);
    const event = { kind: "device-provisioned", device: `0${i}`.repeat(8), classId: toHex(id), stage: 2 } as const;
    site.submit({ ...event, endpoint: `e${i}` });
  }
  publish(1, [A], [K2], { image: 7 });
  publish(1, [B], [K3], { image: 7 });
  expect(publish(1, [A, B], [K2, K3], { image: 8 })).toBe("replayed");
  define(A, [K4]);
  both(() => expect([given(7, "e0"), given(7, "e1")]).toEqual(["release-withdrawn", "given"]));
  define(A, [K2]);
  for (const [id, key] of [
    [A, K2],
    [B, K3],
  ] as const)
    publish(2, [id], [key]);
  both(() => expect([given(7, "e0"), given(7, "e1")]).toEqual(["given", "given"]));
  site.revoke(K3);
  both(() => expect([given(7, "e0"), given(7, "e1")]).toEqual(["given", "release-withdrawn"]));
});

it("a recovery image is named when its turn has come, or not at all", () => {
  define(A, [K3]);
  publish(1, [A], [K3]);
  define(A, [K2]);
  const told: string[] = [];
  const recovery = { kind: "recovery-set", classId: toHex(A), digest: toHex(sha256(imageOf(1))) } as const;
  begin(2, [A], [K2]);
  for (let i = 0; i < 5_000 && [...site.bench.gateway.publications()][0]?.stage !== "store"; i++)
    site.bench.run(0.0001);
  site.bench.loop.call((nowUs) =>
    site.bench.gateway.desk.submit(nowUs, "o", recovery, (result) => told.push(result.ok ? "ok" : result.reason)),
  );
  site.bench.run(1);
  expect(told).toEqual(["no-such-image"]);
});

describe("two publications at a time", () => {
  it("for one image in two classes leave it to both", () => {
    for (const id of [A, B]) define(id, [K2]);
    for (const [i, id] of [A, B].entries()) {
      const event = { kind: "device-provisioned", device: `0${i}`.repeat(8), classId: toHex(id), stage: 2 } as const;
      site.submit({ ...event, endpoint: `e${i}` });
    }
    begin(1, [A], [K2], { image: 7 });
    begin(1, [B], [K2], { image: 7 });
    site.bench.run(1);
    for (const id of [A, B]) expect(publish(2, [id], [K2])).toBe("published");
    both(() => expect([given(7, "e0"), given(7, "e1"), image(7)]).toEqual(["given", "given", "2.05"]));
  });

  it("are judged when their turn has come, where nobody governs the class too", () => {
    expect(publish(1, [A], [author])).toBe("published");
    const before = site.bench.outcomes.length;
    const key = keyRecord(author.publicKey);
    site.bench.loop.call((nowUs) =>
      site.bench.gateway.desk.submit(nowUs, "o", { kind: "key-revoked", key, reason: "stolen" }, () => {}),
    );
    begin(2, [A], [author], { image: 1 });
    site.bench.run(1);
    expect(site.bench.outcomes.slice(before)).toMatchObject([{ kind: "refused" }]);
    both(() => expect(manifest(A)).toBe("4.04"));
  });

  it("and what their refusal has written keeps nobody waiting", () => {
    define(A, [K2]);
    const told = site.bench.outcomes.length;
    const results: boolean[] = [];
    site.bench.intercept = (command) =>
      command.kind === "store" && command.ops.some(({ key }) => key.startsWith("release/"))
        ? { kind: "failed", reason: "io", detail: "no", retryable: true }
        : undefined;
    begin(1, [A], [K2]);
    site.bench.run(0.2);
    site.bench.loop.call((nowUs) => {
      for (const name of ["x", "y"])
        site.bench.gateway.desk.submit(
          nowUs,
          "o",
          { kind: "device-provisioned", device: name, classId: toHex(A), stage: 1 },
          ({ ok }) => results.push(ok),
        );
    });
    site.bench.run(1);
    expect([site.bench.outcomes.length - told, results]).toEqual([1, [true, true]]);
  });
});

describe("an alias", () => {
  it("stays with the devices that have it, and is inherited by nobody who has lost it", () => {
    define(A, [K2]);
    define(B, [K3]);
    expect(publish(1, [A, B], [K2, K3], { alias: "fw" })).toBe("published");
    define(A, [K4]);
    expect(publish(2, [B], [K3], { alias: "fw" })).toBe("published");
    expect(publish(3, [A], [K4])).toBe("published"); // without it: B has it now
    both(() => expect([site.ask(["fw"]), manifest(A), manifest(B)]).toEqual(["2.05", "2.05", "2.05"]));
    expect(publish(4, [B], [K3])).toBe("published");
    expect(site.bench.gateway.listings().map(({ alias }) => alias)).toEqual([undefined, "fw"]);
  });

  it("of a withdrawn release is no other class's", () => {
    define(A, [K2]);
    define(B, [K3]);
    publish(1, [A], [K2], { alias: "fw" });
    define(A, [K4]);
    both(() => expect(publish(1, [B], [K3], { alias: "fw" })).toBe("alias-in-use"));
  });
});

describe("a table of sectors", () => {
  it("is there as long as a release on offer brought it, by a key that counts", () => {
    define(A, [K2, K3]);
    expect(publish(1, [A], [K2], { table: K3 })).toBe("published");
    both(() => expect(table(1)).toBe("2.05"));
    define(A, [K2]);
    both(() => expect(table(1)).toBe("4.04"));
    define(A, [K2, K3]);
    both(() => expect(table(1)).toBe("2.05"));
    expect(publish(2, [A], [K2], { image: 1 })).toBe("published"); // the same image, and no table
    both(() => expect([image(1), table(1)]).toEqual(["2.05", "4.04"]));
  });
});

it.each(["", "zz", "ab", "AB".repeat(32)])(
  "an image's record under another name, %s, is damaged, and that is all",
  (name) => {
    publish(1, [A], [author]);
    const { entries } = site.bench.disk;
    entries.set(`image/${name}`, entries.get(`image/${toHex(sha256(imageOf(1)))}`)!);
    site.bench.restart();
    expect(site.bench.counters.snapshot()["records_not_recovered.record-damaged"]).toBe(1);
    expect([image(1), manifest(A)]).toEqual(["2.05", "2.05"]);
  },
);

it("a device in quarantine whose address cannot be read holds back nobody else", () => {
  define(A, [author]);
  site.submit({ kind: "device-provisioned", device: "06".repeat(8), classId: toHex(A), stage: 2 });
  site.submit({ kind: "device-quarantined", device: "06".repeat(8), reason: "odd" });
  publish(1, [A], [author]);
  publish(2, [A], [author]);
  site.bench.disk.entries.set(`held/${"06".repeat(8)}`, Uint8Array.of(0xff, 0xfe));
  both(() => expect([given(1), image(1)]).toEqual(["given", "2.05"]));
  expect(site.bench.counters.snapshot()["records_not_recovered.record-damaged"]).toBe(1);
});
