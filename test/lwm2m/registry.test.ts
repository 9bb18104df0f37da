import { describe, expect, it } from "vitest";
import { encodeBlock } from "../../src/coap/blockwise/block.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { encodeUint, optionValues, type CoapMessage, type CoapOption } from "../../src/coap/message.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { parseLinks } from "../../src/codec/link-format.ts";
import { fromUtf8, utf8 } from "../../src/util/bytes.ts";
import type { PeerAddress } from "../../src/ports/datagram.ts";
import { decoded } from "../support/coap-get.ts";
import { GatewayBench } from "../support/gateway.ts";

const HOME: PeerAddress = { address: "fd00::7", port: 5_683 };
const AWAY: PeerAddress = { address: "fd00::8", port: 40_000 };
const BODY = '</>;rt="oma.lwm2m";ct="60 110 112 11542",</1>;ver=1.1,</1/0>,</3/0>,</5/0>,</dm>;x';
const LINKS = { number: Option.CONTENT_FORMAT, value: encodeUint(40) };

let messageId = 1;
/** One CON to the gateway and its answer. */
function ask(
  bench: GatewayBench,
  code: number,
  path: string[],
  fields: { query?: string[]; body?: string; from?: PeerAddress; extra?: CoapOption[] } = {},
): CoapMessage {
  const { query = [], body = "", from = HOME, extra = [] } = fields;
  const options = [...textOptions(Option.URI_PATH, path), ...textOptions(Option.URI_QUERY, query), ...extra];
  if (body !== "") options.push(LINKS);
  const message = { type: MessageType.CON, code, messageId: messageId++, token: Uint8Array.of(messageId & 255) };
  bench.loop.datagram(encodeMessage({ ...message, options, payload: utf8(body) }), from);
  bench.run(1);
  return decoded(bench.sent.at(-1)!);
}

const locationOf = ({ options }: CoapMessage): string[] =>
  optionValues(options, Option.LOCATION_PATH).map((value) => fromUtf8(value)!);
const register = (bench: GatewayBench, query: string[], body = BODY): CoapMessage =>
  ask(bench, Code.POST, ["rd"], { query, body });
const devices = (bench: GatewayBench) => [...bench.gateway.devices.all()].map(({ registration }) => registration);

describe("Register (LwM2M 1.1 Core section 6.2.1)", () => {
  it("is answered with a location of two short segments, and kept with all that was said", () => {
    const bench = new GatewayBench();
    const answer = register(bench, ["lwm2m=1.1", "ep=mote 7", "lt=300", "b=U", "Q", "sms=+49123", "d=x", "et"]);
    expect(codeText(answer.code)).toBe("2.01");
    const location = locationOf(answer);
    expect(location).toEqual(["rd", expect.stringMatching(/^[0-9a-z]{1,8}$/)]);
    expect(devices(bench)).toEqual([
      {
        id: location[1],
        endpoint: "mote 7",
        peer: HOME,
        lifetimeS: 300,
        version: "1.1",
        binding: "U",
        queueMode: true,
        sms: "+49123",
        others: { d: "x", et: "" },
        rootPath: [],
        formats: [60, 110, 112, 11_542],
        objects: [{ path: [1], version: "1.1" }, { path: [1, 0] }, { path: [3, 0] }, { path: [5, 0] }],
      },
    ]);
  });

  it.each([
    ["b=UQ", true, "U"],
    ["b=U", false, "U"],
    ["b=UQS", true, "US"],
    ["b=N", false, "N"],
    ["Q=true", true, "U"],
  ])("%s: Queue Mode %s, binding %s", (parameter, queueMode, binding) => {
    const bench = new GatewayBench();
    register(bench, ["ep=a", parameter]);
    expect(devices(bench)[0]).toMatchObject({ queueMode, binding, version: "1.0", lifetimeS: 86_400 });
  });

  it.each([
    [["lwm2m=1.1"], "4.00"],
    [["ep="], "4.00"],
    [["ep=a", "lt=x"], "4.00"],
    [["ep=a", "lt=-1"], "4.00"],
    [["ep=a", "b=%"], "4.00"],
    [["ep=a", "lwm2m=2.0"], "4.12"],
    [[`ep=${"x".repeat(250)}`, "lwm2m=0.9"], "4.12"],
    [["ep=a", ...Array.from({ length: 40 }, (_, i) => `p${i}=1`)], "4.00"],
  ])("%j is answered %s with a reason, and nothing is kept", (query, code) => {
    const bench = new GatewayBench();
    const answer = register(bench, query);
    expect(codeText(answer.code)).toBe(code);
    expect(answer.payload.length).toBeGreaterThan(5);
    expect(devices(bench)).toEqual([]);
  });

  it("a body that is no list of links is 4.00, one in another format 4.15, none at all is taken", () => {
    const bench = new GatewayBench();
    expect(codeText(register(bench, ["ep=a"], "</1/0").code)).toBe("4.00");
    const json = [{ number: Option.CONTENT_FORMAT, value: encodeUint(50) }];
    expect(codeText(ask(bench, Code.POST, ["rd"], { query: ["ep=a"], extra: json }).code)).toBe("4.15");
    expect(codeText(register(bench, ["ep=a"], "").code)).toBe("2.01");
  });

  it("a body in blocks is put together (Wakaama with a small block size)", () => {
    const bench = new GatewayBench();
    const parts = [BODY.slice(0, 64), BODY.slice(64)];
    const codes = parts.map((body, num) => {
      const extra = [{ number: Option.BLOCK1, value: encodeBlock({ num, more: num === 0, szx: 2 }) }];
      return codeText(ask(bench, Code.POST, ["rd"], { query: ["ep=w", "lwm2m=1.1"], body, extra }).code);
    });
    expect(codes).toEqual(["2.31", "2.01"]);
    expect(devices(bench)[0]!.objects).toHaveLength(4);
  });

  it("again, it ends the location before, and a root elsewhere is followed", () => {
    const bench = new GatewayBench();
    const first = locationOf(register(bench, ["ep=a"]));
    const second = locationOf(register(bench, ["ep=a"], '</lwm2m>;rt="oma.lwm2m",</lwm2m/5/0>,</9/0>'));
    expect(second).not.toEqual(first);
    expect(codeText(ask(bench, Code.POST, first).code)).toBe("4.04");
    expect(codeText(ask(bench, Code.POST, second).code)).toBe("2.04");
    expect(devices(bench)).toMatchObject([{ rootPath: ["lwm2m"], objects: [{ path: [5, 0] }] }]);
  });
});

describe("Update, De-register and lifetime (sections 6.2.2 and 6.2.3)", () => {
  it("an Update changes what it says, and the address is that of the newest message", () => {
    const bench = new GatewayBench();
    const location = locationOf(register(bench, ["ep=a", "lt=300", "b=UQ"]));
    expect(codeText(ask(bench, Code.POST, location, { query: ["lt=600"], from: AWAY }).code)).toBe("2.04");
    expect(devices(bench)[0]).toMatchObject({ lifetimeS: 600, peer: AWAY, queueMode: true });
    ask(bench, Code.POST, location, { body: "</5/0>", from: AWAY });
    expect(devices(bench)[0]).toMatchObject({ lifetimeS: 600, objects: [{ path: [5, 0] }] });
    expect(codeText(ask(bench, Code.POST, location, { query: ["lt=x"] }).code)).toBe("4.00");
    expect(devices(bench)).toHaveLength(1);
  });

  it("an Update that changes nothing but the time writes nothing", () => {
    const bench = new GatewayBench();
    const location = locationOf(register(bench, ["ep=a", "lt=300"]));
    bench.run(2); // its timeline is written
    const writes = bench.commands.length;
    for (let i = 0; i < 5; i++) ask(bench, Code.POST, location);
    expect(bench.commands.length).toBe(writes);
  });

  it("a client that says goodbye is gone, and its location 4.04", () => {
    const bench = new GatewayBench();
    const location = locationOf(register(bench, ["ep=a"]));
    expect(codeText(ask(bench, Code.DELETE, location).code)).toBe("2.02");
    expect(codeText(ask(bench, Code.DELETE, location).code)).toBe("4.04");
    expect(codeText(ask(bench, Code.POST, ["rd", "nowhere"]).code)).toBe("4.04");
    expect(devices(bench)).toEqual([]);
  });

  it("one that is silent for its lifetime and a grace is gone, one whose lifetime is 0 is not", () => {
    const bench = new GatewayBench();
    const location = locationOf(register(bench, ["ep=a", "lt=60"]));
    register(bench, ["ep=b", "lt=0"]);
    bench.run(50);
    ask(bench, Code.POST, location);
    bench.run(80);
    expect(devices(bench).map(({ endpoint }) => endpoint)).toEqual(["a", "b"]);
    bench.run(20);
    expect(devices(bench).map(({ endpoint }) => endpoint)).toEqual(["b"]);
    bench.restart();
    expect(devices(bench).map(({ endpoint }) => endpoint)).toEqual(["b"]);
    expect(bench.events.map(({ event }) => event)).toContain("lwm2m-expired");
  });
});

describe("a restart of the gateway", () => {
  it("keeps what was acknowledged, at whatever moment it comes; locations stay valid", () => {
    const whole = new GatewayBench();
    register(whole, ["ep=a", "lt=300"]);
    for (let steps = 0; steps < 40; steps++) {
      const bench = new GatewayBench();
      const message = { type: MessageType.CON, code: Code.POST, messageId: 1, token: Uint8Array.of(1) };
      const options = [...textOptions(Option.URI_PATH, ["rd"]), ...textOptions(Option.URI_QUERY, ["ep=a"]), LINKS];
      bench.loop.datagram(encodeMessage({ ...message, options, payload: utf8(BODY) }), HOME);
      bench.run(steps / 20_000); // cut while the record is written
      const acknowledged = bench.sent.map(decoded).find(({ code }) => code === Code.CREATED);
      bench.sent.length = 0;
      bench.restart();
      if (acknowledged === undefined) continue;
      expect(devices(bench)).toHaveLength(1);
      expect(codeText(ask(bench, Code.POST, locationOf(acknowledged)).code)).toBe("2.04");
    }
  });

  it("a lifetime begins anew with it, and a damaged record costs that device only", () => {
    const bench = new GatewayBench();
    for (const name of ["a", "b"]) register(bench, [`ep=${name}`, "lt=100"]);
    bench.run(90);
    bench.disk.entries.get("registration/a")!.fill(0x7b);
    bench.restart();
    expect(devices(bench).map(({ endpoint }) => endpoint)).toEqual(["b"]);
    bench.run(100);
    expect(devices(bench)).toHaveLength(1);
    bench.run(40);
    expect(devices(bench)).toEqual([]);
  });

  it("a full disk refuses a registration 5.03, and does not say that it is there", () => {
    const bench = new GatewayBench();
    bench.intercept = ({ kind }) =>
      kind === "store" ? { kind: "failed", reason: "disk-full", detail: "no room", retryable: false } : undefined;
    expect(codeText(register(bench, ["ep=a"]).code)).toBe("5.03");
    bench.intercept = () => undefined;
    bench.restart();
    expect(devices(bench)).toEqual([]);
  });
});

describe("links as clients write them (RFC 6690 section 2)", () => {
  it.each([
    ["</1/0>", [{ target: "/1/0", attributes: {} }]],
    ["", []],
    [
      '</>;rt="oma.lwm2m";ct=11542 , </5>;ver="1.0"',
      [
        { target: "/", attributes: { rt: "oma.lwm2m", ct: "11542" } },
        { target: "/5", attributes: { ver: "1.0" } },
      ],
    ],
    ['</a>;title="a \\"b\\", c";obs', [{ target: "/a", attributes: { title: 'a "b", c', obs: true } }]],
  ])("%s", (text, links) => expect(parseLinks(text)).toEqual(links));

  it.each(["<", "</1", "</1>,", "</1>;", "</1> </2>", "x", '</1>;a="', "</1>;;a"])("%s is none", (text) => {
    expect(parseLinks(text)).toBeUndefined();
  });
});
