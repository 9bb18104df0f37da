import { describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { encodeCbor } from "../../src/codec/cbor.ts";
import { applyPatch, makePatch } from "../../src/delta/patch.ts";
import { signEnvelope } from "../../src/suit/author.ts";
import { buildEnvelope, type Payload } from "../../src/suit/build.ts";
import { beforeWhich, installedId, installedName, isInstalledName, readPatchArguments } from "../../src/suit/delta.ts";
import { inspectEnvelope } from "../../src/suit/inspect.ts";
import { Condition as C, Directive as D, Parameter as P } from "../../src/suit/keys.ts";
import { componentName } from "../../src/suit/manifest.ts";
import { ModelDevice, type DeviceModel } from "../../src/suit/model-device.ts";
import { processManifest, type Outcome } from "../../src/suit/processor/procedure.ts";
import { openRelease } from "../../src/suit/release.ts";
import { toHex, utf8 } from "../../src/util/bytes.ts";
import { makeImage } from "../support/gateway.ts";
import {
  AUTHOR,
  CLASS,
  envelopeOf,
  identity,
  open,
  override,
  sha256,
  seq,
  suitDigest,
  VENDOR,
  imageOf,
} from "../support/suit-build.ts";

const id = [utf8("app")];
/** As its successor, with a few bytes changed. */
function changed(bytes: Uint8Array, every: number): Uint8Array {
  return bytes.map((byte, i) => (i % every === 0 ? byte + 1 : byte));
}
const v3 = makeImage(301, 4_000);
const [v1, v2] = [changed(v3, 500), changed(v3, 900)];
const patchFrom = (old: Uint8Array) => makePatch(old, v3);
const patchesFrom = (...olds: Uint8Array[]): Payload["patches"] =>
  olds.map((old, i) => ({ from: imageOf(old), patch: imageOf(patchFrom(old)), uri: `/p${i}` }));
const envelope = (payloads: readonly Payload[]): Uint8Array =>
  signEnvelope(
    nodeCrypto,
    AUTHOR,
    buildEnvelope(nodeCrypto, {
      sequenceNumber: 3,
      vendorId: VENDOR,
      classIds: [CLASS],
      components: [{ id, payloads }],
    }),
  );
const whole = { image: imageOf(v3), uri: "/whole" };
const update = envelope([{ ...whole, patches: patchesFrom(v1, v2) }]);

/** What a device with some image fetches, and what it has then. */
function run(
  bytes: Uint8Array,
  installed: Uint8Array | undefined,
  model: Partial<DeviceModel> = {},
): { outcome: Outcome; fetched: string[]; now: Uint8Array | undefined } {
  const fetched: string[] = [];
  const served: Record<string, Uint8Array> = { "/whole": v3, "/p0": patchFrom(v1), "/p1": patchFrom(v2) };
  const fetch = (uri: string): Uint8Array | undefined => {
    fetched.push(uri);
    return served[uri];
  };
  const device = new ModelDevice(nodeCrypto, undefined, { vendorIds: [VENDOR], classIds: [CLASS], fetch, ...model });
  if (installed !== undefined) device.components.set(installedName(id), installed);
  const outcome = processManifest(open(bytes), "update", device, { crypto: nodeCrypto });
  return { outcome, fetched, now: device.components.get("617070") };
}

describe("an update that comes as a patch too", () => {
  it.each([
    ["the older image", v1, "/p0"],
    ["the image before", v2, "/p1"],
    ["another image", makeImage(302, 700), "/whole"],
    ["nothing", undefined, "/whole"],
  ])("has a device with %s fetch %s", (_what, installed, uri) => {
    const { outcome, fetched, now } = run(update, installed);
    expect(outcome).toMatchObject({ ok: true });
    expect([fetched, now]).toEqual([[uri], v3]);
  });

  it("by slot as well", () => {
    const slots = [v3, v2].map((image, slot) => ({
      slot,
      image: imageOf(image),
      uri: `/${slot}`,
      patches: [{ from: imageOf(v1), patch: imageOf(makePatch(v1, image)), uri: `/p${slot}` }],
    }));
    const bytes = envelope(slots);
    const fetch = (uri: string): Uint8Array | undefined =>
      ({ "/0": v3, "/1": v2, "/p0": makePatch(v1, v3), "/p1": makePatch(v1, v2) })[uri];
    expect(run(bytes, v1, { slot: 0, fetch }).now).toEqual(v3);
    expect(run(bytes, v1, { slot: 1, fetch }).now).toEqual(v2);
    expect(run(bytes, makeImage(303, 9), { slot: 1, fetch }).now).toEqual(v2);
  });

  it("ends where the patch is another one, or makes something else", () => {
    const other = (uri: string): Uint8Array => (uri === "/p0" ? patchFrom(v2) : v3);
    expect(run(update, v1, { fetch: other }).outcome).toMatchObject({
      ok: false,
      detail: "fetch: the patch is another one",
    });
    const toOther = makePatch(v1, v2);
    const wrong = envelope([{ ...whole, patches: [{ from: imageOf(v1), patch: imageOf(toOther), uri: "/p0" }] }]);
    expect(run(wrong, v1, { fetch: () => toOther }).outcome).toMatchObject({ ok: false, reason: "condition-failed" });
  });

  it("is a release of the whole image, with patches behind it", () => {
    const opened = openRelease(nodeCrypto, update, { anchors: [AUTHOR.publicKey] });
    if (!opened.ok) throw new Error(opened.detail);
    const { release } = opened;
    expect(toHex(release.imageDigest)).toBe(toHex(sha256(v3)));
    expect(release.images.map(({ uri, isPatch, size }) => [uri, isPatch, size])).toEqual([
      ["/whole", false, v3.length],
      ["/p0", true, patchFrom(v1).length],
      ["/p1", true, patchFrom(v2).length],
    ]);
  });

  it("has the name that it would have without patches, whichever of its components have some", () => {
    const other = { id: [utf8("radio")], payloads: [{ image: imageOf(makeImage(304, 50)), uri: "/radio" }] };
    const keyOf = (patches: Payload["patches"], last: Payload["patches"] = []): string[] => {
      const components = [
        { id, payloads: [{ ...whole, patches }] },
        { ...other, payloads: [{ ...other.payloads[0]!, patches: last }] },
      ];
      const described = { sequenceNumber: 3, vendorId: VENDOR, classIds: [CLASS], components };
      const opened = openRelease(nodeCrypto, signEnvelope(nodeCrypto, AUTHOR, buildEnvelope(nodeCrypto, described)), {
        anchors: [AUTHOR.publicKey],
      });
      if (!opened.ok) throw new Error(opened.detail);
      return [opened.release.key, toHex(opened.release.imageDigest)];
    };
    const without = keyOf([]);
    expect([keyOf(patchesFrom(v1)), keyOf(patchesFrom(v1), patchesFrom(v2)), keyOf([], patchesFrom(v2))]).toEqual([
      without,
      without,
      without,
    ]);
  });

  it("says so to people", () => {
    const { ways, components, stopsWhen } = inspectEnvelope(nodeCrypto, open(update), update.length);
    const patch = patchFrom(v1);
    expect(ways[0]).toEqual({
      when: [
        `the class is ${toHex(CLASS).replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-")}`,
        `the device has app with SHA-256 ${toHex(sha256(v1))}`,
      ],
      steps: [
        `fetch ${patch.length} bytes from /p0, a patch with SHA-256 ${toHex(sha256(patch))}, and make app by it: ${v3.length} bytes, with SHA-256 ${toHex(sha256(v3))}`,
        "check that app is what it must be",
      ],
    });
    expect(ways.at(-1)!.steps[0]).toContain("from /whole into app");
    expect(components.map(({ name }) => name)).toEqual(["app"]);
    expect(stopsWhen).toEqual([
      "vendor or class is another one",
      "what was fetched has another digest, or another size",
    ]);
  });

  it("is refused where only patches are there, or arguments of another kind", () => {
    const args = (value: Uint8Array): Uint8Array =>
      envelopeOf({
        components: [["app"]],
        shared: identity([P.IMAGE_DIGEST, suitDigest(v3)], [P.IMAGE_SIZE, v3.length]),
        sections: { 20: [...override([P.URI, "/p0"], [P.FETCH_ARGUMENTS, value]), D.FETCH, 15, C.IMAGE_MATCH, 15] },
      });
    const { digest, size } = imageOf(patchFrom(v1));
    const only = args(encodeCbor(["bfd1", digest, size]));
    expect(openRelease(nodeCrypto, only, { anchors: [AUTHOR.publicKey] })).toMatchObject({ reason: "no-payload" });
    const written = envelopeOf({
      components: [["app"], ["app", "installed"]],
      shared: [D.SET_COMPONENT_INDEX, true, ...identity([P.IMAGE_DIGEST, suitDigest(v3)], [P.IMAGE_SIZE, v3.length])],
      sections: {
        20: [
          D.SET_COMPONENT_INDEX,
          0,
          ...override([P.URI, "/whole"]),
          D.FETCH,
          15,
          C.IMAGE_MATCH,
          15,
          ...override([P.URI, "/p0"], [P.FETCH_ARGUMENTS, encodeCbor(["bfd1", digest, size])]),
          D.FETCH,
          15,
          D.SET_COMPONENT_INDEX,
          1,
          ...override([P.URI, "/whole"]),
          D.FETCH,
          15,
          C.IMAGE_MATCH,
          15,
        ],
      },
    });
    expect(openRelease(nodeCrypto, written, { anchors: [AUTHOR.publicKey] })).toMatchObject({
      detail: "app/installed stands for what is there before an update, and cannot be written to",
    });
    expect(inspectEnvelope(nodeCrypto, open(written), 1).components.map(({ name }) => name)).toEqual([
      "app",
      "app/installed",
    ]);
    for (const odd of [
      ["bfd2", digest, size],
      ["bfd1", digest],
      ["bfd1", digest, size, 1],
      ["bfd1", digest.subarray(1), size],
      ["bfd1", digest, 0],
      7,
    ]) {
      const bytes = encodeCbor(odd);
      expect(readPatchArguments(bytes)).toBeUndefined();
      const opened = openRelease(nodeCrypto, args(bytes), { anchors: [AUTHOR.publicKey] });
      expect(opened).toMatchObject({ reason: "not-processable", detail: expect.stringContaining("fetch-arguments") });
      const [way] = inspectEnvelope(nodeCrypto, open(args(bytes)), 1).ways;
      expect(way!.steps[0]).toContain("with fetch-arguments that are not known here");
      expect(run(args(bytes), v1).outcome).toMatchObject({ detail: "fetch: fetch-arguments that are not known here" });
    }
    expect(readPatchArguments(utf8("no CBOR"))).toBeUndefined();
  });

  it("hides no way that a device takes, whatever is written over what was asked about", () => {
    const at = (index: number) => [D.SET_COMPONENT_INDEX, index];
    const image = (bytes: Uint8Array, uri: string) =>
      override([P.IMAGE_DIGEST, suitDigest(bytes)], [P.IMAGE_SIZE, bytes.length], [P.URI, uri]);
    const evil = makeImage(305, 40);
    const branch = seq(
      ...at(1),
      ...override([P.IMAGE_DIGEST, suitDigest(v1)]),
      C.IMAGE_MATCH,
      15,
      ...at(0),
      ...image(evil, "/evil"),
    );
    const hidden = envelopeOf({
      components: [["app"], ["app", "installed"]],
      shared: [...at(0), ...identity()],
      sections: {
        20: [
          ...at(0),
          D.TRY_EACH,
          [branch, seq(...at(0), ...image(v3, "/good"))],
          ...at(0),
          D.FETCH,
          15,
          ...at(1),
          ...image(v2, "/b"),
          D.FETCH,
          15,
          C.IMAGE_MATCH,
          15,
        ],
      },
    });
    const opened = openRelease(nodeCrypto, hidden, { anchors: [AUTHOR.publicKey] });
    if (opened.ok) expect(opened.release.images.map(({ uri }) => uri)).toContain("/evil");
    else expect(opened.reason).toBe("not-processable");
    const { ways } = inspectEnvelope(nodeCrypto, open(hidden), 1);
    expect(ways.some(({ steps }) => steps.some((step) => step.includes("/evil")))).toBe(true);
  });

  it("has a component for what another one held before, of however many segments", () => {
    const long = [utf8("board"), utf8("radio"), utf8("app")];
    expect(installedId(long)).toEqual([...long, utf8("installed")]);
    expect(beforeWhich(installedId(long))).toEqual(long);
    for (const none of [long, [utf8("installed")], [utf8("installed"), utf8("app")]])
      expect(beforeWhich(none)).toBeUndefined();
    expect([installedName(long), componentName(long), toHex(utf8("installed"))].map(isInstalledName)).toEqual([
      true,
      false,
      false,
    ]);
  });

  it("patches that were made do what they are for", () => {
    expect(applyPatch(patchFrom(v1), v1, v3.length)).toEqual(v3);
    expect(patchFrom(v1).length).toBeLessThan(v3.length / 10);
  });
});
