import { beforeEach, describe, expect, it } from "vitest";
import { GATEWAY_LIMITS } from "../../src/gateway/limits.ts";
import { keyRecord, type DeviceClass } from "../../src/lifecycle/classes.ts";
import type { LifecycleEvent } from "../../src/lifecycle/events.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import { toHex } from "../../src/util/bytes.ts";
import { author, classId } from "../support/gateway.ts";
import { CLASSES, imageOf, named, ReleaseBench } from "../support/release-bench.ts";
import { sha256 } from "../support/suit-build.ts";
import { keyOf } from "../support/trust-bench.ts";

const [K2, K3, K4] = [81, 82, 83].map(keyOf) as [PrivateKey, PrivateKey, PrivateKey];
const { A, B } = CLASSES;

let site: ReleaseBench;
beforeEach(() => (site = new ReleaseBench()));

const define: ReleaseBench["defineFor"] = (...args) => site.defineFor(...args);
const begin: ReleaseBench["begin"] = (...args) => site.begin(...args);
const publish: ReleaseBench["release"] = (...args) => site.release(...args);
const image = (n: number): string => site.image(n);
const table = (n: number): string => site.table(n);
const manifest = (id: Uint8Array): string => site.manifest(id);
const given: ReleaseBench["given"] = (...args) => site.given(...args);
const both: ReleaseBench["both"] = (check) => site.both(check);

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

describe("a recovery image", () => {
  const recovery = (n: number, id = A) =>
    ({ kind: "recovery-set", classId: toHex(id), digest: toHex(sha256(imageOf(n))) }) as const;
  const reasons = (...events: readonly LifecycleEvent[]) =>
    site.submit(...events).map((result) => (result.ok ? "ok" : result.reason));

  it("is named when its turn has come, or not at all", () => {
    define(A, [K3]);
    publish(1, [A], [K3]);
    const definition = { ...site.bench.gateway.desk.lifecycle.state.classes.get(toHex(A))!, authorities: named(K2) };
    expect(reasons({ kind: "class-defined", definition }, recovery(1))).toEqual(["ok", "release-withdrawn"]);
  });

  it("is one of its class", () => {
    for (const id of [A, B]) define(id, [K3]);
    publish(1, [A], [K3]);
    expect(reasons(recovery(1, B), recovery(2), recovery(1))).toEqual(["other-class", "no-such-image", "ok"]);
  });

  it("is given to nobody where nobody stands for it, whether its release was replaced or not, and another one was named or not", () => {
    define(A, [K3]);
    site.submit({ kind: "device-provisioned", device: "01".repeat(8), classId: toHex(A), stage: 2, endpoint: "e0" });
    publish(1, [A], [K3]);
    expect(reasons(recovery(1))).toEqual(["ok"]);
    define(A, [K2]);
    const gone = ["4.04", "release-withdrawn", "release-withdrawn"];
    const seen = () => [image(1), given(1), given(1, "e0")];
    both(() => expect(seen()).toEqual(gone));
    expect(publish(2, [A], [K2])).toBe("published");
    both(() => expect(seen()).toEqual(gone));
    expect(reasons(recovery(2))).toEqual(["ok"]);
    both(() => expect(seen()).toEqual(gone));
  });

  it("stays however many releases follow, and of the others the last ones do", () => {
    define(A, [K3]);
    const last = GATEWAY_LIMITS.maxReplaced + 4;
    for (let n = 1; n <= last; n++) {
      publish(n, [A], [K3]);
      if (n === 2) site.submit(recovery(2));
    }
    const kept = (): number[] =>
      Array.from({ length: last }, (_, i) => i + 1).filter((n) => image(n) === "2.05" && given(n) === "given");
    const expected = [2, ...Array.from({ length: GATEWAY_LIMITS.maxReplaced + 1 }, (_, i) => i + 4)];
    both(() => expect(kept()).toEqual(expected));
    const records = [...site.bench.disk.entries.keys()];
    const count = (prefix: string): number => records.filter((key) => key.startsWith(prefix)).length;
    expect(count("replaced/")).toBe(expected.length - 1);
  });
});

it("an image goes with the last release that stood for it, though one that nobody stands for has it still", () => {
  define(A, [K2, K3]);
  publish(1, [A], [K2], { image: 20 });
  publish(2, [A], [K3], { image: 20 });
  define(A, [K2]);
  for (let n = 3; n <= GATEWAY_LIMITS.maxReplaced + 2; n++) publish(n, [A], [K2]);
  both(() => expect([image(20), given(20)]).toEqual(["4.04", "release-withdrawn"]));
});

describe("what was replaced is judged as what is on offer is", () => {
  it.each<[string, Partial<DeviceClass>]>([
    ["an operator was named", { operators: [keyRecord(author.publicKey)] }],
    ["its authority lost the rights", { authorities: [{ ...named(K2)[0]!, rights: [{ component: "app" }] }] }],
  ])("%s, and that was taken back", (_why, over) => {
    define(A, [K2]);
    for (const n of [1, 2]) publish(n, [A], [K2]);
    const seen = () => [image(1), given(1), image(2), given(2)];
    define(A, [K2], over);
    both(() => expect(seen()).toEqual(["4.04", "release-withdrawn", "4.04", "release-withdrawn"]));
    define(A, [K2]);
    both(() => expect(seen()).toEqual(["2.05", "given", "2.05", "given"]));
  });

  it("for each class by who stands for it there, by a push and by a manifest", () => {
    for (const id of [A, B]) define(id, [K2]);
    site.provision(A, B);
    for (const id of [A, B]) publish(1, [id], [K2], { image: 7 });
    const seen = (method: "push" | "trigger") => ["e0", "e1"].map((endpoint) => given(7, endpoint, method));
    define(A, [K3]);
    for (const method of ["push", "trigger"] as const)
      both(() => expect(seen(method)).toEqual(["release-withdrawn", "given"]));
    expect(publish(2, [A], [K3])).toBe("published");
    expect(publish(2, [B], [K2])).toBe("published");
    both(() => expect([seen("push"), image(7)]).toEqual([["release-withdrawn", "given"], "2.05"]));
    both(() => expect(seen("trigger")).toEqual(["release-withdrawn", "given"]));
    define(B, [K4]);
    both(() => expect([seen("push"), image(7)]).toEqual([["release-withdrawn", "release-withdrawn"], "4.04"]));
  });

  it("a class that is defined with other authorities than it was handed to has no former ones", () => {
    site.define({ authorities: named(K2) });
    publish(1, [classId], [K2]);
    expect(site.hand(1, [K3], K2)).toBe("ok");
    site.define({ authorities: named(K3), epoch: 1, name: "the same" });
    both(() => expect([manifest(classId), image(1)]).toEqual(["2.05", "2.05"]));
    site.define({ authorities: named(K4), epoch: 1 });
    both(() => expect([manifest(classId), image(1)]).toEqual(["4.04", "4.04"]));
  });
});

describe("two publications at a time", () => {
  it("for one image in two classes leave it to both", () => {
    for (const id of [A, B]) define(id, [K2]);
    site.provision(A, B);
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
  beforeEach(() => {
    define(A, [K2]);
    define(B, [K3]);
  });

  it("stays with the devices that have it, until it is given up for them", () => {
    expect(publish(1, [A, B], [K2, K3], { alias: "fw" })).toBe("published");
    define(A, [K4]);
    const paths = () => [site.ask(["fw"]), manifest(A), manifest(B)];
    both(() => expect(paths()).toEqual(["4.04", "4.04", "4.04"]));
    expect(publish(2, [B], [K3], { alias: "fw" })).toBe("alias-in-use"); // devices of A have it
    expect(publish(2, [A], [K4])).toBe("alias-in-use"); // devices of B
    expect(publish(2, [A], [K4], { alias: null })).toBe("published");
    both(() => expect(paths()).toEqual(["4.04", "2.05", "4.04"]));
    expect(publish(3, [B], [K3], { alias: "fw" })).toBe("published");
    expect(publish(4, [A], [K4])).toBe("published");
    both(() => expect(paths()).toEqual(["2.05", "2.05", "2.05"]));
    expect(publish(5, [B], [K3])).toBe("published");
    expect(site.bench.gateway.listings().map(({ alias }) => alias)).toEqual([undefined, "fw"]);
  });

  it("of a withdrawn release is no other class's", () => {
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

it("what an earlier version wrote of images is tidied away, and misleads nobody", () => {
  publish(1, [A], [author]);
  const { entries } = site.bench.disk;
  for (const name of ["", "zz", toHex(sha256(imageOf(1)))]) entries.set(`image/${name}`, Uint8Array.of(0xff));
  site.bench.restart();
  site.bench.run(1);
  expect([...entries.keys()].filter((key) => key.startsWith("image/"))).toEqual([]);
  both(() => expect([image(1), manifest(A)]).toEqual(["2.05", "2.05"]));
});

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
