import { expect, it } from "vitest";
import { updateTarget } from "../../src/gateway/update-target.ts";
import { DEFAULT_POLICY, type Component } from "../../src/lwm2m/update/job.ts";
import { toHex } from "../../src/util/bytes.ts";
import { makeImage } from "../support/gateway.ts";
import { siteOf, type RolloutSite } from "../support/rollout-site.ts";
import { sha256 } from "../support/suit-build.ts";

const all = { name: "all", successThreshold: 100, errorThreshold: 0, onSuccess: "next" } as const;
const third = makeImage(6, 1_500);
const replace = (site: RolloutSite): void =>
  expect(site.bench.publish(third, 3, { change: { version: "3.0.0" } })).toMatchObject({ kind: "published" });
const named = ({ bench }: RolloutSite, image: string): Component | string =>
  updateTarget(bench.gateway.nameable(), { image, object: "/5/0" }, ["pull", "push"]);

it("a rollout whose release is replaced on its way goes on with it, on clients that read manifests too", () => {
  const site = siteOf(6);
  site.delayUs = 200_000;
  const id = site.start({ groups: [all], maxConcurrent: 2 });
  site.bench.run(10);
  expect(site.states(id)).toMatchObject({ pending: 4 });
  replace(site);
  site.bench.restart();
  expect(site.until(id, ["paused", "finished"])).toBe("finished");
  expect(site.states(id)).toEqual({ succeeded: 6 });
  for (let i = 0; i < 6; i++)
    expect(site.bench.gateway.devices.updates.get(`m${i}`)).toMatchObject({ versionAfter: "2.0.0" });
});

it("a release that was replaced is named by its version, its digest or the beginning of that", () => {
  const site = siteOf(1);
  const { digest } = site.target;
  replace(site);
  for (const name of ["2.0.0", digest, digest.slice(0, 8)]) expect(named(site, name)).toMatchObject({ digest });
  expect(named(site, "3.0.0")).toMatchObject({ digest: toHex(sha256(third)) });
  const [listing] = site.bench.gateway.listings();
  expect(named(site, listing!.release.key)).toMatchObject({ digest: toHex(sha256(third)) });
  expect(named(site, "1.0.0")).toMatch(/no published image is 1.0.0/);
});

it("of several that were replaced with the same version the images say which one is meant, and the latest where they are the same", () => {
  const site = siteOf(0);
  const { image, bench } = site;
  bench.publish(image, 3, { change: { version: "2.0.0" } });
  bench.publish(third, 4, { change: { version: "3.0.0" } });
  expect(named(site, "2.0.0")).toMatchObject({ digest: toHex(sha256(image)) });
  const other = makeImage(7, 1_200);
  bench.publish(other, 5, { change: { version: "2.0.0" } });
  bench.publish(third, 6, { change: { version: "3.0.0" } });
  expect(named(site, "2.0.0")).toMatch(/^2\.0\.0 may be .*: write one of these, or more of its digest$/);
  expect(named(site, toHex(sha256(other)))).toMatchObject({ size: 1_200, version: "2.0.0" });
});

it("a rollout of a release that was replaced brings devices to it that have not gone on", () => {
  const site = siteOf(2);
  replace(site);
  const target = named(site, "2.0.0") as Component;
  const id = site.start({ groups: [all], components: [target], policy: { ...DEFAULT_POLICY, graceS: 60 } });
  expect(site.until(id, ["paused", "finished"])).toBe("finished");
  expect(site.states(id)).toEqual({ succeeded: 2 });
});
