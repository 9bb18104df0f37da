import { describe, expect, it } from "vitest";
import { BlockPath } from "../../src/coap/blockwise/block-path.ts";
import { COAP_LIMITS } from "../../src/coap/limits.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { EMPTY_BYTES } from "../../src/coap/message.ts";
import { Code, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import type { Random } from "../../src/ports/random.ts";
import { Counters } from "../../src/util/counters.ts";
import { randomBytes, uintBelow } from "../../src/util/random.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { getBlock } from "../support/coap-get.ts";
import { GatewayBench, makeImage } from "../support/gateway.ts";
import { mutate } from "../support/mutate.ts";
import { SERVER } from "../support/pair.ts";
import { effort } from "../support/effort.ts";

const DATAGRAMS = effort(100_000, 1_000_000);
const SEED = 20_261_124;

/** Real messages to start from: each kind the endpoint knows, and some that it refuses. */
function corpus(random: Random): Uint8Array[] {
  const out: Uint8Array[] = [];
  for (let i = 0; i < 40; i++) {
    out.push(getBlock(["i", "x"], i * 5, i % 8, i), getBlock([".well-known", "core"], i % 2, 2, 500 + i));
    const options = [...textOptions(Option.URI_PATH, ["m", "y"]), { number: Option.SIZE2, value: EMPTY_BYTES }];
    const base = { messageId: 900 + i, token: randomBytes(random, i % 9), options, payload: randomBytes(random, i) };
    out.push(encodeMessage({ ...base, type: MessageType.CON, code: Code.POST }));
    out.push(encodeMessage({ ...base, type: MessageType.NON, code: Code.GET }));
    out.push(encodeMessage({ ...base, type: MessageType.ACK, code: Code.CONTENT }));
    out.push(
      encodeMessage({
        ...base,
        type: MessageType.CON,
        code: Code.CONTENT,
        options: [{ number: 65_001, value: randomBytes(random, 20) }],
      }),
    );
    out.push(Uint8Array.of(0x40 | ((i % 4) << 4), 0, i, i));
  }
  return out;
}

describe(`fuzz, seed ${SEED}`, () => {
  it(`${DATAGRAMS} broken datagrams into an endpoint that serves and asks: no exception, bounded memory`, () => {
    const random = new SeededRandom(SEED, "fuzz");
    const body = makeImage(5, 9_000);
    const blockPath = new BlockPath();
    blockPath.register(["i", "x"], { etag: new Uint8Array(8), size: body.length, bytes: () => body, served: () => {} });
    const counters = new Counters();
    let exchange = 0;
    const endpoint = new CoapEndpoint({
      random: random.fork("endpoint"),
      blockPath,
      metrics: counters,
      handler: {
        handleRequest: (_nowUs, request) => {
          exchange = request.exchange;
          return request.method === Code.POST ? "deferred" : { code: Code.CONTENT, payload: body.subarray(0, 64) };
        },
      },
    });
    const seeds = corpus(random.fork("corpus"));
    const peers = Array.from({ length: 3_000 }, (_, i) => ({ address: `fd00::${i.toString(16)}`, port: 1_024 + i }));
    const heapBefore = usedHeap();
    let [nowUs, sent] = [0, 0];
    for (let i = 0; i < DATAGRAMS; i++) {
      nowUs += 500;
      endpoint.handleDatagram(nowUs, mutate(random, seeds), peers[uintBelow(random, peers.length)]!);
      if (i % 50 === 0) endpoint.respond(nowUs, exchange, { code: Code.CHANGED });
      if (i % 100 === 0) endpoint.request(nowUs, SERVER, { code: Code.GET, options: [] });
      if (i % 10 === 0) endpoint.handleTimeout(nowUs);
      while (endpoint.pollTransmit() !== undefined) sent++;
      while (endpoint.pollEvent() !== undefined);
    }
    expect(sent).toBeGreaterThan(DATAGRAMS / 10);
    expect(endpoint.stats.openExchanges).toBeLessThanOrEqual(COAP_LIMITS.maxServerExchanges);
    expect(usedHeap() - heapBefore).toBeLessThan(64 * 1_048_576);
    // All of it dies away by itself.
    for (let end = nowUs + 600e6; (endpoint.pollTimeout() ?? Infinity) < end;) {
      endpoint.handleTimeout(endpoint.pollTimeout()!);
      while (endpoint.pollTransmit() !== undefined);
    }
    expect(endpoint.stats.openExchanges).toBe(0);
    expect(Object.keys(counters.snapshot()).length).toBeGreaterThan(10);
  });

  it("100,000 broken datagrams into a gateway: it serves the right bytes afterwards", () => {
    const random = new SeededRandom(SEED, "gateway");
    const bench = new GatewayBench();
    const image = makeImage(6, 5_000);
    bench.publish(image, 1, { alias: "fw" });
    const seeds = [
      ...corpus(random.fork("corpus")),
      ...Array.from({ length: 60 }, (_, i) => getBlock(["fw"], i, i % 7, i)),
    ];
    for (let i = 0; i < 100_000; i++) {
      bench.loop.datagram(mutate(random, seeds), { address: "fd00::9", port: uintBelow(random, 65_536) });
      if (i % 1_000 === 0) {
        bench.run(1);
        bench.sent.length = 0;
      }
    }
    bench.run(300);
    bench.sent.length = 0;
    bench.loop.datagram(getBlock(["fw"], 7, 2, 7), SERVER);
    expect(bench.sent.at(-1)!.subarray(-64)).toEqual(image.subarray(448, 512));
  });
});

function usedHeap(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}
