import { describe, expect, it } from "vitest";
import { encodeCbor, type CborValue } from "../../src/codec/cbor.ts";
import { Condition as C, Directive as D, Parameter as P } from "../../src/suit/keys.ts";
import { utf8 } from "../../src/util/bytes.ts";
import { envelopeOf, identity, map, newDevice, open, run, seq, suitDigest } from "../support/suit-build.ts";

const INSTALL = 20;
const IMAGE = utf8("an image of some bytes");
const served = { fetch: (uri: string) => (uri === "/i" ? IMAGE : undefined) };
const image = [P.IMAGE_DIGEST, suitDigest(IMAGE)] as const;
const size = [P.IMAGE_SIZE, IMAGE.length] as const;
const FETCH = [D.OVERRIDE_PARAMETERS, map([[P.URI, "/i"]]), D.FETCH, 15, C.IMAGE_MATCH, 15];
const write = (text: string): CborValue[] => [D.OVERRIDE_PARAMETERS, map([[P.CONTENT, utf8(text)]]), D.WRITE, 15];

describe("try-each and run-sequence (sections 8.4.8.15, 8.4.10.2, 8.4.10.8)", () => {
  const outcomeOf = (...commands: CborValue[]): { result: string; written: string[] } => {
    const device = newDevice(served);
    const outcome = run({ sections: { [INSTALL]: commands } }, device);
    const written = device.actions.flatMap((action) =>
      action.kind === "store" ? [Buffer.from(action.content).toString()] : [],
    );
    return { result: outcome.ok ? "ok" : outcome.reason, written };
  };
  const w = (text: string): CborValue[] => write(text);
  const soft = (on: boolean): CborValue[] => [20, map([[P.SOFT_FAILURE, on]])];
  const none = [C.ABORT, 15];

  it("takes the first sequence that succeeds", () => {
    expect(outcomeOf(D.TRY_EACH, [seq(...none, ...w("1")), seq(...w("2")), seq(...w("3"))])).toEqual({
      result: "ok",
      written: ["2"],
    });
  });

  it("fails when all do, unless it ends with nil", () => {
    expect(outcomeOf(D.TRY_EACH, [seq(...none), seq(...none)], ...w("x"))).toEqual({
      result: "condition-failed",
      written: [],
    });
    expect(outcomeOf(D.TRY_EACH, [seq(...none), seq(...none), null], ...w("x"))).toEqual({
      result: "ok",
      written: ["x"],
    });
  });

  it("does not go on after a failed directive, whatever soft-failure says", () => {
    const broken = [20, map([[P.URI, "/none"]]), D.FETCH, 15];
    expect(outcomeOf(D.TRY_EACH, [seq(...soft(true), ...broken), seq(...w("2"))])).toEqual({
      result: "operation-failed",
      written: [],
    });
  });

  it("does not go on where soft-failure was switched off", () => {
    expect(outcomeOf(D.TRY_EACH, [seq(...soft(false), ...none), seq(...w("2"))])).toEqual({
      result: "condition-failed",
      written: [],
    });
  });

  it("a run-sequence fails with its condition, or halts softly where that was asked", () => {
    expect(outcomeOf(D.RUN_SEQUENCE, seq(...none), ...w("x"))).toEqual({ result: "condition-failed", written: [] });
    expect(outcomeOf(D.RUN_SEQUENCE, seq(...soft(true), ...w("1"), ...none, ...w("2")), ...w("x"))).toEqual({
      result: "ok",
      written: ["1", "x"],
    });
  });

  it("what a sequence has set that failed softly is as it was before", () => {
    const set = (text: string): CborValue[] => [D.OVERRIDE_PARAMETERS, map([[P.CONTENT, utf8(text)]])];
    const act = [D.WRITE, 15];
    const branches = [seq(...set("failed"), ...none), seq(...act)];
    expect(outcomeOf(...set("before"), D.TRY_EACH, branches).written).toEqual(["before"]);
    const halting = seq(...soft(true), ...set("failed"), ...none);
    expect(outcomeOf(...set("before"), D.RUN_SEQUENCE, halting, ...act).written).toEqual(["before"]);
  });

  it("soft-failure is not inherited, and ends with its sequence", () => {
    const inner = seq(D.RUN_SEQUENCE, seq(...none), ...w("after"));
    // The inner sequence's failure is a condition's, so the outer one that is soft halts on it.
    expect(outcomeOf(D.TRY_EACH, [inner, seq(...w("2"))])).toEqual({ result: "ok", written: ["2"] });
    expect(outcomeOf(D.RUN_SEQUENCE, seq(...soft(true)), D.RUN_SEQUENCE, seq(...none))).toMatchObject({
      result: "condition-failed",
    });
  });

  it("depth, commands and branches are bounded", () => {
    let nested = seq(...none);
    for (let i = 0; i < 12; i++) nested = seq(D.RUN_SEQUENCE, nested);
    expect(outcomeOf(D.RUN_SEQUENCE, nested)).toMatchObject({ result: "operation-failed" });
    const many = seq(...Array.from({ length: 600 }, () => w("x")).flat());
    expect(
      outcomeOf(D.RUN_SEQUENCE, many, D.RUN_SEQUENCE, many, D.RUN_SEQUENCE, many, D.RUN_SEQUENCE, many).result,
    ).toBe("operation-failed");
    for (const argument of [[], [null], 5, seq(...none)])
      expect(outcomeOf(D.TRY_EACH, argument)).toMatchObject({ result: "cbor-parse" });
  });
});

describe("severable members (section 5.4)", () => {
  const sketch = { shared: identity(image, size), sections: { [INSTALL]: FETCH } };

  it("are read from the envelope", () => {
    expect(run({ ...sketch, sever: [INSTALL] }, newDevice(served))).toMatchObject({ ok: true });
  });

  it("are missed when their section comes", () => {
    expect(run({ ...sketch, sever: [INSTALL], drop: [INSTALL] }, newDevice(served))).toMatchObject({
      ok: false,
      reason: "severing-unsupported",
    });
  });
});

describe("dependencies (trust-domains)", () => {
  const CHILD = {
    shared: identity(),
    components: [["c"]],
    sections: { [INSTALL]: [D.SET_PARAMETERS, map([[P.CONTENT, utf8("child")]]), D.WRITE, 15], 24: [D.UNLINK, 15] },
  };
  const child = envelopeOf(CHILD);
  const digestOfChild = encodeCbor([-16, open(child).digest]);
  const parent = (install: CborValue[], extra: object = {}): Uint8Array =>
    envelopeOf({
      components: [["own"], ["dep"]],
      dependencies: map([[1, map([])]]),
      shared: [D.SET_COMPONENT_INDEX, 0, ...identity(), 12, 1, 20, map([[P.IMAGE_DIGEST, digestOfChild]])],
      sections: {
        15: [12, 1, 20, map([[P.URI, "#child"]]), D.FETCH, 15, C.DEPENDENCY_INTEGRITY, 15, D.PROCESS_DEPENDENCY, 15],
        [INSTALL]: install,
      },
      integrated: { "#child": child },
      ...extra,
    });

  it("is fetched, verified and processed section by section", () => {
    const device = newDevice();
    expect(run(parent([12, 1, D.PROCESS_DEPENDENCY, 15]), device)).toMatchObject({ ok: true });
    expect(Buffer.from(device.components.get("63")!).toString()).toBe("child");
  });

  it("must be processed in each section that it has", () => {
    expect(run(parent(write("own").toSpliced(0, 0, 12, 0)), newDevice())).toMatchObject({
      reason: "operation-failed",
      detail: /was not processed/,
    });
  });

  it("its set-parameters yield to what the dependent set, for all else it persists", () => {
    const device = newDevice();
    const shared = [
      D.SET_COMPONENT_INDEX,
      0,
      ...identity(),
      12,
      1,
      20,
      map([[P.IMAGE_DIGEST, digestOfChild]]),
      12,
      2,
      20,
      map([[P.CONTENT, utf8("parent")]]),
    ];
    const outcome = run(
      parent([12, 1, D.PROCESS_DEPENDENCY, 15], { components: [["own"], ["dep"], ["c"]], shared }),
      device,
    );
    expect(outcome).toMatchObject({ ok: true });
    expect(Buffer.from(device.components.get("63")!).toString()).toBe("parent");
  });

  it("is not processed before its integrity was checked, nor where it is none", () => {
    const unchecked = { sections: { [INSTALL]: [12, 1, D.PROCESS_DEPENDENCY, 15] } };
    expect(run(parent([], unchecked))).toMatchObject({ ok: false, reason: "unauthorised" });
    expect(run(parent([12, 0, D.PROCESS_DEPENDENCY, 15]))).toMatchObject({
      ok: false,
      reason: "component-unsupported",
    });
  });

  it("with true, process-dependency takes the dependencies only, and is-dependency tells them", () => {
    expect(run(parent([12, true, D.PROCESS_DEPENDENCY, 15]))).toMatchObject({ ok: true });
    expect(run(parent([12, 1, C.IS_DEPENDENCY, 15, D.PROCESS_DEPENDENCY, 15]))).toMatchObject({ ok: true });
    expect(run(parent([12, 1, D.PROCESS_DEPENDENCY, 15, 12, 0, C.IS_DEPENDENCY, 15]))).toMatchObject({
      reason: "condition-failed",
    });
  });

  it("is refused when it is another one, badly signed, or too deep", () => {
    const other = envelopeOf({ ...CHILD, sequenceNumber: 9 });
    expect(run(parent([12, 1, D.PROCESS_DEPENDENCY, 15], { integrated: { "#child": other } }))).toMatchObject({
      reason: "condition-failed",
    });
    const broken = child.slice();
    broken[40]! ^= 1;
    expect(run(parent([12, 1, D.PROCESS_DEPENDENCY, 15], { integrated: { "#child": broken } }))).toMatchObject({
      reason: "unauthorised",
    });
    expect(
      run(parent([12, 1, D.PROCESS_DEPENDENCY, 15]), newDevice(), "update", { limits: { maxDependencyDepth: 0 } }),
    ).toMatchObject({ reason: "operation-failed" });
    expect(run(parent([12, 1, D.PROCESS_DEPENDENCY, 15]), newDevice(), "update", { open: undefined })).toMatchObject({
      reason: "component-unsupported",
    });
  });

  it("what was fetched over it is checked again", () => {
    const again = [12, 1, D.FETCH, 15, D.PROCESS_DEPENDENCY, 15];
    expect(run(parent(again))).toMatchObject({ ok: false, reason: "unauthorised" });
  });

  it("a prefix goes before the components of the dependency", () => {
    const device = newDevice();
    const sketch = parent([12, 1, D.PROCESS_DEPENDENCY, 15], { dependencies: map([[1, map([[1, [utf8("p")]]])]]) });
    expect(run(sketch, device)).toMatchObject({ ok: true });
    expect(device.components.has("70.63")).toBe(true);
  });

  it("uninstall unlinks", () => {
    const device = newDevice();
    device.components.set("63", utf8("x"));
    expect(run(child, device, "uninstall")).toMatchObject({ ok: true });
    expect(device.components.size).toBe(0);
  });
});
