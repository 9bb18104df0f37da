import { describe, expect, it } from "vitest";
import { DEFAULT_PARAMETERS } from "../../src/coap/parameters.ts";
import { BodyDownload } from "../../src/transfer/body-download.ts";
import type { FetchEvent } from "../../src/transfer/block-fetch.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { makeImage } from "../support/gateway.ts";
import { CLIENT, SERVER } from "../support/pair.ts";
import { bodyServer } from "../support/server.ts";
import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";

const [first, second] = [makeImage(41, 1_000), makeImage(42, 900)];
const etagOf = (bytes: Uint8Array): Uint8Array => nobleCrypto.sha256(bytes).subarray(0, 8);

function newDownload(offset: number, etag: Uint8Array | undefined): BodyDownload {
  return new BodyDownload({
    random: new SeededRandom(1, "download"),
    parameters: DEFAULT_PARAMETERS,
    policy: { backoffUs: 1_000_000, maxBackoffUs: 4_000_000, maxFailures: 3 },
    peer: SERVER,
    path: ["i", "x"],
    query: [],
    szx: 2,
    offset,
    etag,
  });
}

/** Runs a download against servers chosen by the number of the request; none loses it. */
function run(download: BodyDownload, serverFor: (request: number) => Uint8Array | undefined): FetchEvent[] {
  const events: FetchEvent[] = [];
  let [nowUs, requests] = [0, 0];
  download.start(nowUs);
  for (let step = 0; step < 1_000; step++) {
    for (let out = download.pollTransmit(); out !== undefined; out = download.pollTransmit()) {
      const body = serverFor(requests++);
      if (body === undefined) continue;
      const server = bodyServer(body, { short: true });
      server.handleDatagram(nowUs, out.bytes.slice(), CLIENT);
      download.handleDatagram(nowUs, server.pollTransmit()!.bytes.slice(), SERVER);
    }
    for (let event = download.pollEvent(); event !== undefined; event = download.pollEvent()) {
      events.push(event.kind === "block" ? { ...event, bytes: event.bytes.slice() } : event);
    }
    const next = download.pollTimeout();
    if (next === undefined) return events;
    nowUs = Math.max(nowUs, next);
    download.handleTimeout(nowUs);
  }
  throw new Error("the download never ends");
}

/** The body as a receiver that starts again at `changed` would have it. */
function received(events: readonly FetchEvent[], kept: Uint8Array): Uint8Array {
  let body = Buffer.from(kept);
  for (const event of events) {
    if (event.kind === "changed") body = Buffer.alloc(0);
    else if (event.kind === "block") {
      expect(event.offset).toBe(body.length);
      body = Buffer.concat([body, event.bytes]);
    }
  }
  return body;
}

describe("a body download", () => {
  it("goes on at an offset, and learns the size", () => {
    const download = newDownload(512, etagOf(first));
    const events = run(download, () => first);
    expect(Buffer.compare(received(events, first.subarray(0, 512)), first)).toBe(0);
    expect(download.size).toBe(1_000);
    expect(events.filter(({ kind }) => kind === "block")).toHaveLength(8);
  });

  it("restarts when the ETag of what it has is not the current one", () => {
    const events = run(newDownload(512, etagOf(first)), () => second);
    expect(events[0]).toEqual({ kind: "changed" });
    expect(Buffer.compare(received(events, first.subarray(0, 512)), second)).toBe(0);
  });

  it("restarts when the body changes in the middle", () => {
    const events = run(newDownload(0, undefined), (request) => (request < 5 ? first : second));
    expect(events.filter(({ kind }) => kind === "changed")).toHaveLength(1);
    expect(Buffer.compare(received(events, new Uint8Array(0)), second)).toBe(0);
  });

  it("restarts when what it has is longer than the new version", () => {
    const short = makeImage(43, 300);
    const events = run(newDownload(512, etagOf(first)), () => short);
    expect(events[0]).toEqual({ kind: "changed" });
    expect(Buffer.compare(received(events, first.subarray(0, 512)), short)).toBe(0);
  });

  it("gives up on a body that changes for ever", () => {
    const events = run(newDownload(0, undefined), (request) => (request % 2 === 0 ? first : second));
    expect(events.at(-1)).toEqual({ kind: "failed", reason: "keeps-changing" });
    expect(events.length).toBeLessThan(20);
  });

  it("pauses while nobody answers and goes on with the same block; in the end it fails", () => {
    const lost = run(newDownload(0, undefined), (request) => (request >= 3 && request < 9 ? undefined : first));
    expect(lost.filter(({ kind }) => kind === "paused")).toHaveLength(1);
    expect(Buffer.compare(received(lost, new Uint8Array(0)), first)).toBe(0);
    const silent = run(newDownload(0, undefined), () => undefined);
    expect(silent.map(({ kind }) => kind)).toEqual(["paused", "paused", "failed"]);
  });
});
