import { describe, expect, it } from "vitest";
import { encodeEmpty, encodeMessage } from "../../src/coap/encode.ts";
import type { CoapEndpoint } from "../../src/coap/endpoint.ts";
import {
  EMPTY_BYTES,
  encodeUint,
  optionValue,
  uintOption,
  type CoapMessage,
  type CoapOption,
} from "../../src/coap/message.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { nextSequence, type Observation } from "../../src/coap/observe/observations.ts";
import { textOptions } from "../../src/coap/options.ts";
import type { CoapResponse } from "../../src/coap/request.ts";
import { drain } from "../support/coap-get.ts";
import { CLIENT, SERVER } from "../support/pair.ts";
import { pattern, routed } from "../support/resources.ts";

const SECOND = 1_000_000;
const uint = (number: number, value: number): CoapOption => ({ number, value: encodeUint(value) });
const REGISTER = { number: Option.OBSERVE, value: EMPTY_BYTES };

interface Site {
  server: CoapEndpoint;
  state: Record<string, number>;
  answer: (path: string) => CoapResponse;
}

/** A server with two resources that can be observed. */
function site(): Site {
  const made: Site = {
    server: undefined as unknown as CoapEndpoint,
    state: { x: 1, y: 1 },
    answer: (path) => ({ code: Code.CONTENT, payload: Uint8Array.of(made.state[path]!), observable: path }),
  };
  made.server = routed({ x: { get: () => made.answer("x") }, y: { get: () => made.answer("y") } }).server;
  return made;
}

function register(
  server: CoapEndpoint,
  path: string,
  fields: { token?: number; type?: MessageType; options?: CoapOption[]; nowUs?: number; messageId?: number } = {},
): CoapMessage[] {
  const { token = 1, type = MessageType.CON, options = [], nowUs = 0, messageId = token } = fields;
  const all = [...textOptions(Option.URI_PATH, [path]), REGISTER, ...options];
  const get = { type, code: Code.GET, messageId, token: Uint8Array.of(token), options: all, payload: EMPTY_BYTES };
  server.handleDatagram(nowUs, encodeMessage(get), CLIENT);
  return drain(server);
}

const observeOf = ({ options }: CoapMessage): number => uintOption(options, Option.OBSERVE)!;

describe("the list of observers (RFC 7641 sections 3.1 and 4.1)", () => {
  it("has one entry per endpoint and token, which registering anew refreshes", () => {
    const { server, state } = site();
    register(server, "x");
    register(server, "x", { type: MessageType.NON, messageId: 2, nowUs: SECOND });
    expect(server.stats.observations).toBe(1);
    state["x"] = 2;
    server.notify(2 * SECOND, "x");
    const told = drain(server);
    expect(told).toHaveLength(1);
    expect(told[0]!.type).toBe(MessageType.NON); // as the newer registration asks
  });

  it("a client that observes the same twice has one registration, and tells both of it", () => {
    const { pair, client, server } = routed({
      x: { get: () => ({ code: Code.CONTENT, payload: pattern(1), observable: "x" }) },
    });
    const GET = { code: Code.GET, options: textOptions(Option.URI_PATH, ["x"]), observe: true };
    const id = client.request(0, SERVER, GET);
    pair.rest(0);
    expect(client.request(0, SERVER, { ...GET, options: [...GET.options] })).toBe(id);
    pair.rest(SECOND);
    expect(pair.log).toHaveLength(2);
    expect(server.stats.observations).toBe(1);
    for (const other of [
      { ...GET, options: [...GET.options, uint(Option.ACCEPT, 0)] },
      { ...GET, options: textOptions(Option.URI_PATH, ["y"]) },
    ])
      expect(client.request(pair.nowUs, SERVER, other)).not.toBe(id);
    expect(client.request(pair.nowUs, { ...SERVER, port: 9 }, GET)).not.toBe(id);
  });
});

describe("notifications (RFC 7641 sections 4.2 to 4.5)", () => {
  it.each([0, 50])(
    "one that would have another Content-Format than the first response (%i) is 4.06, and the last",
    (first) => {
      const made = site();
      let format = first;
      made.answer = (path) => ({
        code: Code.CONTENT,
        body: { bytes: pattern(9), etag: Uint8Array.of(format + 1), contentFormat: format },
        observable: path,
      });
      register(made.server, "x");
      made.server.notify(SECOND, "x");
      const [same] = drain(made.server);
      expect(codeText(same!.code)).toBe("2.05");
      made.server.handleDatagram(SECOND, encodeEmpty(MessageType.ACK, same!.messageId), CLIENT);
      format = 60;
      made.server.notify(2 * SECOND, "x");
      const [told] = drain(made.server);
      expect(codeText(told!.code)).toBe("4.06");
      expect(optionValue(told!.options, Option.OBSERVE)).toBeUndefined();
      expect(made.server.stats.observations).toBe(0);
    },
  );

  it("one whose accepted format went away is 4.06, and the last; a registration that is 4.06 is none", () => {
    const made = site();
    let format = 42;
    made.answer = (path) => ({
      code: Code.CONTENT,
      body: { bytes: pattern(9), etag: Uint8Array.of(format), contentFormat: format },
      observable: path,
    });
    const options = [uint(Option.ACCEPT, 42)];
    register(made.server, "x", { options });
    expect(made.server.stats.observations).toBe(1);
    format = 50;
    made.server.notify(SECOND, "x");
    expect(drain(made.server).map(({ code }) => codeText(code))).toEqual(["4.06"]);
    expect(made.server.stats.observations).toBe(0);
    expect(register(made.server, "y", { options, token: 2 }).map(({ code }) => codeText(code))).toEqual(["4.06"]);
    expect(made.server.stats.observations).toBe(0);
  });

  it("of two observations of one client one confirmable notification is under way at a time (section 4.5.1)", () => {
    const { server } = site();
    register(server, "x", { token: 1 });
    register(server, "y", { token: 2 });
    server.notify(SECOND, "x");
    server.notify(SECOND, "y");
    const [first, ...none] = drain(server);
    expect(none).toEqual([]);
    server.handleDatagram(2 * SECOND, encodeEmpty(MessageType.ACK, first!.messageId), CLIENT);
    expect(drain(server)).toMatchObject([{ type: MessageType.CON, token: Uint8Array.of(2) }]);
  });

  it("the one that waited shows the state, and an Observe value, of when it leaves (section 4.4)", () => {
    const { server, state } = site();
    register(server, "x", { token: 1 });
    register(server, "y", { token: 2 });
    server.notify(SECOND, "x");
    server.notify(SECOND, "y");
    const [first] = drain(server);
    state["y"] = 7;
    server.notify(2 * SECOND, "y");
    server.handleDatagram(60 * SECOND, encodeEmpty(MessageType.ACK, first!.messageId), CLIENT);
    const [second] = drain(server);
    expect(second!.payload).toEqual(Uint8Array.of(7));
    expect(observeOf(second!)).toBe(60_000);
    server.handleDatagram(61 * SECOND, encodeEmpty(MessageType.ACK, second!.messageId), CLIENT);
    expect(drain(server)).toEqual([]); // what changed while it waited is told already
  });

  it("one that waits is not sent to a client that has left meanwhile", () => {
    const { server } = site();
    register(server, "x", { token: 1 });
    register(server, "y", { token: 2 });
    server.notify(SECOND, "x");
    server.notify(SECOND, "y");
    const [first] = drain(server);
    const options = [...textOptions(Option.URI_PATH, ["y"]), uint(Option.OBSERVE, 1)];
    const leave = { type: MessageType.NON, code: Code.GET, messageId: 9, token: Uint8Array.of(2), options };
    server.handleDatagram(SECOND, encodeMessage({ ...leave, payload: EMPTY_BYTES }), CLIENT);
    drain(server);
    server.handleDatagram(2 * SECOND, encodeEmpty(MessageType.ACK, first!.messageId), CLIENT);
    expect(drain(server)).toEqual([]);
  });

  it("are 2.05, or 2.03 where the client has that state already (section 4.2)", () => {
    const made = site();
    const etag = { number: Option.ETAG, value: Uint8Array.of(1) };
    made.answer = (path) => ({
      code: Code.CONTENT,
      payload: Uint8Array.of(made.state[path]!),
      observable: path,
      options: [etag],
    });
    const [first] = register(made.server, "x");
    expect(codeText(first!.code)).toBe("2.05");
    made.server.notify(SECOND, "x");
    expect(drain(made.server).map(({ code }) => codeText(code))).toEqual(["2.05"]);
    const [again] = register(made.server, "x", { token: 2, options: [etag], nowUs: 200 * SECOND });
    expect(["2.05", "2.03"]).toContain(codeText(again!.code));
  });

  it("non-confirmable ones keep 3 s apart for a client, whatever it observes (section 4.5.1)", () => {
    const { server } = site();
    register(server, "x", { token: 1, type: MessageType.NON });
    register(server, "y", { token: 2, type: MessageType.NON });
    const sent: number[] = [];
    const note = (nowUs: number): void => void sent.push(...drain(server).map(() => nowUs));
    for (const at of [SECOND, SECOND + 10, 2 * SECOND]) {
      server.notify(at, "x");
      server.notify(at, "y");
      note(at);
    }
    for (let at = server.pollTimeout(); at !== undefined && at < 100 * SECOND; at = server.pollTimeout()) {
      server.handleTimeout(at);
      note(at);
    }
    expect(sent.length).toBeGreaterThanOrEqual(3);
    for (const [i, at] of sent.entries()) if (i > 0) expect(at - sent[i - 1]!).toBeGreaterThanOrEqual(3 * SECOND);
  });

  it("Observe values are 24 bits of a counter that grows, by less than 2^23 in 256 s (section 4.4)", () => {
    const observation = { sequence: 0 } as Observation;
    let before = -1;
    const start = (2 ** 24 - 100) * 1_000;
    for (let i = 0; i < 100_000; i++) {
      const value = nextSequence(start + i * 2_560, observation);
      expect(value).toBe(observation.sequence % 2 ** 24);
      expect(observation.sequence).toBeGreaterThan(before);
      before = observation.sequence;
    }
    // As fast as notifications can follow each other, and as slow as the clock.
    expect(observation.sequence - (2 ** 24 - 100)).toBeLessThan(2 ** 23);
    expect(nextSequence(start, observation)).toBeLessThan(2 ** 24);
  });
});
