import { describe, expect, it } from "vitest";
import { encodeCbor, type CborValue } from "../../src/codec/cbor.ts";
import type { Verifier } from "../../src/codec/cose.ts";
import type { Right } from "../../src/suit/rights.ts";
import { Directive as D } from "../../src/suit/keys.ts";
import {
  anchorsOf,
  applyTransfer,
  decodeTransfer,
  decodeTrust,
  encodeTransfer,
  encodeTrust,
  mostTrustBytes,
  permits,
  trustOf,
  TRUST_COMPONENT,
  type DeviceTrust,
} from "../../src/suit/trust.ts";
import { utf8 } from "../../src/util/bytes.ts";

const key = (n: number): Verifier => ({ algorithm: "Ed25519", bytes: new Uint8Array(32).fill(n) });
const [author, other, escrow, q1, q2, q3, operator, stranger] = [1, 2, 3, 4, 5, 6, 7, 8].map(key);
const base: DeviceTrust = {
  epoch: 4,
  authorities: [author!, other!],
  escrow: [escrow!],
  quorum: { keys: [q1!, q2!, q3!], atLeast: 2 },
  operators: [],
};
const APP = [utf8("app")];

describe("who may change what", () => {
  it.each<[string, (Verifier | undefined)[], boolean, boolean]>([
    ["an authority", [author], true, true],
    ["an authority beside a stranger", [stranger, other], true, true],
    ["escrow", [escrow], false, true],
    ["escrow beside a stranger", [stranger, escrow], false, true],
    ["enough of the quorum", [q1, q3], false, true],
    ["too few of it", [q2], false, false],
    ["one of it, twice", [q2, q2], false, false],
    ["a stranger", [stranger], false, false],
    ["nobody", [], false, false],
  ])("%s", (_, signers, software, keys) => {
    const by = signers as Verifier[];
    expect(permits(base, by, APP, D.FETCH)).toBe(software);
    expect(permits(base, by, TRUST_COMPONENT, D.WRITE)).toBe(keys);
    for (const code of [D.FETCH, D.COPY, D.SWAP, D.UNLINK, D.INVOKE])
      expect(permits(base, by, TRUST_COMPONENT, code)).toBe(false);
  });

  it("where there is an operator software needs both, and a hand-over does not", () => {
    const operated = { ...base, operators: [operator!] };
    expect(permits(operated, [author!], APP, D.FETCH)).toBe(false);
    expect(permits(operated, [operator!], APP, D.FETCH)).toBe(false);
    expect(permits(operated, [author!, operator!], APP, D.FETCH)).toBe(true);
    expect(permits(operated, [author!], TRUST_COMPONENT, D.WRITE)).toBe(true);
    expect(permits(operated, [operator!], TRUST_COMPONENT, D.WRITE)).toBe(false);
  });

  const limited = (rights: readonly Right[]): DeviceTrust => ({
    ...base,
    authorities: [{ ...author!, rights }, other!],
  });

  it("a right is for components that begin so, and for what it names", () => {
    const trust = limited([{ component: [utf8("app")], actions: [D.FETCH, D.COPY] }, { actions: [D.INVOKE] }]);
    const may = (component: readonly string[], code: number): boolean =>
      permits(trust, [author!], component.map(utf8), code);
    expect([may(["app"], D.FETCH), may(["app", "x"], D.COPY), may(["radio"], D.INVOKE)]).toEqual([true, true, true]);
    expect([may(["apple"], D.FETCH), may([], D.FETCH), may(["app"], D.SWAP)]).toEqual([false, false, false]);
    expect(permits(trust, [author!, other!], [utf8("radio")], D.FETCH)).toBe(true); // the other one may all
    expect(permits(limited([]), [author!], APP, D.FETCH)).toBe(false);
    expect(permits(limited([{}]), [author!], APP, D.FETCH)).toBe(true);
    const twoSegments = limited([{ component: ["app", "x"].map(utf8) }]);
    expect(permits(twoSegments, [author!], APP, D.FETCH)).toBe(false);
  });

  it("who has rights and not every one hands nothing over, and keeps them through a hand-over", () => {
    const trust = limited([{ component: APP }]);
    expect(permits(trust, [author!], TRUST_COMPONENT, D.WRITE)).toBe(false);
    expect(permits(limited([{}]), [author!], TRUST_COMPONENT, D.WRITE)).toBe(false);
    expect(permits(trust, [author!, other!], TRUST_COMPONENT, D.WRITE)).toBe(true);
    const content = encodeTransfer({ epoch: 5, authorities: [author!, stranger!] });
    expect(applyTransfer(trust, content)?.authorities).toEqual([
      { ...author!, rights: [{ component: APP }] },
      stranger,
    ]);
  });

  it("a key that the quorum lists twice counts once", () => {
    const doubled = { ...base, quorum: { keys: [q1!, q1!, q2!], atLeast: 2 } };
    expect(permits(doubled, [q1!], TRUST_COMPONENT, D.WRITE)).toBe(false);
    expect(permits({ ...base, quorum: undefined }, [q1!, q2!, q3!], TRUST_COMPONENT, D.WRITE)).toBe(false);
  });

  it("every one of these keys is looked at", () => {
    expect(anchorsOf({ ...base, operators: [operator!] })).toEqual([author, other, escrow, q1, q2, q3, operator]);
    expect(anchorsOf(trustOf([author!]))).toEqual([author]);
  });
});

describe("what is kept and what is sent", () => {
  it("names each key once: a hand-over full of one key is none", () => {
    expect(decodeTransfer(encodeTransfer({ epoch: 5, authorities: [author!, other!] }))).toBeDefined();
    const twice = encodeTransfer({ epoch: 5, authorities: [author!, other!, author!] });
    expect([decodeTransfer(twice), applyTransfer(base, twice)]).toEqual([undefined, undefined]);
  });

  const point = (n: number): Verifier => ({ algorithm: "ES256", bytes: new Uint8Array(65).fill(n).fill(4, 0, 1) });
  const manyRights = (count: number): Right[] =>
    Array.from({ length: count }, (_, i) => ({ component: [utf8("blockferry"), utf8(`${i}`)], actions: [21] }));

  it.each([
    [0, 1],
    [1, 1],
    [8, 8],
    [7, 8],
    [8, 3],
  ])("%i keys with %i rights are no larger behind any hand-over than was said", (limited, count) => {
    const own = Array.from({ length: 8 }, (_, i) => ({
      ...(i % 3 === 0 ? key(i) : point(i)),
      ...(i < limited ? { rights: manyRights(count) } : {}),
    }));
    const trust: DeviceTrust = { ...base, epoch: 0, authorities: own };
    const most = mostTrustBytes(trust);
    const sizes: number[] = [];
    for (let kept = 0; kept < 256; kept++) {
      const authorities = own.map((one, i) => ((kept >> i) & 1 ? one : point(100 + i)));
      const after = applyTransfer(
        { ...trust, epoch: 0xffff_fffe },
        encodeTransfer({ epoch: 0xffff_ffff, authorities }),
      )!;
      sizes.push(encodeTrust(after).length);
    }
    expect(Math.max(...sizes)).toBe(most);
  });

  it("reads as it was written", () => {
    for (const trust of [base, trustOf([author!]), { ...base, operators: [operator!], quorum: undefined }])
      expect(decodeTrust(encodeTrust(trust))).toEqual(trust);
    const transfer = { epoch: 5, authorities: [stranger!] };
    expect(decodeTransfer(encodeTransfer(transfer))).toEqual(transfer);
    expect(applyTransfer(base, encodeTransfer(transfer))).toEqual({ ...base, ...transfer });
  });

  it("rights are kept, and what cannot be read of them is no trust at all", () => {
    const rights: Right[] = [{ component: APP, actions: [D.FETCH] }, { component: APP }, { actions: [] }, {}];
    const trust = {
      ...base,
      authorities: [
        { ...author!, rights },
        { ...other!, rights: [] },
      ],
    };
    expect(decodeTrust(encodeTrust(trust))).toEqual(trust);
    const withRights = (list: CborValue, ...more: CborValue[]): DeviceTrust | undefined =>
      decodeTrust(
        encodeCbor(
          new Map<CborValue, CborValue>([
            [1, 4],
            [2, [["Ed25519", new Uint8Array(32), list, ...more]]],
            [3, []],
            [5, []],
          ]),
        ),
      );
    expect(withRights([[null, null]])).toBeDefined();
    const wrong: CborValue[] = [
      null,
      0,
      [0],
      [[null]],
      [[null, null, null]],
      [["app", null]],
      [[["app"], null]],
      [[null, ["fetch"]]],
      [[null, [-1]]],
      [[null, 5]],
      Array.from({ length: 17 }, () => [null, null]),
    ];
    for (const list of wrong) expect(withRights(list), JSON.stringify(list)).toBeUndefined();
    expect(withRights([], 0)).toBeUndefined();
    const ofEscrow = new Map<CborValue, CborValue>([
      [1, 4],
      [2, []],
      [3, [["Ed25519", new Uint8Array(32), []]]],
      [5, []],
    ]);
    expect(decodeTrust(encodeCbor(ofEscrow))).toBeUndefined(); // escrow has no rights to name
  });

  it("a transfer that is not newer changes nothing", () => {
    for (const epoch of [0, 3, 4])
      expect(applyTransfer(base, encodeTransfer({ epoch, authorities: [other!] }))).toBeUndefined();
  });

  const pair: CborValue = ["Ed25519", new Uint8Array(32)];
  it.each<[string, CborValue]>([
    ["another version", [2, 5, [pair]]],
    ["no list", new Map([[1, 5]])],
    ["too short", [1, 5]],
    ["too long", [1, 5, [pair], 0]],
    ["a negative epoch", [1, -1, [pair]]],
    ["an epoch in words", [1, "5", [pair]]],
    ["no keys at all", [1, 5, []]],
    ["keys that are none", [1, 5, "keys"]],
    ["an unknown algorithm", [1, 5, [["RSA", new Uint8Array(32)]]]],
    ["a key in words", [1, 5, [["Ed25519", "key"]]]],
    ["a bare key", [1, 5, [new Uint8Array(32)]]],
    ["nine keys", [1, 5, Array.from({ length: 9 }, () => pair)]],
  ])("a transfer with %s is none", (_, value) => {
    expect(decodeTransfer(encodeCbor(value))).toBeUndefined();
    expect(applyTransfer(base, encodeCbor(value))).toBeUndefined();
  });

  it("eight keys are as many as there may be", () => {
    const eight = Array.from({ length: 8 }, (_, i) => key(i));
    expect(decodeTransfer(encodeTransfer({ epoch: 5, authorities: eight }))?.authorities).toHaveLength(8);
  });

  it("what is damaged in flash is no trust", () => {
    const bytes = encodeTrust(base);
    for (let cut = 0; cut < bytes.length; cut += 7) expect(decodeTrust(bytes.subarray(0, cut))).toBeUndefined();
    const keys: CborValue = [pair];
    const whole: [CborValue, CborValue][] = [
      [1, 4],
      [2, keys],
      [3, []],
      [4, [1, keys]],
      [5, []],
    ];
    expect(decodeTrust(encodeCbor(new Map(whole)))).toBeDefined();
    for (const [member, wrong] of [
      [1, "4"],
      [2, 0],
      [3, 0],
      [5, 0],
      [4, 7],
      [4, [0, keys]],
      [4, ["1", keys]],
      [4, [1, 0]],
    ] as const)
      expect(decodeTrust(encodeCbor(new Map(whole).set(member, wrong as CborValue))), `${member}`).toBeUndefined();
    for (const member of [1, 2, 3, 5]) {
      const less = new Map(whole);
      less.delete(member);
      expect(decodeTrust(encodeCbor(less)), `${member}`).toBeUndefined();
    }
  });
});
