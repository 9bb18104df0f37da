import { describe, expect, it } from "vitest";
import { Admission } from "../../src/transfer/admission.ts";
import { decodeBlock, encodeBlock } from "../../src/coap/blockwise/block.ts";
import { BlockPath } from "../../src/coap/blockwise/block-path.ts";
import { BodyExchange } from "../../src/coap/blockwise/body-exchange.ts";
import { QBlock1Upload } from "../../src/coap/blockwise/q-block1-client.ts";
import { QBlock2Download } from "../../src/coap/blockwise/q-block2-client.ts";
import { encodeMissingBlocks } from "../../src/coap/blockwise/q-block.ts";
import { encodeEmpty, encodeMessage } from "../../src/coap/encode.ts";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import {
  EMPTY_BYTES,
  encodeUint,
  optionValue,
  uintOption,
  type CoapMessage,
  type CoapOption,
} from "../../src/coap/message.ts";
import { Code, codeText, ContentFormat, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { DEFAULT_PARAMETERS } from "../../src/coap/parameters.ts";
import { fromHttpResponse } from "../../src/coap/proxy/http-mapping.ts";
import { Router } from "../../src/coap/router.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { decoded, drain, getBlock } from "../support/coap-get.ts";
import { GatewayBench, makeImage } from "../support/gateway.ts";
import { CLIENT, SERVER } from "../support/pair.ts";
import { pattern, routed, sha } from "../support/resources.ts";
import { Site, uri } from "../support/site.ts";

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
const resource = (bytes: () => Uint8Array) => ({
  a: { get: () => ({ code: Code.CONTENT, payload: bytes(), observable: "a" }) },
});
const newClient = (): CoapEndpoint => new CoapEndpoint({ random: new SeededRandom(1, "c") });

describe("what a RST stops", () => {
  it("is an observation whose notification it names, though another has gone out since (RFC 7641 section 4.5)", () => {
    let n = 0;
    const { server } = routed(resource(() => Uint8Array.of(n++)));
    server.handleDatagram(0, message({ options: [REGISTER, ...PATH] }), CLIENT);
    drain(server);
    const ids: number[] = [];
    for (let t = 4; t <= 12; t += 4) {
      server.handleTimeout(t * SECOND);
      server.notify(t * SECOND, "a");
      ids.push(...drain(server).map(({ messageId }) => messageId));
    }
    expect(ids).toHaveLength(3);
    server.handleDatagram(13 * SECOND, encodeEmpty(MessageType.RST, ids[0]!), CLIENT);
    expect(server.stats.observations).toBe(0);
  });

  it.each([
    ["NON", MessageType.NON],
    ["CON", MessageType.CON],
  ] as const)("is a transfer in sets of blocks, asked for by %s (RFC 9177 section 4.4)", (_name, type) => {
    const { server } = routed(resource(() => pattern(64 * 100)));
    server.handleDatagram(0, message({ type, options: [...PATH, block(Option.Q_BLOCK2, 0, true)] }), CLIENT);
    let blocks = 0;
    for (let now: number | undefined = 0; now !== undefined && now < 300 * SECOND; now = server.pollTimeout()) {
      server.handleTimeout(now);
      for (const { code, type: how, messageId } of drain(server)) {
        if (code !== 0) blocks++;
        if (code !== 0 && how !== MessageType.ACK)
          server.handleDatagram(now, encodeEmpty(MessageType.RST, messageId), CLIENT);
      }
    }
    expect(blocks).toBeLessThanOrEqual(20); // of 100: what waits for its turn is on its way
  });

  it("is an observation whose notification came in sets of blocks", () => {
    let seed = 0;
    const { server } = routed(resource(() => pattern(64 * 12).map((byte) => byte ^ seed)));
    server.handleDatagram(0, message({ options: [REGISTER, ...PATH, block(Option.Q_BLOCK2, 0, false)] }), CLIENT);
    drain(server);
    seed = 1;
    server.notify(10 * SECOND, "a");
    const [first] = drain(server);
    server.handleDatagram(11 * SECOND, encodeEmpty(MessageType.RST, first!.messageId), CLIENT);
    expect(server.stats.observations).toBe(0);
  });
});

describe("one address", () => {
  it("does not fill the list of observers by its ports", () => {
    const { server } = routed(resource(() => Uint8Array.of(1)));
    for (let port = 1; port <= 300; port++)
      for (let i = 0; i < 32; i++) {
        const options = [REGISTER, ...PATH];
        const bytes = message({ messageId: i, token: Uint8Array.of(i), options });
        server.handleDatagram(port, bytes, { address: "fd00::666", port });
        drain(server);
      }
    server.handleDatagram(5 * SECOND, message({ options: [REGISTER, ...PATH] }), CLIENT);
    expect(uintOption(drain(server)[0]!.options, Option.OBSERVE)).toBeDefined();
  });

  it("that nobody has proven has no place on the channel, no blocks to its name and no room for a body", () => {
    const sent: { to: string; code: string }[] = [];
    const bench = new GatewayBench({ isTrusted: (at) => at.startsWith("fd00"), admission: new Admission() });
    bench.publish(makeImage(1, 5_000), 2, { alias: "fw" });
    bench.route = ({ peer, bytes }) =>
      void sent.push({ to: peer.address, code: codeText(decoded(bytes.slice()).code) });
    for (let i = 0; i < 40; i++)
      bench.loop.datagram(getBlock(["fw"], i % 4, 2, 100 + i), { address: `2001:db8::${i}`, port: 1 });
    expect([...bench.gateway.transfers()]).toEqual([]);
    bench.loop.datagram(getBlock(["fw"], 0, 2, 1), { ...CLIENT, address: "fd00::77" });
    expect(sent.at(-1)).toEqual({ to: "fd00::77", code: "2.05" });
    const { server } = routed(
      { a: { fetch: () => ({ code: Code.CONTENT }), maxBodyBytes: 1e6 } },
      {
        server: { isTrusted: () => false },
      },
    );
    const options = [...PATH, block(Option.Q_BLOCK1, 0, true), uint(Option.SIZE1, 128), uint(Option.REQUEST_TAG, 1)];
    server.handleDatagram(0, message({ code: Code.FETCH, options, payload: pattern(64) }), CLIENT);
    expect(drain(server).map(({ code }) => codeText(code))).toEqual(["4.01"]);
  });
});

describe("answers out of their order", () => {
  it("an older state on the ACK does not take the place of a newer notification (RFC 7641 section 3.4)", () => {
    const client = newClient();
    client.request(0, SERVER, { code: Code.GET, options: PATH, observe: true });
    const [ask] = drain(client);
    const say = (type: MessageType, messageId: number, sequence: number, value: number): void => {
      const options = [uint(Option.OBSERVE, sequence)];
      const { token } = ask!;
      const bytes = message({ type, code: Code.CONTENT, messageId, token, options, payload: Uint8Array.of(value) });
      client.handleDatagram(messageId, bytes, SERVER);
    };
    say(MessageType.NON, 500, 11, 222);
    say(MessageType.ACK, ask!.messageId, 10, 111);
    const first = client.pollEvent();
    expect(first).toMatchObject({ kind: "response", response: { payload: Uint8Array.of(222) } });
    expect(client.pollEvent()).toBeUndefined();
  });

  it("a late copy of the answer to an earlier block does not end an upload (RFC 7252 section 4.5)", () => {
    const client = newClient();
    const body = pattern(64 * 5);
    const common = { endpoint: client, peer: SERVER, code: Code.PUT, options: PATH, szx: 2, maxBodyBytes: 1_000 };
    const upload = new BodyExchange({ ...common, body } as never);
    upload.start(0);
    const answers: Uint8Array[] = [];
    let outcome: unknown;
    for (let n = 0; n < 5; n++) {
      const ask = drain(client).find(({ code }) => code === Code.PUT)!;
      const at = decodeBlock(optionValue(ask.options, Option.BLOCK1)!);
      client.handleDatagram(n * 10, encodeEmpty(MessageType.ACK, ask.messageId), SERVER);
      for (const copy of answers) client.handleDatagram(n * 10 + 1, copy, SERVER);
      const code = at.more ? Code.CONTINUE : Code.CHANGED;
      const options = [{ number: Option.BLOCK1, value: encodeBlock(at) }];
      answers.push(message({ type: MessageType.CON, code, messageId: 100 + n, token: ask.token, options }));
      client.handleDatagram(n * 10 + 2, answers.at(-1)!, SERVER);
      for (let event = client.pollEvent(); event !== undefined; event = client.pollEvent())
        outcome = upload.handleEvent(n * 10 + 3, event) ?? outcome;
    }
    expect(outcome).toMatchObject({ response: { code: Code.CHANGED } });
  });

  it("a request that was acknowledged is not answered on another ACK, by the short path either (section 5.2.2)", () => {
    let [isThere, exchange] = [false, 0];
    const bytes = pattern(200);
    const body = { bytes, etag: pattern(8), contentFormat: 42 };
    const router = new Router(6, sha);
    router.add(["fw"], {
      get: (_nowUs, request) => {
        ({ exchange } = request);
        return isThere ? { code: Code.CONTENT, body } : "deferred";
      },
    });
    const blockPath = new BlockPath();
    const served = { etag: body.etag, size: 200, bytes: () => (isThere ? bytes : undefined), served: () => {} };
    blockPath.register(["fw"], served);
    const server = new CoapEndpoint({ random: new SeededRandom(1, "s"), handler: router, blockPath });
    const told = (): string[] => drain(server).map(({ type, code }) => `${type} ${codeText(code)}`);
    const ask = getBlock(["fw"], 0, 2, 77);
    server.handleDatagram(0, ask, CLIENT);
    server.handleTimeout(SECOND / 2);
    expect(told()).toEqual(["2 0.00"]);
    isThere = true;
    server.respond(SECOND, exchange, { code: Code.CONTENT, body });
    expect(told()).toEqual(["0 2.05"]);
    server.handleDatagram(2 * SECOND, ask, CLIENT);
    expect(told()).toEqual(["2 0.00"]);
  });
});

describe("transfers in sets of blocks that end", () => {
  it.each([
    ["is too short", 0, pattern(10)],
    ["lies behind the end", 50, pattern(64)],
  ])("a download whose first block %s", (_what, num, payload) => {
    const client = newClient();
    const parts = { endpoint: client, peer: SERVER, parameters: DEFAULT_PARAMETERS, uri: PATH, szx: 2 } as const;
    const download = new QBlock2Download(parts);
    download.start(0);
    const [ask] = drain(client);
    const { messageId, token } = ask!;
    const options = [{ number: Option.ETAG, value: pattern(4) }, uint(Option.SIZE2, 1_000)];
    const all = [...options, block(Option.Q_BLOCK2, num, true)];
    const bytes = message({ type: MessageType.ACK, code: Code.CONTENT, messageId, token, payload, options: all });
    client.handleDatagram(1, bytes, SERVER);
    let end: unknown;
    for (let now = 1; end === undefined && now < 10_000 * SECOND;) {
      for (let event = client.pollEvent(); event !== undefined; event = client.pollEvent())
        end = download.handleEvent(now, event).at(-1) ?? end;
      now = Math.min(client.pollTimeout() ?? Infinity, download.pollTimeout() ?? Infinity);
      client.handleTimeout(now);
      end ??= download.handleTimeout(now);
    }
    expect(end).toMatchObject({ kind: "failed" });
  });

  it("an upload whose server asks for the same for ever, and never for more at once than a set (RFC 9177 section 7.2)", () => {
    const client = newClient();
    const parts = { endpoint: client, peer: SERVER, parameters: DEFAULT_PARAMETERS, code: Code.PUT, szx: 2 } as const;
    const upload = new QBlock1Upload({
      ...parts,
      random: new SeededRandom(2, "q"),
      options: PATH,
      body: pattern(64 * 40),
    });
    upload.start(0);
    let [now, messageId, most]: [number, number, number] = [0, 7_000, 0];
    let end: unknown;
    for (let i = 0; i < 10_000 && end === undefined; i++) {
      const sent = drain(client).filter(({ code }) => code === Code.PUT);
      const last = sent.at(-1);
      const isWhole = last !== undefined && upload.pollTimeout() !== undefined;
      if (now > 60 * SECOND) most = Math.max(most, sent.length);
      if (last?.type === MessageType.CON)
        client.handleDatagram(now, encodeEmpty(MessageType.ACK, last.messageId), SERVER);
      else if (isWhole && now > 30 * SECOND) {
        const payload = encodeMissingBlocks(Array.from({ length: 40 }, (_, num) => num));
        const options = [uint(Option.CONTENT_FORMAT, ContentFormat.MISSING_BLOCKS)];
        const code = Code.REQUEST_ENTITY_INCOMPLETE;
        client.handleDatagram(
          now,
          message({ code, messageId: messageId++, token: last.token, options, payload }),
          SERVER,
        );
      }
      for (let event = client.pollEvent(); event !== undefined; event = client.pollEvent())
        end ??= upload.handleEvent(now, event);
      const next = Math.min(client.pollTimeout() ?? Infinity, upload.pollTimeout() ?? Infinity);
      if (next > now) now = next;
      if (now === Infinity) break;
      client.handleTimeout(now);
      end ??= upload.handleTimeout(now);
    }
    expect(end).toEqual({ kind: "failed", reason: "timeout" });
    expect(most).toBeLessThanOrEqual(10);
  });

  it("a registration that is refused is on no list", () => {
    const { server } = routed(resource(() => pattern(640)));
    server.handleDatagram(0, message({ options: [REGISTER, ...PATH, block(Option.Q_BLOCK2, 99, false)] }), CLIENT);
    expect(drain(server).map(({ code }) => codeText(code))).toEqual(["4.00"]);
    expect(server.stats.observations).toBe(0);
  });

  it("a group is not asked by Q-Block1 (RFC 7252 section 8.2)", () => {
    const fetch = (): { code: number; payload: Uint8Array } => ({ code: Code.CONTENT, payload: pattern(700) });
    const { server } = routed({ a: { fetch, maxBodyBytes: 1_000, forGroups: true } });
    const options = [...PATH, block(Option.Q_BLOCK1, 0, false), uint(Option.SIZE1, 3), uint(Option.REQUEST_TAG, 1)];
    server.handleDatagram(0, message({ code: Code.FETCH, options, payload: pattern(3) }), CLIENT, true);
    expect([drain(server), server.pollTimeout()]).toEqual([[], undefined]);
  });
});

describe("the proxy", () => {
  it("does not leave a critical option out on the way to HTTP (RFC 7252 section 5.4.1)", () => {
    for (const number of [9, 65_001]) {
      const site = new Site();
      const options = [...uri("http://files.example/x"), { number, value: Uint8Array.of(1) }];
      site.client.request(0, SERVER, { code: Code.GET, options: options.toSorted((a, b) => a.number - b.number) });
      site.settle();
      expect(site.proxy.pollHttp()).toBeUndefined();
    }
  });

  it("does not keep for all what is for one (RFC 9111 section 5.2.2.7)", () => {
    const headers = { "cache-control": "private, max-age=600" };
    const { options } = fromHttpResponse(Code.GET, { status: 200, headers, body: pattern(3) }, () => pattern(4));
    expect(uintOption(options, Option.MAX_AGE)).toBe(0);
  });
});

it("a filter of the resource list is looked for by whoever has shown where he is", () => {
  const { server } = routed(
    { a: { get: () => ({ code: Code.CONTENT }), attributes: { rt: "b" } } },
    {
      server: { isTrusted: () => false },
    },
  );
  const options = [
    ...textOptions(Option.URI_PATH, [".well-known", "core"]),
    ...textOptions(Option.URI_QUERY, ["rt=b"]),
  ];
  server.handleDatagram(0, message({ options }), CLIENT);
  expect(drain(server).map(({ code }) => codeText(code))).toEqual(["4.01"]);
});
