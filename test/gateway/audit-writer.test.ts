import { expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { AuditWriter, type Turn, type TurnResult } from "../../src/gateway/audit-writer.ts";
import { Lifecycle } from "../../src/lifecycle/lifecycle.ts";

const event = (name: string) =>
  ({ kind: "operator-action", method: "POST", path: `/${name}`, role: "admin", status: 200 }) as const;

/** Writes one at a time, and is told by hand that a write has ended. */
function writer() {
  const told: string[] = [];
  let writes = 0;
  const lifecycle = new Lifecycle(nodeCrypto);
  const audit = new AuditWriter({ lifecycle, store: () => ++writes, written: () => {} });
  const submit = (name: string, plan: () => Turn = () => ({ event: event(name), ops: [] }), odd = false): void =>
    audit.submit({
      unixMs: 0,
      actor: "a",
      plan,
      done: (result: TurnResult) => {
        told.push(result.ok ? name : `${name}: ${result.reason}`);
        if (odd) throw new Error("who was told did not expect it");
      },
    });
  return { audit, submit, told, stored: () => audit.stored(0, writes, undefined) };
}

it("goes on with the next one when one cannot be planned, and tells whose it was", () => {
  const { submit, told, stored, audit } = writer();
  submit("one");
  submit("two", () => {
    throw new Error("a defect");
  });
  submit("three");
  stored();
  stored();
  expect(told).toEqual(["one", "two: internal-error", "three"]);
  expect(audit.lines).toHaveLength(2);
});

it("goes on with the next one when whoever is told fails, and does not hide it", () => {
  const { submit, told, stored } = writer();
  submit("one", undefined, true);
  submit("two");
  expect(stored).toThrow("did not expect it");
  stored();
  expect(told).toEqual(["one", "two"]);
});

it("goes on with the next one when one cannot be proposed, or not be handed to the store", () => {
  const lifecycle = new Lifecycle(nodeCrypto);
  const told: string[] = [];
  let writes = 0;
  const store = (): number => {
    if (told.length === 1) throw new Error("a defect of the store");
    return ++writes;
  };
  const audit = new AuditWriter({ lifecycle, store, written: () => {} });
  const submit = (name: string, odd: object = {}): void =>
    audit.submit({
      unixMs: 0,
      actor: "a",
      plan: () => ({ event: { ...event(name), ...odd } as ReturnType<typeof event>, ops: [] }),
      done: (result) => told.push(result.ok ? name : `${name}: ${result.reason}`),
    });
  submit("zero", {
    path: {
      toString: null,
      toJSON: () => {
        throw new Error("a defect of the event");
      },
    },
  });
  for (const name of ["one", "two"]) submit(name);
  audit.stored(0, 1, undefined);
  expect(told).toEqual(["zero: internal-error", "one: internal-error", "two"]);
});
