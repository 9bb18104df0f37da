import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import type { Pair } from "../support/pair.ts";
import { temporaryFolder } from "../support/process.ts";
import { SCENARIOS } from "../support/scenarios.ts";
import { haveTool } from "../support/tool.ts";

const SECOND = 1_000_000;
const LINKTYPE_RAW = 101;
/**
 * Options that are younger than Debian's Wireshark, which calls them invalid, and one that is unknown
 * on purpose: nothing else may be found.
 */
const KNOWN = /^(?:|Invalid Option Number (?:19|31|252|258|292)|Unknown Option Number 65001)$/;

/** The pair's datagrams as IPv4 and UDP, without checksums. */
function capture(pair: Pair): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(65_535, 16);
  header.writeUInt32LE(LINKTYPE_RAW, 20);
  const records = pair.log.map(({ from, bytes, atUs }) => {
    const record = Buffer.alloc(16 + 28 + bytes.length);
    record.writeUInt32LE(Math.floor(atUs / SECOND), 0);
    record.writeUInt32LE(atUs % SECOND, 4);
    record.writeUInt32LE(28 + bytes.length, 8);
    record.writeUInt32LE(28 + bytes.length, 12);
    record.writeUInt8(0x45, 16);
    record.writeUInt16BE(28 + bytes.length, 18);
    record.writeUInt8(64, 24);
    record.writeUInt8(17, 25);
    const [client, server] = [0x0a000001, 0x0a000002];
    record.writeUInt32BE(from === "client" ? client : server, 28);
    record.writeUInt32BE(from === "client" ? server : client, 32);
    record.writeUInt16BE(from === "client" ? 40_000 : 5_683, 36);
    record.writeUInt16BE(from === "client" ? 5_683 : 40_000, 38);
    record.writeUInt16BE(8 + bytes.length, 40);
    record.set(bytes, 44);
    return record;
  });
  return Buffer.concat([header, ...records]);
}

describe.skipIf(!haveTool("tshark", "tshark"))("Wireshark finds nothing to warn of", () => {
  const folder = temporaryFolder();

  it.each(Object.keys(SCENARIOS))("in %s", (name) => {
    const pair = SCENARIOS[name]!();
    expect(pair.log.length).toBeGreaterThan(4);
    const file = join(folder, "pair.pcap");
    writeFileSync(file, capture(pair));
    const fields = ["coap.version", "_ws.expert.message"].flatMap((field) => ["-e", field]);
    const args = ["-r", file, "-T", "fields", "-E", "separator=;", ...fields];
    const out = execFileSync("tshark", args, { stdio: ["ignore", "pipe", "ignore"] }).toString();
    const rows = out
      .replace(/\n$/, "")
      .split("\n")
      .map((line) => line.split(";"));
    expect(rows).toHaveLength(pair.log.length);
    for (const [version, messages] of rows) {
      expect(version).toBe("1");
      for (const message of (messages ?? "").split(",")) expect(message).toMatch(KNOWN);
    }
  });
});
