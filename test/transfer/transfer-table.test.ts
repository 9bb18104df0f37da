import { describe, expect, it } from "vitest";
import type { StoreOp } from "../../src/ports/store.ts";
import { TransferTable } from "../../src/transfer/transfer-table.ts";

const image = { digest: "ab".repeat(32), size: 1_024 };
const peer = (n: number) => ({ address: `fd00::${n}`, port: 5_683 });
const SECOND_US = 1_000_000;

/** Serves blocks of 64 bytes, from one up to another. */
function serve(table: TransferTable, nowUs: number, n: number, from: number, to: number): void {
  for (let num = from; num < to; num++) table.record(nowUs, peer(n), image, num * 64, 64);
}

/** The table as it is after a kill: of what was written. */
function restarted(ops: readonly StoreOp[]): TransferTable {
  const table = new TransferTable();
  for (const op of ops) if (op.kind === "put") expect(table.recover(op.key, op.value)).toBe(true);
  return table;
}

const only = (table: TransferTable) => [...table.all()][0]!;

describe("a transfer over a kill of the gateway", () => {
  it("that goes on further than the last checkpoint says has what is between", () => {
    const table = new TransferTable();
    serve(table, 0, 1, 0, 8);
    const written = table.takeWrites(SECOND_US);
    serve(table, SECOND_US, 1, 8, 11); // and these are not
    const again = restarted(written);
    serve(again, 2 * SECOND_US, 1, 0, 1); // asked for again, since its answer was lost
    serve(again, 2 * SECOND_US, 1, 11, 16);
    expect(only(again)).toMatchObject({ finished: true, retransmissions: 1 });
  });

  it("is known from its first block on", () => {
    const table = new TransferTable();
    serve(table, 0, 1, 0, 1);
    expect(table.nextFlushUs).toBeLessThanOrEqual(0);
    const again = restarted(table.takeWrites(0));
    serve(again, SECOND_US, 1, 3, 16);
    expect(only(again).finished).toBe(true);
  });

  it("has only what it was served where it goes back, leaves something out later, or leaves out much", () => {
    const table = new TransferTable();
    serve(table, 0, 1, 0, 8);
    const again = restarted(table.takeWrites(SECOND_US));
    serve(again, 2 * SECOND_US, 1, 6, 9);
    serve(again, 2 * SECOND_US, 1, 12, 16);
    expect(only(again)).toMatchObject({ finished: false, retransmissions: 2 });
    expect(only(again).served.firstGap(0)).toBe(9 * 64);
    const large = { ...image, size: 1_000_000 };
    const other = new TransferTable();
    other.record(0, peer(2), large, 0, 64);
    const later = restarted(other.takeWrites(0));
    later.record(1, peer(2), large, 999_936, 64);
    expect(only(later).served.covered).toBe(128);
  });

  it("is written at once when it ends, before all others, which keep their time", () => {
    const table = new TransferTable();
    for (let n = 1; n < 300; n++) serve(table, 0, n, 0, 1);
    expect(table.takeWrites(0)).toHaveLength(299);
    for (let n = 2; n < 300; n++) serve(table, 0, n, 1, 2);
    serve(table, 0, 1, 1, 7);
    serve(table, 0, 1, 8, 16);
    expect(table.nextFlushUs).toBeGreaterThan(100_000);
    serve(table, 100_000, 1, 7, 8); // the last that was missing
    expect(table.nextFlushUs).toBeLessThanOrEqual(100_000);
    const written = table.takeWrites(100_000);
    expect(written).toHaveLength(1);
    expect(only(restarted(written)).finished).toBe(true);
    expect(table.nextFlushUs).toBeGreaterThan(100_000);
    serve(table, 200_000, 1, 15, 16); // asked for again: no news
    expect(table.takeWrites(SECOND_US, true)).toHaveLength(299);
    expect(table.nextFlushUs).toBeUndefined();
  });
});

describe("who asked last behind a port", () => {
  it("begins anew once its transfer was forgotten", () => {
    const table = new TransferTable();
    serve(table, 0, 1, 0, 8);
    table.forget(only(table).device, image.digest);
    serve(table, SECOND_US, 1, 0, 1);
    expect(only(table).served.covered).toBe(64);
  });

  it("is not another one with the same port, and each goes on where it was", () => {
    const table = new TransferTable();
    for (let num = 0; num < 16; num++) for (const n of [1, 2]) serve(table, num, n, num, num + 1);
    expect([...table.all()].map(({ address, finished }) => [address, finished])).toEqual([
      ["fd00::1", true],
      ["fd00::2", true],
    ]);
    expect([...table.all()].map(({ retransmissions }) => retransmissions)).toEqual([0, 0]);
  });
});
