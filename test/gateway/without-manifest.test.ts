import { beforeEach, describe, expect, it } from "vitest";
import { keyRecord } from "../../src/lifecycle/classes.ts";
import { DEFAULT_POLICY } from "../../src/lwm2m/update/job.ts";
import { fromHex, toHex, utf8 } from "../../src/util/bytes.ts";
import { author, classId, makeImage } from "../support/gateway.ts";
import { branching } from "../support/release-bench.ts";
import { siteOf, type RolloutSite } from "../support/rollout-site.ts";
import { sha256 } from "../support/suit-build.ts";
import { image, keyOf, publishNewer, TrustBench } from "../support/trust-bench.ts";

const second = keyOf(71);
const other = new Uint8Array(16).fill(0xb2);
const both = [
  { ...keyRecord(author.publicKey), name: "one" },
  { ...keyRecord(second.publicKey), name: "two" },
];

let site: TrustBench;
beforeEach(() => (site = new TrustBench()));

describe("an LwM2M client, which reads no manifest, is given no image", () => {
  const defined = (fleet: RolloutSite, id: string, authorities = both): void => void fleet.define(id, authorities);
  const provision = (fleet: RolloutSite, id: string): void => {
    const event = {
      kind: "device-provisioned",
      device: "0102030405060708",
      classId: id,
      endpoint: "m0",
      stage: 2,
    } as const;
    fleet.bench.loop.call((now) =>
      fleet.bench.gateway.desk.keepCredential(now, "op", event, new Uint8Array(32).fill(1), () => {}),
    );
    fleet.bench.run(1);
  };
  const revoke = (fleet: RolloutSite): void =>
    void fleet.submit({ kind: "key-revoked", key: keyRecord(author.publicKey), reason: "stolen" });
  const jobs = (fleet: RolloutSite): string[] =>
    [...fleet.bench.gateway.devices.updates.all()].map(({ state }) => state);

  it("of another class, where its own is known", () => {
    const fleet = siteOf(1);
    const elsewhere = "c9".repeat(16);
    defined(fleet, elsewhere);
    provision(fleet, elsewhere);
    const id = fleet.start();
    fleet.until(id, ["finished", "stopped", "paused"]);
    expect(fleet.states(id)).not.toHaveProperty("succeeded");
    expect(jobs(fleet)).toEqual([]);
  });

  it("that nobody stands for any more, by a rollout that was created before", () => {
    const fleet = siteOf(2);
    const created = fleet.create();
    if (!created.ok) throw new Error(created.detail);
    revoke(fleet);
    fleet.command(created.record.id, "start");
    fleet.bench.run(4_000);
    expect(jobs(fleet)).toEqual([]);
    expect(fleet.states(created.record.id)).not.toHaveProperty("succeeded");
  });

  it("that was replaced by another release before its key was revoked, though it is on its way", () => {
    const fleet = siteOf(1);
    defined(fleet, toHex(classId));
    fleet.update("m0", { methods: ["push"] });
    expect(publishNewer(fleet.bench, second)).toBe("published");
    revoke(fleet);
    fleet.bench.run(3_000);
    expect(jobs(fleet)).toEqual(["cancelled"]);
  });

  it("that nobody of its class stands for any more, though it is on its way, and somebody does for another class", () => {
    const fleet = siteOf(1);
    const { bench } = fleet;
    for (const id of [toHex(classId), toHex(other)]) defined(fleet, id);
    provision(fleet, toHex(classId));
    const { digest, images } = bench.gateway.listings()[0]!;
    const payloads = [{ image: { digest: fromHex(digest)!, size: images[0]!.size }, uri: images[0]!.uri! }];
    const again = site.update({ classIds: [other], components: [{ id: [Uint8Array.of(0)], payloads }] }, second);
    expect(bench.publishEnvelope(again, images[0]!.uri)).toMatchObject({ kind: "published" });
    fleet.update("m0", { methods: ["push"] });
    defined(fleet, toHex(classId), [both[1]!]);
    bench.run(10);
    expect(jobs(fleet)).toEqual(["cancelled"]);
    expect(bench.counters.snapshot()["updates_stopped.release-withdrawn"]).toBe(1);
  });

  it("but one that was replaced since, for its own class: a rollout may go on with it, or back to it", () => {
    const fleet = siteOf(1);
    defined(fleet, toHex(classId));
    const elsewhere = "c9".repeat(16);
    defined(fleet, elsewhere);
    provision(fleet, elsewhere);
    const [listing] = fleet.bench.gateway.listings();
    expect(publishNewer(fleet.bench, second)).toBe("published");
    const give = (endpoint: string) =>
      fleet.bench.gateway.fleet.refusalToGive(0, endpoint, [{ digest: listing!.digest }], DEFAULT_POLICY.methods)
        ?.reason;
    expect([give("somebody"), give("m0")]).toEqual([undefined, "other-class"]);
    fleet.bench.restart();
    expect([give("somebody"), give("m0")]).toEqual([undefined, "other-class"]);
    revoke(fleet);
    expect(give("somebody")).toBe("release-withdrawn");
  });

  it("whose time is over", () => {
    const fleet = siteOf(1);
    const { bench } = fleet;
    const [listing] = bench.gateway.listings();
    const give = (digest: string, byManifest = false) =>
      bench.gateway.fleet.refusalToGive(
        bench.engine.nowUs() / 1_000,
        "m0",
        [{ digest }],
        byManifest ? ["trigger"] : DEFAULT_POLICY.methods,
      );
    expect(give(listing!.digest)).toBeUndefined();
    bench.disk.upstream.set("sim:x", image);
    const useBefore = Math.floor(bench.engine.nowUs() / 1e6) + 60;
    const components = [
      { id: [utf8("x")], payloads: [{ image: { digest: sha256(image), size: image.length }, uri: "sim:x" }] },
    ];
    expect(bench.publishEnvelope(site.update({ sequenceNumber: 5, useBefore, components }), "sim:x")?.kind).toBe(
      "published",
    );
    const digest = toHex(sha256(image));
    expect(give(digest)).toBeUndefined();
    bench.run(61);
    expect(give(digest)).toMatchObject({ reason: "expired" });
    expect(give("00".repeat(32))).toMatchObject({ reason: "release-withdrawn" });
  });

  it("but of several classes each that of its own, and by its manifest whichever that chooses", () => {
    const fleet = siteOf(1);
    defined(fleet, toHex(classId));
    defined(fleet, toHex(other));
    provision(fleet, toHex(other));
    const { bench } = fleet;
    const [mine, yours] = [makeImage(81, 2_000), makeImage(82, 2_100)];
    for (const [i, bytes] of [mine, yours].entries()) bench.disk.upstream.set(`sim:${i}`, bytes);
    const envelope = branching(9, author, [
      [classId, mine, "sim:0"],
      [other, yours, "sim:1"],
    ]);
    expect(bench.publishEnvelope(envelope, "sim:0")).toMatchObject({ kind: "published" });
    const give = (bytes: Uint8Array, methods = DEFAULT_POLICY.methods) =>
      bench.gateway.fleet.refusalToGive(bench.engine.nowUs() / 1_000, "m0", [{ digest: toHex(sha256(bytes)) }], methods)
        ?.reason;
    expect([give(mine), give(yours), give(mine, ["trigger"])]).toEqual(["other-class", undefined, undefined]);
  });
});
