import { expect, it } from "vitest";
import { ADDRESS_PREFIX, DeviceAddresses } from "../../src/gateway/device-addresses.ts";
import type { StoreOp } from "../../src/ports/store.ts";
import { fromUtf8 } from "../../src/util/bytes.ts";

const held = new Set<string>();
let disk: Map<string, string>;
function make(max?: number): DeviceAddresses {
  held.clear();
  disk = new Map();
  const store = (ops: readonly StoreOp[]): void => {
    for (const op of ops)
      if (op.kind === "put") disk.set(op.key, fromUtf8(op.value)!);
      else disk.delete(op.key);
  };
  return new DeviceAddresses((device) => held.has(device), store, max);
}
const from = (address: string, fresh = true) => ({ peer: { address, port: 1 }, fresh });

it("of those that are held all are known, of the others the last ones", () => {
  const addresses = make(3);
  addresses.heardAt(from("a"), "thief");
  held.add("thief");
  addresses.changed("thief");
  for (let i = 0; i < 10; i++) expect(addresses.heardAt(from(`b${i}`), `d${i}`)).toBe(true);
  expect(addresses.at("a")).toBe("thief");
  expect(["b6", "b7", "b9"].map((address) => addresses.at(address))).toEqual([undefined, "d7", "d9"]);
  held.delete("thief");
  addresses.changed("thief");
  for (let i = 0; i < 3; i++) addresses.heardAt(from(`c${i}`), `e${i}`);
  expect(addresses.at("a")).toBeUndefined();
});

it("one that is held moves with its record, and leaves none where another one shows itself", () => {
  const addresses = make();
  addresses.heardAt(from("a"), "thief");
  held.add("thief");
  addresses.changed("thief");
  expect(addresses.heardAt(from("b", false), "thief")).toBe(false); // an old message
  expect(addresses.heardAt(from("b"), "thief")).toBe(true);
  expect([addresses.at("a"), addresses.at("b"), disk.get(`${ADDRESS_PREFIX}thief`)]).toEqual([undefined, "thief", "b"]);
  expect(addresses.heardAt(from("b", false), "guest")).toBe(false);
  expect(addresses.heardAt(from("b"), "guest")).toBe(true);
  expect([addresses.at("b"), disk.size]).toEqual(["guest", 0]);
  expect(addresses.heardAt(from("c"), "thief")).toBe(true);
  expect([addresses.at("c"), disk.get(`${ADDRESS_PREFIX}thief`)]).toEqual(["thief", "c"]);
});
