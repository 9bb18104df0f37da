import { describe, expect, it } from "vitest";
import type { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { encodeEmpty, encodeMessage } from "../../src/coap/encode.ts";
import { COAP_LIMITS } from "../../src/coap/limits.ts";
import { encodeUint, optionValue, uintOption, type CoapMessage } from "../../src/coap/message.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { isNewer } from "../../src/coap/observe/freshness.ts";
import { textOptions } from "../../src/coap/options.ts";
import type { ClientEvent, CoapResponse } from "../../src/coap/request.ts";
import { decoded, drain } from "../support/coap-get.ts";
import { CLIENT, SERVER, type Pair } from "../support/pair.ts";
import { pattern, routed, sha } from "../support/resources.ts";

const SECOND = 1_000_000;
const GET = { code: Code.GET, options: textOptions(Option.URI_PATH, ["x"]), observe: true };

function bench(fields: Partial<CoapResponse> = {}) {
  const state = { value: 1, response: undefined as CoapResponse | undefined };
  const get = (): CoapResponse =>
    state.response ?? { code: Code.CONTENT, payload: Uint8Array.of(state.value), observable: "x", ...fields };
  const made = routed({ x: { get } });
  const set = (value: number): void => {
    state.value = value;
    made.server.notify(made.pair.nowUs, "x");
  };
  return { ...made, state, set };
}

function events(pair: Pair, untilUs: number): string[] {
  const out: string[] = [];
  for (let event = pair.run(untilUs); event !== undefined; event = pair.run(untilUs)) out.push(text(event));
  return out;
}

const text = (event: ClientEvent): string =>
  event.kind === "response" || event.kind === "notification"
    ? `${event.kind} ${codeText(event.response.code)} ${event.response.payload.join()}`
    : event.kind;

describe("Observe (RFC 7641)", () => {
  it("tells of each change that there is time for, the newest state last (sections 4.2 and 4.5.1)", () => {
    const { pair, client, set, server } = bench();
    client.request(0, SERVER, GET);
    expect(events(pair, 0)).toEqual(["response 2.05 1"]);
    set(2);
    expect(events(pair, SECOND)).toEqual(["notification 2.05 2"]);
    pair.copies = () => 0;
    set(3); // is lost, and waits for its retransmission
    set(4);
    set(5);
    expect(server.stats.observations).toBe(1);
    pair.settle();
    pair.copies = () => 1;
    expect(events(pair, 10 * SECOND)).toEqual(["notification 2.05 3", "notification 2.05 5"]);
    const types = pair.log.map(({ from, bytes }) => `${from} ${(bytes[0]! >> 4) & 3}`).slice(2);
    expect(new Set(types)).toEqual(new Set(["server 0", "client 2"]));
  });

  it("has at most one confirmable notification on its way, and forgets a client that does not answer", () => {
    const { pair, client, set, server } = bench();
    client.request(0, SERVER, GET);
    pair.run(0);
    pair.copies = () => 0;
    for (let i = 2; i < 50; i++) set(i);
    pair.settle();
    expect(pair.log.filter(({ from }) => from === "server")).toHaveLength(2);
    pair.run(100 * SECOND);
    expect(server.stats.observations).toBe(0);
  });

  it("values of the option grow, and a copy or an overtaken notification is not delivered (section 3.4)", () => {
    const { pair, client, set } = bench();
    client.request(0, SERVER, GET);
    pair.run(0);
    pair.copies = () => 2;
    set(2);
    set(3);
    expect(events(pair, SECOND)).toEqual(["notification 2.05 2", "notification 2.05 3"]);
    const sequences = pair.log
      .filter(({ from }) => from === "server")
      .map(({ bytes }) => uintOption(decoded(bytes).options, Option.OBSERVE))
      .filter((value) => value !== undefined);
    expect(sequences).toEqual(sequences.toSorted((a, b) => a - b));
    expect(isNewer({ sequence: 5, atUs: 0 }, { sequence: 4, atUs: SECOND })).toBe(false);
    expect(isNewer({ sequence: 5, atUs: 0 }, { sequence: 4, atUs: 129 * SECOND })).toBe(true);
    expect(isNewer({ sequence: 2 ** 24 - 1, atUs: 0 }, { sequence: 1, atUs: 1 })).toBe(true);
    expect(isNewer({ sequence: 1, atUs: 0 }, { sequence: 2 ** 24 - 1, atUs: 1 })).toBe(false);
  });

  it("a client that forgets is taken off by its RST (section 3.6)", () => {
    const { pair, client, set, server } = bench();
    const id = client.request(0, SERVER, GET)!;
    pair.run(0);
    client.cancel(0, id);
    set(2);
    expect(events(pair, SECOND)).toEqual([]);
    expect(server.stats.observations).toBe(0);
  });

  it("a RST to a non-confirmable notification does the same", () => {
    const { server, set } = bench();
    const options = [{ number: Option.OBSERVE, value: encodeUint(0) }, ...GET.options];
    const messages = register(server, options);
    expect(messages).toHaveLength(1);
    set(2);
    const sent = decoded(server.pollTransmit()!.bytes.slice());
    expect(sent.type).toBe(MessageType.NON);
    expect(server.stats.observations).toBe(1);
    server.handleDatagram(0, encodeEmpty(MessageType.RST, sent.messageId), CLIENT);
    expect(server.stats.observations).toBe(0);
  });

  it("non-confirmable notifications keep 3 s apart, and once a day one is confirmable (section 4.5)", () => {
    const { server, pair, set } = bench();
    register(server, [{ number: Option.OBSERVE, value: encodeUint(0) }, ...GET.options]);
    set(2);
    set(3);
    expect(server.pollTransmit()).toBeDefined();
    expect(server.pollTransmit()).toBeUndefined();
    server.handleTimeout(3 * SECOND);
    expect(decoded(server.pollTransmit()!.bytes.slice()).payload).toEqual(Uint8Array.of(3));
    server.handleTimeout(10 * SECOND);
    pair.nowUs = 86_400 * SECOND;
    set(4);
    expect(decoded(server.pollTransmit()!.bytes.slice()).type).toBe(MessageType.CON);
  });

  it("a GET with Observe 1 ends it, under the same token (section 3.6)", () => {
    const { pair, client, set, server } = bench();
    const id = client.request(0, SERVER, GET)!;
    pair.run(0);
    expect(client.unobserve(0, id)).toBe(true);
    expect(events(pair, SECOND)).toEqual(["response 2.05 1"]);
    expect(server.stats.observations).toBe(0);
    set(2);
    expect(events(pair, SECOND)).toEqual([]);
    expect(client.stats.requests).toBe(0);
  });

  it("an error ends it, as the last notification (section 4.2)", () => {
    const { pair, client, state, server } = bench();
    client.request(0, SERVER, GET);
    pair.run(0);
    state.response = { code: Code.NOT_FOUND };
    server.notify(0, "x");
    expect(events(pair, SECOND)).toEqual(["response 4.04 "]);
    expect(server.stats.observations).toBe(0);
    expect(client.stats.requests).toBe(0);
    const last = pair.log.findLast(({ from }) => from === "server")!;
    expect(optionValue(decoded(last.bytes).options, Option.OBSERVE)).toBeUndefined();
  });

  it("registers anew 5 to 15 s after Max-Age, under the same token, also at a server that restarted (section 3.3.1)", () => {
    const maxAge = [{ number: Option.MAX_AGE, value: encodeUint(100) }];
    const { pair, client } = bench({ options: maxAge });
    client.request(0, SERVER, GET);
    pair.run(0);
    const after = bench({ options: maxAge });
    after.state.value = 9;
    Object.assign(pair, { server: after.server });
    expect(events(pair, 104 * SECOND)).toEqual([]);
    expect(events(pair, 116 * SECOND)).toEqual(["notification 2.05 9"]);
    expect(after.server.stats.observations).toBe(1);
    const tokens = pair.log.filter(({ from }) => from === "client").map(({ bytes }) => decoded(bytes).token.join());
    expect(new Set(tokens).size).toBe(1);
  });

  it("a resource that cannot be observed answers without the option (section 4.1)", () => {
    const { pair, client, server } = bench({ observable: undefined } as unknown as CoapResponse);
    client.request(0, SERVER, GET);
    expect(events(pair, SECOND)).toEqual(["response 2.05 1"]);
    expect(server.stats.observations).toBe(0);
    expect(client.stats.requests).toBe(0);
  });

  it("a large notification is its first block; the rest is fetched (RFC 7959 section 3.4)", () => {
    const bytes = pattern(3_000);
    const body = { bytes, etag: sha(bytes).subarray(0, 8), contentFormat: 42 };
    const made = routed(
      { x: { get: () => ({ code: Code.CONTENT, body, observable: "x" }) } },
      { server: { preferredSzx: 6 } },
    );
    made.client.request(0, SERVER, GET);
    made.pair.run(0);
    made.server.notify(0, "x");
    const event = made.pair.run(SECOND);
    if (event?.kind !== "notification") throw new Error("no notification");
    expect(event.response.payload).toEqual(bytes.subarray(0, 1_024));
    expect(uintOption(event.response.options, Option.BLOCK2)).toBe(8 + 6);
    const next = { code: Code.GET, options: [...GET.options, { number: Option.BLOCK2, value: encodeUint(16 + 6) }] };
    made.client.request(0, SERVER, next);
    const second = made.pair.run(SECOND);
    if (second?.kind !== "response") throw new Error("no response");
    expect(second.response.payload).toEqual(bytes.subarray(1_024, 2_048));
    expect(optionValue(second.response.options, Option.OBSERVE)).toBeUndefined();
    expect(made.server.stats.observations).toBe(1);
  });

  it("bounds the list: a peer past its share is answered without the option", () => {
    const { server } = bench();
    for (let i = 0; i < COAP_LIMITS.maxObservationsPerPeer + 5; i++)
      register(server, [{ number: Option.OBSERVE, value: encodeUint(0) }, ...GET.options], i);
    expect(server.stats.observations).toBe(COAP_LIMITS.maxObservationsPerPeer);
  });
});

function register(server: CoapEndpoint, options: { number: number; value: Uint8Array }[], id = 1): CoapMessage[] {
  const message = { type: MessageType.NON, code: Code.GET, messageId: id, token: Uint8Array.of(id) };
  server.handleDatagram(0, encodeMessage({ ...message, options, payload: new Uint8Array(0) }), CLIENT);
  return drain(server);
}
