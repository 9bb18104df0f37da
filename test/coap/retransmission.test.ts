import { describe, expect, it } from "vitest";
import { encodeMessage } from "../../src/coap/encode.ts";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { EMPTY_BYTES } from "../../src/coap/message.ts";
import { Code, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { DEFAULT_PARAMETERS } from "../../src/coap/parameters.ts";
import { CocoaTimer, FixedTimer, PollPeriodTimer } from "../../src/coap/retransmission.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { decoded } from "../support/coap-get.ts";
import { Pair, SERVER } from "../support/pair.ts";
import { routed } from "../support/resources.ts";

const SECOND = 1_000_000;
const PATH = textOptions(Option.URI_PATH, ["x"]);
const content = { get: () => ({ code: Code.CONTENT, payload: EMPTY_BYTES }) };

describe("retransmission timers", () => {
  const parameters = DEFAULT_PARAMETERS;

  it("RFC 7252's doubles, whatever was measured", () => {
    const timer = new FixedTimer(parameters);
    expect(timer.plan().timeoutUs).toBe(2 * SECOND);
    expect(timer.plan().backoff(3 * SECOND)).toBe(6 * SECOND);
  });

  it("a sleepy child gets one copy per poll, not five in one (openthread#4434)", () => {
    const copies = (retransmission: () => PollPeriodTimer | undefined): number => {
      const client = new CoapEndpoint({ random: new SeededRandom(1, "c"), retransmission });
      const pair = new Pair(client, routed({ x: content }).server);
      pair.copies = ({ atUs, from }) => (from === "client" && atUs < 60 * SECOND ? 0 : 1);
      client.request(0, SERVER, { code: Code.GET, options: PATH });
      pair.run(60 * SECOND);
      return pair.log.length;
    };
    expect(copies(() => undefined)).toBe(5);
    expect(copies(() => new PollPeriodTimer(parameters, 60 * SECOND))).toBe(1);
    expect(copies(() => new PollPeriodTimer(parameters, 30 * SECOND))).toBe(2);
  });

  it("CoCoA learns short and long round trips, and backs off by 3, 2 or 1.5", () => {
    const quick = new CocoaTimer(parameters);
    for (let i = 0; i < 20; i++) quick.measured(i * SECOND, 100_000, 0);
    const plan = quick.plan(20 * SECOND);
    expect(plan.timeoutUs).toBeLessThan(SECOND / 2);
    expect(plan.backoff(100)).toBe(300);
    const slow = new CocoaTimer(parameters);
    for (let i = 0; i < 20; i++) slow.measured(i * SECOND, 6 * SECOND, 0);
    expect(slow.plan(20 * SECOND).timeoutUs).toBeGreaterThan(5 * SECOND);
    expect(slow.plan(20 * SECOND).backoff(SECOND)).toBe(1.5 * SECOND);
    expect(new CocoaTimer(parameters).plan(0).backoff(SECOND)).toBe(2 * SECOND);
  });

  it("CoCoA asks a sleeper again only after some of its polls, however short the round trips were", () => {
    const timer = new CocoaTimer(parameters, 4 * SECOND);
    for (let i = 0; i < 20; i++) timer.measured(i * SECOND, 100_000, 0);
    expect(timer.plan(20 * SECOND).timeoutUs).toBe(4 * SECOND);
    expect(timer.plan(20 * SECOND).spanUs).toBeGreaterThan(4 * 4 * SECOND);
  });

  it("CoCoA's weak estimator counts a quarter, and an exchange repeated more than twice not at all", () => {
    const timer = new CocoaTimer(parameters);
    timer.measured(0, 30 * SECOND, 3);
    expect(timer.plan(0).timeoutUs).toBe(2 * SECOND);
    timer.measured(0, 8 * SECOND, 1);
    expect(timer.plan(0).timeoutUs).toBe(0.25 * 12 * SECOND + 0.75 * 2 * SECOND);
  });

  it("one that is told to grow does so behind such, up to 32 s: where copies fill the channel nothing else is learnt", () => {
    const timer = new CocoaTimer(parameters, 0, 1.5);
    timer.measured(0, 30 * SECOND, 3);
    expect(timer.plan(0).timeoutUs).toBe(3 * SECOND);
    for (let i = 0; i < 20; i++) timer.measured(0, 30 * SECOND, 4);
    expect(timer.plan(0).timeoutUs).toBe(32 * SECOND);
  });

  it("CoCoA forgets: a long RTO shrinks, a short one grows when nothing is heard for long", () => {
    const slow = new CocoaTimer(parameters);
    for (let i = 0; i < 20; i++) slow.measured(0, 10 * SECOND, 0);
    const before = slow.plan(0).timeoutUs;
    expect(slow.plan(100 * SECOND).timeoutUs).toBe(SECOND + before / 2);
    const quick = new CocoaTimer(parameters);
    for (let i = 0; i < 20; i++) quick.measured(0, 50_000, 0);
    const short = quick.plan(0).timeoutUs;
    expect(quick.plan(17 * short).timeoutUs).toBe(2 * short);
  });

  it("are chosen per peer", () => {
    const timers = new Map([[SERVER.address, new CocoaTimer(parameters)]]);
    const { pair, client } = routed(
      { x: content },
      { client: { retransmission: ({ address }) => timers.get(address) } },
    );
    client.request(0, SERVER, { code: Code.GET, options: PATH });
    pair.run(SECOND);
    expect(timers.get(SERVER.address)!.plan(0).timeoutUs).toBeLessThan(2 * SECOND);
  });
});

describe("PROBING_RATE (RFC 7252 section 4.7)", () => {
  it("to a peer that is silent NONs go out at a byte per second; to one that answers at once", () => {
    const client = new CoapEndpoint({ random: new SeededRandom(1, "c") });
    const send = (nowUs: number) =>
      client.request(nowUs, SERVER, { code: Code.GET, options: PATH, confirmable: false });
    send(0);
    const first = client.pollTransmit()!.bytes.slice();
    send(1);
    expect(client.pollTransmit()).toBeUndefined();
    const at = client.pollTimeout()!;
    expect(at).toBe(first.length * SECOND);
    const { token } = decoded(first);
    const reply = { type: MessageType.NON, code: Code.CONTENT, messageId: 9, token, options: [], payload: EMPTY_BYTES };
    client.handleDatagram(2, encodeMessage(reply), SERVER);
    send(3);
    expect(client.pollTransmit()).toBeDefined();
  });
});
