import { describe, expect, it } from "vitest";
import { assemblyKey } from "../../src/coap/blockwise/body-assembly.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { EMPTY_BYTES, encodeUint, uintOption } from "../../src/coap/message.ts";
import { Code, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import type { IncomingRequest } from "../../src/coap/request.ts";
import { decodeContent, encodeContent, Format } from "../../src/lwm2m/content.ts";
import { operationOf } from "../../src/lwm2m/operation-spec.ts";
import { fromUtf8, utf8 } from "../../src/util/bytes.ts";
import { BEHAVIOURS } from "../../simulator/mote/lwm2m/behaviour.ts";
import { GatewayBench } from "../support/gateway.ts";
import { Lwm2mSite } from "../support/lwm2m-site.ts";

/*
 * What unmodified Wakaama, Contiki-NG and RIOT clients did to us.
 */

describe("Contiki-NG", () => {
  it("gets its package as octets by their old number, where it refuses the new one", () => {
    const site = new Lwm2mSite();
    site.addMote("m", BEHAVIOURS["push-only"]);
    site.bench.run(2);
    const formats: (number | undefined)[] = [];
    site.answer((path, { options }) => {
      if (path !== "/5/0/0") return undefined;
      const format = uintOption(options, Option.CONTENT_FORMAT);
      formats.push(format);
      return format === Format.OPAQUE ? { code: Code.UNSUPPORTED_CONTENT_FORMAT } : undefined;
    });
    site.update("m");
    site.settle(["m"]);
    expect(formats.slice(0, 2)).toEqual([Format.OPAQUE, 1_544]);
    expect(formats.slice(2)).not.toContain(Format.OPAQUE);
    expect(site.job("m"), site.timeline("m").join("\n")).toMatchObject({ state: "succeeded", method: "push" });
  });

  it("is told once to update: State that stays after 2.04 is no reason to say it again", () => {
    const site = new Lwm2mSite();
    site.addMote("m", BEHAVIOURS["push-only"]);
    site.bench.run(2);
    let executes = 0;
    site.answer((path) => {
      if (path !== "/5/0/2") return undefined;
      executes++;
      return { code: Code.CHANGED };
    });
    site.update("m");
    site.settle(["m"]);
    expect(site.job("m").reason, site.timeline("m").join("\n")).toBe("never-restarted");
    expect(executes).toBe(1);
  });
});

describe("Wakaama", () => {
  const request = (format: number | undefined): IncomingRequest => {
    const value = format === undefined ? undefined : encodeUint(format);
    const options = value === undefined ? [] : [{ number: Option.CONTENT_FORMAT as number, value }];
    return { peer: { address: "fd00::1", port: 1 }, method: Code.POST, options } as unknown as IncomingRequest;
  };

  it("says that a body is text from its second block on: it is one body all the same", () => {
    expect(assemblyKey(request(undefined))).toBe(assemblyKey(request(0)));
    expect(assemblyKey(request(40))).not.toBe(assemblyKey(request(0)));
  });

  it("finds a resource that is named below its instance", () => {
    const json = encodeContent(Format.JSON, [3, 0, 14], [{ path: [3, 0, 14], value: "+01:00" }]);
    expect(JSON.parse(fromUtf8(json)!)).toEqual({ bn: "/3/0/", e: [{ n: "14", sv: "+01:00" }] });
    const whole = encodeContent(Format.JSON, [3, 0, 6], [{ path: [3, 0, 6, 1], value: 5 }]);
    expect(JSON.parse(fromUtf8(whole)!)).toEqual({ bn: "/3/0/", e: [{ n: "6/1", v: 5 }] });
  });

  it("names a resource of 1.0 twice, which is no instance of it", () => {
    const read = (text: string, resource = 3): unknown => decodeContent(Format.JSON, utf8(text), [3, 0, resource]);
    expect(read('{"bn":"/3/0/3/","e":[{"n":"3","sv":"1.0"}]}')).toEqual([{ path: [3, 0, 3], value: "1.0" }]);
    expect(read('{"bn":"/3/0/6/","e":[{"n":"6","v":1}]}', 6)).toEqual([{ path: [3, 0, 6, 6], value: 1 }]);
  });

  it("of 1.0 is not asked for its firmware object as a whole, and for TLV before a JSON that it says it has", () => {
    const site = new Lwm2mSite();
    site.addMote("m", {}, { version: "1.0" });
    site.bench.run(2);
    const reads: [string, number | undefined][] = [];
    site.answer((path, { code, options }) => {
      if (code === Code.GET) reads.push([path, uintOption(options, Option.ACCEPT)]);
      return undefined;
    });
    site.update("m");
    site.settle(["m"]);
    expect(site.job("m"), site.timeline("m").join("\n")).toMatchObject({ state: "succeeded" });
    expect(reads.map(([path]) => path)).not.toContain("/5/0");
    expect(reads[0]).toEqual(["/5/0/3", Format.TLV]);
  });
});

describe("RIOT", () => {
  it("without a firmware object is not sent a package that nothing there would take", () => {
    const site = new Lwm2mSite();
    site.addMote("m", {}, { object: [33_629, 0] });
    site.bench.run(2);
    const asked: string[] = [];
    site.answer((path, { code }) => {
      if (path.startsWith("/5") && code !== Code.GET) asked.push(path);
      return undefined;
    });
    site.update("m");
    site.settle(["m"]);
    expect(asked).toEqual([]);
    expect(site.job("m").detail, site.timeline("m").join("\n")).toContain("SUIT trigger");
  });

  it("has IPSO objects whose values are known by their resource's number", () => {
    const tlv = (id: number, bytes: number[]): Uint8Array =>
      Uint8Array.of(0xe0 | bytes.length, id >> 8, id & 255, ...bytes);
    const read = (id: number, bytes: number[]): unknown =>
      decodeContent(Format.TLV, tlv(id, bytes), [3_311, 0])[0]?.value;
    expect(read(5_850, [1])).toBe(true);
    expect(read(5_851, [50])).toBe(50);
    expect(read(5_700, [0x41, 0xdc, 0, 0])).toBe(27.5);
    expect(read(5_701, [0x43, 0x65, 0x6c])).toBe("Cel");
  });
});

describe("Anjay", () => {
  it("stays registered while it is given a package, though it sends no Update meanwhile", () => {
    const site = new Lwm2mSite(8_000);
    site.addMote("m", BEHAVIOURS["push-only"], { lifetimeS: 60 });
    site.bench.run(2);
    let pushing = false;
    site.answer((path) => {
      pushing ||= path === "/5/0/0";
      return undefined;
    });
    // Each answer takes a second, and nothing of the client's own gets through.
    site.fate = ({ from, bytes }) => (from === "mote" && pushing && bytes[1] === Code.POST ? 0 : 1);
    site.delayUs = 500_000;
    site.update("m", { graceS: 30 });
    site.settle(["m"], 100);
    expect(site.timeline("m").join("\n")).not.toContain("expired");
    site.fate = () => 1;
    site.settle(["m"], 3_600);
    expect(site.job("m"), site.timeline("m").join("\n")).toMatchObject({ state: "succeeded", method: "push" });
  });

  it("that has lost the connection is offered its package again, by the same way too", () => {
    const site = new Lwm2mSite();
    site.addMote("m", BEHAVIOURS["push-only"]);
    site.bench.run(2);
    let lost = true;
    const text = { number: Option.CONTENT_FORMAT, value: encodeUint(Format.TEXT) };
    site.answer((path, { code, options }) => {
      if (!lost || code !== Code.GET || uintOption(options, Option.OBSERVE) !== undefined) return undefined;
      if (path === "/5/0/3") return { code: Code.CONTENT, options: [text], payload: utf8("0") };
      if (path !== "/5/0/5") return undefined;
      lost = site.mote("m").imageBytesReceived === 0;
      return { code: Code.CONTENT, options: [text], payload: utf8(lost ? "0" : "4") };
    });
    site.update("m");
    site.settle(["m"], 7_200);
    expect(site.job("m"), site.timeline("m").join("\n")).toMatchObject({ state: "succeeded", method: "push" });
  });
});

describe("a client that counts its messages from the same number after each restart", () => {
  it("is heard: what is no copy in all its parts is no copy", () => {
    const bench = new GatewayBench();
    const peer = { address: "fd00::5", port: 5_683 };
    const send = (path: string[], query: string[], messageId: number, payload: string): void => {
      const options = [...textOptions(Option.URI_PATH, path), ...textOptions(Option.URI_QUERY, query)];
      const message = { type: MessageType.CON, code: Code.POST, messageId, token: EMPTY_BYTES, options };
      bench.loop.datagram(encodeMessage({ ...message, payload: utf8(payload) }), peer);
      bench.run(1);
    };
    const location = (): string => bench.gateway.devices.get("z")!.id;
    const register = (): void => send(["rd"], ["ep=z", "lt=30", "lwm2m=1.0"], 1, "</3/0>");
    register();
    send(["rd", location()], [], 2, "");
    bench.run(20);
    register();
    bench.run(20);
    send(["rd", location()], [], 2, ""); // the same number as the Update of its earlier life
    bench.run(35);
    expect(bench.gateway.devices.get("z")).toBeDefined();
  });
});

it("a number for a resource of unknown type is written as one", () => {
  const of = (path: string, value: string): unknown => operationOf({ operation: "write", path, value });
  expect(of("/31024/10", "1=7,3=2.5,4=text,5=true,6=9007199254740993")).toMatchObject({
    readings: [{ value: 7 }, { value: 2.5 }, { value: "text" }, { value: true }, { value: 9_007_199_254_740_993n }],
  });
  expect(of("/31024/10/1", "7")).toMatchObject({ readings: [{ value: 7 }] });
});
