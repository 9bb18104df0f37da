import { describe, expect, it } from "vitest";
import type { Listing } from "../../src/gateway/catalogue.ts";
import { updateTarget } from "../../src/gateway/update-target.ts";
import type { Payload } from "../../src/suit/build.ts";
import type { Method } from "../../src/lwm2m/update/job.ts";
import { toHex } from "../../src/util/bytes.ts";
import { classId, GatewayBench, makeImage, sign } from "../support/gateway.ts";
import { sha256 } from "../support/suit-build.ts";
import { TrustBench } from "../support/trust-bench.ts";

const PUSH: readonly Method[] = ["pull", "push", "trigger"];
const slots = [makeImage(1, 3_000), makeImage(2, 4_000)];
const [first, second] = slots.map((bytes) => toHex(sha256(bytes))) as [string, string];

/** What is on offer: a release with an image for each of two slots. */
function twoSlots(encrypted = false): Listing[] {
  const site = new TrustBench();
  const payloads = slots.map((bytes, slot) => ({
    slot,
    image: { digest: sha256(bytes), size: bytes.length },
    uri: `sim:${slot}`,
  }));
  for (const [slot, bytes] of slots.entries()) site.bench.disk.upstream.set(`sim:${slot}`, bytes);
  const components = [{ id: [Uint8Array.of(0)], payloads, version: "2.0.0" }];
  expect(site.bench.publishEnvelope(site.update({ components }), "sim:0")?.kind).toBe("published");
  const [listing] = site.bench.gateway.listings();
  const images = listing!.release.images.map(({ digest, size, uri, classes }) => ({
    digest,
    size,
    uri,
    classes,
    encrypted,
    isPatch: false,
  }));
  return [{ ...listing!, alias: "fw", release: { ...listing!.release, images } }];
}

const target = (listings: Listing[], image: string, methods = PUSH) =>
  updateTarget({ listings, replaced: [] }, { image, object: "/5/0" }, methods);

describe("which image a client without manifests gets", () => {
  it.each([
    ["key", (listing: Listing) => listing.release.key],
    ["version", () => "2.0.0"],
    ["alias", () => "/fw"],
  ])("is not guessed where a release has several, by its %s", (_name, nameOf) => {
    const listings = twoSlots();
    const refusal = target(listings, nameOf(listings[0]!));
    expect(refusal).toMatch(/has 2 images, for other classes, slots or components: write the digest/);
    expect(refusal).toContain(first.slice(0, 12));
    expect(refusal).toContain(second.slice(0, 12));
  });

  it("is none by an alias, which is of one image", () => {
    const site = new TrustBench();
    const payloads = slots.map((bytes, slot) => ({
      slot,
      image: { digest: sha256(bytes), size: bytes.length },
      uri: `sim:${slot}`,
    }));
    for (const [slot, bytes] of slots.entries()) site.bench.disk.upstream.set(`sim:${slot}`, bytes);
    const plain = payloads.slice(0, 1).map(({ image, uri }) => ({ image, uri }));
    const update = (sequenceNumber: number, some: readonly Payload[]): Uint8Array =>
      site.update({ sequenceNumber, components: [{ id: [Uint8Array.of(0)], payloads: some }] });
    const publish = (envelope: Uint8Array, alias?: string | null) =>
      site.bench.publishEnvelope(envelope, "sim:0", alias === undefined ? {} : { alias });
    expect(publish(update(1, payloads), "fw")).toMatchObject({ kind: "refused", reason: "bad-alias" });
    expect(publish(update(1, plain), "fw")?.kind).toBe("published");
    expect(site.ask(["fw"])).toBe("2.05");
    expect(publish(update(2, payloads))).toMatchObject({ kind: "refused", reason: "alias-in-use" });
    expect(publish(update(2, payloads), null)?.kind).toBe("published");
    expect(site.ask(["fw"])).toBe("4.04"); // it would be the first one's
  });

  it("is the one whose digest, or path, was said, with its own size", () => {
    const listings = twoSlots();
    expect(target(listings, second)).toMatchObject({ digest: second, size: 4_000, version: "2.0.0" });
    expect(target(listings, second.slice(0, 8).toUpperCase())).toMatchObject({ digest: second });
    expect(target(listings, first)).toMatchObject({ digest: first, size: 3_000 });
    const path = Buffer.from(second.slice(0, 12), "hex").toString("base64url");
    expect(target(listings, `/i/${path}`)).toMatchObject({ digest: second });
    expect(target(listings, path)).toMatchObject({ digest: second });
  });

  it("is its manifest's to choose by the trigger, whose manifest is found by any of them", () => {
    expect(target(twoSlots(), "2.0.0", ["trigger"])).toMatchObject({ digest: first });
    expect(target(twoSlots(), second, ["trigger"])).toMatchObject({ digest: second });
  });

  it("is none that is encrypted, but by the trigger", () => {
    expect(target(twoSlots(true), first)).toMatch(/is encrypted/);
    expect(target(twoSlots(true), first, ["trigger"])).toMatchObject({ digest: first });
  });

  it("is asked for again where several releases have the name, or none", () => {
    const bench = new GatewayBench();
    bench.publish(makeImage(1, 5_000), 2, { change: { version: "2.0.0" } });
    const other = { version: "2.0.0", classId: new Uint8Array(16).fill(9) };
    bench.publish(makeImage(2, 5_000), 3, { change: other });
    const listings = bench.gateway.listings();
    expect(target(listings, "2.0.0")).toMatch(/may be .*: write one of these/);
    expect(target(listings, "9.9.9")).toBe("no published image is 9.9.9: see blockferry images");
    const mine = listings.find(({ release }) => toHex(release.classId) === toHex(classId));
    expect(target(listings, mine!.release.key)).toMatchObject({ digest: mine!.digest });
  });

  it("is one image, though the release has it from two places", () => {
    const [listing] = twoSlots();
    const { images } = listing!.release;
    const twice = [images[0]!, { ...images[0]!, uri: "sim:mirror" }];
    const one = { ...listing!, release: { ...listing!.release, images: twice } };
    for (const name of [first, first.slice(0, 6), "2.0.0", "fw", listing!.release.key])
      expect(target([one], name)).toMatchObject({ digest: first });
  });

  it("is asked for again where a name is one release's alias and the beginning of another's digest", () => {
    const bench = new GatewayBench();
    bench.publish(makeImage(1, 5_000), 2, { change: { version: "2" } });
    const digest = toHex(sha256(makeImage(1, 5_000)));
    const alias = digest.slice(0, 4);
    bench.publish(makeImage(2, 5_000), 3, { change: { version: "2", classId: new Uint8Array(16).fill(9) }, alias });
    const listings = bench.gateway.listings();
    expect(target(listings, alias)).toMatch(/may be .*, .*: write one of these, or more of its digest/);
    expect(target(listings, digest.slice(0, 5))).toMatchObject({ digest });
  });

  it("needs a version to be known by, and an object instance to be written to", () => {
    const bench = new GatewayBench();
    const bytes = makeImage(1, 5_000);
    bench.disk.upstream.set("sim:1", bytes);
    bench.publishEnvelope(sign(bytes, 2), "sim:1");
    const [listing] = bench.gateway.listings();
    const unnamed = { ...listing!, release: { ...listing!.release, version: undefined } };
    expect(target([unnamed], unnamed.digest)).toMatch(/has no version: say with --expect/);
    const named = { image: unnamed.digest, version: "3", object: "/5" };
    expect(updateTarget({ listings: [unnamed], replaced: [] }, named, PUSH)).toBe(
      "/5 is no object instance such as /5/0",
    );
    const given = { ...named, object: "/33629/1", versionPath: "/3/0/19" };
    expect(updateTarget({ listings: [unnamed], replaced: [] }, given, PUSH)).toMatchObject({
      object: [33_629, 1],
      versionPath: [3, 0, 19],
      version: "3",
    });
  });
});
