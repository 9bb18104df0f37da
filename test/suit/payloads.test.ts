import { describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { encodePatchArguments } from "../../src/suit/delta.ts";
import { bytesBehind, contentsOf, payloadsOf } from "../../src/suit/payloads.ts";
import type { PlannedWay } from "../../src/suit/plan.ts";
import type { Action } from "../../src/suit/processor/effects.ts";
import { utf8 } from "../../src/util/bytes.ts";
import { sha256 } from "../support/suit-build.ts";

const component = [utf8("app")];
const none = { encryption: undefined, metadata: undefined, args: undefined };
const [a, b] = [sha256(utf8("a")), sha256(utf8("b"))];
type Fetch = Extract<Action, { kind: "fetch" }>;
type Store = Extract<Action, { kind: "store" }>;
const fetch = (more: Partial<Fetch> = {}): Fetch => ({
  ...none,
  kind: "fetch",
  component,
  uri: "/a",
  digest: a,
  size: 10,
  ...more,
});
const store = (more: Partial<Store> = {}): Store => ({
  ...none,
  kind: "store",
  component,
  digest: a,
  size: 1,
  content: utf8("a"),
  isDependency: false,
  ...more,
});
const ways = (...steps: Action[]): PlannedWay[] =>
  steps.map((step) => ({
    steps: [step],
    outcome: { ok: true, components: [] } as never,
    deeds: [],
    stored: new Map(),
  }));

describe("payloads that devices fetch", () => {
  const found = (...steps: Action[]) => payloadsOf(ways(...steps)).length;

  it("are each there once, whichever way leads to them and wherever they go", () => {
    expect(payloadsOf(ways(fetch(), fetch({ component: [utf8("radio")] }), fetch({ digest: a.slice() })))).toEqual([
      { component, uri: "/a", digest: a, size: 10, encrypted: false, isPatch: false },
    ]);
    expect(found(fetch({ digest: undefined }), fetch({ digest: undefined }))).toBe(1);
  });

  it.each<[string, Partial<Fetch>]>([
    ["URI", { uri: "/b" }],
    ["size", { size: 11 }],
    ["size, or none", { size: undefined }],
    ["digest", { digest: b }],
    ["digest, or none", { digest: undefined }],
    ["kind", { args: encodePatchArguments({ digest: a, size: 10 }) }],
  ])("are two with another %s", (_what, other) => {
    expect([found(fetch(), fetch(other)), found(fetch(other), fetch())]).toEqual([2, 2]);
  });

  it("are marked as encrypted where they are decrypted as they come, and are none where they are stored", () => {
    const encryption = utf8("info");
    expect(payloadsOf(ways(fetch({ encryption }), store()))).toMatchObject([{ uri: "/a", encrypted: true }]);
  });

  it("are patches with their own digest and size where the arguments say so, and no others", () => {
    expect(bytesBehind(fetch({ args: encodePatchArguments({ digest: b, size: 3 }) }))).toEqual({
      digest: b,
      size: 3,
      isPatch: true,
    });
    for (const args of [undefined, utf8("x")])
      expect(bytesBehind(fetch({ args }))).toEqual({ digest: a, size: 10, isPatch: false });
  });
});

describe("contents that come with a manifest", () => {
  const found = (...steps: Action[]) => contentsOf(nodeCrypto, ways(...steps));

  it("have the digest that was signed where they are integrated, and their own where they are written out", () => {
    expect(found(store({ uri: "#a", digest: b, size: 7 }))).toMatchObject([{ uri: "#a", digest: b, size: 7 }]);
    expect(found(store({ digest: b, size: 7 }))).toMatchObject([{ uri: "", digest: a, size: 1, content: utf8("a") }]);
  });

  it("are each there once, unless digest, size or bytes differ", () => {
    expect(found(store(), store({ component: [utf8("radio")] }), store({ content: utf8("a") }))).toHaveLength(1);
    const integrated = store({ uri: "#a" });
    for (const other of [{ digest: b }, { digest: undefined }, { size: 2 }, { content: utf8("b") }])
      expect(found(integrated, { ...integrated, ...other })).toHaveLength(2);
    expect(found(store({ uri: "#a", digest: undefined }), store({ uri: "#b", digest: undefined }))).toHaveLength(1);
  });

  it("are marked where they are decrypted as they are stored; dependencies and what is fetched are none", () => {
    expect(found(store({ encryption: utf8("info") }))).toMatchObject([{ encrypted: true, isPatch: false }]);
    expect(found(store())).toMatchObject([{ encrypted: false }]);
    expect(found(store({ isDependency: true }), fetch())).toEqual([]);
  });
});
