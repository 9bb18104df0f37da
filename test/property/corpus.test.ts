import { parse } from "coap-packet";
import { describe, expect, it } from "vitest";
import { decodeMessage, type FormatReason } from "../../src/coap/decode.ts";
import type { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { corpus, findings } from "../support/corpus.ts";
import { mutate } from "../support/mutate.ts";
import { CLIENT, SERVER } from "../support/pair.ts";
import { pattern, routed, sha, sink } from "../support/resources.ts";
import { SCENARIOS } from "../support/scenarios.ts";

const MUTATIONS = 100_000;
const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

/** What we refuse and coap-packet takes: RFC 7252 sections 3, 4.1 and 12.1, and our own bounds. */
const STRICTER: ReadonlySet<FormatReason> = new Set([
  "reserved-code",
  "empty-with-content",
  "marker-without-payload",
  "option-number-overflow",
  "too-many-options",
  "too-long",
  "bad-version",
  "bad-option-header",
  "option-past-end",
  "bad-token-length", // an extended token (RFC 8974), cut off
]);

/** coap-packet names options; only those that both know by name can be compared, the others it gives as numbers. */
const theirs = (bytes: Uint8Array) => {
  try {
    const { code, messageId, token, payload, options, confirmable, ack, reset } = parse(Buffer.from(bytes));
    const type = confirmable ? MessageType.CON : ack ? MessageType.ACK : reset ? MessageType.RST : MessageType.NON;
    return {
      code,
      messageId,
      token: hex(token),
      payload: hex(payload),
      type,
      values: options.map(({ value }) => hex(value)),
    };
  } catch {
    return undefined;
  }
};

describe("the corpus", () => {
  it("holds the datagrams of every scenario", async () => {
    const lines = Object.values(SCENARIOS).flatMap((run) => run().log.map(({ bytes }) => hex(bytes)));
    await expect(`${[...new Set(lines)].join("\n")}\n`).toMatchFileSnapshot("corpus/seeds.hex");
    expect(lines.length).toBeGreaterThan(150);
  });

  it(`is parsed as coap-packet parses it, ${MUTATIONS} mutations of it too`, () => {
    const random = new SeededRandom(20_261_124, "captures");
    const seeds = corpus();
    const agreed = { both: 0, neither: 0 };
    const onlyOurs = new Map<string, number>();
    for (let i = 0; i < MUTATIONS + seeds.length; i++) {
      const bytes = i < seeds.length ? seeds[i]! : mutate(random, seeds);
      const [ours, peer] = [decodeMessage(bytes), theirs(bytes)];
      if (!ours.ok) {
        if (peer === undefined) agreed.neither++;
        else expect(STRICTER.has(ours.error.reason), `${hex(bytes)}: ${ours.error.reason}`).toBe(true);
        continue;
      }
      const { message } = ours;
      if (peer === undefined) {
        // Tokens of more than 8 bytes (RFC 8974) it does not know.
        const why = message.token.length > 8 ? "long token" : hex(bytes);
        onlyOurs.set(why, (onlyOurs.get(why) ?? 0) + 1);
        continue;
      }
      agreed.both++;
      expect({
        code: codeText(message.code),
        messageId: message.messageId,
        token: hex(message.token),
        payload: hex(message.payload),
        type: message.type,
        values: message.options.map(({ value }) => hex(value)),
      }).toEqual(peer);
    }
    expect([...onlyOurs.keys()].filter((why) => why !== "long token")).toEqual([]);
    expect(agreed.both).toBeGreaterThan(MUTATIONS / 4);
    expect(agreed.neither).toBeGreaterThan(MUTATIONS / 100);
  });

  it("every finding goes to a server and to a client, in every order of two, without an exception", () => {
    const all = findings();
    expect(all.length).toBeGreaterThan(10);
    const body = { bytes: pattern(3_000), etag: sha(pattern(3_000)).subarray(0, 8), contentFormat: 42 };
    const make = (): CoapEndpoint[] => {
      const get = () => ({ code: Code.CONTENT, body, observable: "x" });
      const { server, client } = routed({ x: { ...sink(9_000).resource, get, fetch: get } });
      client.request(0, SERVER, { code: Code.GET, options: textOptions(Option.URI_PATH, ["x"]), observe: true });
      return [server, client];
    };
    for (const first of all) {
      for (const second of all) {
        for (const endpoint of make()) {
          let nowUs = 0;
          for (const bytes of [...first, ...second, ...first]) {
            endpoint.handleDatagram((nowUs += 1_000), bytes, CLIENT, nowUs % 7_000 === 0);
            while (endpoint.pollTransmit() !== undefined);
          }
          for (let at = endpoint.pollTimeout(); at !== undefined && at < 2_000e6; at = endpoint.pollTimeout()) {
            endpoint.handleTimeout(at);
            while (endpoint.pollTransmit() !== undefined);
          }
          expect(endpoint.stats.openExchanges).toBe(0);
          expect(endpoint.stats.dropped).toBe(0);
        }
      }
    }
  });
});
