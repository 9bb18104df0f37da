import { describe, expect, it } from "vitest";
import { encodeMessage } from "../../src/coap/encode.ts";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { EMPTY_BYTES, encodeUint, uintOption } from "../../src/coap/message.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { Router } from "../../src/coap/router.ts";
import type { CoapResponse, IncomingRequest } from "../../src/coap/request.ts";
import { decodeContent, decodePaths, encodeContent, Format } from "../../src/lwm2m/content.ts";
import type { OperationOutcome, SubmitOptions } from "../../src/lwm2m/device-queue.ts";
import type { Operation } from "../../src/lwm2m/operation.ts";
import type { Reading } from "../../src/lwm2m/reading.ts";
import type { PeerAddress } from "../../src/ports/datagram.ts";
import { fromUtf8, utf8 } from "../../src/util/bytes.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { decoded } from "../support/coap-get.ts";
import { GatewayBench } from "../support/gateway.ts";
import { SERVER } from "../support/pair.ts";
import { sha } from "../support/resources.ts";

const HOME: PeerAddress = { address: "fd00::7", port: 5_683 };
const DEVICE: Reading[] = [
  { path: [3, 0, 0], value: "Maker" },
  { path: [3, 0, 3], value: "1.2.3" },
  { path: [3, 0, 9], value: 87 },
];

/** A client that takes some formats only, and a gateway in virtual time. */
class Site {
  readonly bench = new GatewayBench();
  readonly formats: readonly number[];
  readonly seen: string[] = [];
  readonly endpoint: CoapEndpoint;
  /** False while it sleeps: nothing reaches it. */
  awake = true;
  level = 87;
  #messageId = 1;

  constructor(formats: readonly number[]) {
    this.formats = formats;
    const router = new Router(6, sha);
    const read = (_nowUs: number, request: IncomingRequest): CoapResponse => this.#read(request);
    const note = (_nowUs: number, { method, path, payload }: IncomingRequest): CoapResponse => {
      this.seen.push(`${method} /${path.join("/")} ${fromUtf8(payload)}`);
      return { code: Code.CHANGED };
    };
    router.add(["3", "0"], { get: read });
    router.add(["3", "0", "3"], { get: read });
    router.add(["3", "0", "9"], { get: () => this.#level() });
    router.add([], { fetch: (_nowUs, request) => this.#composite(request), ipatch: note, maxBodyBytes: 1_000 });
    router.add(["1", "0", "8"], { post: note });
    router.add(["1", "0", "1"], { put: (_nowUs, request) => this.#write(request), maxBodyBytes: 1_000 });
    router.add(["5", "0"], { put: note, delete: note });
    this.endpoint = new CoapEndpoint({ random: new SeededRandom(1, "device"), handler: router });
  }

  /** A Send of the client's own. */
  send(readings: readonly Reading[], format: number, from = HOME): string {
    const options = [
      ...textOptions(Option.URI_PATH, ["dp"]),
      { number: Option.CONTENT_FORMAT, value: encodeUint(format) },
    ];
    const message = {
      type: MessageType.CON,
      code: Code.POST,
      messageId: this.#messageId++,
      token: EMPTY_BYTES,
      options,
    };
    this.bench.sent.length = 0;
    this.bench.loop.datagram(encodeMessage({ ...message, payload: encodeContent(format, [], readings) }), from);
    return codeText(decoded(this.bench.sent.splice(0)[0]!).code);
  }

  register(query: string[], links = "</1/0>,</3/0>"): void {
    const options = [...textOptions(Option.URI_PATH, ["rd"]), ...textOptions(Option.URI_QUERY, ["ep=m", ...query])];
    const format = { number: Option.CONTENT_FORMAT, value: encodeUint(40) };
    const message = { type: MessageType.CON, code: Code.POST, messageId: this.#messageId++, token: EMPTY_BYTES };
    this.bench.loop.datagram(encodeMessage({ ...message, options: [...options, format], payload: utf8(links) }), HOME);
    this.run(0.1);
  }

  submit(operation: Operation): number | undefined {
    let id: number | undefined;
    this.bench.loop.call((nowUs) => (id = this.bench.gateway.devices.submit(nowUs, "m", operation)));
    return id;
  }

  /** Carries datagrams both ways for so many seconds. */
  run(seconds: number): void {
    const { bench, endpoint } = this;
    for (let left = seconds; left > 0; left -= 0.05) {
      bench.run(0.05);
      const nowUs = bench.engine.nowUs();
      for (const bytes of bench.sent.splice(0)) if (this.awake) endpoint.handleDatagram(nowUs, bytes, SERVER);
      endpoint.handleTimeout(nowUs);
      for (let out = endpoint.pollTransmit(); out !== undefined; out = endpoint.pollTransmit())
        bench.loop.datagram(out.bytes.slice(), HOME);
    }
  }

  outcomes(): OperationOutcome[] {
    const { devices } = this.bench.gateway;
    const out: OperationOutcome[] = [];
    for (let one = devices.pollOutcome(); one !== undefined; one = devices.pollOutcome()) out.push(one);
    return out;
  }

  reports(): string[] {
    const { devices } = this.bench.gateway;
    const out: string[] = [];
    for (let one = devices.pollReport(); one !== undefined; one = devices.pollReport())
      out.push(
        `${one.by} ${one.readings.map(({ path, value }) => `/${path.join("/")}=${JSON.stringify(value)}`).join()}`,
      );
    return out;
  }

  ask(operation: Operation): OperationOutcome["result"] {
    this.submit(operation);
    this.run(1);
    return this.outcomes()[0]!.result;
  }

  #read(request: IncomingRequest): CoapResponse {
    const accept = uintOption(request.options, Option.ACCEPT)!;
    this.seen.push(`read in ${accept}`);
    if (!this.formats.includes(accept)) return { code: Code.NOT_ACCEPTABLE };
    const path = request.path.map(Number);
    const readings = DEVICE.filter((reading) => path.every((id, i) => reading.path[i] === id));
    const options = [{ number: Option.CONTENT_FORMAT, value: encodeUint(accept) }];
    return { code: Code.CONTENT, payload: encodeContent(accept, path, readings), options };
  }

  #level(): CoapResponse {
    const options = [{ number: Option.CONTENT_FORMAT, value: encodeUint(Format.TLV) }];
    const readings = [{ path: [3, 0, 9], value: this.level }];
    return {
      code: Code.CONTENT,
      payload: encodeContent(Format.TLV, [3, 0, 9], readings),
      options,
      observable: "level",
    };
  }

  #composite(request: IncomingRequest): CoapResponse {
    const format = uintOption(request.options, Option.CONTENT_FORMAT)!;
    this.seen.push(`composite in ${format}`);
    if (!this.formats.includes(format)) return { code: Code.UNSUPPORTED_CONTENT_FORMAT };
    const paths = decodePaths(format, request.payload);
    const readings = DEVICE.filter(({ path }) => paths.some((asked) => asked.every((id, i) => path[i] === id)));
    const options = [{ number: Option.CONTENT_FORMAT, value: encodeUint(format) }];
    return { code: Code.CONTENT, payload: encodeContent(format, [], readings), options, observable: "all" };
  }

  #write(request: IncomingRequest): CoapResponse {
    const format = uintOption(request.options, Option.CONTENT_FORMAT)!;
    if (!this.formats.includes(format)) return { code: Code.UNSUPPORTED_CONTENT_FORMAT };
    const [reading] = decodeContent(format, request.payload, request.path.map(Number));
    this.seen.push(`write ${JSON.stringify(reading!.value)} in ${format}`);
    return { code: Code.CHANGED };
  }
}

const READ: Operation = { kind: "read", path: [3, 0] };

describe("Read (LwM2M 1.1 Core section 6.3.1)", () => {
  it.each([
    [["lwm2m=1.1"], [Format.SENML_CBOR], [Format.SENML_CBOR]],
    [["lwm2m=1.1"], [Format.TLV], [Format.SENML_CBOR, Format.SENML_JSON, Format.TLV]],
    [["lwm2m=1.0"], [Format.TLV], [Format.TLV]],
    [["lwm2m=1.0"], [Format.JSON], [Format.TLV, Format.JSON]],
  ])("%j, a client that takes %j is asked in %j", (query, takes, asked) => {
    const site = new Site(takes);
    site.register(query);
    expect(site.ask(READ)).toEqual({ kind: "done", code: "2.05", readings: DEVICE });
    expect(site.seen).toEqual(asked.map((format) => `read in ${format}`));
    site.seen.length = 0;
    site.ask(READ); // what it took is asked for at once
    expect(site.seen).toEqual([`read in ${takes[0]}`]);
  });

  it("asks first in what the client says that it takes, and reads one value as text in the end", () => {
    const site = new Site([Format.TEXT]);
    site.register(["lwm2m=1.1"], '</>;rt="oma.lwm2m";ct="11543",</3/0>');
    expect(site.ask({ kind: "read", path: [3, 0, 3] })).toMatchObject({
      readings: [{ path: [3, 0, 3], value: "1.2.3" }],
    });
    expect(site.seen[0]).toBe(`read in ${Format.JSON}`);
    expect(site.seen.at(-1)).toBe("read in 0");
  });

  it("says what the client said when it takes none of them, or has no such thing", () => {
    const site = new Site([]);
    site.register([]);
    expect(site.ask(READ)).toMatchObject({ kind: "refused", code: "4.06" });
    expect(site.ask({ kind: "read", path: [77] })).toMatchObject({ kind: "refused", code: "4.04" });
  });
});

describe("Write, Execute, Write-Attributes, Delete (sections 6.3.2 to 6.3.7)", () => {
  it("a value is written in the format that the client takes", () => {
    const site = new Site([Format.TLV]);
    site.register(["lwm2m=1.1"]);
    const write: Operation = {
      kind: "write",
      path: [1, 0, 1],
      readings: [{ path: [1, 0, 1], value: 300 }],
      replace: true,
    };
    expect(site.ask(write)).toEqual({ kind: "done", code: "2.04" });
    expect(site.seen).toEqual([`write 300 in ${Format.TLV}`]);
  });

  it("the others reach the client as they are", () => {
    const site = new Site([]);
    site.register([]);
    expect(site.ask({ kind: "execute", path: [1, 0, 8], argument: "0='x'" })).toEqual({ kind: "done", code: "2.04" });
    expect(site.ask({ kind: "write-attributes", path: [5, 0], attributes: ["pmin=10"] })).toEqual({
      kind: "done",
      code: "2.04",
    });
    expect(site.ask({ kind: "delete", path: [5, 0] })).toEqual({ kind: "done", code: "2.04" });
    expect(site.seen).toEqual(["2 /1/0/8 0='x'", "3 /5/0 ", "4 /5/0 "]);
  });
});

describe("Queue Mode (section 6.4)", () => {
  it("nothing is sent to a client that sleeps; what waits goes out one by one when it is heard of", () => {
    const site = new Site([Format.TLV]);
    site.register(["b=UQ"]);
    site.run(100);
    site.awake = false;
    for (let i = 0; i < 3; i++) expect(site.submit(READ)).toBeDefined();
    site.run(60);
    expect(site.bench.sent).toEqual([]);
    expect(site.outcomes()).toEqual([]);
    site.awake = true;
    site.register(["b=UQ"]);
    site.run(2);
    expect(site.outcomes().map(({ id, result }) => [id, result.kind])).toEqual([
      [1, "done"],
      [2, "done"],
      [3, "done"],
    ]);
  });

  it("one that falls asleep while it is asked is asked again, but does not execute twice", () => {
    const site = new Site([Format.TLV]);
    site.register(["b=UQ"]);
    site.awake = false;
    site.submit(READ);
    site.submit({ kind: "execute", path: [1, 0, 8] });
    site.run(150);
    expect(site.outcomes()).toEqual([]);
    site.awake = true;
    site.register(["b=UQ"]);
    site.run(2);
    expect(site.outcomes().map(({ result }) => result.kind)).toEqual(["done", "done"]);
    site.awake = false;
    site.submit({ kind: "execute", path: [1, 0, 8] });
    site.run(150);
    expect(site.outcomes()).toMatchObject([{ result: { kind: "failed", reason: "timeout" } }]);
  });

  it("what waits for a client outlives its registration, within a bound; one answer serves all who asked the same", () => {
    const site = new Site([Format.TLV]);
    expect(site.submit(READ)).toBeUndefined();
    site.register(["b=UQ", "lt=200"]);
    site.run(100);
    site.awake = false;
    let taken = 0;
    while (site.submit(READ) !== undefined) taken++;
    expect(taken).toBe(64);
    site.run(140);
    expect(site.outcomes()).toEqual([]);
    site.awake = true;
    site.register(["b=UQ", "lt=200"]);
    site.run(2);
    expect(site.outcomes().map(({ result }) => result.kind)).toEqual(Array.from({ length: 64 }, () => "done"));
    expect(site.seen.filter((text) => text.startsWith("read"))).toHaveLength(1);
  });

  it("the more urgent goes first, a later write replaces an earlier one, and what is too late is given up", () => {
    const site = new Site([Format.TLV]);
    site.register(["b=UQ"]);
    site.run(100);
    const write = (value: number): Operation => {
      const path = [1, 0, 1];
      return { kind: "write", path, readings: [{ path, value }], replace: true };
    };
    const submit = (operation: Operation, options: SubmitOptions = {}): void =>
      site.bench.loop.call((nowUs) => void site.bench.gateway.devices.submit(nowUs, "m", operation, options));
    submit(write(1));
    submit(READ, { deadlineUs: site.bench.engine.nowUs() + 10e6 });
    submit(write(2));
    submit({ kind: "execute", path: [1, 0, 8] }, { priority: 1 });
    site.run(20);
    expect(site.outcomes().map(({ operation, result }) => [operation.kind, result])).toEqual([
      ["write", { kind: "failed", reason: "superseded" }],
      ["read", { kind: "failed", reason: "deadline" }],
    ]);
    site.register(["b=UQ"]);
    site.run(2);
    expect(site.outcomes().map(({ operation }) => operation.kind)).toEqual(["execute", "write"]);
    expect(site.seen.at(-1)).toBe(`write 2 in ${Format.TLV}`);
  });

  it("after a restart of the gateway a client is asked once it is heard of", () => {
    const site = new Site([Format.TLV]);
    site.register(["b=UQ"]);
    site.bench.restart();
    expect(site.submit(READ)).toBeDefined();
    site.run(5);
    expect(site.outcomes()).toEqual([]);
    site.register(["b=UQ"]);
    site.run(2);
    expect(site.outcomes()).toMatchObject([{ result: { kind: "done" } }]);
  });
});

describe("Observe, Observe-Composite, Read- and Write-Composite, Send (LwM2M 1.1 Core section 6.4)", () => {
  it("a client that is observed tells of each change, until it is let go or registers anew", () => {
    const site = new Site([Format.TLV]);
    site.register(["lwm2m=1.0"]);
    const paths = [[3, 0, 9]];
    const observe = (): void => void site.submit({ kind: "observe", path: [3, 0, 9], paths });
    const change = (level: number): void => {
      site.level = level;
      site.endpoint.notify(site.bench.engine.nowUs(), "level");
      site.run(1);
    };
    observe();
    site.run(1);
    change(86);
    change(85);
    expect(site.reports()).toEqual([87, 86, 85].map((level) => `notify /3/0/9=${level}`));
    site.register(["lwm2m=1.0"]); // it has rebooted
    change(84);
    expect(site.reports()).toEqual([]);
    expect(site.endpoint.stats.observations).toBe(0); // its notification was rejected
    observe();
    site.run(1);
    site.submit({ kind: "cancel-observation", path: [3, 0, 9], paths });
    site.run(1);
    expect(site.reports()).toEqual(["notify /3/0/9=84"]);
    expect(site.endpoint.stats.observations).toBe(0);
  });

  it("several paths at once, in the SenML that the client takes", () => {
    const site = new Site([Format.SENML_JSON]);
    site.register(["lwm2m=1.1"]);
    const paths = [
      [3, 0, 3],
      [3, 0, 9],
    ];
    expect(site.ask({ kind: "read-composite", path: [], paths })).toEqual({
      kind: "done",
      code: "2.05",
      readings: DEVICE.slice(1),
    });
    expect(site.seen).toEqual([`composite in ${Format.SENML_CBOR}`, `composite in ${Format.SENML_JSON}`]);
    const readings = [
      { path: [1, 0, 1], value: 60 },
      { path: [1, 0, 6], value: true },
    ];
    expect(site.ask({ kind: "write-composite", path: [], readings })).toEqual({ kind: "done", code: "2.04" });
    expect(site.seen.at(-1)).toMatch(/^7 \/ /);
    site.seen.length = 0;
    expect(site.ask({ kind: "observe", path: [], paths })).toEqual({ kind: "done", code: "2.05" });
    expect(site.seen).toEqual([`composite in ${Format.SENML_CBOR}`, `composite in ${Format.SENML_JSON}`]);
    expect(site.reports()).toEqual(['notify /3/0/3="1.2.3",/3/0/9=87']);
    expect(site.endpoint.stats.observations).toBe(1);
  });

  it("a Send is taken from who is registered, in the formats of Send, and shows that it is awake", () => {
    const site = new Site([Format.TLV]);
    expect(site.send(DEVICE, Format.SENML_CBOR)).toBe("4.04");
    site.register(["lwm2m=1.1", "Q"]);
    site.run(100);
    site.submit(READ);
    expect(site.outcomes()).toEqual([]);
    expect(site.send(DEVICE, Format.SENML_JSON)).toBe("2.04");
    expect(site.send(DEVICE, Format.JSON)).toBe("4.15");
    expect(site.send(DEVICE, Format.SENML_CBOR, { address: "fd00::99", port: 1 })).toBe("4.04");
    expect(site.reports()).toEqual(['send /3/0/0="Maker",/3/0/3="1.2.3",/3/0/9=87']);
    site.send([], Format.SENML_CBOR);
    site.run(5);
    expect(site.outcomes()).toMatchObject([{ result: { kind: "done" } }]);
  });
});
