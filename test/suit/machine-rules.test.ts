import { describe, expect, it } from "vitest";
import { encodeCbor, tagged, type CborValue } from "../../src/codec/cbor.ts";
import { Condition as C, Directive as D, Parameter as P } from "../../src/suit/keys.ts";
import { utf8 } from "../../src/util/bytes.ts";
import {
  CLASS,
  digestIn,
  envelopeOf,
  identity,
  map,
  newDevice,
  override,
  run,
  seq,
  type Sketch,
} from "../support/suit-build.ts";
import { a, b, content, fate, is, select, two, uri, write } from "../support/suit-commands.ts";

const soft = (on: boolean): CborValue[] => override([P.SOFT_FAILURE, on]);
const strict = (on: boolean): CborValue[] => override([P.STRICT_ORDER, on]);

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
      const reason = run(dependent(inner, commands));
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

describe("what a dependency is known by", () => {
  const child = envelopeOf({ components: [["x"]], shared: identity(), sections: { 20: write("done") } });
  const other = envelopeOf({
    sequenceNumber: 2,
    components: [["x"]],
    shared: identity(),
    sections: { 20: write("else") },
  });
  const process = [D.PROCESS_DEPENDENCY, 15];
  /** The fate of these commands, with `there` as the dependency's envelope on the device. */
  const known = (there: Uint8Array | undefined, ...commands: CborValue[]): string => {
    const device = newDevice();
    if (there !== undefined) device.components.set("646570", there);
    const sketch = dependent(child, process);
    const outcome = run({ ...sketch, sections: { 20: [...select(1), ...commands] } }, device);
    return outcome.ok ? "ok" : `${outcome.reason}: ${outcome.detail}`;
  };
  const meant = override([P.IMAGE_DIGEST, digestIn(child)], [P.URI, "#d"]);
  const otherwise = "condition-failed: dependency 1 is not the one that is meant";

  it("by image-match, which is as good as dependency-integrity", () => {
    expect(known(child, ...meant, C.IMAGE_MATCH, 15, ...process)).toBe("ok");
    expect(known(other, ...meant, C.IMAGE_MATCH, 15, ...process)).toBe(otherwise);
    expect(known(undefined, ...meant, C.IMAGE_MATCH, 15, ...process)).toBe(otherwise);
    expect(known(child.subarray(0, 40), ...meant, C.IMAGE_MATCH, 15, ...process)).toBe(otherwise);
    expect(known(child, C.IMAGE_MATCH, 15, ...process)).toBe(otherwise);
    expect(known(child, ...process)).toBe("unauthorised: dependency 1 is used before its integrity was checked");
  });

  it("by image-not-match where it is to be fetched, whatever is there instead", () => {
    const fetched = [D.FETCH, 15, C.DEPENDENCY_INTEGRITY, 15, ...process];
    for (const there of [undefined, other, child.subarray(0, 40)])
      expect(known(there, ...meant, C.IMAGE_NOT_MATCH, 15, ...fetched)).toBe("ok");
    expect(known(child, ...meant, C.IMAGE_NOT_MATCH, 15, ...fetched)).toBe(otherwise);
    expect(known(other, ...meant, C.IMAGE_NOT_MATCH, 15, ...process)).toBe(
      "unauthorised: dependency 1 is used before its integrity was checked",
    );
  });

  it("by dependency-integrity, which aborts at once", () => {
    const integrity = [C.DEPENDENCY_INTEGRITY, 15];
    expect(known(child, ...integrity, ...process)).toBe("condition-failed: dependency 1 has no digest");
    expect(known(other, ...meant, ...integrity, ...process)).toBe(otherwise);
    expect(known(undefined, ...meant, ...integrity, ...process)).toMatch(/dependency 1 is not there/);
    expect(known(child.subarray(0, 40), ...meant, ...integrity, ...process)).toMatch(/^unauthorised: dependency 1: /);
    expect(known(child, ...meant, ...integrity, ...select(0), ...integrity, ...process)).toBe(
      "component-unsupported: component 0 is no dependency",
    );
    expect(known(child, ...meant, ...integrity, ...integrity, ...process)).toBe("ok");
  });

  it("by what it is now: once something else was put there it has to be looked at again", () => {
    const again = "unauthorised: dependency 1 is used before its integrity was checked";
    const checked = [...meant, C.DEPENDENCY_INTEGRITY, 15];
    expect(known(child, ...checked, ...override([P.CONTENT, other]), D.WRITE, 15, ...process)).toBe(again);
    const device = newDevice();
    device.components.set("646570", child).set("617070", other);
    const swapped = [
      ...select(1),
      ...checked,
      ...select(0),
      ...override([P.SOURCE_COMPONENT, 1]),
      D.SWAP,
      15,
      ...select(1),
      ...process,
    ];
    expect(run({ ...dependent(child, process), sections: { 20: swapped } }, device)).toMatchObject({
      detail: again.slice(14),
    });
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
