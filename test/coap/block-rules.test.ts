import { describe, expect, it } from "vitest";
import { decodeBlock, encodeBlock } from "../../src/coap/blockwise/block.ts";
import { BlockDownload } from "../../src/coap/blockwise/block2-client.ts";
import { BlockUpload } from "../../src/coap/blockwise/block1-client.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { AddressProof } from "../../src/coap/address-proof.ts";
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
import { SeededRandom } from "../../simulator/engine/random.ts";
import { decoded, drain } from "../support/coap-get.ts";
import { CLIENT } from "../support/pair.ts";
import { pattern, routed, sink } from "../support/resources.ts";
import { PROXY, Site, uri } from "../support/site.ts";

const PATH = textOptions(Option.URI_PATH, ["x"]);
const uint = (number: number, value: number): CoapOption => ({ number, value: encodeUint(value) });
const count = (options: readonly CoapOption[], number: number): number =>
  options.filter((option) => option.number === number).length;

function put(
  server: { handleDatagram: Function },
  messageId: number,
  options: CoapOption[],
  payload: Uint8Array,
): void {
  const message = { type: MessageType.CON, code: Code.PUT, messageId, token: Uint8Array.of(1), options, payload };
  server.handleDatagram(0, encodeMessage(message), CLIENT);
}
const block1 = (num: number, more: boolean): CoapOption => ({
  number: Option.BLOCK1,
  value: encodeBlock({ num, more, szx: 2 }),
});

describe("the client of Block2 (RFC 7959 sections 2.2 to 2.4, 2.6 and 4)", () => {
  const make = () => new BlockDownload({ path: ["x"], szx: 4 });

  it("never sets M, whichever block it asks for", () => {
    const download = make();
    for (const offset of [0, 256, 1_024]) {
      const block = decodeBlock(optionValue(download.requestAt(offset).options, Option.BLOCK2)!);
      expect(block).toEqual({ num: offset / 256, more: false, szx: 4 });
    }
  });

  it("asks for the size by a Size2 of 0, once, and copes with a server that does not say it", () => {
    const download = make();
    const { options } = download.withSize(download.requestAt(0));
    expect(options.filter(({ number }) => number === Option.SIZE2)).toEqual([
      { number: Option.SIZE2, value: EMPTY_BYTES },
    ]);
    const answer = (num: number, more: boolean, length: number) => ({
      code: Code.CONTENT,
      options: [{ number: Option.BLOCK2, value: encodeBlock({ num, more, szx: 4 }) }],
      payload: pattern(length),
    });
    expect(download.handleResponse(answer(0, true, 256))).toMatchObject({ kind: "block", last: false });
    expect(download.size).toBeUndefined();
    download.requestAt(256);
    expect(download.handleResponse(answer(1, false, 3))).toMatchObject({ kind: "block", offset: 256, last: true });
  });

  it("joins the blocks of what is observed only while their ETags are the same", () => {
    const download = make();
    const answer = (num: number, etag: number) => ({
      code: Code.CONTENT,
      options: [
        uint(Option.ETAG, etag),
        uint(Option.OBSERVE, 5),
        { number: Option.BLOCK2, value: encodeBlock({ num, more: true, szx: 4 }) },
      ],
      payload: pattern(256),
    });
    expect(download.begin(answer(0, 1))).toMatchObject({ kind: "block" });
    download.requestAt(256);
    expect(download.handleResponse(answer(1, 1))).toMatchObject({ kind: "block" });
    download.requestAt(512);
    expect(download.handleResponse(answer(2, 2))).toEqual({ kind: "changed" });
  });
});

describe("the server of Block2 (RFC 7959 sections 2.2 and 2.4)", () => {
  it("does not look at M in a request", () => {
    const bytes = pattern(600);
    const body = { bytes, etag: Uint8Array.of(1), contentFormat: 42 };
    const answers = [false, true].map((more) => {
      const { server } = routed({ x: { get: () => ({ code: Code.CONTENT, body }) } });
      const block = { number: Option.BLOCK2, value: encodeBlock({ num: 1, more, szx: 4 }) };
      const get = {
        type: MessageType.CON,
        code: Code.GET,
        messageId: 1,
        token: Uint8Array.of(1),
        options: [...PATH, block],
      };
      server.handleDatagram(0, encodeMessage({ ...get, payload: EMPTY_BYTES }), CLIENT);
      return drain(server);
    });
    expect(answers[1]).toEqual(answers[0]);
    expect(answers[0]![0]!.payload).toEqual(bytes.subarray(256, 512));
  });

  it("says the same Content-Format, that of the whole, with each block, and Size2 once", () => {
    const body = { bytes: pattern(600), etag: Uint8Array.of(1), contentFormat: 60 };
    const { server } = routed({ x: { get: () => ({ code: Code.CONTENT, body }) } });
    for (const num of [0, 1, 2]) {
      const block = { number: Option.BLOCK2, value: encodeBlock({ num, more: false, szx: 4 }) };
      const options = [...PATH, block, uint(Option.SIZE2, 0)];
      const get = { type: MessageType.CON, code: Code.GET, messageId: num, token: Uint8Array.of(1), options };
      server.handleDatagram(0, encodeMessage({ ...get, payload: EMPTY_BYTES }), CLIENT);
      const [answer] = drain(server);
      expect(uintOption(answer!.options, Option.CONTENT_FORMAT)).toBe(60);
      expect(count(answer!.options, Option.SIZE2)).toBe(1);
    }
  });
});

describe("Block1 (RFC 7959 sections 2.3, 2.10 and 4)", () => {
  it("the client leaves If-None-Match out of the later blocks, and says Size1 once", () => {
    const options = [...PATH, { number: Option.IF_NONE_MATCH, value: EMPTY_BYTES }];
    const upload = new BlockUpload({ code: Code.PUT, options, body: pattern(300), szx: 3 });
    const seen: [number, number][] = [];
    for (;;) {
      const request = upload.request();
      seen.push([count(request.options, Option.IF_NONE_MATCH), count(request.options, Option.SIZE1)]);
      const block = optionValue(request.options, Option.BLOCK1)!;
      const code = decodeBlock(block).more ? Code.CONTINUE : Code.CHANGED;
      const response = { code, options: [{ number: Option.BLOCK1, value: block }], payload: EMPTY_BYTES };
      if (upload.handleResponse(response).kind === "done") break;
    }
    expect(seen).toEqual([
      [1, 1],
      [0, 0],
      [0, 0],
    ]);
  });

  it("the server does not join blocks of two Content-Formats", () => {
    const { bodies, resource } = sink(1_000);
    const { server } = routed({ x: resource });
    const codes: string[] = [];
    for (const [i, format] of [42, 60].entries()) {
      put(server, i, [...PATH, uint(Option.CONTENT_FORMAT, format), block1(i, i === 0)], pattern(64));
      codes.push(...drain(server).map(({ code }) => codeText(code)));
    }
    expect(codes).toEqual(["2.31", "4.08"]);
    expect(bodies).toEqual([]);
  });
});

describe("Request-Tag and Echo (RFC 9175 sections 2.3, 3.4 and 5)", () => {
  it("a Request-Tag does not come back in a response", () => {
    const { server } = routed({ x: sink(1_000).resource });
    put(server, 1, [...PATH, uint(Option.REQUEST_TAG, 5), block1(0, true)], pattern(64));
    put(server, 2, [...PATH, uint(Option.REQUEST_TAG, 5), block1(1, false)], pattern(4));
    const answers = drain(server);
    expect(answers.map(({ code }) => codeText(code))).toEqual(["2.31", "2.04"]);
    for (const { options } of answers) expect(count(options, Option.REQUEST_TAG)).toBe(0);
  });

  it("two bodies that a proxy sends at once have different ones", () => {
    const site = new Site();
    const tags: string[] = [];
    const take = site.origin.handleDatagram.bind(site.origin);
    site.origin.handleDatagram = (nowUs, bytes, peer) => {
      const { options } = decoded(bytes);
      tags.push(String(optionValue(options, Option.REQUEST_TAG)));
      return take(nowUs, bytes, peer);
    };
    for (const port of [1, 2]) {
      const options = [
        ...uri("coap://[fd00::3]/a"),
        { number: Option.BLOCK1, value: encodeBlock({ num: 0, more: true, szx: 6 }) },
      ];
      const message: CoapMessage = {
        type: MessageType.CON,
        code: Code.PUT,
        messageId: 1,
        token: Uint8Array.of(port),
        options,
        payload: pattern(1_024),
      };
      const from = { address: "fd00::1", port: 4_000 + port };
      site.gateway.handleDatagram(0, encodeMessage(message), from);
      const last = { number: Option.BLOCK1, value: encodeBlock({ num: 1, more: false, szx: 6 }) };
      const rest = { ...message, messageId: 2, options: [...uri("coap://[fd00::3]/a"), last], payload: pattern(9) };
      site.gateway.handleDatagram(0, encodeMessage(rest), from);
    }
    site.settle();
    expect(tags.length).toBeGreaterThanOrEqual(4);
    expect(new Set(tags).size).toBe(2);
    expect(PROXY.port).toBe(5683);
  });

  it("Echo values differ from address to address and from time to time, and count for one address alone", () => {
    const proof = new AddressProof({ random: new SeededRandom(1, "echo"), isTrusted: () => false });
    const seen = new Set<string>();
    for (let i = 0; i < 200; i++) seen.add(String(proof.challenge(i * 61_000_000, `fd00::${i % 4}`)));
    expect(seen.size).toBe(200);
    const value = proof.challenge(0, "fd00::a");
    expect(value.length).toBeGreaterThanOrEqual(8);
    expect(proof.verify(1, "fd00::b", value)).toBe(false);
    expect(proof.isProven(1, "fd00::b")).toBe(false);
    expect(proof.verify(1, "fd00::a", value)).toBe(true);
  });
});
