import { describe, expect, it } from "vitest";
import { decodeBlock, encodeBlock } from "../../src/coap/blockwise/block.ts";
import { QBlock1Upload } from "../../src/coap/blockwise/q-block1-client.ts";
import { QBlock2Download, type QDownloadEvent } from "../../src/coap/blockwise/q-block2-client.ts";
import { decodeMissingBlocks, encodeMissingBlocks } from "../../src/coap/blockwise/q-block.ts";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { encodeUint, optionValue, uintOption, type CoapOption } from "../../src/coap/message.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { DEFAULT_PARAMETERS } from "../../src/coap/parameters.ts";
import type { ClientEvent } from "../../src/coap/request.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { decoded, drain } from "../support/coap-get.ts";
import { CLIENT, SERVER, type Pair } from "../support/pair.ts";
import { pattern, routed, sha, sink } from "../support/resources.ts";

const SECOND = 1_000_000;
const PATH = textOptions(Option.URI_PATH, ["x"]);
const parameters = DEFAULT_PARAMETERS;

/** Collects what a download gives, until it ends. */
class Collector {
  readonly got = new Map<number, Uint8Array>();
  readonly #download: QBlock2Download;

  constructor(transfer: QBlock2Download) {
    this.#download = transfer;
  }

  handleEvent(nowUs: number, event: ClientEvent): QDownloadEvent | undefined {
    for (const out of this.#download.handleEvent(nowUs, event)) {
      if (out.kind !== "block") return out;
      expect(this.got.has(out.offset)).toBe(false);
      this.got.set(out.offset, out.bytes);
    }
    return undefined;
  }

  handleTimeout(nowUs: number): QDownloadEvent | undefined {
    return this.#download.handleTimeout(nowUs);
  }

  pollTimeout(): number | undefined {
    return this.#download.pollTimeout();
  }

  body(size: number): Uint8Array {
    const out = new Uint8Array(size);
    for (const [offset, bytes] of this.got) out.set(bytes, offset);
    return out;
  }
}

function download(
  bytes: Uint8Array,
  options: { has?: (num: number) => boolean; etag?: Uint8Array; seed?: number } = {},
) {
  const etag = sha(bytes).subarray(0, 8);
  const bench = routed(
    { x: { get: () => ({ code: Code.CONTENT, body: { bytes, etag, contentFormat: 42 } }) } },
    options.seed === undefined ? {} : { seed: options.seed },
  );
  const transfer = new QBlock2Download({
    endpoint: bench.client,
    peer: SERVER,
    parameters,
    uri: PATH,
    szx: 2,
    ...options,
  });
  return { ...bench, transfer, collector: new Collector(transfer), etag };
}

const requests = (pair: Pair) =>
  pair.log
    .filter(({ from }) => from === "client")
    .map(({ bytes }) => decoded(bytes))
    .filter(({ code }) => code === Code.GET);

describe("Q-Block2 (RFC 9177 section 4.4)", () => {
  it("brings a body in sets, with one request per set and none per block", () => {
    const bytes = pattern(64 * 35 + 5);
    const { pair, transfer, collector, client, server } = download(bytes);
    transfer.start(0);
    expect(pair.drive(60 * SECOND, collector)).toEqual({ kind: "done", size: bytes.length });
    expect(collector.body(bytes.length)).toEqual(bytes);
    expect(requests(pair)).toHaveLength(5); // the first block, the rest of its set, three sets more
    expect(requests(pair).map(({ type }) => type)).toEqual([0, 1, 1, 1, 1]);
    for (const { from, bytes: datagram } of pair.log) {
      const message = decoded(datagram);
      if (from === "server" && message.code !== 0) expect(uintOption(message.options, Option.SIZE2)).toBe(bytes.length);
    }
    expect(pair.run(400 * SECOND)).toBeUndefined();
    expect(client.stats.requests).toBe(0);
    expect(server.pollTimeout()).toBeUndefined();
  });

  it("asks only for the blocks that the map lacks", () => {
    const bytes = pattern(64 * 30);
    const missing = new Set([3, 4, 17, 29]);
    const first = download(bytes);
    const { pair, transfer, collector } = download(bytes, { has: (num) => !missing.has(num), etag: first.etag });
    transfer.start(0);
    expect(pair.drive(60 * SECOND, collector)).toEqual({ kind: "done", size: bytes.length });
    expect([...collector.got.keys()].map((offset) => offset / 64).toSorted((a, b) => a - b)).toEqual([...missing]);
    const sent = pair.log.filter(({ from, bytes: datagram }) => from === "server" && decoded(datagram).code !== 0);
    expect(sent).toHaveLength(4);
  });

  it("delivers the same bytes once, or says that it failed, whatever the link does", () => {
    const bytes = pattern(64 * 41);
    let done = 0;
    for (let seed = 0; seed < 80; seed++) {
      const { pair, transfer, collector, client, server } = download(bytes, { seed });
      const random = new SeededRandom(seed, "link");
      pair.copies = () => (random.uint32() % 10 < 2 ? 0 : (random.uint32() % 2) + 1);
      transfer.start(0);
      const outcome = pair.drive(10_000 * SECOND, collector);
      if (outcome?.kind === "done") {
        done++;
        expect(collector.body(bytes.length)).toEqual(bytes);
      } else expect(outcome).toEqual({ kind: "failed", reason: "timeout" });
      pair.rest(pair.nowUs + 500 * SECOND);
      expect(client.stats.requests).toBe(0);
      expect(server.stats.openExchanges).toBe(0);
    }
    expect(done).toBeGreaterThan(70);
  });

  it("falls back where the server does not know Q-Block (section 4.1)", () => {
    const bytes = pattern(640);
    const { pair, transfer, collector } = download(bytes);
    pair.copies = ({ from, bytes: datagram }) => {
      if (from === "server") return 1;
      const { messageId, token } = decoded(datagram);
      const reply = {
        type: MessageType.ACK,
        code: Code.BAD_OPTION,
        messageId,
        token,
        options: [],
        payload: new Uint8Array(0),
      };
      pair.client.handleDatagram(pair.nowUs, encodeMessage(reply), SERVER);
      return 0;
    };
    transfer.start(0);
    expect(pair.drive(60 * SECOND, collector)).toEqual({ kind: "unsupported" });
  });

  it("fails when its confirmable request does", () => {
    const { pair, transfer, collector, client } = download(pattern(640));
    pair.copies = () => 0;
    transfer.start(0);
    expect(pair.drive(1_000 * SECOND, collector)).toEqual({ kind: "failed", reason: "timeout" });
    expect(client.stats.requests).toBe(0);
  });

  it("says when another representation is there", () => {
    const { pair, transfer, collector } = download(pattern(640), { etag: Uint8Array.of(1), has: (num) => num < 3 });
    transfer.start(0);
    expect(pair.drive(60 * SECOND, collector)).toEqual({ kind: "changed" });
  });

  const q = (num: number, more: boolean): CoapOption => ({
    number: Option.Q_BLOCK2,
    value: encodeBlock({ num, more, szx: 2 }),
  });
  function ask(options: CoapOption[], type: MessageType = MessageType.NON, toGroup = false): string[] {
    const { server } = download(pattern(64 * 25));
    const message = { type, code: Code.GET, messageId: 7, token: Uint8Array.of(7), options: [...PATH, ...options] };
    server.handleDatagram(0, encodeMessage({ ...message, payload: new Uint8Array(0) }), CLIENT, toGroup);
    return drain(server).map(({ code, options: got }) => {
      const block = optionValue(got, Option.Q_BLOCK2);
      return block === undefined ? codeText(code) : String(decodeBlock(block).num);
    });
  }

  it("a block that two options name comes once; what is not ascending is refused", () => {
    expect(ask([q(4, true), q(6, false)])).toEqual(["4", "5", "6", "7", "8", "9"]);
    expect(ask([q(1, false), q(3, false), q(21, false)])).toEqual(["1", "3", "21"]);
    expect(ask([q(3, false), q(1, false)])).toEqual(["4.00"]);
    expect(ask([q(3, false), q(3, false)])).toEqual(["4.00"]);
    expect(ask([q(99, false)])).toEqual(["4.00"]);
    expect(ask([q(10, true)])).toEqual(["10", "11", "12", "13", "14", "15", "16", "17", "18", "19"]);
  });

  it("does not mix with Block2, and is not for groups (sections 4.1 and 4.8)", () => {
    const block2 = { number: Option.BLOCK2, value: encodeUint(2) };
    expect(ask([block2, q(0, true)], MessageType.CON)).toEqual(["4.02"]);
    expect(ask([q(0, true)], MessageType.NON, true)).toEqual([]);
  });

  it("a set that is not confirmed is followed by the next after NON_TIMEOUT_RANDOM (section 7.2)", () => {
    const { server } = download(pattern(64 * 25));
    const message = { type: MessageType.NON, code: Code.GET, messageId: 7, token: Uint8Array.of(7) };
    server.handleDatagram(
      0,
      encodeMessage({ ...message, options: [...PATH, q(0, true)], payload: new Uint8Array(0) }),
      CLIENT,
    );
    const count = (): number => {
      let sent = 0;
      while (server.pollTransmit() !== undefined) sent++;
      return sent;
    };
    expect(count()).toBe(10);
    const at = server.pollTimeout()!;
    expect(at).toBeGreaterThanOrEqual(2 * SECOND);
    expect(at).toBeLessThanOrEqual(3 * SECOND);
    server.handleTimeout(at);
    expect(count()).toBe(10);
    server.handleTimeout(2 * at);
    expect(count()).toBe(5);
  });
});

function upload(bytes: Uint8Array, seed = 1, maxBodyBytes = 100_000) {
  const target = sink(maxBodyBytes);
  const bench = routed({ x: target.resource }, { seed });
  const random = new SeededRandom(seed, "q");
  const common = { endpoint: bench.client, peer: SERVER, parameters, random, code: Code.PUT, options: PATH };
  const transfer = new QBlock1Upload({ ...common, body: bytes, szx: 2 });
  return { ...bench, ...target, transfer };
}

describe("Q-Block1 (RFC 9177 section 4.3)", () => {
  it("sends a body in sets, each answered once", () => {
    const bytes = pattern(64 * 35 + 5);
    const { pair, transfer, bodies, client } = upload(bytes);
    transfer.start(0);
    expect(pair.drive(60 * SECOND, transfer)).toMatchObject({ kind: "done", response: { code: Code.CHANGED } });
    expect(bodies).toEqual([bytes]);
    expect(pair.nowUs).toBeLessThan(SECOND);
    const replies = pair.log
      .filter(({ from }) => from === "server")
      .map(({ bytes: datagram }) => codeText(datagram[1]!));
    expect(replies).toEqual(["0.00", "2.31", "2.31", "2.31", "2.04"]);
    pair.rest(400 * SECOND);
    expect(client.stats.requests).toBe(0);
  });

  it("delivers the body once, or says that it failed, whatever the link does", () => {
    const bytes = pattern(64 * 41);
    let done = 0;
    for (let seed = 0; seed < 80; seed++) {
      const { pair, transfer, bodies, client, server } = upload(bytes, seed);
      const random = new SeededRandom(seed, "link");
      pair.copies = () => (random.uint32() % 10 < 2 ? 0 : (random.uint32() % 2) + 1);
      transfer.start(0);
      const outcome = pair.drive(10_000 * SECOND, transfer);
      if (outcome?.kind === "done" && outcome.response.code === Code.CHANGED) {
        done++;
        expect(bodies[0]).toEqual(bytes);
      }
      expect(bodies.length).toBeLessThanOrEqual(1);
      pair.rest(pair.nowUs + 800 * SECOND);
      expect(client.stats.requests).toBe(0);
      expect(server.stats.openExchanges).toBe(0);
    }
    expect(done).toBeGreaterThan(70);
  });

  it("blocks that come late, or twice, neither begin the body anew nor run the handler again", () => {
    const bytes = pattern(64 * 12);
    const { pair, transfer, bodies, server } = upload(bytes);
    transfer.start(0);
    expect(pair.drive(60 * SECOND, transfer)).toMatchObject({ kind: "done" });
    for (const { from, bytes: datagram } of pair.log) {
      const copy = decoded(datagram);
      if (from !== "client" || decodeBlock(optionValue(copy.options, Option.Q_BLOCK1)!).num === 11) continue;
      const again = { ...copy, type: MessageType.NON, messageId: copy.messageId ^ 0x8000, token: Uint8Array.of(9) };
      server.handleDatagram(pair.nowUs, encodeMessage(again), CLIENT);
      expect(server.pollTransmit()).toBeUndefined();
    }
    pair.rest(60 * SECOND);
    expect(bodies).toHaveLength(1);
  });

  it("falls back where the server refuses the option, and learns when the body is too large", () => {
    const { pair, transfer } = upload(pattern(640));
    const plain = new CoapEndpoint({
      random: new SeededRandom(1, "plain"),
      handler: { handleRequest: () => ({ code: Code.CHANGED }) },
    });
    Object.assign(pair, { server: plain });
    transfer.start(0);
    expect(pair.drive(60 * SECOND, transfer)).toEqual({ kind: "unsupported" });
    const large = upload(pattern(640), 1, 100);
    large.transfer.start(0);
    expect(large.pair.drive(60 * SECOND, large.transfer)).toMatchObject({
      kind: "done",
      response: { code: Code.REQUEST_ENTITY_TOO_LARGE },
    });
  });

  it("needs Request-Tag and Size1 (section 4.3), and names missing blocks as a CBOR sequence (section 5)", () => {
    const { server } = upload(pattern(64));
    const options = [...PATH, { number: Option.Q_BLOCK1, value: encodeBlock({ num: 0, more: true, szx: 2 }) }];
    const message = { type: MessageType.CON, code: Code.PUT, messageId: 7, token: Uint8Array.of(7), options };
    server.handleDatagram(0, encodeMessage({ ...message, payload: pattern(64) }), CLIENT);
    expect(decoded(server.pollTransmit()!.bytes.slice()).code).toBe(Code.BAD_REQUEST);
    const nums = [1, 23, 24, 255, 256, 65_535, 65_536, 1_048_575];
    expect(decodeMissingBlocks(encodeMissingBlocks(nums))).toEqual(nums);
    for (const bad of [[2, 1], [1, 1], [0x18], [0x1b, 0, 0, 0, 0, 0, 0, 0, 1], [0x41, 1], []])
      expect(decodeMissingBlocks(Uint8Array.from(bad))).toBeUndefined();
  });
});
