import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { blockOption, blockSize, encodeBlock, type Szx } from "../../src/coap/blockwise/block.ts";
import { BlockDownload } from "../../src/coap/blockwise/block2-client.ts";
import { decodeMessage } from "../../src/coap/decode.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import type { CoapEndpoint } from "../../src/coap/endpoint.ts";
import {
  EMPTY_BYTES,
  encodeUint,
  optionValue,
  uintOption,
  type CoapMessage,
  type CoapOption,
} from "../../src/coap/message.ts";
import { codeText, Code, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { randomBytes } from "../../src/util/random.ts";
import { CLIENT } from "../support/pair.ts";
import { bodyServer } from "../support/server.ts";

const random = new SeededRandom(3, "block2");
const path = textOptions(Option.URI_PATH, ["i", "x"]);

function get(server: CoapEndpoint, options: CoapOption[], type: MessageType = MessageType.CON): CoapMessage {
  const request = {
    type,
    code: Code.GET,
    messageId: 77,
    token: Uint8Array.of(1, 2),
    options: [...path, ...options],
    payload: EMPTY_BYTES,
  };
  server.handleDatagram(0, encodeMessage(request), CLIENT);
  const decoded = decodeMessage(server.pollTransmit()!.bytes.slice());
  expect(server.pollTransmit()).toBeUndefined();
  if (!decoded.ok) throw new Error(decoded.error.reason);
  return decoded.message;
}

const block2 = (num: number, szx: number, more = false): CoapOption => ({
  number: Option.BLOCK2,
  value: encodeBlock({ num, more, szx }),
});

describe.each([true, false])("Block2 as server (RFC 7959 section 2.4), short path %s", (short) => {
  const body = randomBytes(random, 5_000);
  const server = bodyServer(body, { short });

  it("gives any block of any size, in any order, with one constant ETag of 8 bytes", () => {
    fc.assert(
      fc.property(fc.nat(6), fc.nat(5_000 * 2), fc.boolean(), (szx, at, more) => {
        const num = Math.floor(at / blockSize(szx));
        const response = get(server, [block2(num, szx, more)]);
        const offset = num * blockSize(szx);
        if (offset >= body.length) {
          expect(codeText(response.code)).toBe("4.02");
          return;
        }
        expect(response).toMatchObject({
          type: MessageType.ACK,
          code: Code.CONTENT,
          messageId: 77,
          token: Uint8Array.of(1, 2),
        });
        expect(response.payload).toEqual(body.subarray(offset, offset + blockSize(szx)));
        expect(blockOption(response.options, Option.BLOCK2)).toEqual({
          num,
          szx,
          more: offset + blockSize(szx) < body.length,
        });
        expect(optionValue(response.options, Option.ETAG)).toEqual(
          optionValue(get(server, [block2(0, 0)]).options, Option.ETAG),
        );
        expect(optionValue(response.options, Option.ETAG)).toHaveLength(8);
        expect(uintOption(response.options, Option.CONTENT_FORMAT)).toBe(42);
      }),
      { numRuns: 3_000, seed: 1 },
    );
  });

  it("SZX 7 is 4.00, a repeated Block2 and a Block2 of 4 bytes are 4.02", () => {
    expect(codeText(get(server, [block2(0, 7)]).code)).toBe("4.00");
    expect(codeText(get(server, [block2(0, 2), block2(0, 2)]).code)).toBe("4.02");
    expect(codeText(get(server, [{ number: Option.BLOCK2, value: Uint8Array.of(1, 0, 0, 2) }]).code)).toBe("4.02");
  });

  it("tells the size when Size2 asks, and picks the block size when the client names none", () => {
    expect(
      uintOption(get(server, [block2(3, 2), { number: Option.SIZE2, value: EMPTY_BYTES }]).options, Option.SIZE2),
    ).toBe(5_000);
    const response = get(server, []);
    expect(blockOption(response.options, Option.BLOCK2)).toEqual({ num: 0, more: true, szx: 2 });
    expect(uintOption(response.options, Option.SIZE2)).toBeUndefined();
  });

  it("validates an ETag on the first request only", () => {
    const etag = optionValue(get(server, []).options, Option.ETAG)!;
    const option = { number: Option.ETAG, value: etag };
    expect(codeText(get(server, [option]).code)).toBe("2.03");
    expect(codeText(get(server, [option, block2(0, 2)]).code)).toBe("2.03");
    expect(codeText(get(server, [option, block2(1, 2)]).code)).toBe("2.05");
    expect(codeText(get(server, [{ number: Option.ETAG, value: etag.subarray(1) }]).code)).toBe("2.05");
  });

  it("answers NON by NON with a message ID of its own, and refuses another Accept", () => {
    expect(get(server, [block2(1, 2)], MessageType.NON)).toMatchObject({
      type: MessageType.NON,
      payload: body.subarray(64, 128),
    });
    expect(codeText(get(server, [{ number: Option.ACCEPT, value: encodeUint(50) }]).code)).toBe("4.06");
    expect(codeText(get(server, [{ number: Option.ACCEPT, value: encodeUint(42) }]).code)).toBe("2.05");
  });
});

it("the short path and the general one answer with the same bytes", () => {
  const body = randomBytes(random, 3_333);
  const [a, b] = [bodyServer(body, { short: true }), bodyServer(body)];
  fc.assert(
    fc.property(fc.nat(7), fc.nat(250), fc.uint8Array({ maxLength: 8 }), (szx, num, token) => {
      const request = {
        type: MessageType.CON,
        code: Code.GET,
        messageId: num,
        token,
        options: [...path, block2(num, szx)],
        payload: EMPTY_BYTES,
      };
      const bytes = encodeMessage(request);
      for (const server of [a, b]) server.handleDatagram(0, bytes, CLIENT);
      expect(a.pollTransmit()!.bytes.slice()).toEqual(b.pollTransmit()!.bytes.slice());
    }),
    { numRuns: 3_000, seed: 1 },
  );
});

it("a body with more blocks than NUM can count is 4.02 in blocks that small, on either path", () => {
  const body = new Uint8Array(16 * 0x10_0000 + 1);
  for (const short of [true, false])
    expect(codeText(get(bodyServer(body, { short }), [block2(5, 0)]).code)).toBe("4.02");
});

it("blocks beyond 65,535 are the right ones", () => {
  const body = randomBytes(random, 16 * 70_000 + 5);
  const server = bodyServer(body, { short: true });
  for (const num of [65_534, 65_535, 65_536, 65_537, 69_999, 70_000]) {
    const response = get(server, [block2(num, 0)]);
    expect(blockOption(response.options, Option.BLOCK2)).toEqual({ num, szx: 0, more: num < 70_000 });
    expect(response.payload).toEqual(body.subarray(num * 16, num * 16 + 16));
  }
  expect(codeText(get(server, [block2(70_001, 0)]).code)).toBe("4.02");
});

describe("Block2 as client", () => {
  const body = randomBytes(random, 1_000);
  const server = bodyServer(body);
  const ask = (request: { options: readonly CoapOption[] }, to = server): CoapMessage =>
    get(to, request.options.slice(path.length));

  function fetchFrom(start: number, szx: Szx, to = server): Uint8Array {
    const download = new BlockDownload({ path: ["i", "x"], szx });
    const parts: Uint8Array[] = [];
    for (let offset = start; ; offset += parts.at(-1)!.length) {
      const event = download.handleResponse(ask(download.requestAt(offset), to));
      if (event.kind !== "block") throw new Error(event.kind);
      parts.push(event.bytes.slice());
      if (event.last) return Buffer.concat(parts);
    }
  }

  it("starts at any offset", () => {
    for (const start of [0, 64, 512, 960]) expect(Buffer.compare(fetchFrom(start, 2), body.subarray(start))).toBe(0);
  });

  it("learns the size, and sees 2.03", () => {
    const download = new BlockDownload({ path: ["i", "x"], szx: 2 });
    expect(download.handleResponse(ask(download.withSize(download.requestAt(0))))).toMatchObject({
      kind: "block",
      offset: 0,
    });
    expect(download.size).toBe(1_000);
    expect(download.handleResponse(ask(download.validate(download.etag!)))).toEqual({ kind: "valid" });
  });

  it("sees that the ETag changed", () => {
    const download = new BlockDownload({ path: ["i", "x"], szx: 2 });
    download.handleResponse(ask(download.requestAt(0)));
    const other = bodyServer(randomBytes(random, 900));
    expect(download.handleResponse(ask(download.requestAt(64), other))).toEqual({ kind: "changed" });
    expect(download.handleResponse(ask(download.requestAt(0), other))).toMatchObject({ kind: "block", offset: 0 });
  });

  it("takes blocks with and without an ETag for different versions (RFC 7959 section 2.4)", () => {
    const withEtag = new BlockDownload({ path: ["i", "x"], szx: 2, etag: new Uint8Array(8) });
    const { code, options, payload } = ask(withEtag.requestAt(64));
    const bare = { code, payload, options: options.filter(({ number }) => number !== Option.ETAG) };
    expect(withEtag.handleResponse(bare)).toEqual({ kind: "changed" });
    const without = new BlockDownload({ path: ["i", "x"], szx: 2 });
    without.requestAt(64);
    expect(without.handleResponse(bare)).toMatchObject({ kind: "block" });
    without.requestAt(64);
    expect(without.handleResponse({ code, options, payload })).toEqual({ kind: "changed" });
  });

  it("a 2.03 that was not asked for, and a body beyond the last NUM, are failures", () => {
    const download = new BlockDownload({ path: ["i", "x"], szx: 0 });
    download.requestAt(0);
    expect(download.handleResponse({ code: Code.VALID, options: [], payload: EMPTY_BYTES }).kind).toBe("failed");
    download.requestAt(16 * 0xfffff);
    const last = { code: Code.CONTENT, options: [block2(0xfffff, 0, true)], payload: new Uint8Array(16) };
    expect(download.handleResponse(last).kind).toBe("failed");
  });

  it("goes on at the right offset when the server lowers the block size", () => {
    const download = new BlockDownload({ path: ["i", "x"], szx: 6 });
    const lowered = ask({ options: [...path, block2(0, 3)] });
    download.requestAt(0);
    expect(download.handleResponse(lowered)).toMatchObject({ kind: "block", offset: 0, last: false });
    expect(download.szx).toBe(3);
    expect(download.handleResponse(ask(download.requestAt(128)))).toMatchObject({ offset: 128 });
  });

  it("refuses what does not fit its request", () => {
    const response = (block: CoapOption | undefined, length: number, code: number = Code.CONTENT) => ({
      code,
      options: block === undefined ? [] : [block],
      payload: new Uint8Array(length),
    });
    const failing = [
      response(block2(2, 2, true), 64),
      response(block2(1, 3, true), 128),
      response(block2(1, 2, true), 63),
      response(block2(1, 2), 65),
      response(undefined, 10),
      response(undefined, 0, Code.NOT_FOUND),
    ];
    for (const bad of failing) {
      const download = new BlockDownload({ path: ["i", "x"], szx: 2 });
      download.requestAt(64);
      expect(download.handleResponse(bad).kind).toBe("failed");
    }
  });
});
