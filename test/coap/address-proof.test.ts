import { describe, expect, it } from "vitest";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { encodeUint, optionValue, type CoapOption } from "../../src/coap/message.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { Router } from "../../src/coap/router.ts";
import type { HandlerResult } from "../../src/coap/request.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { decoded } from "../support/coap-get.ts";
import { CLIENT, Pair, SERVER } from "../support/pair.ts";
import { pattern, routed, sha } from "../support/resources.ts";
import { bodyServer } from "../support/server.ts";

const SECOND = 1_000_000;
const nobody = (): boolean => false;
const GET = { code: Code.GET, options: textOptions(Option.URI_PATH, ["i", "x"]) };

/** Bytes that came out of `server` for the bytes that went in. */
function flood(server: CoapEndpoint, requests: Uint8Array[], untilUs: number): { in: number; out: number } {
  const sum = { in: 0, out: 0 };
  const drain = (): void => {
    for (let sent = server.pollTransmit(); sent !== undefined; sent = server.pollTransmit())
      sum.out += sent.bytes.length;
  };
  for (const bytes of requests) {
    sum.in += bytes.length;
    server.handleDatagram(0, bytes, CLIENT);
    drain();
    expect(sum.out).toBeLessThanOrEqual(3 * sum.in);
  }
  for (let at = server.pollTimeout(); at !== undefined && at < untilUs; at = server.pollTimeout()) {
    server.handleTimeout(at);
    drain();
    expect(sum.out).toBeLessThanOrEqual(3 * sum.in);
  }
  return sum;
}

const request = (id: number, type: MessageType, code: number, options: CoapOption[]): Uint8Array =>
  encodeMessage({ type, code, messageId: id, token: Uint8Array.of(id & 0xff), options, payload: new Uint8Array(0) });

describe("Echo (RFC 9175 section 2)", () => {
  it("an unproven address proves itself, then gets what it asked for; the client does it by itself", () => {
    const bytes = pattern(600);
    for (const short of [false, true]) {
      const server = bodyServer(bytes, { short, isTrusted: nobody });
      const client = new CoapEndpoint({ random: new SeededRandom(1, "client") });
      const pair = new Pair(client, server);
      client.request(0, SERVER, { ...GET, options: [...GET.options, { number: Option.BLOCK2, value: encodeUint(5) }] });
      expect(pair.run(SECOND)).toMatchObject({ kind: "response", response: { payload: bytes.subarray(0, 512) } });
      expect(pair.log.map(({ bytes: sent }) => codeText(sent[1]!))).toEqual(["0.01", "4.01", "0.01", "2.05"]);
      client.request(0, SERVER, GET);
      pair.run(SECOND);
      expect(pair.log).toHaveLength(6); // proven: no second challenge
      client.request(3_601 * SECOND, SERVER, GET);
      pair.nowUs = 3_601 * SECOND;
      pair.run(3_602 * SECOND);
      expect(pair.log).toHaveLength(10); // but not for ever
    }
  });

  it("never sends an unproven address more than three times what came from it (section 2.4)", () => {
    for (const type of [MessageType.CON, MessageType.NON]) {
      const server = bodyServer(pattern(5_000), { short: true, isTrusted: nobody });
      const observe = { number: Option.OBSERVE, value: encodeUint(0) };
      const q = { number: Option.Q_BLOCK2, value: encodeUint(8 + 6) };
      const requests = Array.from({ length: 200 }, (_, i) => {
        const kinds = [
          GET.options,
          [observe, ...GET.options],
          [...GET.options, q],
          textOptions(Option.URI_PATH, ["none"]),
        ];
        const echo = { number: Option.ECHO, value: new Uint8Array(8) };
        return request(i, type, [Code.GET, Code.POST, Code.GET][i % 3]!, [
          ...kinds[i % 4]!,
          ...(i % 5 === 0 ? [echo] : []),
        ]);
      });
      requests.push(Uint8Array.of(0x40, 0, 0, 1), Uint8Array.of(0x40, 1, 0, 2), Uint8Array.of(0x40, 1, 0, 3, 0xff));
      expect(flood(server, requests, 300 * SECOND).out).toBeGreaterThan(0);
    }
  });

  it("holds for separate responses and their repetitions", () => {
    const server = new CoapEndpoint({
      random: new SeededRandom(1, "server"),
      handler: { handleRequest: (): HandlerResult => "deferred" },
      isTrusted: nobody,
    });
    const out = flood(server, [request(1, MessageType.CON, Code.GET, GET.options)], SECOND);
    expect(out.out).toBe(4);
    server.respond(SECOND, 1, { code: Code.CONTENT, payload: pattern(1_000) });
    let sent = 4;
    for (let at: number | undefined = SECOND; at !== undefined && at < 200 * SECOND; at = server.pollTimeout()) {
      server.handleTimeout(at);
      for (let one = server.pollTransmit(); one !== undefined; one = server.pollTransmit()) sent += one.bytes.length;
    }
    expect(sent).toBeLessThanOrEqual(3 * out.in);
  });

  it("a resource that needs freshness runs only what was asked just now (section 2.3)", () => {
    const calls: number[] = [];
    const put = (nowUs: number): { code: number } => {
      calls.push(nowUs);
      return { code: Code.CHANGED };
    };
    const { pair, client, server } = routed({ x: { put, needsFreshness: true } });
    client.request(0, SERVER, { code: Code.PUT, options: textOptions(Option.URI_PATH, ["x"]) });
    expect(pair.run(SECOND)).toMatchObject({ response: { code: Code.CHANGED } });
    expect(calls).toHaveLength(1);
    const fresh = decoded(pair.log[2]!.bytes);
    const give = (atUs: number, value: Uint8Array, id: number): string => {
      const options = [...textOptions(Option.URI_PATH, ["x"]), { number: Option.ECHO, value }];
      server.handleDatagram(atUs, request(id, MessageType.CON, Code.PUT, options), CLIENT);
      const reply = decoded(server.pollTransmit()!.bytes.slice());
      return codeText(reply.code) + (optionValue(reply.options, Option.ECHO) === undefined ? "" : " Echo");
    };
    const echo = optionValue(fresh.options, Option.ECHO)!;
    expect(give(SECOND, echo, 1)).toBe("2.04");
    expect(give(SECOND, new Uint8Array(8), 2)).toBe("4.01 Echo");
    expect(give(61 * SECOND, echo, 3)).toBe("4.01 Echo");
  });

  it("what has no fresh value is answered by a new one (section 2.3)", () => {
    const { pair, client, server } = routed({ x: { put: () => ({ code: Code.CHANGED }), needsFreshness: true } });
    client.request(0, SERVER, { code: Code.PUT, options: textOptions(Option.URI_PATH, ["x"]) });
    pair.run(SECOND);
    const old = optionValue(decoded(pair.log[1]!.bytes).options, Option.ECHO)!;
    const options = [...textOptions(Option.URI_PATH, ["x"]), { number: Option.ECHO, value: old }];
    server.handleDatagram(61 * SECOND, request(7, MessageType.CON, Code.PUT, options), CLIENT);
    const reply = decoded(server.pollTransmit()!.bytes.slice());
    expect(codeText(reply.code)).toBe("4.01");
    expect(optionValue(reply.options, Option.ECHO)).toHaveLength(12);
    expect(optionValue(reply.options, Option.ECHO)).not.toEqual(old);
  });

  it("a value that came with another answer is in the next request to that server, and in that only (section 2.3)", () => {
    const echo = { number: Option.ECHO, value: Uint8Array.of(7, 7) };
    const answers = [{ code: Code.CONTENT, options: [echo] }, { code: Code.CONTENT }, { code: Code.CONTENT }];
    const handler = { handleRequest: () => answers.shift()! };
    const server = new CoapEndpoint({ random: new SeededRandom(1, "s"), handler });
    const client = new CoapEndpoint({ random: new SeededRandom(1, "c") });
    const pair = new Pair(client, server);
    for (let i = 0; i < 3; i++) {
      client.request(i * SECOND, SERVER, GET);
      expect(pair.run((i + 1) * SECOND)).toMatchObject({ response: { code: Code.CONTENT } });
    }
    const asked = pair.log.filter(({ from }) => from === "client").map(({ bytes }) => decoded(bytes));
    expect(asked.map(({ options }) => optionValue(options, Option.ECHO))).toEqual([undefined, echo.value, undefined]);
    client.request(4 * SECOND, { ...SERVER, port: 1 }, GET);
    expect(optionValue(decoded(client.pollTransmit()!.bytes.slice()).options, Option.ECHO)).toBeUndefined();
  });

  it("a server that challenges for ever is given up on after one repetition", () => {
    const challenge = { code: Code.UNAUTHORIZED, options: [{ number: Option.ECHO, value: Uint8Array.of(1) }] };
    const server = new CoapEndpoint({ random: new SeededRandom(1, "s"), handler: { handleRequest: () => challenge } });
    const client = new CoapEndpoint({ random: new SeededRandom(1, "c") });
    const pair = new Pair(client, server);
    client.request(0, SERVER, GET);
    expect(pair.run(SECOND)).toMatchObject({ kind: "response", response: { code: Code.UNAUTHORIZED } });
    expect(pair.log).toHaveLength(4);
  });

  it("remembers no more addresses than its bound", () => {
    const router = new Router(6, sha);
    const server = new CoapEndpoint({ random: new SeededRandom(1, "s"), handler: router, isTrusted: nobody });
    for (let i = 0; i < 50_000; i++) {
      server.handleDatagram(0, request(1, MessageType.NON, Code.GET, GET.options), { address: `fd00::${i}`, port: 1 });
      while (server.pollTransmit() !== undefined);
    }
    server.handleTimeout(200 * SECOND);
    expect(server.stats.openExchanges).toBe(0);
  });
});
