import { describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { entryLine, nextEntry, verifyChain, type AuditEntry } from "../../src/lifecycle/audit-log.ts";

function log(count: number): AuditEntry[] {
  const entries: AuditEntry[] = [];
  for (let i = 0; i < count; i++)
    entries.push(
      nextEntry(nodeCrypto, entries.at(-1), 1_000 * i, "factory", { kind: "made", device: `d${i}`, stage: 2 }),
    );
  return entries;
}

describe("the audit log", () => {
  const entries = log(8);
  const lines = entries.map(entryLine);
  const head = entries.at(-1)!.hash;

  it("verifies as it was written, and empty", () => {
    expect(verifyChain(nodeCrypto, lines, head)).toEqual({ ok: true, entries });
    expect(verifyChain(nodeCrypto, lines, entries[2]!.hash).ok).toBe(true); // it has grown since that was noted
    expect(verifyChain(nodeCrypto, [])).toEqual({ ok: true, entries: [] });
  });

  it("a change of any character of any line is found, and where", () => {
    for (let line = 0; line < lines.length; line++) {
      for (let at = 0; at < lines[line]!.length; at += 3) {
        const changed = [...lines];
        const other = changed[line]![at] === "7" ? "8" : "7";
        changed[line] = changed[line]!.slice(0, at) + other + changed[line]!.slice(at + 1);
        const result = verifyChain(nodeCrypto, changed, head);
        expect(result.ok, changed[line]).toBe(false);
        if (!result.ok) expect(result.line).toBe(line + 1);
      }
    }
  });

  it("a line left out, moved, doubled or put in is found; one cut off at the end by the hash that was noted", () => {
    const without = (i: number): string[] => lines.filter((_, at) => at !== i);
    for (let i = 0; i < 7; i++) expect(verifyChain(nodeCrypto, without(i))).toMatchObject({ ok: false, line: i + 1 });
    expect(verifyChain(nodeCrypto, [lines[0]!, ...lines])).toMatchObject({ ok: false, line: 2 });
    expect(verifyChain(nodeCrypto, [lines[1]!, lines[0]!, ...lines.slice(2)])).toMatchObject({ ok: false, line: 1 });
    expect(verifyChain(nodeCrypto, without(7))).toMatchObject({ ok: true });
    expect(verifyChain(nodeCrypto, without(7), head)).toMatchObject({ ok: false, line: 8 });
  });

  it("a forger who makes all hashes anew is found by the hash that was noted", () => {
    const forged = log(8);
    let last: AuditEntry | undefined;
    const chain = forged.map(({ unixMs, event }) => (last = nextEntry(nodeCrypto, last, unixMs, "nobody", event)));
    expect(verifyChain(nodeCrypto, chain.map(entryLine))).toMatchObject({ ok: true });
    expect(verifyChain(nodeCrypto, chain.map(entryLine), head)).toMatchObject({ ok: false });
  });
});
