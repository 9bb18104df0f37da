import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { BodyExchange } from "../../src/coap/blockwise/body-exchange.ts";
import { QBlock1Upload } from "../../src/coap/blockwise/q-block1-client.ts";
import { QBlock2Download } from "../../src/coap/blockwise/q-block2-client.ts";
import { Code, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { DEFAULT_PARAMETERS } from "../../src/coap/parameters.ts";
import type { ResourceHandler } from "../../src/coap/router.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { SERVER, type Pair } from "../support/pair.ts";
import { temporaryFolder } from "../support/process.ts";
import { pattern, routed, sha } from "../support/resources.ts";
import { haveTool } from "../support/tool.ts";

const SECOND = 1_000_000;
const LINKTYPE_RAW = 101;
/** Options that are younger than Debian's Wireshark, which calls them invalid: nothing else may be found. */
const KNOWN = /^(?:|Invalid Option Number (?:19|31|252|258|292))$/;

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

const PATH = textOptions(Option.URI_PATH, ["x"]);

/** Each scenario runs on a pair and leaves its datagrams in the log. */
const SCENARIOS: Record<string, () => Pair> = {
  "Block1 and Block2": () => {
    const { pair, client } = site();
    const options = { endpoint: client, peer: SERVER, code: Code.POST, options: PATH, body: pattern(500) };
    const exchange = new BodyExchange({ ...options, szx: 2, requestTag: pattern(3), maxBodyBytes: 9_000 });
    exchange.start(0);
    pair.drive(60 * SECOND, exchange);
    return pair;
  },
  Observe: () => {
    const { pair, client, server } = site();
    const id = client.request(0, SERVER, { code: Code.GET, options: PATH, observe: true })!;
    pair.rest(0);
    server.notify(0, "x");
    pair.rest(SECOND);
    client.unobserve(pair.nowUs, id);
    pair.rest(2 * SECOND);
    return pair;
  },
  "Q-Block2": () => {
    const { pair, client } = site();
    const transfer = new QBlock2Download({
      endpoint: client,
      peer: SERVER,
      parameters: DEFAULT_PARAMETERS,
      uri: PATH,
      szx: 2,
    });
    let i = 0;
    pair.copies = () => (++i % 7 === 0 ? 0 : 1);
    transfer.start(0);
    pair.drive(200 * SECOND, {
      handleEvent: (nowUs, event) => transfer.handleEvent(nowUs, event).find(({ kind }) => kind === "done"),
      handleTimeout: (nowUs) => transfer.handleTimeout(nowUs),
      pollTimeout: () => transfer.pollTimeout(),
    });
    return pair;
  },
  "Q-Block1": () => {
    const { pair, client } = site();
    const common = { endpoint: client, peer: SERVER, parameters: DEFAULT_PARAMETERS, random: new SeededRandom(1, "q") };
    const upload = new QBlock1Upload({
      ...common,
      code: Code.PUT,
      options: PATH,
      body: pattern(3_000),
      szx: 2,
    });
    let i = 0;
    pair.copies = () => (++i % 7 === 0 ? 0 : 1);
    upload.start(0);
    pair.drive(200 * SECOND, upload);
    return pair;
  },
  "Echo, No-Response, errors": () => {
    const { pair, client } = site(false);
    client.request(0, SERVER, { code: Code.GET, options: PATH });
    pair.rest(SECOND);
    client.request(pair.nowUs, SERVER, {
      code: Code.PUT,
      options: [...PATH, { number: Option.NO_RESPONSE, value: Uint8Array.of(26) }],
    });
    client.request(pair.nowUs, SERVER, {
      code: Code.GET,
      options: textOptions(Option.URI_PATH, [".well-known", "core"]),
    });
    client.request(pair.nowUs, SERVER, { code: Code.GET, options: textOptions(Option.PROXY_URI, ["coap://a/b"]) });
    pair.rest(300 * SECOND);
    return pair;
  },
};

function site(trusted = true) {
  const bytes = pattern(3_000);
  const body = { bytes, etag: sha(bytes).subarray(0, 8), contentFormat: 42 };
  const changed = () => ({ code: Code.CHANGED });
  const resource: ResourceHandler = {
    attributes: { ct: 42, obs: true },
    get: () => ({ code: Code.CONTENT, body, observable: "x" }),
    post: () => ({ code: Code.CHANGED, body }),
    put: changed,
    maxBodyBytes: 9_000,
  };
  return routed({ x: resource }, { server: { isTrusted: () => trusted, preferredSzx: 2 } });
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
