import { describe, expect, it } from "vitest";
import { encodeBlock } from "../../src/coap/blockwise/block.ts";
import { encodeEmpty, encodeMessage } from "../../src/coap/encode.ts";
import type { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { EMPTY_BYTES, encodeUint, optionValue, type CoapMessage, type CoapOption } from "../../src/coap/message.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import type { HandlerResult, IncomingRequest } from "../../src/coap/request.ts";
import { drain } from "../support/coap-get.ts";
import { CLIENT } from "../support/pair.ts";
import { pattern, routed } from "../support/resources.ts";

// What the sixth hostile review had found, each as it has to be.

const SECOND = 1_000_000;
const PATH = textOptions(Option.URI_PATH, ["a"]);
const message = (fields: Partial<CoapMessage>): Uint8Array => {
  const base = { type: MessageType.CON, code: Code.POST, messageId: 1, options: PATH, payload: EMPTY_BYTES };
  return encodeMessage({ ...base, token: Uint8Array.of(1), ...fields });
};
const ask = (server: CoapEndpoint, nowUs: number, bytes: Uint8Array): CoapMessage[] => {
  server.handleDatagram(nowUs, bytes, CLIENT);
  return drain(server);
};

describe("a body whose sender has to show that it is fresh (RFC 9175 section 2.3)", () => {
  const BODY = pattern(3 * 64 - 10);
  const site = () => {
    const bodies: Uint8Array[] = [];
    // It cannot know whom to ask before it has read the whole body.
    const post = (_nowUs: number, { payload, fresh }: IncomingRequest): HandlerResult => {
      if (!fresh) return { code: Code.UNAUTHORIZED, challenge: true };
      bodies.push(payload);
      return { code: Code.CHANGED };
    };
    return { ...routed({ a: { post, maxBodyBytes: 1_000 } }), bodies };
  };
  let id = 0;
  const block = (option: number, num: number, ...more: CoapOption[]): Uint8Array => {
    const value = encodeBlock({ num, more: num < 2, szx: 2 });
    const tag = { number: Option.REQUEST_TAG, value: Uint8Array.of(1) };
    const size = { number: Option.SIZE1, value: encodeUint(BODY.length) };
    const options = [...PATH, { number: option, value }, size, tag, ...more];
    const sorted = options.toSorted((a, b) => a.number - b.number);
    return message({ messageId: ++id, options: sorted, payload: BODY.subarray(num * 64, num * 64 + 64) });
  };
  const run = (server: CoapEndpoint, option: number, nums: number[], ...more: CoapOption[]): CoapMessage | undefined =>
    nums.flatMap((num) => ask(server, SECOND, block(option, num, ...more))).at(-1);
  const echoOf = (answer: CoapMessage | undefined): CoapOption => {
    expect(codeText(answer!.code)).toBe("4.01");
    return { number: Option.ECHO, value: optionValue(answer!.options, Option.ECHO)! };
  };

  it.each([
    ["Block1, its last block again", Option.BLOCK1, [2]],
    ["Block1, all of it again", Option.BLOCK1, [0, 1, 2]],
    ["Q-Block1, all of it again", Option.Q_BLOCK1, [0, 1, 2]],
  ])("is taken when it comes by %s, with Echo", (_name, option, again) => {
    const { server, bodies } = site();
    const echo = echoOf(run(server, option, [0, 1, 2]));
    expect(codeText(run(server, option, again, echo)!.code)).toBe("2.04");
    expect(bodies).toEqual([BODY]);
  });

  it("is asked for each time, and not taken without", () => {
    const { server, bodies } = site();
    for (const again of [[0, 1, 2], [2], [2], [0, 1, 2]]) echoOf(run(server, Option.BLOCK1, again));
    for (const again of [
      [0, 1, 2],
      [0, 1, 2],
    ])
      echoOf(run(server, Option.Q_BLOCK1, again));
    expect(bodies).toEqual([]);
  });

  it("and what was answered by a result stays answered so, whatever is asked in between", () => {
    const { server, bodies } = site();
    const echo = echoOf(run(server, Option.Q_BLOCK1, [0, 1, 2]));
    run(server, Option.Q_BLOCK1, [0, 1, 2], echo);
    expect(codeText(run(server, Option.Q_BLOCK1, [2])!.code)).toBe("2.04");
    expect(bodies).toHaveLength(1);
  });
});

describe("a handler that fails", () => {
  it("when its notification has waited for an ACK keeps nothing back that is told of this client later", () => {
    let fails = false;
    let exchange = -1;
    const shown = (name: string) => ({
      get: (): HandlerResult => {
        if (name === "a" && fails) throw new Error("a defect");
        return { code: Code.CONTENT, payload: Uint8Array.of(name.charCodeAt(0)), observable: name };
      },
    });
    const slow = (_nowUs: number, request: IncomingRequest): HandlerResult => {
      exchange = request.exchange;
      return "deferred";
    };
    const { server } = routed({ a: shown("a"), c: shown("c"), slow: { get: slow } });
    for (const [i, name] of ["a", "c"].entries()) {
      const options = [{ number: Option.OBSERVE, value: EMPTY_BYTES }, ...textOptions(Option.URI_PATH, [name])];
      ask(server, 0, message({ code: Code.GET, messageId: i, token: Uint8Array.of(i), options }));
    }
    ask(server, 0, message({ code: Code.GET, messageId: 9, options: textOptions(Option.URI_PATH, ["slow"]) }));
    server.handleTimeout(3 * SECOND);
    drain(server);
    server.respond(3 * SECOND, exchange, { code: Code.CONTENT });
    const [separate] = drain(server);
    for (const name of ["a", "c"]) server.notify(3 * SECOND, name);
    expect(drain(server)).toEqual([]); // they wait for its ACK
    fails = true;
    const acknowledge = (id: number): void =>
      void server.handleDatagram(4 * SECOND, encodeEmpty(MessageType.ACK, id), CLIENT);
    expect(() => acknowledge(separate!.messageId)).toThrow("a defect");
    server.handleTimeout(4 * SECOND);
    expect(drain(server)).toMatchObject([{ payload: Uint8Array.of("c".charCodeAt(0)) }]);
  });

  it("keeps nobody else's notification back, and its own until the next change only", () => {
    let fails = false;
    const answer = (name: string) => ({
      get: (): HandlerResult => {
        if (name === "b" && fails) throw new Error("a defect");
        return { code: Code.CONTENT, payload: Uint8Array.of(name.charCodeAt(0)), observable: name };
      },
    });
    const { server } = routed({ a: answer("a"), b: answer("b"), c: answer("c") });
    for (const [i, name] of ["a", "b", "c"].entries()) {
      const options = [{ number: Option.OBSERVE, value: EMPTY_BYTES }, ...textOptions(Option.URI_PATH, [name])];
      ask(server, 0, message({ code: Code.GET, messageId: i, token: Uint8Array.of(i), options }));
    }
    for (const name of ["a", "b", "c"]) server.notify(SECOND, name);
    const [first] = drain(server); // the others wait for its ACK
    fails = true;
    const acknowledge = (id: number) => server.handleDatagram(2 * SECOND, encodeEmpty(MessageType.ACK, id), CLIENT);
    expect(() => acknowledge(first!.messageId)).toThrow("a defect");
    fails = false;
    server.handleTimeout(2 * SECOND);
    const [second] = drain(server);
    expect(second).toMatchObject({ payload: Uint8Array.of("c".charCodeAt(0)) });
    server.notify(3 * SECOND, "b");
    acknowledge(second!.messageId);
    expect(drain(server)).toMatchObject([{ payload: Uint8Array.of("b".charCodeAt(0)) }]);
  });
});
