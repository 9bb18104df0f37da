import { describe, expect, it } from "vitest";
import { encodeCbor, type CborValue } from "../../src/codec/cbor.ts";
import { ReportReason, Condition as C, Directive as D, Parameter as P } from "../../src/suit/keys.ts";
import { utf8 } from "../../src/util/bytes.ts";
import { CLASS, identity, map, newDevice, run, seq, suitDigest, VENDOR } from "../support/suit-build.ts";

const IMAGE = utf8("an image of some bytes");
const served = { fetch: (uri: string) => (uri === "/i" ? IMAGE : undefined) };
const image = [P.IMAGE_DIGEST, suitDigest(IMAGE)] as const;
const size = [P.IMAGE_SIZE, IMAGE.length] as const;
const uri = [P.URI, "/i"] as const;
const FETCH = [D.OVERRIDE_PARAMETERS, map([uri]), D.FETCH, 15, C.IMAGE_MATCH, 15];
const INSTALL = 20;
const write = (text: string): CborValue[] => [D.OVERRIDE_PARAMETERS, map([[P.CONTENT, utf8(text)]]), D.WRITE, 15];

const names = (device: ReturnType<typeof newDevice>): string[] =>
  [...device.components].map(([, bytes]) => Buffer.from(bytes).toString());

describe("the update procedure (draft -37 section 6)", () => {
  it("fetches, stores and verifies", () => {
    const device = newDevice(served);
    const outcome = run(
      { shared: identity(image, size), sections: { [INSTALL]: FETCH, 7: [C.IMAGE_MATCH, 15] } },
      device,
    );
    expect(outcome).toMatchObject({ ok: true });
    expect(device.components.get("3030")).toEqual(IMAGE);
    expect(outcome.records.map(({ section, offset }) => [section, offset])).toEqual([
      [3, expect.any(Number)],
      [3, expect.any(Number)],
      [20, 7],
      [20, 9],
      [3, expect.any(Number)],
      [3, expect.any(Number)],
      [7, 1],
    ]);
  });

  it.each([
    ["another vendor", { vendorIds: [CLASS] }],
    ["another class", { classIds: [VENDOR] }],
  ])("does nothing on a device of %s", (_what, model) => {
    const device = newDevice({ ...served, ...model });
    const outcome = run({ shared: identity(image, size), sections: { [INSTALL]: FETCH } }, device);
    expect(outcome).toMatchObject({ ok: false, reason: "condition-failed", section: "install" });
    expect(device.actions).toEqual([]);
  });

  it("changes nothing before vendor and class were checked", () => {
    const device = newDevice(served);
    const outcome = run({ shared: [20, map([image, size])], sections: { [INSTALL]: FETCH } }, device);
    expect(outcome).toMatchObject({ ok: false, reason: "condition-failed", detail: /before vendor and class/ });
    expect(device.actions).toEqual([]);
  });

  it("ends with the digest that does not match", () => {
    const device = newDevice({ fetch: () => utf8("an image of other byte") });
    const outcome = run({ shared: identity(image, size), sections: { [INSTALL]: FETCH } }, device);
    expect(outcome).toMatchObject({ ok: false, reason: "condition-failed", record: { section: 20, offset: 9 } });
  });

  it("runs the sections in their order, each behind the shared sequence", () => {
    const device = newDevice();
    const sections = { 7: write("7"), 15: write("15"), 16: write("16"), 18: write("18"), 20: write("20") };
    run({ sections }, device);
    expect(device.actions.map((action) => "content" in action && Buffer.from(action.content).toString())).toEqual([
      "15",
      "16",
      "18",
      "20",
      "7",
    ]);
  });
});

describe("conditions and directives", () => {
  const outcomeOf = (sequence: CborValue[], model = {}, extra = {}): string => {
    const outcome = run(
      { shared: identity(), sections: { [INSTALL]: sequence }, ...extra },
      newDevice({ ...served, ...model }),
    );
    return outcome.ok ? "ok" : outcome.reason;
  };
  const set = (...parameters: [number, CborValue][]): CborValue[] => [D.OVERRIDE_PARAMETERS, map(parameters)];
  const device16 = new Uint8Array(16).fill(0xd1);

  it.each([
    [
      "device identifier",
      [...set([P.DEVICE_IDENTIFIER, device16]), C.DEVICE_IDENTIFIER, 15],
      { deviceId: device16 },
      "ok",
    ],
    [
      "another device",
      [...set([P.DEVICE_IDENTIFIER, device16]), C.DEVICE_IDENTIFIER, 15],
      { deviceId: CLASS },
      "condition-failed",
    ],
    ["no device identifier set", [C.DEVICE_IDENTIFIER, 15], { deviceId: device16 }, "condition-failed"],
    ["slot", [...set([P.COMPONENT_SLOT, 1]), C.COMPONENT_SLOT, 15], { slots: { "3030": 1 } }, "ok"],
    ["another slot", [...set([P.COMPONENT_SLOT, 1]), C.COMPONENT_SLOT, 15], {}, "condition-failed"],
    ["content", [...set([P.CONTENT, utf8("x")]), D.WRITE, 15, C.CHECK_CONTENT, 15], {}, "ok"],
    [
      "other content",
      [...set([P.CONTENT, utf8("x")]), D.WRITE, 15, ...set([P.CONTENT, utf8("y")]), C.CHECK_CONTENT, 15],
      {},
      "condition-failed",
    ],
    ["abort", [C.ABORT, 15], {}, "condition-failed"],
    ["use before, in time", [...set([P.USE_BEFORE, 2_000]), C.USE_BEFORE, 15], { unixS: () => 1_999 }, "ok"],
    [
      "use before, too late",
      [...set([P.USE_BEFORE, 2_000]), C.USE_BEFORE, 15],
      { unixS: () => 2_000 },
      "condition-failed",
    ],
    ["use before, without a clock", [...set([P.USE_BEFORE, 2_000]), C.USE_BEFORE, 15], {}, "condition-failed"],
    ["battery", [...set([P.MINIMUM_BATTERY, 500]), C.MINIMUM_BATTERY, 15], { batteryMwh: () => 500 }, "ok"],
    [
      "battery too low",
      [...set([P.MINIMUM_BATTERY, 500]), C.MINIMUM_BATTERY, 15],
      { batteryMwh: () => 499 },
      "condition-failed",
    ],
    [
      "update authorised",
      [...set([P.UPDATE_PRIORITY, -1]), C.UPDATE_AUTHORIZED, 15],
      { authorises: (p: number) => p < 0 },
      "ok",
    ],
    [
      "update refused",
      [...set([P.UPDATE_PRIORITY, 5]), C.UPDATE_AUTHORIZED, 15],
      { authorises: (p: number) => p < 0 },
      "condition-failed",
    ],
    [
      "version",
      [...set([P.VERSION, encodeCbor([2, [1, 2]])]), C.VERSION, 15],
      { versions: { "3030": [1, 2, 7] } },
      "ok",
    ],
    [
      "version too old",
      [...set([P.VERSION, encodeCbor([2, [1, 2]])]), C.VERSION, 15],
      { versions: { "3030": [1, 2, -1, 1] } },
      "ok",
    ],
    [
      "version lower",
      [...set([P.VERSION, encodeCbor([2, [1, 2]])]), C.VERSION, 15],
      { versions: { "3030": [1, 1, 9] } },
      "condition-failed",
    ],
    ["image does not match", [...set([...image]), C.IMAGE_NOT_MATCH, 15], {}, "ok"],
    ["invoke", [...set([P.INVOKE_ARGS, utf8("a")]), D.INVOKE, 15], {}, "ok"],
    ["wait", [...set([P.WAIT_INFO, encodeCbor(map([[1, 3]]))]), D.WAIT, 15], {}, "ok"],
    [
      "wait for what nobody knows",
      [...set([P.WAIT_INFO, encodeCbor(map([[77, 3]]))]), D.WAIT, 15],
      {},
      "parameter-unsupported",
    ],
    ["write without content", [D.WRITE, 15], {}, "operation-failed"],
    ["fetch without URI", [D.FETCH, 15], {}, "operation-failed"],
    ["fetch of nothing", [...set([P.URI, "/none"]), D.FETCH, 15], {}, "operation-failed"],
    ["copy without source", [D.COPY, 15], {}, "operation-failed"],
    ["copy of itself", [...set([P.SOURCE_COMPONENT, 0]), D.COPY, 15], {}, "operation-failed"],
    ["unknown command", [99, 15], {}, "command-unsupported"],
    ["a vendor's command", [-300, 15], {}, "command-unsupported"],
    ["unknown parameter", set([99, 1]), {}, "parameter-unsupported"],
    ["a vendor's parameter", set([-300, 1]), {}, "parameter-unsupported"],
    ["a parameter of the wrong kind", set([P.URI, 3]), {}, "cbor-parse"],
    ["a policy that is none", [C.IMAGE_MATCH, 16], {}, "cbor-parse"],
    ["soft failure outside", set([P.SOFT_FAILURE, true]), {}, "operation-failed"],
    ["component index without component", [D.SET_COMPONENT_INDEX, 1, D.WRITE, 15], {}, "component-unsupported"],
    ["no component at all", [D.SET_COMPONENT_INDEX, [], D.WRITE, 15], {}, "cbor-parse"],
    [
      "another digest algorithm",
      [...set([P.IMAGE_DIGEST, encodeCbor([-44, new Uint8Array(64)])]), C.IMAGE_MATCH, 15],
      {},
      "alg-unsupported",
    ],
    ["unlink twice", [D.UNLINK, 15, D.UNLINK, 15], {}, "operation-failed"],
  ] as [string, CborValue[], object, string][])("%s", (_what, sequence, model, expected) => {
    expect(outcomeOf(sequence, model)).toBe(expected);
    expect(expected === "ok" || expected in ReportReason).toBe(true);
  });

  it("the shared sequence changes nothing and has nothing of a vendor's own", () => {
    const shared = (command: CborValue[]): string => {
      const outcome = run({ shared: [...identity(), ...command], sections: { [INSTALL]: write("x") } });
      return outcome.ok ? "ok" : outcome.reason;
    };
    expect(shared(write("y"))).toBe("command-unsupported");
    expect(shared([-300, 1])).toBe("command-unsupported");
    expect(shared([D.FETCH, 15])).toBe("command-unsupported");
  });

  it("a command that a device does not have is refused, and so is one that its signer may not give", () => {
    const options = { supports: (code: number) => code !== D.WRITE };
    expect(run({ sections: { [INSTALL]: write("x") } }, newDevice(), "update", options)).toMatchObject({
      reason: "command-unsupported",
    });
    const acl = { permits: (_: unknown, __: unknown, code: number) => code !== D.WRITE };
    expect(run({ sections: { [INSTALL]: write("x") } }, newDevice(), "update", acl)).toMatchObject({
      reason: "component-unauthorised",
    });
    const components = { hasComponent: () => false };
    expect(run({ sections: { [INSTALL]: write("x") } }, newDevice(), "update", components)).toMatchObject({
      reason: "component-unsupported",
    });
  });
});

describe("several components (section 6.5)", () => {
  const two = [["a"], ["b"]];
  const both = [D.SET_COMPONENT_INDEX, true, ...identity()];
  const device = () => newDevice(served);

  it("a sequence must begin with set-component-index", () => {
    const outcome = run({ components: two, shared: both, sections: { [INSTALL]: write("x") } });
    expect(outcome).toMatchObject({ ok: false, reason: "cbor-parse" });
  });

  it("true and a list apply a command to each of them, with its own parameters", () => {
    for (const index of [true, [0, 1]]) {
      const one = device();
      const sections = {
        [INSTALL]: [
          D.SET_COMPONENT_INDEX,
          0,
          20,
          map([[P.CONTENT, utf8("A")]]),
          12,
          1,
          20,
          map([[P.CONTENT, utf8("B")]]),
          12,
          index,
          D.WRITE,
          15,
        ],
      };
      expect(run({ components: two, shared: both, sections }, one)).toMatchObject({ ok: true });
      expect(names(one)).toEqual(["A", "B"]);
    }
  });

  it("try-each and run-sequence run once per component, for one index at a time", () => {
    const one = device();
    const inner = seq(D.WRITE, 15);
    const sections = {
      [INSTALL]: [
        12,
        0,
        20,
        map([[P.CONTENT, utf8("A")]]),
        12,
        1,
        20,
        map([[P.CONTENT, utf8("B")]]),
        12,
        true,
        D.RUN_SEQUENCE,
        inner,
        D.TRY_EACH,
        [seq(C.ABORT, 15), inner],
      ],
    };
    expect(run({ components: two, shared: both, sections }, one)).toMatchObject({ ok: true });
    expect(one.actions).toHaveLength(4);
  });

  it("copy and swap take the source component", () => {
    const one = device();
    const start = [12, 0, ...write("A"), 12, 1, ...write("B")];
    const swap = [...start, 12, 0, 20, map([[P.SOURCE_COMPONENT, 1]]), D.SWAP, 15];
    expect(run({ components: two, shared: both, sections: { [INSTALL]: swap } }, one)).toMatchObject({
      ok: true,
    });
    expect(names(one)).toEqual(["B", "A"]);
    const copy = [...start, 12, 0, 20, map([[P.SOURCE_COMPONENT, 1]]), D.COPY, 15];
    expect(run({ components: two, shared: both, sections: { [INSTALL]: copy } }, one)).toMatchObject({
      ok: true,
    });
    expect(names(one)).toEqual(["B", "B"]);
    // A swap changes its source too: who may not change that may not swap.
    const options = {
      permits: (_: unknown, [name]: readonly Uint8Array[], code: number) => code !== D.SWAP || name![0] === 0x61,
    };
    expect(
      run({ components: two, shared: both, sections: { [INSTALL]: swap } }, device(), "update", options),
    ).toMatchObject({
      reason: "component-unauthorised",
    });
  });

  it.each<[string, CborValue[], string]>([
    ["wait without events", [12, 0, D.WAIT, 15], "operation-failed"],
    ["fetch without a URI", [12, 0, D.FETCH, 15], "operation-failed"],
    ["write without content", [12, 0, D.WRITE, 15], "operation-failed"],
    ["copy from nowhere", [12, 0, D.COPY, 15], "operation-failed"],
    ["copy from itself", [12, 0, ...write("A"), 20, map([[P.SOURCE_COMPONENT, 0]]), D.COPY, 15], "operation-failed"],
    ["override-multiple of nothing", [D.OVERRIDE_MULTIPLE, map([])], "cbor-parse"],
    ["override-multiple of no map", [D.OVERRIDE_MULTIPLE, [0]], "cbor-parse"],
    ["override-multiple by a name", [D.OVERRIDE_MULTIPLE, map([["a", map([[P.URI, "/i"]])]])], "cbor-parse"],
    ["copy-params of nothing", [12, 0, D.COPY_PARAMS, map([])], "cbor-parse"],
    ["copy-params of no map", [12, 0, D.COPY_PARAMS, [1]], "cbor-parse"],
    ["copy-params of no list", [12, 0, D.COPY_PARAMS, map([[1, P.URI]])], "cbor-parse"],
    ["copy-params by a name", [12, 0, D.COPY_PARAMS, map([[1, ["uri"]]])], "cbor-parse"],
    ["copy-params of what a sequence has", [12, 0, D.COPY_PARAMS, map([[1, [P.SOFT_FAILURE]]])], "cbor-parse"],
  ])("%s ends it", (_, commands, reason) => {
    const outcome = run({ components: two, shared: both, sections: { [INSTALL]: commands } }, device());
    expect(outcome).toMatchObject({ ok: false, reason });
  });

  it("waiting and starting need no identity, and change nothing that is known", () => {
    const shared: CborValue[] = [];
    const sections = { 9: [D.INVOKE, 15] };
    expect(run({ shared, sections }, device(), "invocation")).toMatchObject({ ok: true });
  });

  it("a component is selected once", () => {
    const twice = [D.SET_COMPONENT_INDEX, [0, 0], ...write("x")];
    expect(run({ components: two, shared: both, sections: { [INSTALL]: twice } })).toMatchObject({
      reason: "cbor-parse",
    });
  });

  it("override-multiple sets parameters by index and leaves the last one selected; copy-params takes them over", () => {
    const one = device();
    const sections = {
      [INSTALL]: [
        D.OVERRIDE_MULTIPLE,
        map([
          [0, map([[P.CONTENT, utf8("A")]])],
          [1, map([[P.CONTENT, utf8("B")]])],
        ]),
        D.WRITE,
        15,
        12,
        0,
        D.COPY_PARAMS,
        map([[1, [P.CONTENT]]]),
        D.WRITE,
        15,
      ],
    };
    expect(run({ components: two, shared: both, sections }, one)).toMatchObject({ ok: true });
    expect([...one.components].map(([name, bytes]) => [name, Buffer.from(bytes).toString()])).toEqual([
      ["62", "B"],
      ["61", "B"],
    ]);
  });

  it("without strict order nothing is source and target at once (section 6.7)", () => {
    const loose = [
      12,
      true,
      20,
      map([[P.STRICT_ORDER, false]]),
      12,
      0,
      ...write("A"),
      12,
      1,
      20,
      map([[P.SOURCE_COMPONENT, 0]]),
      D.COPY,
      15,
    ];
    expect(run({ components: two, shared: both, sections: { [INSTALL]: loose } })).toMatchObject({
      reason: "operation-failed",
      detail: /source and target/,
    });
  });
});
