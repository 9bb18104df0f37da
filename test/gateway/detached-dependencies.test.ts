import { beforeEach, describe, expect, it } from "vitest";
import type { Dependency } from "../../src/suit/build.ts";
import { decodeEnvelope, digestOf } from "../../src/suit/envelope.ts";
import { utf8 } from "../../src/util/bytes.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import { author, makeImage } from "../support/gateway.ts";
import { sha256 } from "../support/suit-build.ts";
import { keyOf, TrustBench } from "../support/trust-bench.ts";

let site: TrustBench;
beforeEach(() => (site = new TrustBench()));

const [app, radio, sensor] = [1, 2, 3].map((n) => makeImage(500 + n, 900)) as [Uint8Array, Uint8Array, Uint8Array];
const component = (name: string, image: Uint8Array) => ({
  id: [utf8(name)],
  payloads: [{ image: { digest: sha256(image), size: image.length }, uri: `sim:${name}` }],
});
const child = (name: string, image: Uint8Array, key: PrivateKey = author): Uint8Array =>
  site.update({ sequenceNumber: 1, components: [component(name, image)], invoke: false }, key);
const fetched = (name: string, envelope: Uint8Array): Dependency => ({
  id: [utf8(`${name}-manifest`)],
  digest: digestOf(decodeEnvelope(envelope)),
  uri: `coap://[2001:db8::1]/${name}`,
});

/** How a publication ends, with these manifests beside it. */
function publish(envelope: Uint8Array, dependencies: readonly Uint8Array[]): string {
  for (const [name, image] of Object.entries({ app, radio, sensor }))
    site.bench.disk.upstream.set(`sim:${name}`, image);
  const before = site.bench.outcomes.length;
  const sources = Object.fromEntries(
    Object.entries({ app, radio, sensor }).map(([name, image]) => [
      Buffer.from(sha256(image)).toString("hex"),
      `sim:${name}`,
    ]),
  );
  site.bench.loop.call((nowUs) => site.bench.gateway.publish(nowUs, before, { envelope, sources, dependencies }));
  site.bench.run(2);
  const outcome = site.bench.outcomes[before];
  return outcome?.kind === "refused" ? outcome.reason : (outcome?.kind ?? "nothing");
}

describe("manifests that a manifest has devices fetch, given beside it (draft -37 section 7.5)", () => {
  it("are put into the envelope that is served: nobody can say otherwise what a device does", () => {
    const [one, two] = [child("radio", radio), child("sensor", sensor)];
    const dependencies = [fetched("radio", one), fetched("sensor", two)];
    const parent = site.update({ components: [component("app", app)], dependencies });
    expect(publish(parent, [])).toBe("not-processable");
    expect(publish(parent, [one])).toBe("not-processable");
    expect(publish(parent, [two, one])).toBe("published");
    const [listing] = site.bench.gateway.listings();
    const { members } = decodeEnvelope(listing!.release.envelope);
    expect(Buffer.from(members.get("coap://[2001:db8::1]/radio") as Uint8Array)).toEqual(Buffer.from(one));
    expect(listing!.images.map(({ size }) => size)).toEqual([900, 900, 900]);
    expect(digestOf(decodeEnvelope(listing!.release.envelope))).toEqual(digestOf(decodeEnvelope(parent)));
  });

  it("are of signers that somebody trusts, and manifests; one that nobody asks for stays away", () => {
    const [one, strange] = [child("radio", radio), child("radio", radio, keyOf(77))];
    const parent = site.update({ components: [component("app", app)], dependencies: [fetched("radio", one)] });
    expect(publish(parent, [strange])).toBe("not-processable");
    expect(publish(parent, [utf8("none")])).toBe("bad-dependency");
    // Its digest is none at all.
    expect(publish(parent, [Uint8Array.of(0xd8, 0x6b, 0xa2, 2, 0x43, 0x81, 0x41, 0xf6, 3, 0x41, 0x78), one])).toBe(
      "bad-dependency",
    );
    expect(publish(parent, [strange, one, child("sensor", sensor)])).toBe("published");
    expect(decodeEnvelope(site.bench.gateway.listings()[0]!.release.envelope).members.size).toBe(3);
  });
});
