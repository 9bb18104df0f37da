import { describe, expect, it } from "vitest";
import { BodyExchange } from "../../src/coap/blockwise/body-exchange.ts";
import { QBlock2Download } from "../../src/coap/blockwise/q-block2-client.ts";
import { encodeBlock } from "../../src/coap/blockwise/block.ts";
import type { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { COAP_LIMITS } from "../../src/coap/limits.ts";
import { encodeUint, type CoapOption } from "../../src/coap/message.ts";
import { Code, Option, OPTION_DEFINITIONS, type MessageType } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { DEFAULT_PARAMETERS } from "../../src/coap/parameters.ts";
import type { Random } from "../../src/ports/random.ts";
import { randomBytes, uintBelow } from "../../src/util/random.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { corpus } from "../support/corpus.ts";
import { mutate } from "../support/mutate.ts";
import { SERVER } from "../support/pair.ts";
import { pattern, routed, sha } from "../support/resources.ts";
import { effort } from "../support/effort.ts";

// FUZZ_INPUTS=3400000 npx vitest run test/property/fuzz-protocol.test.ts --testTimeout 3600000 is the
// long run: three fuzzers with as many inputs each.
const INPUTS = Number(process.env["FUZZ_INPUTS"] ?? effort(4_000, 200_000));
const SEED = Number(process.env["FUZZ_SEED"] ?? 20_261_124);
/** Below this the growth of a warming process is more than what could be a leak. */
const LONG_RUN = 1_000_000;
const SAMPLE_EVERY = Math.ceil(INPUTS / 200);
const SEEDS = corpus();
const NUMBERS = [...OPTION_DEFINITIONS.keys(), 9, 65_001, 65_002];
const CODES = [1, 1, 1, 2, 3, 3, 4, 5, 6, 7, 8, 0x41, 0x44, 0x45, 0x45, 0x5f, 0x81, 0x82, 0x88, 0x8d, 0xa0];

const pick = <T>(random: Random, from: readonly T[]): T => from[uintBelow(random, from.length)]!;

function anyOption(random: Random): CoapOption {
  const kind = uintBelow(random, 10);
  if (kind < 4) return { number: Option.URI_PATH, value: new TextEncoder().encode(pick(random, ["x", "up", "q", ""])) };
  if (kind < 7) {
    const block = { num: uintBelow(random, 12), more: uintBelow(random, 2) === 0, szx: uintBelow(random, 8) };
    return { number: pick(random, [23, 27, 19, 31]), value: encodeBlock(block) };
  }
  if (kind < 8) return { number: pick(random, [6, 60, 28, 14, 12]), value: encodeUint(uintBelow(random, 5_000)) };
  return { number: pick(random, NUMBERS), value: randomBytes(random, uintBelow(random, 9)) };
}

function anyDatagram(random: Random, seen: readonly Uint8Array[]): Uint8Array {
  if (uintBelow(random, 4) === 0) return mutate(random, SEEDS);
  // Half of what comes has a token or message ID of the endpoint's own.
  const known = seen.length > 0 && uintBelow(random, 2) === 0 ? pick(random, seen) : undefined;
  const szxBytes = 16 << uintBelow(random, 4);
  const bytes = encodeMessage({
    type: uintBelow(random, 4) as MessageType,
    code: pick(random, CODES),
    messageId: known === undefined ? uintBelow(random, 64) : (known[2]! << 8) | known[3]!,
    token: known === undefined ? randomBytes(random, uintBelow(random, 5)) : known.slice(4, 4 + (known[0]! & 15)),
    options: Array.from({ length: uintBelow(random, 6) }, () => anyOption(random)),
    payload: randomBytes(random, pick(random, [0, 1, szxBytes, szxBytes])),
  });
  for (let flips = uintBelow(random, 4) - 1; flips > 0; flips--)
    bytes[uintBelow(random, bytes.length)] = random.uint32() & 0xff;
  return uintBelow(random, 20) === 0 ? bytes.subarray(0, uintBelow(random, bytes.length)) : bytes;
}

class Fuzzed {
  readonly random = new SeededRandom(SEED, "fuzz");
  readonly endpoint: CoapEndpoint;
  readonly #seen: Uint8Array[] = [];
  readonly #rss: { readonly input: number; readonly bytes: number }[] = [];
  #inputs = 0;
  nowUs = 0;

  constructor(endpoint: CoapEndpoint) {
    this.endpoint = endpoint;
  }

  step(onEvent?: Parameters<BodyExchange["handleEvent"]> extends [number, infer E] ? (event: E) => void : never): void {
    const { endpoint, random } = this;
    // What waits for the collector says nothing of a leak: it is collected first.
    if (this.#inputs++ % SAMPLE_EVERY === 0) {
      usedHeap();
      this.#rss.push({ input: this.#inputs, bytes: process.memoryUsage.rss() });
    }
    this.nowUs += uintBelow(random, 200_000);
    const mine = uintBelow(random, 3) > 0;
    const peer = mine ? SERVER : { address: `fd00::${uintBelow(random, 50)}`, port: 5_683 };
    endpoint.handleDatagram(this.nowUs, anyDatagram(random, this.#seen), peer, uintBelow(random, 30) === 0);
    endpoint.handleTimeout(this.nowUs);
    for (let out = endpoint.pollTransmit(); out !== undefined; out = endpoint.pollTransmit()) {
      this.#seen[uintBelow(random, 32)] = out.bytes.slice(0, 24);
    }
    for (let event = endpoint.pollEvent(); event !== undefined; event = endpoint.pollEvent()) onEvent?.(event);
  }

  expectFlat(): void {
    expectFlat(this.#rss);
  }
}

/** The mean RSS of the last tenth of a long run is within 5 % of that of the first tenth after the warm-up. */
function expectFlat(rss: readonly { readonly input: number; readonly bytes: number }[]): void {
  if (INPUTS < LONG_RUN) return;
  const mean = (from: number, to: number): number => {
    const part = rss.filter(({ input }) => input >= from * INPUTS && input < to * INPUTS);
    return part.reduce((sum, { bytes }) => sum + bytes, 0) / part.length;
  };
  const [first, last] = [mean(0.1, 0.2), mean(0.9, 1)];
  console.log(`RSS: ${(first / 2 ** 20).toFixed(1)} MiB at first, ${(last / 2 ** 20).toFixed(1)} MiB at last`);
  expect(last / first).toBeLessThan(1.05);
}

function usedHeap(): number {
  globalThis.gc?.();
  return process.memoryUsage().heapUsed;
}

describe(`fuzz of the protocol, seed ${SEED}, ${INPUTS} inputs`, () => {
  it.each([true, false])("a server with every kind of resource, addresses trusted: %s", (trusted) => {
    const bytes = pattern(3_000);
    const body = { bytes, etag: sha(bytes).subarray(0, 8), contentFormat: 42 };
    const get = () => ({ code: Code.CONTENT, body, observable: "x" });
    const changed = () => ({ code: Code.CHANGED, body });
    const { server, router } = routed(
      {
        x: { get, fetch: get },
        up: { get, put: changed, post: changed, patch: changed, maxBodyBytes: 4_096 },
        q: {
          put: changed,
          receive: (_now, _request, piece) => ({ code: piece.last ? 0x44 : 0x5f }),
          maxBodyBytes: 9_000,
        },
      },
      { server: { isTrusted: () => trusted } },
    );
    const fuzzed = new Fuzzed(server);
    let early = 0;
    for (let i = 0; i < INPUTS; i++) {
      fuzzed.step();
      if (i % 50 === 0) server.notify(fuzzed.nowUs, "x");
      if (i === Math.floor(INPUTS / 10)) early = usedHeap();
      expect(server.stats.openExchanges <= COAP_LIMITS.maxServerExchanges).toBe(true);
      expect(server.stats.observations <= COAP_LIMITS.maxObservations).toBe(true);
    }
    expect(usedHeap() - early).toBeLessThan(16 * 1_048_576);
    fuzzed.expectFlat();
    // Once nothing comes any more, nothing is left.
    for (let at = server.pollTimeout(); at !== undefined; at = server.pollTimeout()) {
      server.handleTimeout(at);
      while (server.pollTransmit() !== undefined);
      if (at > fuzzed.nowUs + 2_000_000_000) break;
    }
    expect(server.stats.openExchanges).toBe(0);
    expect(router.pollTimeout()).toBeUndefined();
    expect(server.stats.dropped).toBe(0);
  });

  it("a client with uploads, downloads and observations under way", () => {
    const { client } = routed({});
    const fuzzed = new Fuzzed(client);
    const uri = textOptions(Option.URI_PATH, ["x"]);
    let [body, download] = [undefined as BodyExchange | undefined, undefined as QBlock2Download | undefined];
    for (let i = 0; i < INPUTS; i++) {
      if (i % 20 === 0) {
        body?.cancel(fuzzed.nowUs);
        download?.cancel(fuzzed.nowUs);
        const common = { endpoint: client, peer: SERVER, szx: 2 as const };
        body = new BodyExchange({ ...common, code: Code.PUT, options: uri, body: pattern(300), maxBodyBytes: 4_096 });
        download = new QBlock2Download({ ...common, parameters: DEFAULT_PARAMETERS, uri });
        body.start(fuzzed.nowUs);
        download.start(fuzzed.nowUs);
        client.request(fuzzed.nowUs, SERVER, {
          code: Code.GET,
          options: uri,
          observe: i % 40 === 0,
          confirmable: i % 60 > 0,
        });
      }
      fuzzed.step((event) => {
        body!.handleEvent(fuzzed.nowUs, event);
        download!.handleEvent(fuzzed.nowUs, event);
      });
      download!.handleTimeout(fuzzed.nowUs);
      expect(client.stats.requests <= COAP_LIMITS.maxClientExchanges).toBe(true);
    }
    body!.cancel(fuzzed.nowUs);
    download!.cancel(fuzzed.nowUs);
    expect(client.stats.dropped).toBe(0);
    fuzzed.expectFlat();
  });
});
