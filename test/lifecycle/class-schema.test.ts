import { expect, it } from "vitest";
import { ClassDefinition } from "../../src/http/class-schema.ts";

const key = (n: number): object => ({ algorithm: "Ed25519", key: n.toString(16).padStart(64, "0") });
const definition = (change: object): object => ({
  id: "00".repeat(16),
  name: "a",
  vendorId: "00".repeat(16),
  hardware: { rng: true, rtc: false, slots: 2, recoveryImage: false, ramBytes: 65_536 },
  authorities: [{ ...key(1), name: "author" }],
  ...change,
});
const is = (change: object): boolean => ClassDefinition.safeParse(definition(change)).success;
const eight = Array.from({ length: 8 }, (_, i) => key(i));

it("a class has as many keys of a kind as its devices keep, each once", () => {
  expect(is({})).toBe(true);
  for (const kind of ["escrow", "operators"]) {
    expect(is({ [kind]: eight })).toBe(true);
    expect(is({ [kind]: [...eight, key(9)] })).toBe(false);
    expect(is({ [kind]: [key(2), key(2)] })).toBe(false);
  }
  expect(is({ quorum: { keys: eight, atLeast: 8 } })).toBe(true);
  expect(is({ quorum: { keys: [key(1), key(2)], atLeast: 3 } })).toBe(false);
  expect(is({ quorum: { keys: [key(1), key(1)], atLeast: 1 } })).toBe(false);
});

it("a right to bytes names them in full", () => {
  const may = (component: string): boolean =>
    is({ authorities: [{ ...key(1), name: "author", rights: [{ component }] }] });
  expect(["app", "app/0x01", "0xAB"].map(may)).toEqual([true, true, true]);
  expect(["0x0", "app/0x", "0xzz"].map(may)).toEqual([false, false, false]);
});
