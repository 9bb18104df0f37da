import { describe, expect, it } from "vitest";
import { encodeBlock } from "../../src/coap/blockwise/block.ts";
import { encodeEmpty, encodeMessage } from "../../src/coap/encode.ts";
import type { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { EMPTY_BYTES, encodeUint, optionValue, type CoapMessage, type CoapOption } from "../../src/coap/message.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import type { HandlerResult, IncomingRequest } from "../../src/coap/request.ts";
import type { PeerAddress } from "../../src/ports/datagram.ts";
import { decoded, drain, getBlock } from "../support/coap-get.ts";
import { GatewayBench, makeImage } from "../support/gateway.ts";
import { CLIENT } from "../support/pair.ts";
import { pattern, routed } from "../support/resources.ts";
import { CLIENT as SITE_CLIENT, ORIGIN_URI, Site, uri } from "../support/site.ts";

// What the fourth hostile review had found and nobody had repaired, each as it has to be.

const SECOND = 1_000_000;
const PATH = textOptions(Option.URI_PATH, ["a"]);
const REGISTER = { number: Option.OBSERVE, value: EMPTY_BYTES };
const uint = (number: number, value: number): CoapOption => ({ number, value: encodeUint(value) });
const block = (number: number, num: number, more: boolean): CoapOption => ({
  number,
  value: encodeBlock({ num, more, szx: 2 }),
});
const message = (fields: Partial<CoapMessage>): Uint8Array => {
  const base = { type: MessageType.NON, code: Code.GET, messageId: 1, options: PATH, payload: EMPTY_BYTES };
  return encodeMessage({ ...base, token: Uint8Array.of(1), ...fields });
};
const attacker = (port: number): PeerAddress => ({ address: "2001:db8::666", port });
const ask = (server: CoapEndpoint, nowUs: number, bytes: Uint8Array, from: PeerAddress = CLIENT): CoapMessage[] => {
  server.handleDatagram(nowUs, bytes, from);
  return drain(server);
};

describe("Echo values (RFC 9175 section 2.3)", () => {
  const options = { server: { isTrusted: (): boolean => false } };
  const put = (id: number, ...more: CoapOption[]): Uint8Array =>
    message({ messageId: id, code: Code.PUT, options: [...PATH, ...more], payload: pattern(4) });
  const guarded = () => routed({ a: { put: () => ({ code: Code.CHANGED }), needsFreshness: true } }, options).server;
  const echoOf = ([answer]: CoapMessage[]): CoapOption => ({
    number: Option.ECHO,
    value: optionValue(answer!.options, Option.ECHO)!,
  });

  it("are good still when twenty thousand forged addresses have been given theirs", () => {
    const server = guarded();
    const echo = echoOf(ask(server, 0, put(1)));
    for (let i = 0; i < 20_000; i++) ask(server, 1, put(1), { address: `2001:db8::${i.toString(16)}`, port: 1 });
    expect(codeText(ask(server, SECOND, put(2, echo))[0]!.code)).toBe("2.04");
  });

  it("are good for nobody else, nor for long, nor when a bit of them is another one", () => {
    const server = guarded();
    const echo = echoOf(ask(server, 0, put(1)));
    const elsewhere = { ...CLIENT, address: "fd00::bad" };
    expect(codeText(ask(server, SECOND, put(2, echo), elsewhere)[0]!.code)).toBe("4.01");
    for (let bit = 0; bit < echo.value.length * 8; bit++) {
      const value = echo.value.slice();
      value[bit >> 3]! ^= 1 << (bit & 7);
      expect(codeText(ask(server, SECOND, put(3 + bit, { ...echo, value }))[0]!.code)).toBe("4.01");
    }
    expect(codeText(ask(server, 61 * SECOND, put(1_000, echo))[0]!.code)).toBe("4.01");
    expect(codeText(ask(guarded(), SECOND, put(2, { ...echo, value: new Uint8Array(0) }))[0]!.code)).toBe("4.01");
  });
});

describe("a client is told of one thing at a time (RFC 7641 section 4.5.1)", () => {
  const two = () => {
    const { server } = routed({
      a: { get: () => ({ code: Code.CONTENT, payload: Uint8Array.of(1), observable: "a" }) },
      b: { get: () => ({ code: Code.CONTENT, payload: Uint8Array.of(2), observable: "b" }) },
    });
    ask(server, 0, message({ messageId: 1, options: [REGISTER, ...PATH] })); // NON
    const options = [REGISTER, ...textOptions(Option.URI_PATH, ["b"])];
    ask(server, 0, message({ type: MessageType.CON, messageId: 2, token: Uint8Array.of(2), options }));
    return server;
  };

  it("a NON waits for the ACK of a CON before it", () => {
    const server = two();
    server.notify(10 * SECOND, "b");
    const [con] = drain(server);
    expect(con!.type).toBe(MessageType.CON);
    server.notify(10 * SECOND, "a");
    expect(drain(server)).toEqual([]);
    expect(ask(server, 11 * SECOND, encodeEmpty(MessageType.ACK, con!.messageId))).toMatchObject([
      { type: MessageType.NON, payload: Uint8Array.of(1) },
    ]);
  });

  it("a CON waits for the gap behind a NON before it", () => {
    const server = two();
    server.notify(10 * SECOND, "a");
    expect(drain(server)).toHaveLength(1);
    server.notify(11 * SECOND, "b");
    expect(drain(server)).toEqual([]);
    server.handleTimeout(13 * SECOND);
    expect(drain(server)).toMatchObject([{ type: MessageType.CON, payload: Uint8Array.of(2) }]);
  });

  it.each([
    ["RST", (server: CoapEndpoint, id: number) => ask(server, 11 * SECOND, encodeEmpty(MessageType.RST, id))],
    [
      "time-out",
      (server: CoapEndpoint) => {
        const seen: CoapMessage[] = [];
        for (let at = server.pollTimeout(); at !== undefined && at < 300 * SECOND; at = server.pollTimeout()) {
          server.handleTimeout(at);
          seen.push(...drain(server).filter(({ type }) => type === MessageType.NON));
        }
        return seen;
      },
    ],
  ])("after a CON that ended by %s the others are told", (_name, end) => {
    const server = two();
    server.notify(10 * SECOND, "b");
    const [con] = drain(server);
    server.notify(10 * SECOND, "a");
    expect(end(server, con!.messageId)).toMatchObject([{ type: MessageType.NON, payload: Uint8Array.of(1) }]);
    expect(server.stats.observations).toBe(1);
  });
});

describe("a body by Q-Block1 (RFC 9177 section 4.3)", () => {
  const piece = (num: number, id: number, count = 3, more: readonly CoapOption[] = PATH): Uint8Array => {
    const options = [...more, block(Option.Q_BLOCK1, num, num < count - 1), uint(Option.SIZE1, count * 64)];
    const tagged = [...options, uint(Option.REQUEST_TAG, 1)];
    return message({ code: Code.PUT, messageId: id, token: Uint8Array.of(id), options: tagged, payload: pattern(64) });
  };
  /** Whether block 1 alone makes the body whole: blocks 0 and 2 are there, or were. */
  const isWhole = (server: CoapEndpoint, nowUs: number): boolean =>
    ask(server, nowUs, piece(1, 90)).some(({ code }) => code === Code.CHANGED);
  const begun = (): { server: CoapEndpoint; report: CoapMessage } => {
    const { server } = routed({ a: { put: () => ({ code: Code.CHANGED }), maxBodyBytes: 1_000 } });
    ask(server, 0, piece(0, 1));
    ask(server, 0, piece(2, 2));
    const dueUs = server.pollTimeout()!;
    server.handleTimeout(dueUs);
    const [report] = drain(server);
    expect(codeText(report!.code)).toBe("4.08");
    return { server, report: report! };
  };

  it("is forgotten when its client rejects what it is told of missing blocks", () => {
    const { server, report } = begun();
    ask(server, 10 * SECOND, encodeEmpty(MessageType.RST, report.messageId));
    expect(isWhole(server, 11 * SECOND)).toBe(false);
  });

  it("stays when another one rejects it, or another message", () => {
    const { server, report } = begun();
    ask(server, 10 * SECOND, encodeEmpty(MessageType.RST, report.messageId), attacker(1));
    ask(server, 10 * SECOND, encodeEmpty(MessageType.RST, report.messageId ^ 1));
    expect(isWhole(server, 11 * SECOND)).toBe(true);
  });

  it("that was answered later is answered again when its last block comes again", () => {
    let exchange = 0;
    let calls = 0;
    const later = (_nowUs: number, request: IncomingRequest): HandlerResult => {
      exchange = request.exchange;
      calls++;
      return "deferred";
    };
    const { server } = routed({ a: { put: later, maxBodyBytes: 1_000 } });
    for (let num = 0; num < 3; num++) ask(server, 0, piece(num, num + 1));
    server.respond(SECOND, exchange, { code: Code.CHANGED, payload: Uint8Array.of(7) });
    expect(drain(server)).toMatchObject([{ code: Code.CHANGED }]); // and is lost
    expect(ask(server, 8 * SECOND, piece(2, 60))).toMatchObject([{ code: Code.CHANGED, payload: Uint8Array.of(7) }]);
    expect(calls).toBe(1);
  });

  it("that a proxy sent on too", () => {
    const site = new Site();
    const target = uri(`${ORIGIN_URI}/a`);
    const send = (num: number, id: number): CoapMessage[] => {
      site.gateway.handleDatagram(site.nowUs, piece(num, id, 3, target), SITE_CLIENT);
      site.settle();
      return site.toClient.splice(0);
    };
    site.answerWith = () => ({ code: Code.CHANGED, payload: Uint8Array.of(9) });
    const answers = [0, 1, 2].flatMap((num) => send(num, num + 1));
    expect(answers.filter(({ code }) => code === Code.CHANGED)).toHaveLength(1);
    expect(send(2, 60)).toMatchObject([{ code: Code.CHANGED, payload: Uint8Array.of(9) }]);
    expect(site.asked).toHaveLength(1);
  });
});

describe("one address has its share of what is half full, whatever its ports", () => {
  it("of answers to a group that wait for their moment", () => {
    const { server } = routed({ a: { get: () => ({ code: Code.CONTENT, payload: pattern(4) }), forGroups: true } });
    for (let port = 1; port <= 1_000; port++) server.handleDatagram(0, message({}), attacker(port), true);
    server.handleDatagram(0, message({}), CLIENT, true);
    let toClient = 0;
    for (let at = server.pollTimeout(); at !== undefined && at < 10 * SECOND; at = server.pollTimeout()) {
      server.handleTimeout(at);
      for (let out = server.pollTransmit(); out !== undefined; out = server.pollTransmit())
        if (out.peer.address === CLIENT.address) toClient++;
    }
    expect(toClient).toBe(1);
  });

  it("of exchanges whose copies are known", () => {
    let runs = 0;
    const { server } = routed({ a: { post: () => (runs++, { code: Code.CHANGED }) } });
    const post = (id: number): Uint8Array => message({ type: MessageType.CON, code: Code.POST, messageId: id });
    ask(server, 0, post(1));
    for (let port = 1; port <= 200; port++) for (let id = 0; id < 64; id++) ask(server, 1, post(id), attacker(port));
    const before = runs;
    ask(server, 2, post(1));
    expect(runs).toBe(before);
  });

  it("of exchanges that are worked on", () => {
    const { server } = routed({ a: { post: () => "deferred" }, b: { get: () => ({ code: Code.CONTENT }) } });
    for (let port = 1; port <= 200; port++)
      for (let id = 0; id < 64; id++) ask(server, 0, message({ code: Code.POST, messageId: id }), attacker(port));
    const get = message({ options: textOptions(Option.URI_PATH, ["b"]) });
    expect(ask(server, 1, get)).toMatchObject([{ code: Code.CONTENT }]);
  });

  const fetch = (id: number, ...options: CoapOption[]): Uint8Array => {
    const format = uint(Option.CONTENT_FORMAT, 60);
    return message({ code: Code.FETCH, messageId: id, options: [...PATH, format, ...options], payload: pattern(64) });
  };

  it("of answers of which the next block may be asked for", () => {
    const { server } = routed({ a: { fetch: () => ({ code: Code.CONTENT, payload: pattern(3_000) }) } });
    ask(server, 0, fetch(1));
    for (let port = 1; port <= 1_000; port++) ask(server, 1, fetch(1), attacker(port));
    const [next] = ask(server, 2, fetch(2, uint(Option.BLOCK2, (1 << 4) | 6)));
    expect(codeText(next!.code)).toBe("2.05");
  });

  it.each([
    ["Block1", Option.BLOCK1],
    ["Q-Block1", Option.Q_BLOCK1],
  ])("of bodies that come by %s", (_name, number) => {
    const { server } = routed({ a: { put: () => ({ code: Code.CHANGED }), maxBodyBytes: 100_000 } });
    const put = (num: number, id: number): Uint8Array => {
      const options = [...PATH, block(number, num, num < 2), uint(Option.SIZE1, 192), uint(Option.REQUEST_TAG, 1)];
      return message({ code: Code.PUT, messageId: id, options, payload: pattern(64) });
    };
    ask(server, 0, put(0, 1));
    for (let port = 1; port <= 2_000; port++) {
      ask(server, 1, put(0, 1), attacker(port));
      ask(server, 1, put(1, 2), attacker(port));
    }
    ask(server, 2, put(1, 2));
    expect(ask(server, 3, put(2, 3))).toMatchObject([{ code: Code.CHANGED }]);
  });

  it("of requests that wait for an image to be read", () => {
    const bench = new GatewayBench();
    bench.publish(makeImage(1, 5_000), 2, { alias: "fw" });
    bench.restart(); // nothing is in memory
    for (let i = 0; i < 1_200; i++) bench.loop.datagram(getBlock(["fw"], 0, 2, i), attacker(1 + i));
    bench.loop.datagram(getBlock(["fw"], 0, 2, 1), CLIENT);
    const before = bench.sent.length;
    bench.run(1);
    const served = bench.sent.slice(before).filter((bytes) => decoded(bytes).code === Code.CONTENT);
    expect(bench.counters.snapshot()["coap_refused.too-many-parked"]).toBe(1_200 - 512);
    expect(served).toHaveLength(513);
  });

  it("of a proxy's places", () => {
    const names = Array.from({ length: 20 }, (_, i) => `coap://[fd00::${(0x30 + i).toString(16)}]`);
    const site = new Site([...names, ORIGIN_URI]);
    const get = (target: string, id: number): Uint8Array => message({ messageId: id, options: uri(target) });
    for (let i = 0; i < 100; i++) site.gateway.handleDatagram(0, get(`${names[i % 20]}/a?${i}`, i), attacker(i + 1));
    const isRefused = ({ code }: CoapMessage): boolean => code === Code.SERVICE_UNAVAILABLE;
    expect(drain(site.gateway).filter(isRefused)).toHaveLength(100 - 32);
    site.gateway.handleDatagram(0, get(`${ORIGIN_URI}/a`, 1), CLIENT);
    expect(drain(site.gateway).filter(isRefused)).toEqual([]);
  });
});
