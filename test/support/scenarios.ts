import { BodyExchange } from "../../src/coap/blockwise/body-exchange.ts";
import { QBlock1Upload } from "../../src/coap/blockwise/q-block1-client.ts";
import { QBlock2Download } from "../../src/coap/blockwise/q-block2-client.ts";
import { encodeEmpty } from "../../src/coap/encode.ts";
import { EMPTY_BYTES, encodeUint } from "../../src/coap/message.ts";
import { Code, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { DEFAULT_PARAMETERS } from "../../src/coap/parameters.ts";
import type { ResourceHandler } from "../../src/coap/router.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { CLIENT, SERVER, type Pair } from "./pair.ts";
import { pattern, routed, sha } from "./resources.ts";

const SECOND = 1_000_000;
const PATH = textOptions(Option.URI_PATH, ["x"]);

/** Conversations of all kinds: each runs on a pair and leaves its datagrams in the log. */
export const SCENARIOS: Record<string, () => Pair> = {
  "Block1 and Block2": () => {
    const { pair, client } = site();
    const options = { endpoint: client, peer: SERVER, code: Code.POST, options: PATH, body: pattern(500) };
    const exchange = new BodyExchange({ ...options, szx: 2, requestTag: pattern(3), maxBodyBytes: 9_000 });
    exchange.start(0);
    pair.drive(60 * SECOND, exchange);
    return pair;
  },
  Observe: () => {
    const { pair, client, server } = site();
    const id = client.request(0, SERVER, { code: Code.GET, options: PATH, observe: true })!;
    pair.rest(0);
    server.notify(0, "x");
    pair.rest(SECOND);
    client.unobserve(pair.nowUs, id);
    pair.rest(2 * SECOND);
    return pair;
  },
  "Q-Block2": () => {
    const { pair, client } = site();
    const transfer = new QBlock2Download({
      endpoint: client,
      peer: SERVER,
      parameters: DEFAULT_PARAMETERS,
      uri: PATH,
      szx: 2,
    });
    let i = 0;
    pair.copies = () => (++i % 7 === 0 ? 0 : 1);
    transfer.start(0);
    pair.drive(200 * SECOND, {
      handleEvent: (nowUs, event) => transfer.handleEvent(nowUs, event).find(({ kind }) => kind === "done"),
      handleTimeout: (nowUs) => transfer.handleTimeout(nowUs),
      pollTimeout: () => transfer.pollTimeout(),
    });
    return pair;
  },
  "Q-Block1": () => {
    const { pair, client } = site();
    const common = { endpoint: client, peer: SERVER, parameters: DEFAULT_PARAMETERS, random: new SeededRandom(1, "q") };
    const upload = new QBlock1Upload({
      ...common,
      code: Code.PUT,
      options: PATH,
      body: pattern(3_000),
      szx: 2,
    });
    let i = 0;
    pair.copies = () => (++i % 7 === 0 ? 0 : 1);
    upload.start(0);
    pair.drive(200 * SECOND, upload);
    return pair;
  },
  "Echo, No-Response, errors": () => {
    const { pair, client } = site(false);
    client.request(0, SERVER, { code: Code.GET, options: PATH });
    pair.rest(SECOND);
    client.request(pair.nowUs, SERVER, {
      code: Code.PUT,
      options: [...PATH, { number: Option.NO_RESPONSE, value: Uint8Array.of(26) }],
    });
    client.request(pair.nowUs, SERVER, {
      code: Code.GET,
      options: textOptions(Option.URI_PATH, [".well-known", "core"]),
    });
    client.request(pair.nowUs, SERVER, { code: Code.GET, options: textOptions(Option.PROXY_URI, ["coap://a/b"]) });
    pair.rest(300 * SECOND);
    return pair;
  },
  "Block1 refused, then smaller": () => {
    const { pair, client } = site();
    for (const [body, szx] of [
      [pattern(20_000), 6],
      [pattern(700), 4],
    ] as const) {
      const common = { endpoint: client, peer: SERVER, code: Code.PUT, options: PATH, maxBodyBytes: 9_000 };
      const exchange = new BodyExchange({ ...common, body, szx });
      exchange.start(pair.nowUs);
      pair.drive(pair.nowUs + 60 * SECOND, exchange);
    }
    return pair;
  },
  "separate responses, resets and pings": () => {
    const { pair, client, server } = site();
    client.request(0, SERVER, { code: Code.GET, options: textOptions(Option.URI_PATH, ["slow"]) });
    pair.rest(SECOND);
    server.respond(pair.nowUs, 1, { code: Code.CONTENT, payload: pattern(3) });
    pair.rest(2 * SECOND);
    for (const options of [[{ number: 65_001, value: pattern(2) }], textOptions(Option.URI_PATH, ["none"])])
      client.request(pair.nowUs, SERVER, { code: Code.GET, options, confirmable: options.length > 1 });
    pair.rest(pair.nowUs + 300 * SECOND);
    server.handleDatagram(pair.nowUs, encodeEmpty(MessageType.CON, 77), CLIENT);
    pair.rest(pair.nowUs + SECOND);
    return pair;
  },
  "FETCH, PATCH, conditions, validation": () => {
    const { pair, client } = site();
    const uint = (number: number, value: number) => ({ number, value: encodeUint(value) });
    const asks: [number, { number: number; value: Uint8Array }[], Uint8Array?][] = [
      [Code.FETCH, [uint(Option.CONTENT_FORMAT, 60)], pattern(9)],
      [Code.PATCH, [], pattern(9)],
      [Code.IPATCH, [uint(Option.CONTENT_FORMAT, 60)], pattern(9)],
      [Code.PUT, [{ number: Option.IF_NONE_MATCH, value: EMPTY_BYTES }], pattern(9)],
      [Code.GET, [uint(Option.ACCEPT, 50)]],
      [Code.GET, [{ number: Option.ETAG, value: sha(pattern(3_000)).subarray(0, 8) }]],
      [Code.DELETE, []],
    ];
    for (const [code, options, payload = EMPTY_BYTES] of asks) {
      client.request(pair.nowUs, SERVER, { code, options: [...PATH, ...options], payload });
      pair.rest(pair.nowUs + SECOND);
    }
    return pair;
  },
};

/** A server with one resource of every method, and one that answers late. */
function site(trusted = true): ReturnType<typeof routed> {
  const bytes = pattern(3_000);
  const body = { bytes, etag: sha(bytes).subarray(0, 8), contentFormat: 42 };
  const changed = () => ({ code: Code.CHANGED });
  const resource: ResourceHandler = {
    attributes: { ct: 42, obs: true },
    get: () => ({ code: Code.CONTENT, body, observable: "x" }),
    post: () => ({ code: Code.CHANGED, body }),
    put: changed,
    fetch: () => ({ code: Code.CONTENT, payload: pattern(5) }),
    ipatch: changed,
    maxBodyBytes: 9_000,
  };
  return routed(
    { x: resource, slow: { get: () => "deferred" } },
    { server: { isTrusted: () => trusted, preferredSzx: 2 } },
  );
}
