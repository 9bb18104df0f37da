import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { MAC_MAX_PAYLOAD_BYTES } from "../../simulator/mac/link-layer.ts";
import { HOP_LIMIT } from "../../simulator/network/datagram.ts";
import { toPackets } from "../../simulator/network/sixlowpan.ts";
import { getBlock } from "../support/coap-get.ts";
import { makeImage } from "../support/gateway.ts";
import { CLIENT } from "../support/pair.ts";
import { cli, temporaryFolder } from "../support/process.ts";
import { bodyServer } from "../support/server.ts";
import { haveTool } from "../support/tool.ts";

const PAN = 0xabcd;
/** IEEE 802.15.4 without FCS. */
const LINK_TYPE = 230;

/** Data frame, acknowledgement asked for, one PAN, short addresses. */
function macFrame(sequence: number, from: number, to: number, payload: Uint8Array): Buffer {
  const header = Buffer.alloc(9);
  header.writeUInt16LE(0x8861, 0);
  header.writeUInt8(sequence & 0xff, 2);
  header.writeUInt16LE(PAN, 3);
  header.writeUInt16LE(to, 5);
  header.writeUInt16LE(from, 7);
  return Buffer.concat([header, payload]);
}

function pcap(frames: readonly Buffer[]): Buffer {
  const header = Buffer.alloc(24);
  header.writeUInt32LE(0xa1b2c3d4, 0);
  header.writeUInt16LE(2, 4);
  header.writeUInt16LE(4, 6);
  header.writeUInt32LE(65_535, 16);
  header.writeUInt32LE(LINK_TYPE, 20);
  const records = frames.map((frame, i) => {
    const record = Buffer.alloc(16);
    record.writeUInt32LE(i, 0);
    record.writeUInt32LE(frame.length, 8);
    record.writeUInt32LE(frame.length, 12);
    return Buffer.concat([record, frame]);
  });
  return Buffer.concat([header, ...records]);
}

describe.skipIf(!haveTool("tshark", "tshark"))("Wireshark reads what we put on air", () => {
  const folder = temporaryFolder();

  /** One row per frame: the fields as tshark prints them. */
  function dissect(frames: readonly Buffer[], fields: readonly string[]): string[][] {
    const file = join(folder, "air.pcap");
    writeFileSync(file, pcap(frames));
    const args = [
      "-r",
      file,
      "-o",
      "udp.check_checksum:TRUE",
      // ZigBee's dissector guesses that a first fragment of more than 1,023 bytes is its own.
      "--disable-protocol",
      "zbee_nwk",
      "-T",
      "fields",
      "-E",
      "separator=;",
      ...fields.flatMap((field) => ["-e", field]),
    ];
    const out = execFileSync("tshark", args, { stdio: ["ignore", "pipe", "ignore"] }).toString();
    return out
      .replace(/\n$/, "")
      .split("\n")
      .map((line) => line.split(";"));
  }

  it.each([64, 256, 1024])("a block of %i bytes: 6LoWPAN, IPv6, UDP with a good checksum, CoAP", (size) => {
    const body = makeImage(31, 5_000);
    const server = bodyServer(body, { short: true });
    const szx = Math.log2(size) - 4;
    server.handleDatagram(0, getBlock(["i", "x"], 2, szx, 0x1234), CLIENT);
    const payload = server.pollTransmit()!.bytes.slice();
    const packets = toPackets(
      { from: 0, to: 5, scope: "link", hopLimit: HOP_LIMIT, ports: { source: 5683, destination: 5683 }, payload },
      9,
      MAC_MAX_PAYLOAD_BYTES,
    );
    const frames = packets.map((packet, i) => macFrame(i, 0, 5, packet));
    for (const frame of frames) expect(frame.length + 2).toBeLessThanOrEqual(127);
    const fields = [
      "ipv6.src",
      "ipv6.dst",
      "udp.srcport",
      "udp.dstport",
      "udp.checksum.status",
      "coap.code",
      "coap.mid",
      "coap.opt.block_number",
      "coap.opt.block_size",
      "coap.opt.block_mflag",
    ];
    const row = dissect(frames, fields).at(-1)!;
    expect(row).toEqual([
      "fe80::ff:fe00:0",
      "fe80::ff:fe00:5",
      "5683",
      "5683",
      "1",
      "69",
      "4660",
      "2",
      String(szx),
      "1",
    ]);
  });

  it("no frame of a request is malformed", () => {
    const payload = getBlock(["i", "AbCdEfGh"], 70_000, 0, 7);
    const packets = toPackets(
      { from: 5, to: 0, scope: "link", hopLimit: HOP_LIMIT, ports: { source: 0xf0b1, destination: 5683 }, payload },
      9,
      MAC_MAX_PAYLOAD_BYTES,
    );
    const rows = dissect(
      [macFrame(1, 5, 0, packets[0]!)],
      ["_ws.malformed", "udp.srcport", "coap.opt.uri_path", "coap.opt.block_number", "coap.opt.block_size"],
    );
    expect(rows).toEqual([["", "61617", "i,AbCdEfGh", "70000", "0"]]);
  });

  it.each([
    ["one hop", "s2-room", ["motes=3", "imageBytes=4096"]],
    ["several hops, RPL", "s4-grid-100", ["motes=15", "topology.columns=4", "network.routing=rpl", "imageBytes=2048"]],
    [
      "sleepy children, link security",
      "s2-room",
      ["motes=3", "imageBytes=4096", "mac.kind=sleepy", "mac.security=mic-32"],
    ],
    [
      "forwarded fragments",
      "s3-line-8",
      ["mac.maxRetries=3", "blockBytes=512", "imageBytes=4096", "network.fragments=forward"],
    ],
  ])("a capture of a simulation has no malformed packet: %s", async (_, scenario, changes) => {
    const file = join(folder, "run.pcap");
    const sets = [...changes, "startWithinS=20"].flatMap((change) => ["--set", change]);
    expect((await cli("simulate", scenario, "--pcap", file, ...sets)).code).toBe(0);
    const tshark = (...args: string[]): string[] => {
      const options = [
        "-o",
        "6lowpan.context0:fd00::/64",
        "-o",
        "udp.check_checksum:TRUE",
        "--disable-protocol",
        "zbee_nwk",
      ];
      const out = execFileSync("tshark", ["-r", file, ...options, ...args], { stdio: ["ignore", "pipe", "ignore"] });
      return out
        .toString()
        .split("\n")
        .filter((line) => line !== "");
    };
    expect(tshark("-Y", "_ws.malformed || wpan.fcs_ok == 0 || udp.checksum.status == 0")).toEqual([]);
    const codes = new Set(tshark("-Y", "coap", "-T", "fields", "-e", "coap.code"));
    expect(codes).toContain("69"); // 2.05 with a block
    if (changes.includes("network.routing=rpl")) expect(tshark("-Y", "icmpv6.type == 155").length).toBeGreaterThan(10);
  });
});
