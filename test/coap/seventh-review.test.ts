import { describe, expect, it } from "vitest";
import { encodeBlock, type Szx } from "../../src/coap/blockwise/block.ts";
import { QBlock2Server } from "../../src/coap/blockwise/q-block2-server.ts";
import { QBlock2Download } from "../../src/coap/blockwise/q-block2-client.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import type { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { EMPTY_BYTES, encodeUint, uintOption, type CoapMessage, type CoapOption } from "../../src/coap/message.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { DEFAULT_PARAMETERS, exchangeLifetimeUs } from "../../src/coap/parameters.ts";
import type { IncomingRequest } from "../../src/coap/request.ts";
import { matchesQuery, parseLinks } from "../../src/codec/link-format.ts";
import { decodeSenmlJson } from "../../src/codec/senml.ts";
import type { PeerAddress } from "../../src/ports/datagram.ts";
import { utf8 } from "../../src/util/bytes.ts";
import { runDue, TimerQueue } from "../../src/util/timer-queue.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { drain } from "../support/coap-get.ts";
import { CLIENT } from "../support/pair.ts";
import { pattern, routed } from "../support/resources.ts";
import { age, CLIENT as SITE_CLIENT, ORIGIN_URI, Site, uri } from "../support/site.ts";

// What the seventh hostile review found, each as it has to be.

const SECOND = 1_000_000;
const PATH = textOptions(Option.URI_PATH, ["a"]);
const block = (number: number, num: number, more: boolean, szx: Szx = 2): CoapOption => ({
  number,
  value: encodeBlock({ num, more, szx }),
});
const tag = (value: number): CoapOption => ({ number: Option.REQUEST_TAG, value: Uint8Array.of(value) });
const TEXT: CoapOption = { number: Option.CONTENT_FORMAT, value: EMPTY_BYTES };
let id = 0;
const message = (fields: Partial<CoapMessage>): Uint8Array =>
  encodeMessage({
    type: MessageType.CON,
    code: Code.POST,
    messageId: ++id,
    token: Uint8Array.of(1),
    payload: EMPTY_BYTES,
    ...fields,
    options: (fields.options ?? PATH).toSorted((a, b) => a.number - b.number),
  });
const ask = (server: CoapEndpoint, nowUs: number, bytes: Uint8Array, from: PeerAddress = CLIENT): CoapMessage[] => {
  server.handleDatagram(nowUs, bytes, from);
  return drain(server);
};
const forged = (i: number): PeerAddress => ({ address: `2001:db8::${i.toString(16)}`, port: 5_683 });
const trusting = { server: { isTrusted: (address: string): boolean => address === CLIENT.address } };

describe("text of a peer is read in a time in proportion to its length", () => {
  it("a list of links with blanks behind each `=`", () => {
    expect(parseLinks(`</1/0>${";a= ".repeat(5_000)}"`)).toBeUndefined();
    expect(parseLinks(`</1/0>${" ;  a  =  ".repeat(3)}, </3> ; rt = "x y" ;obs`)).toEqual([
      { target: "/1/0", attributes: { a: "" } },
      { target: "/3", attributes: { rt: "x y", obs: true } },
    ]);
  });

  it("binary values that are nearly all padding", () => {
    const padded = JSON.stringify([{ n: "/1/0/1", vd: `${"=".repeat(2_000_000)}x` }]);
    expect(() => decodeSenmlJson(utf8(padded))).toThrow("vd is base64url");
    for (const vd of ["YQ", "YQ=", "YQ=="])
      expect(decodeSenmlJson(utf8(JSON.stringify([{ n: "/1/0/1", vd }])))[0]).toMatchObject({ value: utf8("a") });
  });

  it("and a filter by a name that every object has matches nothing", () => {
    expect(matchesQuery({ target: "/a", attributes: {} }, "constructor=func*")).toBe(false);
    expect(parseLinks("</a>;constructor=x;__proto__=y")![0]!.attributes["constructor"]).toBe("x");
  });
});

describe("answers that are kept for their later blocks", () => {
  const answered = (_nowUs: number, { payload }: IncomingRequest) => ({
    code: Code.CHANGED,
    payload: utf8(`answer to ${String.fromCharCode(...payload)}.`.repeat(20)),
  });
  const resource = { a: { maxBodyBytes: 4_000, post: answered, fetch: answered } };
  const text = ([answer]: CoapMessage[]): string => String.fromCharCode(...answer!.payload);

  it("belong to the Request-Tag that they were asked with (RFC 9175 section 3.3)", () => {
    const { server } = routed(resource);
    const post = (payload: string, num: number, ...more: CoapOption[]): CoapMessage[] =>
      ask(
        server,
        SECOND,
        message({ payload: utf8(payload), options: [...PATH, block(Option.BLOCK2, num, false), ...more] }),
      );
    const whole = (of: string): string => `answer to ${of}.`.repeat(20);
    expect([text(post("A", 0, tag(1))), text(post("B", 0, tag(2)))]).toEqual([
      whole("A").slice(0, 64),
      whole("B").slice(0, 64),
    ]);
    expect(text(post("", 1, tag(1)))).toBe(whole("A").slice(64, 128));
    expect(text(post("", 1, tag(2)))).toBe(whole("B").slice(64, 128));
    expect(text(post("", 1))).toBe(whole("B").slice(64, 128)); // who leaves it out means the latest
    expect(codeText(post("", 1, tag(3))[0]!.code)).toBe("4.08");
  });

  it("and to the payload, of a FETCH that comes with one (RFC 8132 section 2)", () => {
    const { server } = routed(resource);
    const fetch = (payload: string, num: number): string =>
      text(
        ask(
          server,
          SECOND,
          message({
            code: Code.FETCH,
            payload: utf8(payload),
            options: [...PATH, TEXT, block(Option.BLOCK2, num, false)],
          }),
        ),
      );
    fetch("A", 0);
    fetch("B", 0);
    expect(fetch("A", 1)).toBe("answer to A.".repeat(20).slice(64, 128));
    expect(fetch("", 1)).toBe("answer to B.".repeat(20).slice(64, 128));
  });
});

describe("what anybody may have written takes no room from who is known", () => {
  it("a duplicate runs its handler once, whoever else sends", () => {
    let runs = 0;
    const post = () => ({ code: (runs++, Code.CHANGED) });
    const { server } = routed({ a: { post } }, trusting);
    const once = message({});
    ask(server, 0, once);
    const other = message({ type: MessageType.NON, options: textOptions(Option.URI_PATH, ["x"]) });
    for (let i = 0; i < 8_300; i++) ask(server, 1_000, other, forged(i));
    ask(server, 2 * SECOND, once);
    expect(runs).toBe(1);
  });

  it("an upload goes on", () => {
    const { server } = routed({ a: { put: () => ({ code: Code.CHANGED }), maxBodyBytes: 4_000 } }, trusting);
    const put = (num: number, more: boolean, from = CLIENT) =>
      ask(
        server,
        SECOND,
        message({ code: Code.PUT, payload: pattern(64), options: [...PATH, block(Option.BLOCK1, num, more)] }),
        from,
      );
    put(0, true);
    for (let i = 0; i < 1_100; i++) put(0, true, forged(i));
    expect(codeText(put(1, true)[0]!.code)).toBe("2.31");
    expect(codeText(put(0, true, forged(2_000))[0]!.code)).toBe("2.31"); // and others may begin still
  });

  it("an answer is kept", () => {
    const answer = () => ({ code: Code.CHANGED, payload: pattern(200) });
    const { server } = routed({ a: { post: answer, fetch: answer } }, trusting);
    const post = (num: number) =>
      ask(
        server,
        SECOND,
        message({
          payload: num === 0 ? pattern(4) : EMPTY_BYTES,
          options: [...PATH, block(Option.BLOCK2, num, false)],
        }),
      );
    post(0);
    for (let i = 0; i < 300; i++)
      ask(
        server,
        SECOND,
        message({ code: Code.FETCH, payload: pattern(4), options: [...PATH, TEXT, block(Option.BLOCK2, 0, false, 0)] }),
        forged(i),
      );
    expect(codeText(post(1)[0]!.code)).toBe("2.04");
  });

  it("a proxy asks for who is known, though as many as it asks for at once have asked before", () => {
    const isTrusted = (address?: string): boolean => address === SITE_CLIENT.address;
    const site = new Site(["coap://[fd00::9]", ORIGIN_URI], false, isTrusted);
    for (let i = 0; i < 20; i++) {
      const options = uri(`coap://[fd00::9]/${i}`);
      site.gateway.handleDatagram(0, message({ type: MessageType.NON, code: Code.GET, options }), forged(i));
    }
    const options = uri("coap://[fd00::9]/mine");
    site.gateway.handleDatagram(0, message({ type: MessageType.NON, code: Code.GET, options }), SITE_CLIENT);
    expect(site.gateway.stats.requests).toBe(9);
  });
});

describe("a proxy", () => {
  it("keeps a body for as long as its last block says (RFC 7959 section 2.10)", () => {
    const site = new Site();
    const body = { bytes: pattern(3_000), etag: Uint8Array.of(1), contentFormat: 42 };
    site.answerWith = () => ({ code: Code.CONTENT, body, options: [age(70 - 10 * site.asked.length)] });
    const response = site.ask(uri(`${ORIGIN_URI}/a`));
    expect(site.asked).toHaveLength(3);
    expect(uintOption(response.options, Option.MAX_AGE)).toBe(40);
  });

  it("does nothing that was asked of a group (RFC 7252 section 11.3)", () => {
    const site = new Site();
    for (const code of [Code.GET, Code.POST]) {
      const bytes = message({ type: MessageType.NON, code, options: uri(`${ORIGIN_URI}/a`) });
      site.gateway.handleDatagram(0, bytes, SITE_CLIENT, true);
    }
    site.settle();
    expect([site.asked, site.toClient]).toEqual([[], []]);
  });

  it("puts a Request-Tag only where it keeps two apart (RFC 9175 section 3.4)", () => {
    const site = new Site();
    const tags = (): number => site.asked.at(-1)!.options.filter(({ number }) => number === Option.REQUEST_TAG).length;
    site.ask(uri(`${ORIGIN_URI}/a`));
    expect(tags()).toBe(0);
    site.ask(uri(`${ORIGIN_URI}/a`), Code.POST, pattern(3));
    expect(tags()).toBe(1);
  });
});

it("a body of whole blocks that ends with an empty one is not whole before all of them are there (RFC 9177 section 4.4)", () => {
  const endpoint = { request: () => 1, cancel: () => {} };
  const download = new QBlock2Download({ endpoint, peer: CLIENT, parameters: DEFAULT_PARAMETERS, uri: PATH, szx: 2 });
  download.start(0);
  const give = (num: number, more: boolean, payload: Uint8Array): string[] => {
    const options = [
      { number: Option.ETAG, value: Uint8Array.of(1) },
      { number: Option.SIZE2, value: encodeUint(128) },
      block(Option.Q_BLOCK2, num, more),
    ];
    const response = { code: Code.CONTENT, token: EMPTY_BYTES, from: CLIENT, options, payload };
    return download.handleEvent(1, { kind: "response", request: 1, response }).map(({ kind }) => kind);
  };
  expect(give(0, true, pattern(64))).toEqual(["block"]);
  expect(give(2, false, EMPTY_BYTES)).toEqual([]);
  expect(give(1, true, pattern(64))).toEqual(["block", "done"]);
});

it("a message of a set is known for EXCHANGE_LIFETIME, and no longer (RFC 9177 section 4.4)", () => {
  const timers = new TimerQueue<(nowUs: number) => void>();
  const request = { peer: CLIENT, method: Code.GET, options: [] } as unknown as IncomingRequest;
  const server = new QBlock2Server(DEFAULT_PARAMETERS, new SeededRandom(1, "q"), timers, () => true);
  server.sent(0, "peer/1", request);
  server.sent(100e6, "peer/2", request);
  const lifetimeUs = exchangeLifetimeUs(DEFAULT_PARAMETERS);
  expect(timers.nextUs()).toBe(100e6 + lifetimeUs);
  expect(server.reset("peer/1")).toBe(request);
  expect(server.reset("peer/3")).toBeUndefined();
  runDue(timers, 100e6 + lifetimeUs);
  expect(server.reset("peer/1")).toBeUndefined();
  expect(timers.nextUs()).toBeUndefined();
});
