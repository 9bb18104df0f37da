import { describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import type { CborValue } from "../../src/codec/cbor.ts";
import { signEnvelope } from "../../src/suit/author.ts";
import { buildEnvelope } from "../../src/suit/build.ts";
import { EnvelopeError } from "../../src/suit/envelope.ts";
import { Condition as C, Directive as D, Parameter as P } from "../../src/suit/keys.ts";
import { failureOf, PLAN_LIMITS, planProcedure } from "../../src/suit/plan.ts";
import { openRelease } from "../../src/suit/release.ts";
import { utf8 } from "../../src/util/bytes.ts";
import {
  AUTHOR,
  CLASS,
  digestIn,
  envelopeOf,
  identity,
  map,
  open,
  override,
  seq,
  sha256,
  suitDigest,
  trust,
  VENDOR,
  type Sketch,
} from "../support/suit-build.ts";

const INSTALL = 20;
const [good, evil] = [utf8("what the gateway shows"), utf8("what the device would take")];
const image = (bytes: Uint8Array): CborValue[] => [
  D.OVERRIDE_PARAMETERS,
  map([
    [P.IMAGE_DIGEST, suitDigest(bytes)],
    [P.IMAGE_SIZE, bytes.length],
    [P.URI, "/i"],
  ]),
];
const slot = (n: number): CborValue[] => [D.OVERRIDE_PARAMETERS, map([[P.COMPONENT_SLOT, n]]), C.COMPONENT_SLOT, 15];
const fetch = [D.FETCH, 15, C.IMAGE_MATCH, 15];
const soft = [D.OVERRIDE_PARAMETERS, map([[P.SOFT_FAILURE, true]])];

function reasonOf(...commands: CborValue[]): string {
  const sketch: Sketch = { sections: { [INSTALL]: commands } };
  const opened = openRelease(nodeCrypto, envelopeOf(sketch), trust);
  return opened.ok ? "ok" : opened.reason;
}

describe("a plan shows what a device does, or there is none", () => {
  it("by slot: a condition, and then what is fetched there", () => {
    const branches = [seq(...slot(0), ...image(good)), seq(...slot(1), ...image(evil))];
    expect(reasonOf(D.TRY_EACH, branches, ...fetch)).toBe("ok");
  });

  it("one bad way is enough for a refusal, though others are good", () => {
    const broken = [...slot(1), D.WRITE, 15];
    expect(reasonOf(...image(good), ...fetch, D.TRY_EACH, [seq(...slot(0)), seq(...broken)])).toBe("not-processable");
  });

  it("a last branch that turns the device away before anything was done is none", () => {
    const branches = [seq(...slot(0), ...image(good)), seq(...slot(1), ...image(good)), seq(C.ABORT, 15)];
    expect(reasonOf(D.TRY_EACH, branches, ...fetch)).toBe("ok");
  });

  it("asks another component what it holds, and fetches a patch for that or all of it", () => {
    const sketch = (...commands: CborValue[]): Sketch => ({
      components: [["old"], ["new"]],
      shared: [D.SET_COMPONENT_INDEX, 0, ...identity()],
      sections: { [INSTALL]: commands },
    });
    const uri = (text: string): CborValue[] => [D.OVERRIDE_PARAMETERS, map([[P.URI, text]])];
    const precursor = [D.SET_COMPONENT_INDEX, 0, ...image(evil), C.IMAGE_MATCH, 15, D.SET_COMPONENT_INDEX, 1];
    const branches = [seq(...precursor, ...uri("/patch")), seq(D.SET_COMPONENT_INDEX, 1, ...uri("/full"))];
    const commands = [D.SET_COMPONENT_INDEX, 1, ...image(good), D.TRY_EACH, branches, ...fetch];
    expect(openRelease(nodeCrypto, envelopeOf(sketch(...commands)), trust)).toMatchObject({
      release: { images: [{ uri: "/patch" }, { uri: "/full" }] },
    });
    const taken = [...commands, D.SET_COMPONENT_INDEX, 0, ...uri("/other"), ...fetch];
    expect(openRelease(nodeCrypto, envelopeOf(sketch(...taken)), trust)).toMatchObject({ reason: "not-processable" });
  });

  it.each([
    ["a parameter set before the condition that fails", [seq(...image(evil), ...slot(0)), seq(...image(good))]],
    ["an act before the condition that fails", [seq(...image(evil), ...fetch), seq(...image(good))]],
  ])("refuses what a failed branch leaves behind: %s", (_, branches) => {
    expect(reasonOf(...image(good), D.TRY_EACH, branches, ...fetch)).toBe("not-processable");
  });

  it("refuses a sequence that may halt anywhere, softly", () => {
    const sequence = seq(...soft, ...slot(0), ...image(evil));
    expect(reasonOf(...image(good), D.RUN_SEQUENCE, sequence, ...fetch)).toBe("not-processable");
  });

  it("refuses what has more ways than it looks at", () => {
    const either = (n: number): Uint8Array => seq(D.OVERRIDE_PARAMETERS, map([[P.COMPONENT_SLOT, n]]));
    const choice = [D.TRY_EACH, [either(0), either(1)]];
    const choices = Array.from({ length: Math.ceil(Math.log2(PLAN_LIMITS.maxWays)) + 1 }, () => choice).flat();
    expect(reasonOf(...choices, ...image(good), ...fetch)).toBe("not-processable");
  });

  it.each([
    [1, 16, 1],
    [2, 1, 4],
    [3, 1, 3],
    [4, 1, 2],
  ])("has room for what authors write: %i components for %i classes and %i slots", (components, classes, slots) => {
    const ids = Array.from({ length: classes }, (_, i) => new Uint8Array(16).fill(i + 1));
    const payload = (n: number, at: number) => {
      const bytes = utf8(`image ${n} ${at}`);
      return {
        slot: slots > 1 ? at : undefined,
        image: { digest: sha256(bytes), size: bytes.length },
        uri: `/i/${n}${at}`,
      };
    };
    const parts = Array.from({ length: components }, (_, n) => ({
      id: [utf8(`c${n}`)],
      payloads: Array.from({ length: slots }, (_one, at) => payload(n, at)),
    }));
    const update = { sequenceNumber: 1, vendorId: VENDOR, classIds: ids, components: parts };
    const envelope = signEnvelope(nodeCrypto, AUTHOR, buildEnvelope(nodeCrypto, update));
    const opened = openRelease(nodeCrypto, envelope, trust);
    expect(opened.ok && [opened.release.images.length, opened.release.classIds.length]).toEqual([
      components * slots,
      classes,
    ]);
  });

  it("authenticates a dependency once, however many ways lead through it, and refuses it as often as it is bad", () => {
    const child = envelopeOf({ components: [["x"]], shared: [], sections: {} });
    const choice = [
      D.TRY_EACH,
      [seq(...override([P.INVOKE_ARGS, utf8("a")])), seq(...override([P.INVOKE_ARGS, utf8("b")]))],
    ];
    const process = [C.DEPENDENCY_INTEGRITY, 15, D.PROCESS_DEPENDENCY, 15];
    const root = open(
      envelopeOf({
        components: [["app"], ["dep"]],
        dependencies: map([[1, map([])]]),
        integrated: { "#d": child },
        shared: [D.SET_COMPONENT_INDEX, 0, ...identity()],
        sections: {
          15: [
            D.SET_COMPONENT_INDEX,
            1,
            ...override([P.IMAGE_DIGEST, digestIn(child)], [P.URI, "#d"]),
            D.FETCH,
            15,
            ...process,
          ],
          20: [
            D.SET_COMPONENT_INDEX,
            0,
            ...Array.from({ length: 6 }, () => choice).flat(),
            D.SET_COMPONENT_INDEX,
            1,
            ...process,
          ],
        },
      }),
    );
    let opened = 0;
    const opening = (isGood: boolean) => (bytes: Uint8Array) => {
      opened++;
      if (!isGood) throw new EnvelopeError("signature-invalid", "by nobody");
      return open(bytes);
    };
    const ways = planProcedure(nodeCrypto, root, "update", { open: opening(true) });
    expect([ways.length, ways.every(({ outcome }) => outcome.ok), opened]).toEqual([64, true, 1]);
    const refused = planProcedure(nodeCrypto, root, "update", { open: opening(false) });
    expect([refused.every(({ outcome }) => !outcome.ok && outcome.reason === "unauthorised"), opened]).toEqual([
      true,
      2,
    ]);
  });

  it("counts the commands of all ways together", () => {
    const choice = [
      D.TRY_EACH,
      [seq(...override([P.INVOKE_ARGS, utf8("a")])), seq(...override([P.INVOKE_ARGS, utf8("b")]))],
    ];
    const long = Array.from({ length: 470 }, () => [C.IMAGE_MATCH, 15]).flat();
    const choices = Array.from({ length: 7 }, () => choice).flat();
    const sections = { [INSTALL]: [...image(good), ...choices, ...long] };
    const ways = planProcedure(nodeCrypto, open(envelopeOf({ sections })), "update");
    expect(failureOf(ways)?.detail).toMatch(/more than 65536 commands on all its ways together/);
    expect(ways.length).toBeLessThan(128);
  });

  it("each payload is named once: by URI, digest and size", () => {
    const slots = [good, good, evil].map((bytes, i) => seq(...slot(i), ...image(bytes)));
    const opened = openRelease(
      nodeCrypto,
      envelopeOf({ sections: { [INSTALL]: [D.TRY_EACH, slots, ...fetch] } }),
      trust,
    );
    expect(opened).toMatchObject({ ok: true, release: { images: [{ size: good.length }, { size: evil.length }] } });
    expect(opened.ok && opened.release.images.map(({ encrypted }) => encrypted)).toEqual([false, false]);
  });

  it("all ways that turn the device away are a refusal, and one that fails behind an act is too", () => {
    expect(reasonOf(C.ABORT, 15)).toBe("not-processable");
    const late = [D.TRY_EACH, [seq(...slot(0)), seq(...slot(1), ...fetch, C.ABORT, 15)]];
    expect(reasonOf(...image(good), ...late, ...fetch)).toBe("not-processable");
  });

  it("has each command counted", () => {
    const many = Array.from({ length: PLAN_LIMITS.maxCommands }, () => [C.IMAGE_MATCH, 15]).flat();
    many.unshift(...(image(good) as number[]));
    const ways = planProcedure(nodeCrypto, open(envelopeOf({ sections: { [INSTALL]: many } })), "update");
    expect(failureOf(ways)).toMatchObject({ reason: "operation-failed" });
  });

  it("the identity that it is planned for is the manifest's", () => {
    const opened = openRelease(nodeCrypto, envelopeOf({ sections: { [INSTALL]: [...image(good), ...fetch] } }), trust);
    expect(opened).toMatchObject({ ok: true, release: { vendorId: VENDOR, classId: CLASS } });
  });
});
