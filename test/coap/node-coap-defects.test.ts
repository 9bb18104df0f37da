import { describe, expect, it } from "vitest";
import { encodeBlock } from "../../src/coap/blockwise/block.ts";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { COAP_LIMITS } from "../../src/coap/limits.ts";
import { EMPTY_BYTES, type CoapMessage, type CoapOption } from "../../src/coap/message.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { decoded } from "../support/coap-get.ts";
import { CLIENT } from "../support/pair.ts";
import { pattern, routed, sha, sink } from "../support/resources.ts";

// What node-coap 1.5.0 was seen to do wrong when it was measured for this project: ours does not.

const path = (name: string): CoapOption[] => textOptions(Option.URI_PATH, [name]);
const block = (number: number, num: number, more: boolean, szx: number): CoapOption => ({
  number,
  value: encodeBlock({ num, more, szx }),
});

function give(server: CoapEndpoint, fields: Partial<CoapMessage>, peer = CLIENT) {
  const base = {
    type: MessageType.CON,
    code: Code.GET,
    messageId: 1,
    token: Uint8Array.of(1),
    options: [],
    payload: EMPTY_BYTES,
  };
  server.handleDatagram(0, encodeMessage({ ...base, ...fields }), peer);
  const out = [];
  for (let sent = server.pollTransmit(); sent !== undefined; sent = server.pollTransmit())
    out.push({ peer: sent.peer, message: decoded(sent.bytes.slice()) });
  return out;
}

describe("what node-coap gets wrong", () => {
  it("a block of another resource under the same token is that resource's", () => {
    const make = (fill: number) => {
      const bytes = new Uint8Array(200).fill(fill);
      return {
        get: () => ({ code: Code.CONTENT, body: { bytes, etag: sha(bytes).subarray(0, 8), contentFormat: 42 } }),
      };
    };
    const { server } = routed({ big: make(1), a: make(2) });
    give(server, { options: [...path("big"), block(Option.BLOCK2, 0, false, 2)] });
    const [second] = give(server, { messageId: 2, options: [...path("a"), block(Option.BLOCK2, 1, false, 2)] });
    expect(second!.message.payload).toEqual(new Uint8Array(64).fill(2));
  });

  it("a gap in an upload, an empty token and a fresh token for each block disturb nobody", () => {
    const { resource, bodies } = sink(1_000);
    const { server } = routed({ up: resource });
    const put = (num: number, more: boolean, token: Uint8Array, messageId: number): string => {
      const options = [...path("up"), block(Option.BLOCK1, num, more, 0)];
      const [reply] = give(server, { code: Code.PUT, options, token, messageId, payload: pattern(16) });
      expect(reply!.peer).toMatchObject(CLIENT);
      expect(reply!.message.token).toEqual(token);
      return codeText(reply!.message.code);
    };
    expect(put(0, true, Uint8Array.of(1), 1)).toBe("2.31");
    expect(put(5, true, EMPTY_BYTES, 2)).toBe("4.08");
    expect(put(1, false, Uint8Array.of(2), 3)).toBe("2.04");
    expect(bodies).toHaveLength(1);
  });

  it("an upload without end is cut off by 4.13, and costs no more than its bound", () => {
    const { resource } = sink(65_536);
    const { server } = routed({ up: resource });
    const codes = new Set<string>();
    for (let num = 0; num < 2_000; num++) {
      const options = [...path("up"), block(Option.BLOCK1, num, true, 6)];
      const [reply] = give(server, { code: Code.PUT, options, messageId: num, payload: pattern(1_024) });
      codes.add(codeText(reply!.message.code));
    }
    expect([...codes]).toEqual(["2.31", "4.13"]);
    expect(server.stats.openExchanges).toBeLessThanOrEqual(COAP_LIMITS.maxServerExchangesPerPeer);
  });

  it("one peer's message ID has nothing to do with another's", () => {
    const client = new CoapEndpoint({ random: new SeededRandom(1, "c") });
    const [a, b] = [
      { address: "fd00::a", port: 5_683 },
      { address: "fd00::b", port: 5_683 },
    ];
    const seen = client.request(0, b, { code: Code.GET, options: path("x"), observe: true })!;
    const first = decoded(client.pollTransmit()!.bytes.slice());
    const observe = (value: number): CoapOption => ({ number: Option.OBSERVE, value: Uint8Array.of(value) });
    const notify = { type: MessageType.CON, code: Code.CONTENT, token: first.token, payload: pattern(1) };
    give(client, { ...notify, messageId: 9, options: [observe(1)] }, b);
    const pending = client.request(0, a, { code: Code.GET, options: path("y") })!;
    const { messageId } = decoded(client.pollTransmit()!.bytes.slice());
    const [ack] = give(client, { ...notify, messageId, options: [observe(2)] }, b);
    expect(ack).toMatchObject({ peer: b, message: { type: MessageType.ACK, messageId } });
    expect([client.pollEvent(), client.pollEvent()]).toMatchObject([
      { request: seen },
      { kind: "notification", request: seen },
    ]);
    expect(client.pollEvent()).toBeUndefined();
    client.cancel(0, pending);
  });

  it("a notification larger than a datagram is its first block", () => {
    const bytes = pattern(5_000);
    const body = { bytes, etag: sha(bytes).subarray(0, 8), contentFormat: 42 };
    const { server } = routed({ x: { get: () => ({ code: Code.CONTENT, body, observable: "x" }) } });
    give(server, { options: [{ number: Option.OBSERVE, value: EMPTY_BYTES }, ...path("x")] });
    server.notify(0, "x");
    expect(decoded(server.pollTransmit()!.bytes.slice()).payload).toHaveLength(1_024);
  });
});
