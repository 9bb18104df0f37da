import { describe, expect, it } from "vitest";
import { blockOption, blockSize } from "../../src/coap/blockwise/block.ts";
import { EMPTY_BYTES, encodeUint, uintOption } from "../../src/coap/message.ts";
import { Code, MessageType, Option } from "../../src/coap/numbers.ts";
import type { IncomingResponse, OutgoingRequest } from "../../src/coap/request.ts";
import { encodeContent, Format } from "../../src/lwm2m/content.ts";
import { usualFormats } from "../../src/lwm2m/operation.ts";
import { PackagePush } from "../../src/lwm2m/package-push.ts";
import { readObjects, type Registration } from "../../src/lwm2m/registration.ts";
import { utf8 } from "../../src/util/bytes.ts";
import { textOptions } from "../../src/coap/options.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { BEHAVIOURS } from "../../simulator/mote/lwm2m/behaviour.ts";
import { GatewayBench, makeImage } from "../support/gateway.ts";
import { Lwm2mSite } from "../support/lwm2m-site.ts";

/*
 * What unmodified clients did to us: Anjay and Anjay Lite over a bad link, and clients whose answers are peculiar.
 */

const REGISTRATION = { rootPath: [], peer: { address: "fd00::9", port: 5_683 } } as unknown as Registration;

/** A push to a client that a test plays: it is handed each block's number, and says what it answers. */
class Push {
  readonly progress: [number, number][] = [];
  readonly nums: number[] = [];
  readonly push: PackagePush;
  nowUs = 0;
  #request: OutgoingRequest | undefined;

  constructor(parts: { readonly offset?: number; readonly forgetsUs?: number } = {}) {
    this.push = new PackagePush({
      path: [5, 0, 0],
      body: makeImage(1, 1_024),
      szx: 2,
      ...parts,
      onProgress: (_nowUs, offset, length) => this.progress.push([offset, length]),
      onRestart: () => this.progress.push([0, 0]),
    });
  }

  /** Sends the next block; its number. */
  send(): number {
    const requester = {
      request: (_nowUs: number, _peer: unknown, request: OutgoingRequest) => {
        this.#request = request;
        return 1;
      },
      cancel: () => {},
    };
    this.push.send(this.nowUs, requester, REGISTRATION);
    const num = blockOption(this.#request!.options, Option.BLOCK1)!.num;
    this.nums.push(num);
    return num;
  }

  /** The answer to it, after so many seconds. */
  answer(code: number, seconds = 0.1): ReturnType<PackagePush["handleEvent"]> {
    this.nowUs += seconds * 1e6;
    const options =
      code === Code.CONTINUE ? this.#request!.options.filter(({ number }) => number === Option.BLOCK1) : [];
    const token = EMPTY_BYTES;
    const response = { code, options, payload: EMPTY_BYTES, token } as unknown as IncomingResponse;
    return this.push.handleEvent(this.nowUs, {
      kind: "response",
      request: 1,
      response,
      retransmissions: seconds > 2 ? 1 : 0,
    });
  }
}

describe("a client that takes nothing but the block that it waits for, and answers 5.03 to all else", () => {
  it("an answer that was lost in mid-push is got over: the next block is tried, and what was skipped is recorded", () => {
    const one = new Push();
    one.send();
    one.answer(Code.CONTINUE);
    expect(one.send()).toBe(1);
    // It took block 1, its answer was lost, and the copy is answered 5.03; then the same once more with block 2.
    expect(one.answer(Code.SERVICE_UNAVAILABLE, 2.5)).toBeUndefined();
    expect(one.send()).toBe(2);
    expect(one.answer(Code.SERVICE_UNAVAILABLE, 2.5)).toBeUndefined();
    expect(one.send()).toBe(3);
    expect(one.answer(Code.CONTINUE)).toBeUndefined();
    expect(one.send()).toBe(4);
    expect(one.progress).toEqual([
      [0, 64],
      [64, 192],
    ]);
  });

  it("one that is busy is not guessed at: 5.03 at once is 5.03", () => {
    const one = new Push();
    one.send();
    one.answer(Code.CONTINUE);
    one.send();
    expect(one.answer(Code.SERVICE_UNAVAILABLE)).toMatchObject({ kind: "refused", code: "5.03" });
    expect(one.send()).toBe(1);
  });

  it("where none of the next blocks is it either, the push goes back to the one that was not acknowledged", () => {
    const one = new Push();
    one.send();
    one.answer(Code.CONTINUE);
    one.send();
    for (let i = 0; i < 4; i++) {
      expect(one.answer(Code.SERVICE_UNAVAILABLE, 2.5)).toBeUndefined();
      one.send();
    }
    expect(one.answer(Code.SERVICE_UNAVAILABLE, 2.5)).toMatchObject({ kind: "refused" });
    expect(one.send()).toBe(1);
    expect(one.progress).toEqual([[0, 64]]);
  });

  it("blocks that it was found to have when the push went on are recorded", () => {
    const one = new Push({ offset: 256 });
    expect(one.send()).toBe(4);
    one.answer(Code.SERVICE_UNAVAILABLE);
    expect(one.send()).toBe(5);
    one.answer(Code.SERVICE_UNAVAILABLE);
    expect(one.send()).toBe(6);
    one.answer(Code.CONTINUE);
    expect(one.progress).toEqual([[256, 192]]);
  });

  it("is updated by push with every seventh of its answers lost", () => {
    const site = new Lwm2mSite(8_000);
    site.addMote("m", BEHAVIOURS["push-only"]);
    site.bench.run(2);
    site.answer((path, { options }) => {
      const block = path === "/5/0/0" ? blockOption(options, Option.BLOCK1) : undefined;
      if (block === undefined) return undefined;
      const offset = block.num * blockSize(block.szx);
      return offset === site.mote("m").imageBytesReceived ? undefined : { code: Code.SERVICE_UNAVAILABLE };
    });
    let answers = 0;
    site.fate = ({ from }) => (from === "mote" && ++answers % 7 === 0 ? 0 : 1);
    site.update("m");
    site.settle(["m"], 3_600);
    expect(site.job("m"), site.timeline("m").join("\n")).toMatchObject({ state: "succeeded", method: "push" });
    expect(site.mote("m").runs(site.image)).toBe(true);
  });
});

describe("Anjay Lite", () => {
  it("a push that it may have forgotten is broken off, not continued", () => {
    const one = new Push({ forgetsUs: 40e6 });
    one.send();
    one.answer(Code.CONTINUE);
    one.send();
    expect(one.answer(Code.CONTINUE, 62)).toMatchObject({ kind: "failed" });
    expect(one.push.forgotten).toBe(true);
  });

  it("gets a NULL package before block 0, at Idle and where a push was broken off", () => {
    const site = new Lwm2mSite(8_000);
    site.addMote("m", BEHAVIOURS["push-only"], { version: "1.2" });
    site.bench.run(2);
    const writes: string[] = [];
    const silent = encodeContent(
      Format.TLV,
      [3, 0],
      [
        { path: [3, 0, 0], value: "" },
        { path: [3, 0, 3], value: "1.0.0" },
      ],
    );
    const format = { number: Option.CONTENT_FORMAT, value: encodeUint(Format.TLV) };
    let [inspected, dark] = [false, false];
    site.answer((path, { code, options, payload }) => {
      if (dark) return "drop";
      if (path === "/5/0/0") {
        const block = blockOption(options, Option.BLOCK1);
        writes.push(block === undefined ? `NULL ${payload.length}` : String(block.num));
        if (block === undefined) return { code: Code.CHANGED };
      }
      if (path !== "/3/0" || code !== Code.GET) return undefined;
      inspected = true;
      return { code: Code.CONTENT, options: [format], payload: silent, type: MessageType.ACK };
    });
    site.update("m");
    for (let i = 0; i < 1_000 && writes.length < 40; i++) site.bench.run(0.01);
    expect(inspected).toBe(true);
    expect(writes.slice(0, 2)).toEqual(["NULL 1", "0"]);
    dark = true;
    site.bench.run(120);
    dark = false;
    const before = writes.length;
    site.settle(["m"], 3_600);
    const after = writes.slice(before);
    expect(after.slice(after.indexOf("NULL 1"), after.indexOf("NULL 1") + 2)).toEqual(["NULL 1", "0"]);
    expect(site.mote("m").runs(site.image), site.timeline("m").join("\n")).toBe(true);
  });
});

describe("formats", () => {
  it("what a client took for one resource is not asked of another", () => {
    const site = new Lwm2mSite();
    site.addMote("m");
    site.bench.run(2);
    const accepted: (number | undefined)[] = [];
    site.answer((path, { code, options }) => {
      if (path === "/5/0/0") return { code: Code.CHANGED };
      if (path === "/3/0/3" && code === Code.GET) accepted.push(uintOption(options, Option.ACCEPT));
      return undefined;
    });
    const operate = (operation: "write" | "read", path: string, value?: string): void => {
      const { operations } = site.bench.gateway.devices;
      site.bench.loop.call(() => operations.submit("m", { operation, path, value }, {}, () => {}));
      site.bench.run(1);
    };
    operate("write", "/5/0/0", "AAAA");
    operate("read", "/3/0/3");
    expect(accepted).toHaveLength(1);
    expect(accepted).not.toContain(Format.OPAQUE);
  });

  it("LwM2M CBOR is asked for where the client is of 1.2", () => {
    const of = (version: string): number[] => usualFormats({ version } as Registration);
    expect(of("1.2")).toContain(Format.LWM2M_CBOR);
    expect(of("1.1")).not.toContain(Format.LWM2M_CBOR);
    expect(of("1.0")).toEqual([Format.TLV, Format.JSON]);
  });
});

/** Answers reads in the mote's place: what, by the seconds since Update was executed; less than 0 before. */
function afterUpdate(
  site: Lwm2mSite,
  reads: (seconds: number) => Readonly<Record<string, string>>,
  executed = Code.CHANGED,
): void {
  let executedUs: number | undefined;
  const text = { number: Option.CONTENT_FORMAT, value: encodeUint(Format.TEXT) };
  site.answer((path, { code }) => {
    const nowUs = site.bench.engine.nowUs();
    if (path === "/5/0/2") {
      executedUs ??= nowUs;
      return { code: executed };
    }
    const value = reads(executedUs === undefined ? -1 : (nowUs - executedUs) / 1e6)[path];
    return code === Code.GET && value !== undefined
      ? { code: Code.CONTENT, options: [text], payload: utf8(value) }
      : undefined;
  });
}

describe("a component that is applied without a restart", () => {
  const applied = (seconds: number): Record<string, string> =>
    seconds < 0
      ? {}
      : {
          "/5/0/3": "0",
          "/5/0/5": seconds < 20 ? "0" : "1",
          "/3/0/3": seconds < 20 ? "1.0.0" : "2.0.0",
        };

  it("is believed by its version alone, where the operator says so", () => {
    const site = new Lwm2mSite();
    site.addMote("m");
    site.bench.run(2);
    afterUpdate(site, applied);
    site.update("m", { restarts: false, soakS: 60 });
    site.settle(["m"], 7_200);
    expect(site.job("m"), site.timeline("m").join("\n")).toMatchObject({ state: "succeeded", versionAfter: "2.0.0" });
  });

  it("has failed where it says that it is done, and has the old version", () => {
    const site = new Lwm2mSite();
    site.addMote("m");
    site.bench.run(2);
    afterUpdate(site, (seconds) => (seconds < 0 ? {} : { ...applied(seconds), "/3/0/3": "1.0.0" }));
    site.update("m", { restarts: false });
    site.settle(["m"], 7_200);
    expect(site.job("m"), site.timeline("m").join("\n")).toMatchObject({ state: "failed", reason: "old-version" });
  });

  it("is not believed without that word, and the verdict says what to give", () => {
    const site = new Lwm2mSite();
    site.addMote("m");
    site.bench.run(2);
    afterUpdate(site, applied);
    site.update("m");
    site.settle(["m"], 7_200);
    expect(site.job("m"), site.timeline("m").join("\n")).toMatchObject({ state: "failed", reason: "never-restarted" });
    expect(site.job("m").detail).toContain("Update Result is 1");
    expect(site.job("m").advice).toContain("--no-restart");
  });
});

describe("Zephyr", () => {
  it("a Package URI is written as text: its JSON reader cuts one at the colon of a port", () => {
    const site = new Lwm2mSite();
    site.addMote("m", BEHAVIOURS["pull-only"]);
    site.bench.run(2);
    const formats: (number | undefined)[] = [];
    site.answer((path, { code, options }) => {
      if (path === "/5/0/1" && code === Code.PUT) formats.push(uintOption(options, Option.CONTENT_FORMAT));
      return undefined;
    });
    site.update("m");
    site.settle(["m"]);
    expect(formats[0]).toBe(Format.TEXT);
    expect(site.job("m")).toMatchObject({ state: "succeeded" });
  });

  it("a Result that was there before Update is no news of it", () => {
    const site = new Lwm2mSite();
    site.addMote("m", BEHAVIOURS["push-only"]);
    site.bench.run(2);
    // An earlier update has failed, and it says so until this one is over.
    afterUpdate(site, (seconds) => {
      if (seconds < 0) return { "/5/0/5": "8" };
      return { "/5/0/3": "0", "/5/0/5": seconds < 40 ? "8" : "1", "/3/0/3": seconds < 40 ? "1.0.0" : "2.0.0" };
    });
    site.update("m", { restarts: false });
    site.settle(["m"], 7_200);
    expect(site.job("m"), site.timeline("m").join("\n")).toMatchObject({ state: "succeeded" });
  });

  it("the same Register a minute later is that of a client that has restarted, not a copy", () => {
    const bench = new GatewayBench();
    const options = [
      ...textOptions(Option.URI_PATH, ["rd"]),
      ...textOptions(Option.URI_QUERY, ["ep=z", "lt=30", "lwm2m=1.0"]),
    ];
    const message = { type: MessageType.CON, code: Code.POST, messageId: 7, token: Uint8Array.of(1), options };
    const bytes = encodeMessage({ ...message, payload: utf8("</3/0>,</5/0>") });
    const register = (): void => bench.loop.datagram(bytes, { address: "fd00::5", port: 5_683 });
    const isThere = (): boolean => bench.gateway.devices.get("z") !== undefined;
    register();
    bench.run(1);
    expect(isThere()).toBe(true);
    bench.run(59);
    expect(isThere()).toBe(false); // its lifetime is over
    bench.run(5);
    register();
    bench.run(1);
    expect(isThere()).toBe(true);
  });

  it("what it takes is known by the root link, without rt too", () => {
    expect(readObjects(utf8("</>;ct=112,</1/0>,</3/0>")).formats).toEqual([112]);
  });
});

it("a version that cannot be read right after the restart is read again later", () => {
  const site = new Lwm2mSite();
  site.addMote("m");
  site.bench.run(2);
  let executedUs: number | undefined;
  site.answer((path, { code }) => {
    const nowUs = site.bench.engine.nowUs();
    if (path === "/5/0/2") executedUs = nowUs;
    const early = executedUs !== undefined && nowUs < executedUs + 30e6;
    return early && path === "/3/0/3" && code === Code.GET ? { code: Code.SERVICE_UNAVAILABLE } : undefined;
  });
  site.update("m");
  site.settle(["m"], 3_600);
  expect(site.job("m"), site.timeline("m").join("\n")).toMatchObject({ state: "succeeded" });
});
