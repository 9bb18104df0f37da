import { describe, expect, it } from "vitest";
import { encodeBlock } from "../../src/coap/blockwise/block.ts";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { EMPTY_BYTES, encodeUint, type CoapMessage, type CoapOption } from "../../src/coap/message.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { decoded, drain } from "../support/coap-get.ts";
import { CLIENT, Pair, SERVER } from "../support/pair.ts";
import { pattern, routed, sha, sink } from "../support/resources.ts";

// What a review with hostile eyes proved, each with the attack that showed it.

const SECOND = 1_000_000;
const PATH = textOptions(Option.URI_PATH, ["x"]);
const q = (number: number, num: number, more: boolean, szx = 2): CoapOption => ({
  number,
  value: encodeBlock({ num, more, szx }),
});

function give(server: CoapEndpoint, fields: Partial<CoapMessage>, peer = CLIENT, toGroup = false): CoapMessage[] {
  const base = {
    type: MessageType.CON,
    code: Code.GET,
    messageId: 1,
    token: EMPTY_BYTES,
    options: PATH,
    payload: EMPTY_BYTES,
  };
  server.handleDatagram(0, encodeMessage({ ...base, ...fields }), peer, toGroup);
  return drain(server);
}

describe("attacks", () => {
  it("a bare message that looks like the copy of a large request draws no answer of that, nor locks the address out", () => {
    const fetch = () => ({ code: Code.CONTENT, payload: pattern(1_000) });
    const { server } = routed({ x: { fetch, maxBodyBytes: 2_000 } }, { server: { isTrusted: () => false } });
    const options = [...PATH, { number: Option.CONTENT_FORMAT, value: EMPTY_BYTES }];
    const first = { code: Code.FETCH, options, payload: pattern(400) };
    let out = give(server, first).reduce((sum, message) => sum + message.payload.length, 0);
    expect(out).toBe(1_000);
    for (let i = 0; i < 1_000; i++)
      out += give(server, { code: Code.FETCH, options: [] }).reduce((sum, message) => sum + message.payload.length, 0);
    expect(out).toBeLessThan(3 * 400);
    expect(give(server, { ...first, messageId: 2, payload: pattern(1) }).map(({ code }) => codeText(code))).toEqual([
      "2.05",
    ]);
  });

  it("a POST with Q-Block2 runs once: after its address is proven, and not again for missing blocks", () => {
    let runs = 0;
    const bytes = pattern(64 * 15);
    const post = () => {
      runs++;
      return { code: Code.CHANGED, body: { bytes, etag: sha(bytes).subarray(0, 8), contentFormat: 42 } };
    };
    const { server } = routed({ x: { post } }, { server: { isTrusted: () => false } });
    const client = new CoapEndpoint({ random: new SeededRandom(1, "c") });
    const pair = new Pair(client, server);
    const options = [...PATH, q(Option.Q_BLOCK2, 0, true)];
    client.request(0, SERVER, { code: Code.POST, options, many: true });
    expect(pair.run(SECOND)).toMatchObject({ kind: "response" });
    expect(runs).toBe(1);
    const missing = [...PATH, q(Option.Q_BLOCK2, 3, false), q(Option.Q_BLOCK2, 12, false)];
    const again = give(server, { type: MessageType.NON, code: Code.POST, options: missing, messageId: 77 });
    expect(again.map(({ code }) => codeText(code))).toEqual(["2.04", "2.04"]);
    expect(runs).toBe(1);
  });

  it("Q-Block2 keeps to Accept", () => {
    const bytes = pattern(300);
    const get = () => ({ code: Code.CONTENT, body: { bytes, etag: sha(bytes).subarray(0, 8), contentFormat: 42 } });
    const { server } = routed({ x: { get } });
    const options = [...PATH, { number: Option.ACCEPT, value: encodeUint(60) }, q(Option.Q_BLOCK2, 0, true)];
    expect(give(server, { options }).map(({ code }) => codeText(code))).toEqual(["4.06"]);
  });

  it("bodies that were only begun do not keep others from theirs", () => {
    const { resource } = sink(4_194_304);
    const { server } = routed({ x: resource });
    const begin = (port: number): string[] => {
      const options = [
        ...PATH,
        q(Option.Q_BLOCK1, 0, true, 6),
        { number: Option.SIZE1, value: encodeUint(4_000_000) },
        { number: Option.REQUEST_TAG, value: Uint8Array.of(1) },
      ];
      const message = { type: MessageType.NON, code: Code.PUT, options, payload: pattern(1_024), messageId: port };
      return give(server, message, { ...CLIENT, port }).map(({ code }) => codeText(code));
    };
    for (let port = 1; port < 10; port++) expect(begin(port)).toEqual([]); // none is told 5.03
  });

  it("a notification that crosses a deregistration does not undo it", () => {
    const client = new CoapEndpoint({ random: new SeededRandom(1, "c") });
    const id = client.request(0, SERVER, { code: Code.GET, options: PATH, observe: true })!;
    const { token } = decoded(client.pollTransmit()!.bytes.slice());
    const observe = (value: number): CoapOption => ({ number: Option.OBSERVE, value: Uint8Array.of(value) });
    give(client, { code: Code.CONTENT, token, options: [observe(1)], messageId: 5 }, SERVER);
    client.unobserve(0, id);
    expect(client.pollTransmit()).toBeDefined(); // and is lost
    give(client, { code: Code.CONTENT, token, options: [observe(2)], messageId: 6 }, SERVER);
    client.pollEvent();
    expect(client.pollEvent()).toBeUndefined();
    client.handleTimeout(3 * SECOND);
    expect(decoded(client.pollTransmit()!.bytes.slice()).options).toContainEqual(observe(1)); // it is sent again
  });

  it("one member of a group cannot end the request for all", () => {
    const client = new CoapEndpoint({ random: new SeededRandom(1, "c") });
    client.request(0, { address: "ff02::fd", port: 5_683 }, { code: Code.GET, options: PATH, toGroup: true });
    const { token } = decoded(client.pollTransmit()!.bytes.slice());
    const reply = { type: MessageType.NON, code: Code.CONTENT, token };
    give(client, { ...reply, options: [{ number: 65_001, value: EMPTY_BYTES }] }, { address: "fe80::1", port: 1 });
    const echo = [{ number: Option.ECHO, value: Uint8Array.of(1) }];
    give(client, { ...reply, code: Code.UNAUTHORIZED, options: echo, messageId: 2 }, { address: "fe80::2", port: 1 });
    give(client, { ...reply, options: [], messageId: 3 }, { address: "fe80::3", port: 1 });
    expect(client.pollEvent()).toMatchObject({ kind: "response", response: { from: { address: "fe80::2" } } });
    expect(client.pollEvent()).toMatchObject({ kind: "response", response: { from: { address: "fe80::3" } } });
  });

  it("a group is not answered with refusals, nor who wants none", () => {
    const { server } = routed({ x: {} });
    const NON = { type: MessageType.NON } as const;
    const proxied = textOptions(Option.PROXY_URI, ["coap://a/b"]);
    expect(give(server, { ...NON, options: proxied }, CLIENT, true)).toEqual([]);
    expect(
      give(
        server,
        { ...NON, options: [...PATH, ...PATH.map(() => ({ number: 19, value: EMPTY_BYTES }))] },
        CLIENT,
        true,
      ),
    ).toEqual([]);
    server.handleTimeout(6 * SECOND);
    expect(server.pollTransmit()).toBeUndefined();
  });
});
