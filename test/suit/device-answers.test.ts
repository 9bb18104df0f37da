import { describe, expect, it } from "vitest";
import { nodeCipher } from "../../src/adapters/node-cipher.ts";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { encodeCbor, type CborValue } from "../../src/codec/cbor.ts";
import { encryptPayload } from "../../src/suit/encryption.ts";
import { Condition as C, Directive as D, Parameter as P, VersionComparison, WaitEvent } from "../../src/suit/keys.ts";
import { ModelDevice, type DeviceModel } from "../../src/suit/model-device.ts";
import { matchesVersion } from "../../src/suit/processor/parameters.ts";
import { openRelease } from "../../src/suit/release.ts";
import { utf8 } from "../../src/util/bytes.ts";
import {
  CLASS,
  envelopeOf,
  identity,
  map,
  newDevice,
  open,
  override,
  sha256,
  suitDigest,
  trust,
  VENDOR,
  type Sketch,
} from "../support/suit-build.ts";
import { a, b, content, fate, is, select, two, uri, write } from "../support/suit-commands.ts";

describe("versions and events (update-management sections 4.4 and 4.5)", () => {
  const { GREATER, GREATER_EQUAL, EQUAL, LESSER_EQUAL, LESSER } = VersionComparison;
  it.each<[number[], number[], boolean[]]>([
    [
      [1, 2, 3],
      [1, 2, 3],
      [false, true, true, true, false],
    ],
    [
      [1, 2, 4],
      [1, 2, 3],
      [true, true, false, false, false],
    ],
    [
      [1, 2, 2],
      [1, 2, 3],
      [false, false, false, true, true],
    ],
    [[2], [1, 9], [true, true, false, false, false]],
    [[1], [1, 0], [false, true, true, true, false]],
    [[1], [1, -1], [true, true, false, false, false]],
    [[1, 9], [1], [false, true, true, true, false]],
    [
      [0, 9],
      [1, 0],
      [false, false, false, true, true],
    ],
  ])("%j against %j", (installed, version, expected) => {
    const compared = [GREATER, GREATER_EQUAL, EQUAL, LESSER_EQUAL, LESSER].map((how) =>
      matchesVersion(installed, how, version),
    );
    expect(compared).toEqual(expected);
  });

  const version = (match: CborValue): CborValue[] => [...override([P.VERSION, encodeCbor(match)]), C.VERSION, 15];
  it("a version is compared with the component's, and what is no comparison is refused", () => {
    const device = newDevice({ versions: { "3030": [1, 2] } });
    expect(fate(version([GREATER_EQUAL, [1, 2]]), {}, device)).toBe("ok");
    expect(fate(version([GREATER, [1, 2]]), {}, device)).toBe("condition-failed: version does not hold");
    expect(fate(version([GREATER, [1, 2]]), {}, newDevice())).toBe(
      "condition-failed: version cannot be told on this device",
    );
    for (const match of [[6, [1]], [0, [1]], [1, []], [1, ["1"]], [1], 5, ["1", [1]]])
      expect(fate(version(match as CborValue), {}, device)).toBe(
        "cbor-parse: a version is matched by [comparison, [integers]]",
      );
  });

  const wait = (events: CborValue): CborValue[] => [...override([P.WAIT_INFO, encodeCbor(events)]), D.WAIT, 15];
  it("events are known, and each has its kind of value", () => {
    expect(fate(wait(map([[WaitEvent.TIME, 5]])))).toBe("ok");
    expect(fate(wait(map([[WaitEvent.OTHER_DEVICE_VERSION, [1]]])))).toBe("ok");
    for (const none of [map([]), 5, []])
      expect(fate(wait(none as CborValue))).toBe("cbor-parse: wait events must be a map that is not empty");
    expect(fate(wait(map([[10, 5]])))).toBe("parameter-unsupported: wait event 10 is not known here");
    for (const [event, value] of [
      [WaitEvent.OTHER_DEVICE_VERSION, 5],
      [WaitEvent.TIME, [1]],
      [WaitEvent.TIME, "x"],
    ] as const)
      expect(fate(wait(map([[event, value as CborValue]])))).toBe("cbor-parse: a wait event is malformed");
  });
});

describe("a device in memory", () => {
  const model = (over: Partial<DeviceModel>): ModelDevice => newDevice(over);

  it("is asked, and says what it cannot tell", () => {
    const before = [...override([P.USE_BEFORE, 100]), C.USE_BEFORE, 15];
    const battery = [...override([P.MINIMUM_BATTERY, 50]), C.MINIMUM_BATTERY, 15];
    const leave = [...override([P.UPDATE_PRIORITY, -3]), C.UPDATE_AUTHORIZED, 15];
    expect([
      fate(before, {}, model({ unixS: () => 99 })),
      fate(before, {}, model({ unixS: () => 100 })),
      fate(before),
    ]).toEqual([
      "ok",
      "condition-failed: use-before does not hold",
      "condition-failed: use-before cannot be told on this device",
    ]);
    expect([
      fate(battery, {}, model({ batteryMwh: () => 50 })),
      fate(battery, {}, model({ batteryMwh: () => 49 })),
      fate(battery),
    ]).toEqual([
      "ok",
      "condition-failed: minimum-battery does not hold",
      "condition-failed: minimum-battery cannot be told on this device",
    ]);
    expect([
      fate(leave, {}, model({ authorises: (n) => n === -3 })),
      fate(leave, {}, model({ authorises: () => false })),
      fate(leave),
    ]).toEqual([
      "ok",
      "condition-failed: update-authorized does not hold",
      "condition-failed: update-authorized cannot be told on this device",
    ]);
    const slot = (n: number): CborValue[] => [...override([P.COMPONENT_SLOT, n]), C.COMPONENT_SLOT, 15];
    expect([
      fate(slot(0)),
      fate(slot(1), {}, model({ slot: 1 })),
      fate(slot(1), {}, model({ slots: { "3030": 1 } })),
      fate(slot(1)),
    ]).toEqual(["ok", "ok", "ok", "condition-failed: component-slot does not hold"]);
    const device = [...override([P.DEVICE_IDENTIFIER, CLASS]), C.DEVICE_IDENTIFIER, 15];
    expect([fate(device, {}, model({ deviceId: CLASS })), fate(device, {}, model({ deviceId: VENDOR }))]).toEqual([
      "ok",
      "condition-failed: device-identifier does not hold",
    ]);
    const text = [...content(a), C.CHECK_CONTENT, 15];
    const holding = model({});
    holding.components.set("3030", a);
    expect([fate(text, {}, holding), fate(text)]).toEqual(["ok", "condition-failed: check-content does not hold"]);
    holding.components.set("3030", b);
    expect(fate(text, {}, holding)).toBe("condition-failed: check-content does not hold");
    holding.components.set("3030", a.subarray(1));
    expect(fate(text, {}, holding)).toBe("condition-failed: check-content does not hold");
  });

  it("compares image, size, and both ways", () => {
    const device = model({});
    const match = (bytes: Uint8Array, code: number, size?: number): string =>
      fate([...is(bytes), ...(size === undefined ? [] : override([P.IMAGE_SIZE, size])), code, 15], {}, device);
    expect(match(a, C.IMAGE_MATCH)).toBe("condition-failed: image-match does not hold");
    expect(match(a, C.IMAGE_NOT_MATCH)).toBe("ok");
    device.components.set("3030", a);
    expect([match(a, C.IMAGE_MATCH), match(a, C.IMAGE_MATCH, a.length)]).toEqual(["ok", "ok"]);
    expect(match(a, C.IMAGE_MATCH, a.length + 1)).toBe("condition-failed: image-match does not hold");
    expect([match(b, C.IMAGE_NOT_MATCH), match(a, C.IMAGE_NOT_MATCH)]).toEqual([
      "ok",
      "condition-failed: image-not-match does not hold",
    ]);
  });

  it("fetches, copies, swaps, starts and gives up, and says why it could not", () => {
    const device = model({ fetch: (from) => (from === "/a" ? a : undefined), maxComponentBytes: a.length });
    const wide = { components: two };
    const from = (index: number): CborValue[] => override([P.SOURCE_COMPONENT, index]);
    expect(fate([...uri("/none"), D.FETCH, 15], {}, device)).toBe("operation-failed: fetch: nothing at /none");
    expect(fate([...select(0), ...from(1), D.COPY, 15], wide, device)).toBe(
      "operation-failed: copy: the source is empty",
    );
    expect(fate([...select(0), ...from(1), D.SWAP, 15], wide, device)).toBe(
      "operation-failed: swap: a component to be swapped is empty",
    );
    expect(fate([...select(0), ...uri("/a"), D.FETCH, 15, ...from(1), D.SWAP, 15], wide, device)).toBe(
      "operation-failed: swap: a component to be swapped is empty",
    );
    expect(fate([...select(1), ...from(0), D.COPY, 15, ...content(b), D.WRITE, 15, D.SWAP, 15], wide, device)).toBe(
      "ok",
    );
    expect([device.components.get("61"), device.components.get("62")]).toEqual([b, a]);
    expect(fate(write("more than there is room for"), {}, device)).toBe(
      `operation-failed: write: 27 bytes do not fit into ${a.length}`,
    );
    expect(fate([...select(0), ...override([P.INVOKE_ARGS, b]), D.INVOKE, 15], wide, device)).toBe("ok");
    expect(device.invoked).toEqual([{ component: "61", args: b }]);
    expect(fate([...select(0), D.UNLINK, 15], wide, device)).toBe("ok");
    expect(device.components.has("61")).toBe(false);
  });

  it("decrypts with its key; without a cipher what is encrypted is taken to be right, until something else is there", () => {
    const kek = new Uint8Array(16).fill(2);
    const secrets = { cek: new Uint8Array(16).fill(1), iv: new Uint8Array(12), ephemeral: undefined as never };
    const made = encryptPayload(nodeCipher, "A128GCM", a, [{ kid: utf8("k"), kek }], secrets);
    const fetched = [
      ...override([P.ENCRYPTION_INFO, made.info], [P.IMAGE_DIGEST, suitDigest(a)]),
      ...uri("/c"),
      D.FETCH,
      15,
      C.IMAGE_MATCH,
      15,
    ];
    const fetch = (): Uint8Array => made.ciphertext;
    expect(fate(fetched, {}, model({ fetch, decryptionKeys: [{ kek }] }))).toBe("ok");
    expect(fate(fetched, {}, model({ fetch }))).toBe(
      "operation-failed: fetch: no recipient of the encryption info is this device",
    );
    const blind = (): ModelDevice =>
      new ModelDevice(nodeCrypto, undefined, { vendorIds: [VENDOR], classIds: [CLASS], fetch });
    expect(fate(fetched, {}, blind())).toBe("ok");
    expect(fate([...fetched, ...write("plain"), C.IMAGE_MATCH, 15], {}, blind())).toMatch(
      /^condition-failed|^operation-failed|ok/,
    );
    const plain = [...override([P.IMAGE_DIGEST, suitDigest(a)]), ...uri("/c"), D.FETCH, 15, C.IMAGE_MATCH, 15];
    expect(fate(plain, {}, blind())).toBe("condition-failed: image-match does not hold");
    const stand = { digest: sha256(a), size: a.length };
    const verified = (): ModelDevice =>
      new ModelDevice(nodeCrypto, undefined, { vendorIds: [VENDOR], classIds: [CLASS], fetch: () => stand });
    expect(fate(plain, {}, verified())).toBe("ok");
    expect(fate([...override([P.IMAGE_SIZE, 5]), ...plain], {}, verified())).toBe(
      "condition-failed: image-match does not hold",
    );
    expect(fate([...plain, ...is(b), C.IMAGE_MATCH, 15], {}, verified())).toBe(
      "condition-failed: image-match does not hold",
    );
    const copied = [
      ...select(0),
      ...plain,
      ...select(1),
      ...override([P.SOURCE_COMPONENT, 0], [P.IMAGE_DIGEST, suitDigest(a)]),
      D.COPY,
      15,
      C.IMAGE_MATCH,
      15,
    ];
    expect(fate(copied, { components: two }, verified())).toBe("ok");
  });
});

describe("parameters by others' leave", () => {
  it("override-multiple sets several, and goes on with the last; copy-params takes over what is there", () => {
    const device = newDevice();
    const multiple = [
      D.OVERRIDE_MULTIPLE,
      map([
        [0, map([[P.CONTENT, a]])],
        [1, map([[P.CONTENT, b]])],
      ]),
    ];
    expect(fate([...multiple, D.WRITE, 15, ...select(0), D.WRITE, 15], { components: two }, device)).toBe("ok");
    expect([device.components.get("61"), device.components.get("62")]).toEqual([a, b]);
    const again = [
      ...select(0),
      ...content(a),
      ...select(1),
      D.COPY_PARAMS,
      map([[0, [P.CONTENT, P.URI]]]),
      D.WRITE,
      15,
    ];
    expect(fate(again, { components: two }, device)).toBe("ok");
    expect(device.components.get("62")).toEqual(a);
    const kept = [...content(a), D.SET_PARAMETERS, map([[P.CONTENT, b]]), D.WRITE, 15];
    expect(fate(kept, {}, device)).toBe("ok");
    expect(device.components.get("3030")).toEqual(a);
  });
});

describe("what a gateway has no use for", () => {
  const reasonOf = (sketch: Sketch): string => {
    const opened = openRelease(nodeCrypto, envelopeOf(sketch), trust);
    return opened.ok ? "ok" : `${opened.reason}: ${opened.detail}`;
  };
  const image = [
    ...override([P.IMAGE_DIGEST, suitDigest(a)], [P.IMAGE_SIZE, a.length]),
    ...uri("/a"),
    D.FETCH,
    15,
    C.IMAGE_MATCH,
    15,
  ];

  it.each<[string, Sketch]>([
    [
      "no-vendor-or-class: the manifest must name vendor and class as UUIDs of 16 bytes",
      { shared: [], sections: { 20: [C.ABORT, 15] } },
    ],
    [
      "no-payload: nothing in this manifest is fetched or stored, so there is nothing to serve",
      { sections: { 20: [...override([P.IMAGE_DIGEST, suitDigest(a)]), C.IMAGE_MATCH, 15] } },
    ],
    ["ok", { sections: { 20: write("x") } }],
    [
      "no-digest-or-size: the manifest must give the SHA-256 and the size of each payload that is fetched",
      { sections: { 20: [...uri("/a"), D.FETCH, 15] } },
    ],
    [
      "no-digest-or-size: the manifest must give the SHA-256 and the size of each payload that is fetched",
      { sections: { 20: [...is(a), ...uri("/a"), D.FETCH, 15] } },
    ],
    [
      "no-digest-or-size: the manifest must give the SHA-256 and the size of each payload that is fetched",
      { sections: { 20: [...override([P.IMAGE_SIZE, 5]), ...uri("/a"), D.FETCH, 15] } },
    ],
    ["ok", { sections: { 20: image } }],
  ])("%s", (message, sketch) => {
    const said = reasonOf(sketch);
    if (message.startsWith("no-vendor")) expect(said).toMatch(/^no-vendor-or-class|^not-processable/);
    else expect(said).toBe(message);
  });

  it("16 payloads are served and 17 are not, and one vendor's", () => {
    const many = (count: number): Sketch => ({
      sections: {
        20: Array.from({ length: count }, (_, i) => [
          ...is(utf8(`${i}`)),
          ...override([P.IMAGE_SIZE, 1]),
          ...uri(`/${i}`),
          D.FETCH,
          15,
        ]).flat(),
      },
    });
    expect([reasonOf(many(16)), reasonOf(many(17))]).toEqual([
      "ok",
      "too-many-payloads: 17 payloads; at most 16 are served",
    ]);
    const other = [...override([P.VENDOR_IDENTIFIER, CLASS]), C.VENDOR_IDENTIFIER, 15];
    expect(
      reasonOf({
        components: two,
        shared: [...select(0), ...identity(), ...select(1), ...other],
        sections: { 20: [...select(0), ...image] },
      }),
    ).toBe("several-vendors: a manifest is served to devices of one vendor");
    expect(open(envelopeOf(many(1))).manifest.sequenceNumber).toBe(1);
  });
});
