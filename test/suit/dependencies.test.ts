import { describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { encodeCbor, type CborValue } from "../../src/codec/cbor.ts";
import { CoseTag, verifyDetached } from "../../src/codec/cose.ts";
import { keyPairOf } from "../../src/crypto/noble-crypto.ts";
import { Condition as C, Directive as D, Parameter as P } from "../../src/suit/keys.ts";
import { toHex, utf8 } from "../../src/util/bytes.ts";
import {
  AUTHOR,
  digestIn,
  envelopeOf,
  identity,
  map,
  newDevice,
  override,
  run,
  seq,
  suitDigest,
} from "../support/suit-build.ts";

const IMAGE = utf8("an image of some bytes");
const served = { fetch: (uri: string) => (uri === "/i" ? IMAGE : uri === "/e" ? utf8("evil") : undefined) };
const fetchOf = (uri: string): CborValue[] => [...override([P.URI, uri]), D.FETCH, 15];

/** A root with an app, and a dependency in its envelope. */
function rootOf(child: Uint8Array, sections: Record<number, CborValue[]>): object {
  return {
    components: [["app"], ["dep"]],
    dependencies: map([[1, map([])]]),
    integrated: { "#d": child },
    shared: [
      D.SET_COMPONENT_INDEX,
      0,
      ...identity(),
      D.SET_COMPONENT_INDEX,
      1,
      ...override([P.IMAGE_DIGEST, digestIn(child)]),
    ],
    sections,
  };
}

describe("a dependency's sections (trust-domains section 4.1)", () => {
  const child = envelopeOf({
    components: [["app"]],
    sections: {
      20: fetchOf("/e"),
      7: [...override([P.IMAGE_DIGEST, suitDigest(IMAGE)]), C.IMAGE_MATCH, 15],
    },
  });
  const process = [D.SET_COMPONENT_INDEX, 1, D.PROCESS_DEPENDENCY, 15];
  const resolve = [
    D.SET_COMPONENT_INDEX,
    1,
    ...override([P.URI, "#d"]),
    D.FETCH,
    15,
    C.DEPENDENCY_INTEGRITY,
    15,
    D.PROCESS_DEPENDENCY,
    15,
  ];

  it.each([
    ["install, which the root lacks", { 15: resolve }, "install"],
    ["validate, which the root lacks", { 15: resolve, 20: process }, "validate"],
  ])("are not skipped: %s", (_what, sections, section) => {
    const outcome = run(rootOf(child, sections), newDevice(served));
    expect(outcome).toMatchObject({ ok: false, reason: "operation-failed", section });
  });

  it("may be processed within a try-each, as the draft's own template does", () => {
    const good = envelopeOf({
      components: [["app"]],
      sections: {
        20: [...override([P.IMAGE_DIGEST, suitDigest(IMAGE)]), ...fetchOf("/i"), C.IMAGE_MATCH, 15],
      },
    });
    const each = (...commands: CborValue[]): CborValue[] => [
      D.SET_COMPONENT_INDEX,
      true,
      D.TRY_EACH,
      [seq(C.IS_DEPENDENCY, 15, ...commands), null],
    ];
    const sections = {
      15: [
        D.SET_COMPONENT_INDEX,
        1,
        ...override([P.URI, "#d"]),
        ...each(D.FETCH, 15, C.DEPENDENCY_INTEGRITY, 15, D.PROCESS_DEPENDENCY, 15),
      ],
      20: each(D.PROCESS_DEPENDENCY, 15),
    };
    const device = newDevice(served);
    expect(run(rootOf(good, sections), device)).toMatchObject({ ok: true });
    expect(device.components.get(toHex(utf8("app")))).toEqual(IMAGE);
  });

  it("that are processed nowhere make no manifest", () => {
    const outcome = run(rootOf(child, { 20: [D.SET_COMPONENT_INDEX, 0, ...fetchOf("/i")] }), newDevice(served));
    expect(outcome).toMatchObject({ ok: false, reason: "operation-failed" });
  });
});

describe("a dependency that is there already, or should be (draft -37 section 6.3.1)", () => {
  const child = envelopeOf({
    components: [["app"]],
    sections: { 20: [...override([P.CONTENT, utf8("x")]), D.WRITE, 15] },
  });
  const foreign = envelopeOf({
    components: [["app"]],
    key: keyPairOf("ES256", new Uint8Array(32).fill(99)),
    sections: { 20: [...override([P.CONTENT, utf8("old")]), D.WRITE, 15] },
  });
  const patterns = {
    "image-not-match, then fetch": [D.TRY_EACH, [seq(C.IMAGE_NOT_MATCH, 15, D.FETCH, 15), null]],
    "image-match, or fetch": [D.TRY_EACH, [seq(C.IMAGE_MATCH, 15), seq(D.FETCH, 15)]],
  };
  const there = { absent: undefined, torn: child.subarray(0, 40), "signed by another": foreign, right: child };
  const cases = Object.keys(patterns).flatMap((how) => Object.keys(there).map((what) => [how, what] as const));

  it.each(cases)("%s: %s", (how, what) => {
    const device = newDevice({});
    const bytes = there[what as keyof typeof there];
    if (bytes !== undefined) device.components.set(toHex(utf8("dep")), bytes);
    const sections = {
      15: [
        D.SET_COMPONENT_INDEX,
        1,
        ...override([P.URI, "#d"]),
        ...patterns[how as keyof typeof patterns],
        C.DEPENDENCY_INTEGRITY,
        15,
        D.PROCESS_DEPENDENCY,
        15,
      ],
      20: [D.SET_COMPONENT_INDEX, 1, D.PROCESS_DEPENDENCY, 15],
    };
    expect(run(rootOf(child, sections), device)).toMatchObject({ ok: true });
    expect(device.components.get(toHex(utf8("dep")))).toEqual(child);
  });
});

it("what is copied is read, which needs the right to it as well (section 9)", () => {
  const device = newDevice(served);
  device.components.set(toHex(utf8("secret")), utf8("key"));
  const copy = [D.SET_COMPONENT_INDEX, 0, ...override([P.SOURCE_COMPONENT, 1]), D.COPY, 15];
  const shared = [D.SET_COMPONENT_INDEX, 0, ...identity()];
  const permits = (_signers: unknown, component: readonly Uint8Array[]): boolean =>
    toHex(component.at(-1)!) === toHex(utf8("app"));
  const manifest = { components: [["app"], ["secret"]], shared, sections: { 20: copy } };
  expect(run(manifest, device, "update", { permits })).toMatchObject({ ok: false, reason: "component-unauthorised" });
});

it("a component of no segments is none of one empty segment", () => {
  const device = newDevice(served);
  const say = (index: number, text: string): CborValue[] => [
    D.SET_COMPONENT_INDEX,
    index,
    ...override([P.CONTENT, utf8(text)]),
  ];
  const install = [...say(0, "root"), ...say(1, "other"), D.SET_COMPONENT_INDEX, 0, D.WRITE, 15];
  const shared = [D.SET_COMPONENT_INDEX, 0, ...identity()];
  expect(run({ components: [[], [""]], shared, sections: { 20: install } }, device)).toMatchObject({ ok: true });
  expect(device.actions.map((action) => ("content" in action ? action.content : undefined))).toEqual([utf8("root")]);
});

it("an empty header of a COSE_Sign is authenticated as no bytes, however it came (RFC 9052 section 4.4)", () => {
  const payload = utf8("payload");
  const header = encodeCbor(new Map([[1, -9]]));
  const empty = new Uint8Array(0);
  const sign = (body: Uint8Array): Uint8Array =>
    nodeCrypto.sign(AUTHOR, encodeCbor(["Signature", body, header, empty, payload]));
  const check = (body: Uint8Array, signature: Uint8Array): boolean =>
    verifyDetached(nodeCrypto, CoseTag.SIGN, [body, new Map(), null, [[header, new Map(), signature]]], payload, [
      AUTHOR.publicKey,
    ]).ok;
  const written = Uint8Array.of(0xa0);
  expect([check(empty, sign(empty)), check(written, sign(empty)), check(written, sign(written))]).toEqual([
    true,
    true,
    false,
  ]);
});
