import { beforeEach, describe, expect, it } from "vitest";
import { keyRecord } from "../../src/lifecycle/classes.ts";
import { imagePath, manifestPath } from "../../src/gateway/catalogue.ts";
import { author } from "../support/gateway.ts";
import { wentBack } from "../../src/gateway/update-target.ts";
import { toHex } from "../../src/util/bytes.ts";
import { CLASSES, imageOf, named, ReleaseBench } from "../support/release-bench.ts";
import { sha256 } from "../support/suit-build.ts";
import { keyOf } from "../support/trust-bench.ts";

const { A, B } = CLASSES;
const [K2, K3, K4] = [keyOf(2), keyOf(3), keyOf(4)];
let site: ReleaseBench;
beforeEach(() => (site = new ReleaseBench()));

describe("a release that leaves out a class which the one before it is on offer to", () => {
  it("takes it from that class by the word of somebody who counts there", () => {
    site.defineFor(A, [K2]);
    site.defineFor(B, [K3]);
    expect(site.release(1, [A, B], [K2, K3])).toBe("published");
    expect(site.release(2, [A], [K2])).toBe("class-left-out");
    expect([site.manifest(B), site.image(1)]).toEqual(["2.05", "2.05"]);
    expect(site.release(3, [A], [K2, K3])).toBe("published");
    expect(site.manifest(B)).toBe("4.04");
  });

  it("not by a key of that class which was revoked", () => {
    site.defineFor(A, [K2]);
    site.defineFor(B, [K3, K2]);
    expect(site.release(1, [A, B], [K2, K3])).toBe("published");
    site.defineFor(B, [K3]);
    expect(site.release(2, [A], [K2])).toBe("class-left-out");
    site.submit({ kind: "key-revoked", key: keyRecord(K3.publicKey), reason: "lost" });
    // Nobody stands for it in B any more.
    expect([site.manifest(B), site.release(3, [A], [K2])]).toEqual(["4.04", "published"]);
  });

  it("of a class that nobody defined, by the anchors of the configuration", () => {
    expect(site.release(1, [A, B], [author])).toBe("published");
    site.defineFor(A, [K2, author]);
    expect(site.release(2, [A], [K2])).toBe("class-left-out");
    expect(site.release(3, [A], [author])).toBe("published");
  });
});

describe("two authors of one release", () => {
  beforeEach(() => {
    site.defineFor(A, [K2]);
    site.defineFor(B, [K3]);
    expect(site.release(1, [A, B], [K2, K3])).toBe("published");
  });

  it("part when the one that it is not named by does so first", () => {
    expect(site.release(2, [A], [K2])).toBe("class-left-out");
    expect(site.release(3, [B], [K3])).toBe("published");
    site.both(() => expect([site.manifestOf(A, 1), site.manifestOf(B, 3)]).toEqual(["2.05", "2.05"]));
    expect(site.release(4, [A], [K2])).toBe("published");
    site.both(() => {
      const onOffer = site.bench.gateway.listings().map(({ release }) => release.sequenceNumber);
      expect(onOffer.toSorted((a, b) => a - b)).toEqual([3, 4]);
      expect([site.image(1), site.image(3), site.image(4)]).toEqual(["2.05", "2.05", "2.05"]);
    });
  });

  it("part from an alias by somebody's word only: it stays with the others", () => {
    expect(site.release(2, [A, B], [K2, K3], { alias: "fw" })).toBe("published");
    expect(site.release(3, [B], [K3])).toBe("alias-in-use");
    expect(site.release(3, [B], [K3], { alias: "fw" })).toBe("alias-in-use");
    expect(site.release(3, [B], [K3], { alias: null })).toBe("published");
    site.both(() => expect(site.look(["fw"])).toBe(site.look(imagePath(sha256(imageOf(2))))));
    expect(site.release(4, [A], [K2])).toBe("alias-in-use");
    expect(site.release(4, [A], [K2], { alias: "fw" })).toBe("published");
  });

  it("and the alias of one goes to what takes its place", () => {
    site.release(2, [B], [K3], { alias: "fwb" });
    site.release(3, [A], [K2], { alias: "fwa" });
    expect(site.release(4, [A, B], [K2, K3])).toBe("alias-in-use");
    expect(site.release(4, [A, B], [K2, K3], { alias: "fwa" })).toBe("published");
    site.both(() => expect([site.ask(["fwa"]), site.ask(["fwb"])]).toEqual(["2.05", "4.04"]));
    expect(site.release(5, [A], [K2], { alias: "fwb" })).not.toBe("published");
    expect(site.release(6, [A, B], [K2, K3], { alias: "fwb" })).toBe("published");
    site.both(() => expect([site.ask(["fwa"]), site.ask(["fwb"])]).toEqual(["4.04", "2.05"]));
  });

  it("is a step back for the devices that have the other by now", () => {
    site.release(3, [B], [K3]);
    const warning = (n: number): string | undefined =>
      wentBack(site.bench.gateway.nameable(), toHex(sha256(imageOf(n))));
    expect([warning(1), warning(3)]).toEqual([
      expect.stringMatching(`number 1 for class ${toHex(B)}, and 3`),
      undefined,
    ]);
    site.release(4, [A, B], [K2, K3]);
    expect(warning(3)).toMatch(/number 3 for class \w{32}, and 4 is on offer/);
  });

  it("come together again: what was B's alone may be gone back to", () => {
    site.release(3, [B], [K3]);
    expect(site.release(4, [A, B], [K2])).toBe("signature-invalid");
    expect(site.release(5, [A, B], [K2, K3])).toBe("published");
    site.both(() => {
      expect(site.bench.gateway.listings().map(({ release }) => release.sequenceNumber)).toEqual([5]);
      expect(site.bench.gateway.replaced().map(({ release }) => release.sequenceNumber)).toEqual([3, 1]);
      expect(site.look(["m", ...manifestPath(B, "00").slice(1)])).toBe(site.look(manifestPath(A, "00")));
    });
  });

  it("the one is not enough whose rights end at another component", () => {
    const radio = [{ component: "radio" }];
    const authorities = [...named(K3), { ...named(K4)[0]!, rights: radio }];
    expect(site.define({ id: toHex(B), name: "b", authorities }).ok).toBe(true);
    expect(site.release(6, [A], [K2, K4])).toBe("class-left-out");
    expect(site.release(6, [A], [K2, K3])).toBe("published");
  });
});

describe("a manifest that has its image's alias as URI", () => {
  it("leads nobody there any more when another image is at that path: its devices would fetch the wrong one", () => {
    const uri = (n: number): string => `/${imagePath(sha256(imageOf(n))).join("/")}`;
    const publish = (n: number, at: string): void => {
      const bytes = imageOf(n);
      site.bench.disk.upstream.set(`sim:${n}`, bytes);
      const payloads = [{ image: { digest: sha256(bytes), size: bytes.length }, uri: at }];
      const components = [{ id: [Uint8Array.of(0)], payloads }];
      const envelope = site.update({ sequenceNumber: n, classIds: [A], components });
      expect(site.bench.publishEnvelope(envelope, `sim:${n}`, { alias: "fw" })?.kind).toBe("published");
    };
    publish(1, "/fw");
    expect([site.manifestOf(A, 1), site.given(1, "e", "trigger")]).toEqual(["2.05", "given"]);
    publish(2, uri(2));
    site.both(() => {
      // Who is given the image by its own path follows no URI, and may believe it by this one.
      expect([site.manifestOf(A, 1), site.manifestOf(A, 2)]).toEqual(["2.05", "2.05"]);
      expect([site.given(1), site.given(1, "e", "trigger")]).toEqual(["given", "uri-not-served"]);
    });
  });
});

describe("a place", () => {
  it("goes back to no older release because one leaves its class out", () => {
    site.defineFor(A, [K2]);
    site.defineFor(B, [K3]);
    site.release(1, [A, B], [K2, K3]);
    site.release(3, [B], [K3]);
    expect(site.release(5, [A, B], [K2, K3])).toBe("published");
    expect(site.release(6, [A], [K2])).toBe("class-left-out");
    expect(site.release(6, [A], [K2, K3])).toBe("published");
    site.both(() => expect([site.manifest(A), site.manifest(B)]).toEqual(["2.05", "4.04"]));
    expect(site.release(7, [B], [K3])).toBe("published");
    site.both(() => expect(site.manifest(B)).toBe("2.05"));
  });

  it("and its alias go to what is for all of its classes, whichever names it; what was there leaves the disk", () => {
    const budget = { maxImageBytes: 10_000, diskBytes: 3 * 2_100, memoryBytes: 10_000 };
    const tight = new ReleaseBench({ budget });
    expect(tight.release(1, [B], [author], { alias: "fw" })).toBe("published");
    for (const n of [2, 3, 4, 5, 6]) expect(tight.release(n, [A, B], [author])).toBe("published");
    tight.both(() => {
      expect([tight.look(["fw"]), tight.image(1)]).toEqual([tight.look(imagePath(sha256(imageOf(6)))), "4.04"]);
      expect(tight.bench.gateway.listings()).toHaveLength(1);
    });
  });

  it("is not taken by what would be served to nobody, since another vendor's number is higher", () => {
    const vendorId = new Uint8Array(16).fill(0x77);
    expect(site.release(1_000, [A], [author], { over: { vendorId } })).toBe("published");
    expect(site.release(5, [A], [author])).toBe("class-taken");
    expect(site.release(1_001, [A], [author])).toBe("published");
  });
});
