import { beforeEach, describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { imagePath, manifestPath } from "../../src/gateway/catalogue.ts";
import type { ComponentUpdate, Dependency } from "../../src/suit/build.ts";
import { decodeEnvelope, digestOf } from "../../src/suit/envelope.ts";
import { openRelease } from "../../src/suit/release.ts";
import { utf8 } from "../../src/util/bytes.ts";
import { author, classId, makeImage } from "../support/gateway.ts";
import { sha256 } from "../support/suit-build.ts";
import { TrustBench } from "../support/trust-bench.ts";

let site: TrustBench;
beforeEach(() => (site = new TrustBench()));

const pathOf = (image: Uint8Array): string => `/${imagePath(sha256(image)).join("/")}`;
const [first, second, radio] = [1, 2, 3].map((n) => makeImage(200 + n, 1_000)) as [Uint8Array, Uint8Array, Uint8Array];

function component(image: Uint8Array, uri = pathOf(image), id: Uint8Array = Uint8Array.of(0)): ComponentUpdate {
  return { id: [id], payloads: [{ image: { digest: sha256(image), size: image.length }, uri }] };
}

function dependency(...components: ComponentUpdate[]): Dependency {
  const integrated = site.update({ sequenceNumber: 1, components });
  return {
    id: [utf8("other")],
    digest: digestOf(decodeEnvelope(integrated)),
    uri: "#other",
    integrated,
    invokes: true,
  };
}

/** How a publication ends whose images come from elsewhere. */
function publish(envelope: Uint8Array, images: readonly Uint8Array[], alias?: string): string {
  const sources: Record<string, string> = {};
  for (const image of images) {
    const hex = Buffer.from(sha256(image)).toString("hex");
    sources[hex] = `sim:${hex}`;
    site.bench.disk.upstream.set(sources[hex], image);
  }
  const before = site.bench.outcomes.length;
  site.bench.loop.call((nowUs) => site.bench.gateway.publish(nowUs, before, { envelope, sources, alias }));
  site.bench.run(2);
  const outcome = site.bench.outcomes[before];
  return outcome?.kind === "refused" ? outcome.reason : (outcome?.kind ?? "nothing");
}

describe("a manifest is published where its devices find what they ask the gateway for (RFC 3986 section 5)", () => {
  const withUri = (uri: string): Uint8Array => site.update({ components: [component(first, uri)] });

  it.each(["/nowhere", "nowhere", pathOf(second), "//host/i", `${pathOf(first)}/`])("not with %s", (uri) => {
    expect(publish(withUri(uri), [first])).toBe("uri-not-served");
    expect(site.ask(manifestPath(classId, "00"))).toBe("4.04");
  });

  it.each([pathOf(first), "coap://[2001:db8::1]/fw", "https://example.com/fw"])("with %s", (uri) => {
    expect(publish(withUri(uri), [first])).toBe("published");
  });

  it("with its alias", () => {
    expect(publish(withUri("/fw"), [first])).toBe("uri-not-served");
    expect(publish(withUri("/fw"), [first], "fw")).toBe("published");
  });

  it("not where a dependency has set another digest for a component of both", () => {
    const update = { components: [component(first)], dependencies: [dependency(component(second))] };
    expect(publish(site.update(update), [first, second])).toBe("uri-not-served");
  });
});

describe("a release with a dependency", () => {
  const parent = (sequenceNumber: number, image: Uint8Array): Uint8Array => {
    const dependencies = [dependency(component(radio, pathOf(radio), utf8("radio")))];
    return site.update({ sequenceNumber, components: [component(image)], dependencies });
  };

  it("has the key, the path and the image of its own component, though the other is fetched first", () => {
    const opened = openRelease(nodeCrypto, parent(1, first), { anchors: [author.publicKey] });
    expect(opened).toMatchObject({ ok: true, release: { imageDigest: sha256(first), changes: expect.anything() } });
    expect(opened.ok && opened.release.key).toMatch(/\/00$/);
    expect(opened.ok && opened.release.images.map(({ digest }) => digest)).toEqual([first, radio].map(sha256));
  });

  it("takes the place of the one before it", () => {
    expect(publish(parent(1, first), [first, radio])).toBe("published");
    expect(site.ask(manifestPath(classId, "00"))).toBe("2.05");
    expect(publish(parent(2, second), [second, radio])).toBe("published");
    expect(site.bench.gateway.listings().map(({ release }) => release.sequenceNumber)).toEqual([2]);
    expect(site.ask(manifestPath(classId, "00"))).toBe("2.05");
  });
});
