import { describe, expect, it } from "vitest";
import { decodeBlock, encodeBlock } from "../../src/coap/blockwise/block.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import {
  EMPTY_BYTES,
  encodeUint,
  optionValue,
  uintOption,
  type CoapMessage,
  type CoapOption,
} from "../../src/coap/message.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { DEFAULT_PARAMETERS } from "../../src/coap/parameters.ts";
import { fromHttpResponse } from "../../src/coap/proxy/http-mapping.ts";
import { CocoaTimer } from "../../src/coap/retransmission.ts";
import type { CoapResponse } from "../../src/coap/request.ts";
import { RunLoop } from "../../src/host/run-loop.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { drain } from "../support/coap-get.ts";
import { CLIENT, SERVER } from "../support/pair.ts";
import { pattern, routed } from "../support/resources.ts";
import { ORIGIN_URI, Site, uri } from "../support/site.ts";

// What a third review found in the repairs after the second.

const SECOND = 1_000_000;
const PATH = textOptions(Option.URI_PATH, ["a"]);
const OBSERVE = { number: Option.OBSERVE, value: EMPTY_BYTES };
const block = (number: number, num: number, szx: 2 | 6, more = false): CoapOption => ({
  number,
  value: encodeBlock({ num, more, szx }),
});

function give(server: CoapEndpoint, nowUs: number, fields: Partial<CoapMessage>): CoapMessage[] {
  const token = Uint8Array.of(1);
  const base = { type: MessageType.NON, code: Code.GET, messageId: 1, token, options: PATH, payload: EMPTY_BYTES };
  server.handleDatagram(nowUs, encodeMessage({ ...base, ...fields }), CLIENT);
  return drain(server);
}

describe("what an HTTP origin may say", () => {
  it.each(["-Infinity", "-1e999", "-99999999999", "x", "5, 6"])("Age: %s does not matter", (age) => {
    const headers = { "cache-control": "max-age=10", age };
    const { options } = fromHttpResponse(Code.GET, { status: 200, headers, body: pattern(1) }, () => pattern(1));
    expect(uintOption(options, Option.MAX_AGE)).toBe(10);
  });

  it("and no option is made of what is no number", () => {
    for (const value of [Infinity, -1, Number.NaN, 2 ** 60]) expect(() => encodeUint(value)).toThrow(RangeError);
  });
});

describe("Accept (RFC 7252 section 5.10.4)", () => {
  it("is not held against a POST that was carried out, however large its answer and by whichever way", () => {
    const body = { bytes: pattern(2_000), etag: pattern(4), contentFormat: 0 };
    for (const answer of [
      { code: Code.CHANGED, body },
      { code: Code.CHANGED, payload: pattern(2_000) },
    ]) {
      const { server } = routed({ a: { post: () => answer } });
      const options = [...PATH, { number: Option.ACCEPT, value: Uint8Array.of(50) }];
      for (const [i, way] of [[], [block(Option.Q_BLOCK2, 0, 6, true)]].entries())
        expect(
          codeText(give(server, 0, { code: Code.POST, messageId: i, options: [...options, ...way] })[0]!.code),
        ).toBe("2.04");
      const site = new Site();
      site.response = answer;
      const accept = [...uri(`${ORIGIN_URI}/a`), { number: Option.ACCEPT, value: Uint8Array.of(50) }];
      expect(codeText(site.ask(accept, Code.POST, pattern(1)).code)).toBe("2.04");
    }
  });

  it("nor against an origin's answer without a format, small or large", () => {
    for (const length of [100, 2_000]) {
      const site = new Site();
      site.response = { code: Code.CONTENT, payload: pattern(length) };
      const accept = [...uri(`${ORIGIN_URI}/a`), { number: Option.ACCEPT, value: Uint8Array.of(50) }];
      expect(codeText(site.ask(accept).code)).toBe("2.05");
    }
  });
});

describe("notifications", () => {
  it("the later blocks of one to a FETCH are of the state that it told", () => {
    let seed = 0;
    const fetch = () => ({ code: Code.CONTENT, payload: pattern(200).map((byte) => byte ^ seed), observable: "a" });
    const { server } = routed({ a: { fetch } });
    const format = { number: Option.CONTENT_FORMAT, value: Uint8Array.of(60) };
    const ask = (num: number, messageId: number, extra: CoapOption[]): CoapMessage => {
      const options = [...PATH, format, ...extra, block(Option.BLOCK2, num, 2)];
      return give(server, messageId, { code: Code.FETCH, messageId, options, payload: pattern(3) })[0]!;
    };
    ask(0, 1, [OBSERVE]);
    seed = 1;
    server.notify(5 * SECOND, "a");
    const [told] = drain(server);
    const later = ask(1, 2, []);
    expect(optionValue(later.options, Option.ETAG)).toEqual(optionValue(told!.options, Option.ETAG));
    expect(later.payload).toEqual(fetch().payload.subarray(64, 128));
  });

  it.each([MessageType.CON, MessageType.NON])(
    "come by Q-Block2 to whom registered with it (type %i), whole, in sets of NON",
    (type) => {
      let seed = 0;
      const get = () => ({ code: Code.CONTENT, payload: pattern(64 * 12).map((byte) => byte ^ seed), observable: "a" });
      const { server } = routed({ a: { get } });
      give(server, 0, { type, options: [OBSERVE, ...PATH, block(Option.Q_BLOCK2, 0, 2)] });
      seed = 1;
      server.notify(10 * SECOND, "a");
      const sets = drain(server);
      expect(sets).toHaveLength(10);
      for (const [num, { type: of, token, options, payload }] of sets.entries()) {
        expect([of, token]).toEqual([MessageType.NON, Uint8Array.of(1)]);
        expect(decodeBlock(optionValue(options, Option.Q_BLOCK2)!)).toEqual({ num, more: true, szx: 2 });
        expect(optionValue(options, Option.BLOCK2)).toBeUndefined();
        expect(payload).toEqual(get().payload.subarray(num * 64, num * 64 + 64));
      }
      expect(new Set(sets.map(({ options }) => uintOption(options, Option.OBSERVE))).size).toBe(1);
      expect(uintOption(sets[0]!.options, Option.OBSERVE)).toBeDefined();
    },
  );

  it("a handler that throws for one observation does not keep the client's others waiting", () => {
    let broken = false;
    const a = (): CoapResponse => {
      if (broken) throw new Error("a defect");
      return { code: Code.CONTENT, payload: pattern(1), observable: "a" };
    };
    const { server } = routed({
      a: { get: a },
      b: { get: () => ({ code: Code.CONTENT, payload: pattern(2), observable: "b" }) },
    });
    for (const [i, name] of ["a", "b"].entries())
      give(server, 0, {
        messageId: i,
        token: Uint8Array.of(i),
        options: [OBSERVE, ...textOptions(Option.URI_PATH, [name])],
      });
    broken = true;
    expect(() => server.notify(SECOND, "a")).toThrow("a defect");
    server.notify(2 * SECOND, "b");
    expect(drain(server).map(({ token }) => token[0])).toEqual([1]);
  });

  it("after a handler's own 2.03 the format is that of the first 2.05", () => {
    let answer: CoapResponse = { code: Code.VALID, observable: "a" };
    const { server } = routed({ a: { get: () => answer } });
    give(server, 0, { options: [OBSERVE, ...PATH] });
    for (const [i, format] of [50, 50, 60].entries()) {
      const options = [{ number: Option.CONTENT_FORMAT, value: Uint8Array.of(format) }];
      answer = { code: Code.CONTENT, payload: pattern(1), options, observable: "a" };
      server.handleTimeout((i + 1) * 10 * SECOND);
      server.notify((i + 1) * 10 * SECOND, "a");
      expect(codeText(drain(server)[0]!.code)).toBe(format === 50 ? "2.05" : "4.06");
    }
  });
});

describe("options of sets", () => {
  it("are filtered like those of any response", () => {
    const stray = [Option.MAX_AGE, Option.MAX_AGE, Option.SIZE2, Option.URI_PATH].map((number) => ({
      number,
      value: pattern(1),
    }));
    const bad = { number: Option.ETAG, value: pattern(9) };
    const { server } = routed({
      a: { get: () => ({ code: Code.CONTENT, payload: pattern(200), options: [...stray, bad] }) },
    });
    for (const { options } of give(server, 0, { options: [...PATH, block(Option.Q_BLOCK2, 0, 2, true)] })) {
      const numbers = options.map(({ number }) => number);
      expect(numbers).toEqual([Option.ETAG, Option.MAX_AGE, Option.SIZE2, Option.Q_BLOCK2].toSorted((a, b) => a - b));
      expect(optionValue(options, Option.ETAG)).toHaveLength(8);
      expect(uintOption(options, Option.SIZE2)).toBe(200);
    }
  });
});

describe("hosts and timers", () => {
  it("a core that throws keeps its deadline, and what waited meanwhile is done", () => {
    const timers: (number | undefined)[] = [];
    let [deadline, done] = [10 as number | undefined, 0];
    const core = {
      handleDatagram: (): void => {
        loop.call(() => void done++);
        throw new Error("a defect");
      },
      handleTimeout: (): void => {
        deadline = 20;
        throw new Error("a defect");
      },
      pollTransmit: () => undefined,
      pollTimeout: () => deadline,
    };
    const loop: RunLoop = new RunLoop(core, {
      clock: { nowUs: () => 0 },
      send: () => {},
      setTimer: (at) => void timers.push(at),
    });
    expect(() => loop.datagram(EMPTY_BYTES, CLIENT)).toThrow("a defect");
    expect(done).toBe(1);
    expect(() => loop.wake()).toThrow("a defect");
    expect(timers).toEqual([10, 20]);
  });

  it("CoCoA without dithering keeps its copies, whatever the rounding", () => {
    for (let i = 1; i <= 100; i++) {
      const parameters = { ...DEFAULT_PARAMETERS, ackRandomFactor: 1 };
      const timer = new CocoaTimer(parameters);
      timer.measured(0, 3 * SECOND + i, 0);
      const client = new CoapEndpoint({ random: new SeededRandom(i, "c"), retransmission: () => timer, parameters });
      client.request(1, SERVER, { code: Code.GET, options: PATH });
      let sent = drain(client).length;
      for (let at = client.pollTimeout(); at !== undefined; at = client.pollTimeout()) {
        client.handleTimeout(at);
        sent += drain(client).length;
      }
      expect(sent).toBe(5);
    }
  });

  it("a renewal is proven twice if need be, as a registration is", () => {
    const client = new CoapEndpoint({ random: new SeededRandom(1, "c") });
    const id = client.request(0, SERVER, { code: Code.GET, options: PATH, observe: true });
    const answer = (nowUs: number, code: number, options: CoapOption[]): void => {
      const { token, messageId } = drain(client).at(-1)!;
      const reply = { type: MessageType.ACK, code, messageId, token, options, payload: EMPTY_BYTES };
      client.handleDatagram(nowUs, encodeMessage(reply), SERVER);
    };
    const echo = (value: number): CoapOption => ({ number: Option.ECHO, value: Uint8Array.of(value) });
    const seen = { number: Option.OBSERVE, value: Uint8Array.of(5) };
    answer(1, Code.UNAUTHORIZED, [echo(1)]);
    answer(2, Code.UNAUTHORIZED, [echo(2)]);
    answer(3, Code.CONTENT, [seen]);
    expect(client.pollEvent()).toMatchObject({ kind: "response", request: id });
    client.handleTimeout(80 * SECOND);
    answer(81 * SECOND, Code.UNAUTHORIZED, [echo(3)]);
    answer(82 * SECOND, Code.UNAUTHORIZED, [echo(4)]);
    answer(83 * SECOND, Code.CONTENT, [{ ...seen, value: Uint8Array.of(6) }]);
    expect(client.pollEvent()).toMatchObject({ kind: "notification", request: id });
    expect(client.stats.requests).toBe(1);
  });
});
