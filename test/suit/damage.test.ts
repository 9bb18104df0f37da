import { describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { buildEnvelope, type UpdateDescription } from "../../src/suit/build.ts";
import { signEnvelope } from "../../src/suit/author.ts";
import { decodeEnvelope, digestOf, EnvelopeError } from "../../src/suit/envelope.ts";
import { inspectEnvelope } from "../../src/suit/inspect.ts";
import { processManifest } from "../../src/suit/processor/procedure.ts";
import { openRelease } from "../../src/suit/release.ts";
import { utf8 } from "../../src/util/bytes.ts";
import { AUTHOR, CLASS, imageOf, newDevice, open, trust, VENDOR } from "../support/suit-build.ts";
import { damagedEnvelopes } from "../support/suit-damage.ts";

const IMAGE = utf8("an image of some bytes");
const OTHER = utf8("another image");
const signed = (update: Partial<UpdateDescription>): Uint8Array => {
  const components = [{ id: [utf8("app")], payloads: [{ image: imageOf(IMAGE), uri: "/i" }] }];
  const base = { sequenceNumber: 3, vendorId: VENDOR, classIds: [CLASS], components };
  return signEnvelope(nodeCrypto, AUTHOR, buildEnvelope(nodeCrypto, { ...base, ...update }));
};
const child = signed({
  components: [{ id: [utf8("radio")], payloads: [{ image: imageOf(OTHER), uri: "/o" }] }],
  invoke: false,
});

const BASES: Readonly<Record<string, Uint8Array>> = {
  "one image, with all that an author may say": signed({
    setVersion: [2, 1, 0],
    referenceUri: "coap://[fd00::1]/m/x",
    description: "A sensor",
    updateDescription: "It senses better",
    priority: -5,
    useBefore: 2_000_000_000,
    minimumBatteryMwh: 100,
    write: { component: [utf8("config")], content: utf8("a=1") },
    components: [
      {
        id: [utf8("app")],
        payloads: [{ image: imageOf(IMAGE), uri: "/i" }],
        version: "2.1.0",
        description: "the app",
        requires: [{ comparison: 1, version: [1, 0] }],
      },
    ],
  }),
  "two slots, severed": signed({
    sever: true,
    updateDescription: "severed",
    components: [
      {
        id: [utf8("app")],
        payloads: [
          { slot: 0, image: imageOf(IMAGE), uri: "/i" },
          { slot: 1, image: imageOf(OTHER), uri: "/o" },
        ],
      },
    ],
  }),
  "a dependency in the envelope": signed({
    dependencies: [{ id: [utf8("child")], digest: digestOf(decodeEnvelope(child)), uri: "#child", integrated: child }],
  }),
};

/** What becomes of an envelope: of who wants to publish it, of a device, and of who looks at it. */
function fateOf(envelope: Uint8Array): string[] {
  const release = openRelease(nodeCrypto, envelope, trust);
  const out = [release.ok ? "published" : `${release.reason}: ${release.detail}`];
  try {
    const opened = open(envelope);
    const { manifestDigest: _changes, signers: _same, ...shown } = inspectEnvelope(nodeCrypto, opened, 0, { open });
    out.push(...new Set(textsIn(shown)));
    const device = newDevice({
      fetch: (uri) => (uri === "/i" ? IMAGE : uri === "/o" ? OTHER : undefined),
      unixS: () => 1_900_000_000,
      batteryMwh: () => 500,
      authorises: () => true,
      anyVersion: true,
    });
    for (const procedure of ["update", "invocation", "uninstall"] as const) {
      const outcome = processManifest(opened, procedure, device, { crypto: nodeCrypto, open });
      out.push(
        outcome.ok ? `${procedure} ok` : `${procedure} ${outcome.reason} in ${outcome.section}: ${outcome.detail}`,
      );
    }
  } catch (error) {
    if (!(error instanceof EnvelopeError)) throw error;
  }
  return out;
}

/** Every text that the inspection shows to people. */
function textsIn(value: unknown): string[] {
  if (typeof value === "string") return [`shown: ${value}`];
  if (typeof value !== "object" || value === null) return [];
  return Object.values(value).flatMap(textsIn);
}

describe("a manifest that is damaged in one place, and signed all the same", () => {
  it.each(Object.entries(BASES))("has a named fate: %s", async (name, base) => {
    const counts = new Map<string, number>();
    for (const envelope of damagedEnvelopes(base))
      for (const fate of fateOf(envelope)) counts.set(fate, (counts.get(fate) ?? 0) + 1);
    const lines = [...counts].toSorted(([a], [b]) => (a < b ? -1 : 1)).map(([fate, count]) => `${count} ${fate}`);
    await expect(`${lines.join("\n")}\n`).toMatchFileSnapshot(`golden/${name.replaceAll(/\W+/g, "-")}.txt`);
    expect(lines.length).toBeGreaterThan(20);
  });
});
