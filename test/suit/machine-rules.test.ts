import { describe, expect, it } from "vitest";
import { nodeCipher } from "../../src/adapters/node-cipher.ts";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { encodeCbor, tagged, type CborValue } from "../../src/codec/cbor.ts";
import { encryptPayload } from "../../src/suit/encryption.ts";
import { Condition as C, Directive as D, Parameter as P, VersionComparison, WaitEvent } from "../../src/suit/keys.ts";
import { ModelDevice, type DeviceModel } from "../../src/suit/model-device.ts";
import { matchesVersion } from "../../src/suit/processor/parameters.ts";
import { openRelease } from "../../src/suit/release.ts";
import { utf8 } from "../../src/util/bytes.ts";
import {
  CLASS,
  digestIn,
  envelopeOf,
  identity,
  map,
  newDevice,
  open,
  override,
  run,
  seq,
  sha256,
  suitDigest,
  trust,
  VENDOR,
  type Sketch,
} from "../support/suit-build.ts";

const [a, b] = [utf8("what is there"), utf8("what is not")];
const uri = (text: string): CborValue[] => override([P.URI, text]);
const content = (bytes: Uint8Array): CborValue[] => override([P.CONTENT, bytes]);
const write = (text: string): CborValue[] => [...content(utf8(text)), D.WRITE, 15];
const is = (bytes: Uint8Array): CborValue[] => override([P.IMAGE_DIGEST, suitDigest(bytes)]);
const select = (index: CborValue): CborValue[] => [D.SET_COMPONENT_INDEX, index];
const soft = (on: boolean): CborValue[] => override([P.SOFT_FAILURE, on]);
const strict = (on: boolean): CborValue[] => override([P.STRICT_ORDER, on]);
const two = [["a"], ["b"]];

/** "ok", or the reason and the words of a failure of these commands, in the install section. */
function fate(commands: CborValue[], more: Partial<Sketch> = {}, device = newDevice()): string {
  const shared = more.components === undefined ? identity() : [...select(0), ...identity()];
  const outcome = run({ shared, sections: { 20: commands }, ...more }, device);
  return outcome.ok ? "ok" : `${outcome.reason}: ${outcome.detail}`;
}

describe("what is reported of each command (section 8.4.3)", () => {
  const records = (policy: number, ok: boolean): number[][] => {
    const commands = [C.IMAGE_MATCH, policy, D.INVOKE, policy];
    const device = newDevice();
    device.components.set("3030", a);
    const outcome = run({ shared: [...identity(), ...is(ok ? a : b)], sections: { 20: commands } }, device);
    return outcome.records
      .filter(({ section }) => section === 20)
      .map(({ offset, componentIndex }) => [offset, componentIndex]);
  };

  it.each([
    [0, [], []],
    [
      1,
      [
        [1, 0],
        [3, 0],
      ],
      [],
    ],
    [2, [], [[1, 0]]],
    [
      3,
      [
        [1, 0],
        [3, 0],
      ],
      [[1, 0]],
    ],
    [12, [], []],
  ])("policy %i", (policy, success, failure) => {
    expect([records(policy, true), records(policy, false)]).toEqual([success, failure]);
  });

  it("is as much as there is room for, and says where in a dependency too", () => {
    const many = Array.from({ length: 100 }, () => [D.INVOKE, 1]).flat();
    expect(run({ shared: identity(), sections: { 20: many } }).records).toHaveLength(64);
    expect(
      run({ shared: identity(), sections: { 20: [D.INVOKE, 1] } }, newDevice(), "update", { limits: { maxRecords: 1 } })
        .records,
    ).toHaveLength(1);
    const child = envelopeOf({ components: [["x"]], shared: identity(), sections: { 20: [C.ABORT, 2] } });
    const outcome = run(dependent(child, [D.PROCESS_DEPENDENCY, 15]), newDevice());
    expect(outcome).toMatchObject({
      ok: false,
      record: { manifestId: [1], section: 20, offset: 1, componentIndex: 0 },
    });
    expect(outcome.records.at(-1)).toMatchObject({ manifestId: [1] });
  });
});

/** A root whose install section fetches a dependency out of the envelope, checks it, and goes on. */
function dependent(child: Uint8Array, commands: CborValue[], more: Partial<Sketch> = {}): Sketch {
  const known = override([P.IMAGE_DIGEST, digestIn(child)], [P.URI, "#d"]);
  return {
    components: [["app"], ["dep"]],
    dependencies: map([[1, map([])]]),
    integrated: { "#d": child },
    shared: [...select(0), ...identity()],
    sections: { 20: [...select(1), ...known, D.FETCH, 15, C.DEPENDENCY_INTEGRITY, 15, ...commands] },
    ...more,
  };
}

describe("sequences", () => {
  const child = (section: CborValue[]): Uint8Array =>
    envelopeOf({ components: [["x"]], shared: identity(), sections: { 20: section } });

  it("a failure within a dependency is one that no try-each makes good", () => {
    const failing = child([...is(b), C.IMAGE_MATCH, 15]);
    const process = [D.PROCESS_DEPENDENCY, 15];
    expect(run(dependent(failing, process))).toMatchObject({ ok: false, reason: "condition-failed" });
    const tried = run(dependent(failing, [D.TRY_EACH, [seq(...soft(true), ...process), null]]));
    expect(tried).toMatchObject({ ok: false, reason: "condition-failed", record: { manifestId: [1] } });
    expect(run(dependent(child(write("x")), [D.TRY_EACH, [seq(...process), null]]))).toMatchObject({ ok: true });
  });

  it("all components, one of them a dependency, have it processed once; one that is none cannot be", () => {
    const device = newDevice();
    const sketch = dependent(child(write("done")), [...select(true), D.PROCESS_DEPENDENCY, 15]);
    expect(run(sketch, device)).toMatchObject({ ok: true });
    expect(device.components.get("78")).toEqual(utf8("done"));
    const wrong = dependent(child(write("x")), [D.PROCESS_DEPENDENCY, 15, ...select(0), D.PROCESS_DEPENDENCY, 15]);
    expect(run(wrong)).toMatchObject({
      ok: false,
      reason: "component-unsupported",
      detail: "component 0 is no dependency",
    });
    const several = dependent(
      child(write("x")),
      [D.PROCESS_DEPENDENCY, 15, ...select([0, 1]), D.PROCESS_DEPENDENCY, 15],
      {
        components: [["app"], ["dep"], ["other"]],
      },
    );
    expect(run(several)).toMatchObject({ ok: false, detail: "component 0 is no dependency" });
    expect(fate([D.PROCESS_DEPENDENCY, 15])).toBe("component-unsupported: component 0 is no dependency");
  });

  it("a section that another one hides is looked into for what it processes", () => {
    const inner = child(write("x"));
    const process = [D.PROCESS_DEPENDENCY, 15];
    for (const commands of [
      [D.RUN_SEQUENCE, seq(...process)],
      [D.TRY_EACH, [seq(...is(a)), seq(...process)]],
      [D.TRY_EACH, [seq(D.RUN_SEQUENCE, seq(...process)), null]],
    ]) {
      const reason = run(dependent(inner, commands as CborValue[]));
      expect(reason.ok ? "ok" : reason.detail).not.toMatch(/no section of update processes/);
    }
    expect(run(dependent(inner, is(a)))).toMatchObject({
      ok: false,
      detail: "no section of update processes the dependencies",
    });
    expect(run(dependent(inner, [D.RUN_SEQUENCE, seq(...is(a))]))).toMatchObject({
      detail: "no section of update processes the dependencies",
    });
    expect(run(dependent(inner, process), newDevice(), "update", { open: undefined })).toMatchObject({
      detail: "dependencies are not supported here",
    });
  });

  it("try-each takes the first that succeeds, and where the last is nil none has to", () => {
    const wrong = (text: string): Uint8Array => seq(...is(b), C.IMAGE_MATCH, 15, ...write(text));
    const device = newDevice();
    device.components.set("3030", a);
    expect(fate([D.TRY_EACH, [wrong("1"), wrong("2"), null]], {}, device)).toBe("ok");
    expect(fate([D.TRY_EACH, [wrong("1"), wrong("2")]], {}, device)).toBe(
      "condition-failed: image-match does not hold",
    );
    expect(fate([D.TRY_EACH, [wrong("1"), seq(...write("2")), seq(...write("3"))]], {}, device)).toBe("ok");
    expect(device.components.get("3030")).toEqual(utf8("2"));
    for (const none of [[], [null], 5, "x"])
      expect(fate([D.TRY_EACH, none as CborValue])).toBe("cbor-parse: try-each takes a list of sequences");
    expect(fate([D.TRY_EACH, [seq(...soft(false), ...is(b), C.IMAGE_MATCH, 15), null]], {}, device)).toMatch(
      /^condition-failed/,
    );
  });

  it("run-sequence ends softly only where it says so, and leaves no parameter behind", () => {
    const inner = (on: boolean): CborValue[] => [
      D.RUN_SEQUENCE,
      seq(...soft(on), ...uri("/x"), ...is(b), C.IMAGE_MATCH, 15, ...write("no")),
    ];
    expect(fate(inner(false))).toMatch(/^condition-failed/);
    expect(fate(inner(true))).toBe("ok");
    expect(fate([...inner(true), D.FETCH, 15])).toBe("operation-failed: fetch lacks its URI");
    expect(fate(soft(true))).toBe("operation-failed: soft-failure is for try-each and run-sequence only");
  });

  it("are nested eight deep, and no deeper", () => {
    const nested = (depth: number): CborValue[] =>
      depth === 0 ? write("deep") : [D.RUN_SEQUENCE, seq(...nested(depth - 1))];
    expect(fate(nested(8))).toBe("ok");
    expect(fate(nested(9))).toBe("operation-failed: sequences deeper than 8");
  });

  it("without strict order select a component first, and once", () => {
    const selecting = (...commands: CborValue[]): CborValue[] => [
      ...select(0),
      ...strict(false),
      D.RUN_SEQUENCE,
      seq(...commands),
    ];
    const rule = "operation-failed: without strict order a sequence selects its component first, and once";
    const wide = { components: two };
    expect(fate(selecting(...select(1), ...write("x")), wide)).toBe("ok");
    expect(fate(selecting(...write("x")), wide)).toBe(rule);
    expect(fate(selecting(...select(1), ...write("x"), ...select(0)), wide)).toBe(rule);
    const preset = (...commands: CborValue[]): CborValue[] => [
      ...select([0, 1]),
      ...strict(false),
      D.RUN_SEQUENCE,
      seq(...commands),
    ];
    expect(fate(preset(...write("x")), wide)).toBe("ok");
    expect(fate(preset(...select(1), ...write("x")), wide)).toBe(rule);
    expect(fate([...select(0), ...strict(true), D.RUN_SEQUENCE, seq(...write("x"))], wide)).toBe("ok");
  });

  it("without strict order no component is source and target both", () => {
    const device = newDevice();
    for (const name of ["61", "62"]) device.components.set(name, a);
    const copy = (into: number, from: number): CborValue[] => [
      ...select(into),
      ...override([P.SOURCE_COMPONENT, from]),
      D.COPY,
      15,
    ];
    const wide = { components: two };
    expect(fate([...copy(0, 1), ...copy(1, 0)], wide, device)).toBe("ok");
    expect(fate([...select(0), ...strict(false), ...copy(0, 1), ...copy(1, 0)], wide, device)).toBe(
      "operation-failed: component 61 is source and target at once",
    );
    expect(fate([...select(0), ...strict(false), ...copy(0, 1), ...strict(true), ...copy(1, 0)], wide, device)).toBe(
      "ok",
    );
    expect(fate([...select(0), ...strict(false), ...select(1), ...write("x"), ...copy(0, 1)], wide, device)).toMatch(
      /source and target at once/,
    );
  });
});

describe("commands that are none", () => {
  it.each<[string, CborValue[], Partial<Sketch>]>([
    ["command-unsupported: command 99 is not known here", [99, 15], {}],
    ["command-unsupported: command -256 is not known here", [-256, 15], {}],
    ["command-unsupported: command -257 is the vendor's own and not known here", [-257, 15], {}],
    ["parameter-unsupported: parameter -256 is not known here", override([-256, 1]), {}],
    ["parameter-unsupported: parameter -257 is the vendor's own and not known here", override([-257, 1]), {}],
    ["cbor-parse: a parameter's key must be a number", override(["x", 1]), {}],
    ["cbor-parse: parameters must be a map that is not empty", [D.OVERRIDE_PARAMETERS, map([])], {}],
    ["cbor-parse: parameters must be a map that is not empty", [D.OVERRIDE_PARAMETERS, 5], {}],
    ["cbor-parse: parameter 12 has a value of the wrong kind", override([P.STRICT_ORDER, 1]), {}],
    ["cbor-parse: command 3 takes a reporting policy", [C.IMAGE_MATCH, 16], {}],
    ["cbor-parse: command 3 takes a reporting policy", [C.IMAGE_MATCH, -1], {}],
    ["cbor-parse: command 3 takes a reporting policy", [C.IMAGE_MATCH, "15"], {}],
    ["cbor-parse: set-component-index names no component", select([]), {}],
    ["cbor-parse: set-component-index names a component twice", select([0, 0]), {}],
    ["cbor-parse: a component index must be an unsigned integer", select(-1), {}],
    ["cbor-parse: a component index must be an unsigned integer", select(false), {}],
    ["component-unsupported: component index 3 does not exist", select(3), {}],
    [
      "cbor-parse: a sequence must begin with set-component-index where there are several components",
      write("x"),
      { components: two },
    ],
    ["cbor-parse: override-multiple takes a map", [D.OVERRIDE_MULTIPLE, 5], {}],
    ["cbor-parse: override-multiple takes a map", [D.OVERRIDE_MULTIPLE, map([])], {}],
    ["cbor-parse: copy-params takes a map", [D.COPY_PARAMS, 5], {}],
    ["cbor-parse: copy-params takes a map", [D.COPY_PARAMS, map([])], {}],
    ["cbor-parse: copy-params takes lists of parameters", [D.COPY_PARAMS, map([[0, 5]])], {}],
    ["cbor-parse: a parameter's key must be a number", [D.COPY_PARAMS, map([[0, ["x"]]])], {}],
    ["cbor-parse: a parameter's key must be a number", [D.COPY_PARAMS, map([[0, [P.STRICT_ORDER]]])], {}],
    ["operation-failed: the source component is not set", [D.COPY, 15], {}],
    ["operation-failed: a component cannot be its own source", [...override([P.SOURCE_COMPONENT, 0]), D.SWAP, 15], {}],
    ["operation-failed: write lacks its content", [D.WRITE, 15], {}],
    ["operation-failed: fetch lacks its URI", [D.FETCH, 15], {}],
    ["operation-failed: wait lacks what it waits for", [D.WAIT, 15], {}],
    ["operation-failed: component 3030 was unlinked by this manifest before", [D.UNLINK, 15, D.UNLINK, 15], {}],
    ["condition-failed: write before vendor and class were checked", write("x"), { shared: [] }],
    [
      "condition-failed: device-identifier does not hold",
      [...override([P.DEVICE_IDENTIFIER, CLASS]), C.DEVICE_IDENTIFIER, 15],
      {},
    ],
    [
      "alg-unsupported: a digest must be SHA-256 (-16)",
      [...override([P.IMAGE_DIGEST, encodeCbor([-16, new Uint8Array(31)])]), C.IMAGE_MATCH, 15],
      {},
    ],
    [
      "alg-unsupported: a digest must be SHA-256 (-16)",
      [...override([P.IMAGE_DIGEST, encodeCbor([-43, new Uint8Array(32)])]), C.IMAGE_MATCH, 15],
      {},
    ],
    [
      "cbor-parse: a SUIT_Digest is [algorithm, bytes]",
      [...override([P.IMAGE_DIGEST, encodeCbor([-16])]), C.IMAGE_MATCH, 15],
      {},
    ],
  ])("%s", (message, commands, more) => {
    expect(fate(commands, more)).toBe(message);
  });

  it("in the shared sequence only what it may hold", () => {
    const shared = (...commands: CborValue[]) =>
      run({ shared: [...identity(), ...commands], sections: { 20: [C.ABORT, 15] } });
    expect(shared(...content(a), D.WRITE, 15)).toMatchObject({
      reason: "command-unsupported",
      detail: "write may not stand in the shared sequence",
    });
    expect(shared(D.PROCESS_DEPENDENCY, 15)).toMatchObject({
      detail: "process-dependency may not stand in the shared sequence",
    });
    expect(shared(D.RUN_SEQUENCE, seq(...uri("/")))).toMatchObject({ reason: "condition-failed" });
    const none = run({ sections: { 20: [D.INVOKE, 15] } }, newDevice(), "update", {
      supports: (code) => code !== D.INVOKE,
    });
    expect(none).toMatchObject({ detail: `command ${D.INVOKE} is not known here` });
  });

  it("a vendor may be a private enterprise number", () => {
    const pen = override([P.VENDOR_IDENTIFIER, tagged(112, new Uint8Array(3))]);
    expect(fate([...pen, ...uri("/")])).not.toMatch(/wrong kind/);
  });
});

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
    ["no-payload: nothing in this manifest is fetched, so there is nothing to serve", { sections: { 20: write("x") } }],
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
