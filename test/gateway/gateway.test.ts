import { describe, expect, it } from "vitest";
import { codeText } from "../../src/coap/numbers.ts";
import { imagePath } from "../../src/gateway/catalogue.ts";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { toHex } from "../../src/util/bytes.ts";
import { decoded, getBlock } from "../support/coap-get.ts";
import { GatewayBench, makeImage, sign } from "../support/gateway.ts";
import { CLIENT } from "../support/pair.ts";
import { signedUpdate } from "../support/trust-bench.ts";

const image = makeImage(1, 5_000);
const pathOf = (bytes: Uint8Array): string[] => imagePath(nodeCrypto.sha256(bytes));

function ask(
  bench: GatewayBench,
  path: readonly string[],
  num: number,
  mid: number,
  port = CLIENT.port,
): { code: string; payload: Uint8Array } {
  bench.sent.length = 0;
  bench.loop.datagram(getBlock(path, num, 2, mid), { ...CLIENT, port });
  bench.run(0.1);
  const reply = decoded(bench.sent.at(-1)!);
  return { code: codeText(reply.code), payload: reply.payload };
}

const failed = (reason: string) => ({ kind: "failed", reason, detail: reason, retryable: false }) as const;

describe("publishing", () => {
  it("serves a signed image, block by block, only after it was verified and recorded", () => {
    const bench = new GatewayBench();
    bench.disk.upstream.set("sim:1", image);
    bench.loop.call((nowUs) => bench.gateway.publish(nowUs, 1, { envelope: sign(image, 1), source: "sim:1" }));
    bench.run(0.04);
    expect(ask(bench, pathOf(image), 0, 1).code).toBe("4.04");
    bench.run(1);
    expect(bench.outcomes).toMatchObject([{ kind: "published", operation: 1 }]);
    expect(ask(bench, pathOf(image), 3, 2)).toEqual({ code: "2.05", payload: image.subarray(192, 256) });
  });

  it.each([
    ["unsigned", () => sign(image, 2).subarray(0, 40), "malformed"],
    ["replayed", () => sign(image, 1), "replayed"],
    ["older", () => sign(image, 0), "older-sequence-number"],
  ])("an envelope that is %s is refused, logged and counted, and changes nothing", (_what, envelope, reason) => {
    const bench = new GatewayBench();
    bench.publish(image, 1);
    const before = [...bench.disk.entries.keys()];
    expect(bench.publishEnvelope(envelope(), "sim:1")).toMatchObject({ kind: "refused", reason });
    expect(bench.events.at(-1)).toEqual({ event: "publish-refused", reason });
    expect(bench.counters.snapshot()[`publish_refused.${reason}`]).toBe(1);
    expect([...bench.disk.entries.keys()]).toEqual(before);
    expect(ask(bench, pathOf(image), 0, 1).code).toBe("2.05");
  });

  it("an image larger than the limit is refused before a byte is fetched", () => {
    const bench = new GatewayBench({ budget: { maxImageBytes: 4_999, diskBytes: 10_000, memoryBytes: 10_000 } });
    expect(bench.publish(image, 1)).toMatchObject({ kind: "refused", reason: "image-too-large" });
    expect(bench.commands.some(({ kind }) => kind === "fetch")).toBe(false);
  });

  it.each(["file:///etc/passwd", "FILE:/etc/passwd"])("a signed %s is no file of this machine", (uri) => {
    const bench = new GatewayBench();
    bench.disk.upstream.set(uri, image);
    const envelope = sign(image, 1, { uri });
    bench.loop.call((nowUs) => bench.gateway.publish(nowUs, 1, { envelope }));
    bench.run(600);
    expect(bench.commands.filter(({ kind }) => kind === "fetch")).toEqual([]);
    expect(bench.outcomes).toMatchObject([{ kind: "refused" }]);
    // Who is on this machine may say so.
    expect(bench.publishEnvelope(envelope, uri)).toMatchObject({ kind: "published" });
  });

  it("bytes that do not have the signed digest are never served", () => {
    const bench = new GatewayBench();
    bench.disk.upstream.set("sim:bad", makeImage(2, 5_000));
    expect(bench.publish(image, 1, { source: "sim:bad", seconds: 60 })).toMatchObject({ reason: "digest-mismatch" });
    expect(ask(bench, pathOf(image), 0, 1).code).toBe("4.04");
    expect(bench.disk.parts.size).toBe(0);
  });

  it.each([
    ["store", "disk-full"],
    ["blob-commit", "disk-full"],
    ["fetch", "disk-full"],
    ["fetch", "not-found"],
  ])("a %s that fails (%s) refuses the publication and keeps the release before", (kind, reason) => {
    const bench = new GatewayBench();
    bench.publish(image, 1);
    bench.intercept = (command) => (command.kind === kind ? failed(reason) : undefined);
    const next = makeImage(3, 6_000);
    expect(bench.publish(next, 2)).toMatchObject({ kind: "refused", reason });
    expect(ask(bench, pathOf(image), 0, 1).code).toBe("2.05");
    bench.intercept = () => undefined;
    expect(bench.publish(next, 2)).toMatchObject({ kind: "published" });
    expect(ask(bench, pathOf(next), 0, 2).code).toBe("2.05");
  });

  it("two releases of one class at once: the second is told to wait", () => {
    const bench = new GatewayBench();
    bench.disk.upstream.set("sim:1", image);
    for (const operation of [1, 2]) {
      bench.loop.call((nowUs) =>
        bench.gateway.publish(nowUs, operation, { envelope: sign(image, operation), source: "sim:1" }),
      );
    }
    bench.run(1);
    expect(bench.outcomes.map((outcome) => (outcome.kind === "refused" ? outcome.reason : outcome.kind))).toEqual([
      "publication-under-way",
      "published",
    ]);
  });
});

describe("refused messages", () => {
  it("are logged by reason: the first at once, a flood of them in sums", () => {
    const bench = new GatewayBench();
    for (let i = 0; i < 1_000; i++) bench.loop.datagram(Uint8Array.of(0x40, 1, 0, i & 0xff, 0xff), CLIENT);
    expect(bench.events).toEqual([{ event: "coap-refused", reason: "marker-without-payload" }]);
    bench.run(11);
    bench.loop.datagram(Uint8Array.of(0x40), CLIENT);
    expect(
      bench.events
        .slice(1)
        .map(({ reason }) => reason)
        .toSorted(),
    ).toEqual(["marker-without-payload", "too-short"]);
    expect(bench.counters.snapshot()["coap_refused.marker-without-payload"]).toBe(1_000);
  });
});

describe("after a crash", () => {
  it("what was acknowledged is served, and what was not leaves nothing behind", () => {
    for (let cutUs = 0; cutUs <= 60_000; cutUs += 500) {
      const bench = new GatewayBench();
      bench.disk.upstream.set("sim:1", image);
      bench.loop.call((nowUs) => bench.gateway.publish(nowUs, 1, { envelope: sign(image, 1), source: "sim:1" }));
      bench.run(cutUs / 1e6);
      const acknowledged = bench.outcomes.length > 0;
      bench.restart();
      const served = ask(bench, pathOf(image), 0, 1).code;
      if (acknowledged) expect(served).toBe("2.05");
      expect(bench.publish(image, 1)).toMatchObject(served === "2.05" ? { reason: "replayed" } : { kind: "published" });
    }
  });

  it("keeps the checkpoints of all but the last second", () => {
    const bench = new GatewayBench();
    bench.publish(image, 1);
    for (let num = 0; num < 20; num++) ask(bench, pathOf(image), num, num);
    bench.run(1);
    ask(bench, pathOf(image), 3, 30);
    bench.run(1);
    bench.restart();
    const [transfer] = bench.gateway.transfers();
    expect(transfer).toMatchObject({ blocks: 21, bytes: 21 * 64, retransmissions: 1, attempts: 1, finished: false });
    expect(transfer!.served.bounds).toEqual([0, 1_280]);
    ask(bench, pathOf(image), 20, 40);
    expect([...bench.gateway.transfers()][0]).toMatchObject({ blocks: 22, attempts: 2 });
  });

  it("a corrupt cache file is noticed on reading, dropped and fetched again, while the mote waits", () => {
    const bench = new GatewayBench();
    bench.publish(image, 1);
    const digest = toHex(nodeCrypto.sha256(image));
    bench.disk.blobs.set(
      digest,
      image.map((byte, i) => (i === 4_321 ? byte ^ 1 : byte)),
    );
    bench.restart();
    expect(ask(bench, pathOf(image), 67, 1)).toEqual({ code: "2.05", payload: image.subarray(67 * 64, 68 * 64) });
    expect(bench.events).toContainEqual({ event: "cache-file-corrupt", reason: "digest-mismatch" });
    expect(bench.disk.blobs.get(digest)).toEqual(image);
  });

  it("a corrupt file whose source is gone too is answered 5.03, never with its bytes", () => {
    const bench = new GatewayBench();
    bench.publish(image, 1);
    bench.disk.blobs.set(toHex(nodeCrypto.sha256(image)), image.slice(0, 100));
    bench.disk.upstream.clear();
    bench.restart();
    expect(ask(bench, pathOf(image), 0, 1).code).toBe("5.03");
  });

  it("damaged records are dropped with a reason, the others kept", () => {
    const bench = new GatewayBench();
    bench.publish(image, 1);
    ask(bench, pathOf(image), 0, 1);
    bench.run(1);
    bench.disk.entries.set("release/x", Uint8Array.of(1, 2, 3));
    bench.disk.entries.set("replaced/y", Uint8Array.of(0xff));
    bench.disk.entries.set("transfer/z", new Uint8Array(0));
    bench.restart();
    expect(bench.events.filter(({ event }) => event === "record-not-recovered")).toHaveLength(3);
    expect(ask(bench, pathOf(image), 0, 2).code).toBe("2.05");
  });

  it("a release whose anchor is no longer trusted is not offered", () => {
    const bench = new GatewayBench();
    bench.publish(image, 1);
    const distrusting = new GatewayBench({ anchors: [] }, bench.disk);
    expect([...distrusting.gateway.listings()]).toEqual([]);
    expect(distrusting.events).toContainEqual({ event: "record-not-recovered", reason: "signature-invalid" });
  });
});

describe("the cache", () => {
  it("a signed manifest that names another size for a cached image is refused, and poisons nothing", () => {
    const bench = new GatewayBench();
    bench.publish(image, 1);
    const other = { classId: new Uint8Array(16) };
    for (const [imageSize, reason] of [
      [Number.MAX_SAFE_INTEGER, "image-too-large"],
      [4_999, "size-mismatch"],
      [5_001, "size-mismatch"],
    ] as const) {
      expect(bench.publish(image, 1, { change: { ...other, imageSize } })).toMatchObject({ reason });
    }
    bench.restart();
    expect(bench.publish(image, 1, { change: { ...other, imageSize: 4_000 } })).toMatchObject({
      reason: "size-mismatch",
    });
    expect(ask(bench, pathOf(image), 0, 1).code).toBe("2.05");
    expect(bench.publish(makeImage(61, 1_000), 2)).toMatchObject({ kind: "published" });
  });

  it("two publications that fetch one image: only the one that names its size is accepted", () => {
    const bench = new GatewayBench();
    bench.disk.upstream.set("sim:1", image);
    const envelopes = [sign(image, 1), sign(image, 1, { classId: new Uint8Array(16), imageSize: 4_000 })];
    for (const [i, envelope] of envelopes.entries()) {
      bench.loop.call((nowUs) => bench.gateway.publish(nowUs, i + 1, { envelope, source: "sim:1" }));
    }
    bench.run(1);
    expect(bench.commands.filter(({ kind }) => kind === "fetch")).toHaveLength(1);
    const outcomes = bench.outcomes.map((outcome) => (outcome.kind === "refused" ? outcome.reason : outcome.kind));
    expect(outcomes.toSorted()).toEqual(["published", "size-mismatch"]);
  });

  it("a part that lies beside a whole image does not take it along", () => {
    const bench = new GatewayBench();
    bench.publish(image, 1);
    const digest = toHex(nodeCrypto.sha256(image));
    bench.disk.parts.set(digest, Uint8Array.of(1));
    bench.disk.upstream.clear();
    bench.restart();
    expect(bench.disk.parts.size).toBe(0);
    expect(ask(bench, pathOf(image), 0, 1).code).toBe("2.05");
  });

  it("a read that fails for another reason leaves the file where it is", () => {
    const bench = new GatewayBench();
    bench.publish(image, 1);
    bench.restart();
    bench.intercept = (command) => (command.kind === "blob-read" ? failed("io-error") : undefined);
    expect(ask(bench, pathOf(image), 0, 1).code).toBe("5.03");
    bench.intercept = () => undefined;
    expect(ask(bench, pathOf(image), 0, 2).code).toBe("2.05");
    expect(bench.commands.filter(({ kind }) => kind === "blob-remove" || kind === "fetch")).toHaveLength(1);
  });

  it("a store that lost its records does not take the images with it", () => {
    const bench = new GatewayBench();
    bench.publish(image, 1);
    bench.disk.entries.clear();
    bench.restart();
    expect(bench.disk.blobs.size).toBe(1);
    expect(bench.events.map(({ event }) => event)).toContain("store-lost-records");
  });

  it("a source that never gets further is given up, with a log line for each try", () => {
    const bench = new GatewayBench();
    bench.disk.upstream.set("sim:short", image.subarray(0, 3_000));
    expect(bench.publish(image, 1, { source: "sim:short", seconds: 120 })).toMatchObject({ reason: "short" });
    expect(bench.commands.filter(({ kind }) => kind === "fetch")).toHaveLength(6);
    expect(bench.events.filter(({ event }) => event === "fetch-retried")).toHaveLength(5);
  });

  it("reads no more images at once than the memory budget holds", () => {
    const bench = new GatewayBench({ budget: { maxImageBytes: 6_000, diskBytes: 100_000, memoryBytes: 12_000 } });
    const images = [1, 2, 3, 4, 5, 6].map((seed) => makeImage(70 + seed, 5_000));
    for (const [i, each] of images.entries()) bench.publish(each, i + 1);
    bench.restart();
    bench.commands.length = 0;
    bench.sent.length = 0;
    for (const [i, each] of images.entries())
      bench.loop.datagram(getBlock(pathOf(each), 0, 2, i), { ...CLIENT, port: 2_000 + i });
    expect(bench.commands.filter(({ kind }) => kind === "blob-read")).toHaveLength(2);
    bench.run(0.2);
    expect(bench.sent.map((bytes) => codeText(decoded(bytes).code))).toEqual(Array.from({ length: 6 }, () => "2.05"));
  });

  it("fetches once however many motes ask for an image that is not in memory", () => {
    const bench = new GatewayBench();
    bench.publish(image, 1);
    bench.disk.blobs.clear();
    bench.restart();
    bench.commands.length = 0;
    bench.sent.length = 0;
    for (let i = 0; i < 50; i++) bench.loop.datagram(getBlock(pathOf(image), i, 2, i), { ...CLIENT, port: 1_000 + i });
    expect(bench.sent).toHaveLength(0);
    bench.run(0.4);
    expect(bench.commands.filter(({ kind }) => kind === "fetch")).toHaveLength(1);
    expect(bench.sent).toHaveLength(50);
    for (const [i, bytes] of bench.sent.entries())
      expect(decoded(bytes).payload).toEqual(image.subarray(i * 64, i * 64 + 64));
  });

  it("gives nobody the images of a replaced release of which one was evicted; restarted neither", () => {
    const bench = new GatewayBench({ budget: { maxImageBytes: 10_000, diskBytes: 16_000, memoryBytes: 10_000 } });
    const [a, b] = [makeImage(31, 5_000), makeImage(32, 5_000)];
    for (const [i, bytes] of [a, b].entries()) bench.disk.upstream.set(`sim:${i}`, bytes);
    const described = (bytes: Uint8Array) => ({ digest: nodeCrypto.sha256(bytes), size: bytes.length });
    const payloads = [a, b].map((bytes, slot) => ({ slot, image: described(bytes), uri: `sim:${slot}` }));
    bench.publishEnvelope(signedUpdate({ components: [{ id: [Uint8Array.of(0)], payloads }] }), "sim:0");
    bench.publish(makeImage(33, 6_000), 2);
    bench.publish(makeImage(34, 4_000), 3);
    const seen = () =>
      [a, b].map((bytes) => [
        ask(bench, pathOf(bytes), 0, 3).code,
        bench.gateway.fleet.refusalToGive(0, "x", [{ digest: toHex(described(bytes).digest) }], ["push"])?.reason,
      ]);
    const expected = [
      ["4.04", "release-withdrawn"],
      ["4.04", "release-withdrawn"],
    ];
    expect(seen()).toEqual(expected);
    bench.restart();
    expect(seen()).toEqual(expected);
  });

  it("evicts the least recently used image that nobody needs, never one with an unfinished transfer", () => {
    const bench = new GatewayBench({ budget: { maxImageBytes: 10_000, diskBytes: 16_000, memoryBytes: 10_000 } });
    const images = [1, 2, 3, 4].map((seed) => makeImage(seed, 5_000));
    for (const i of [0, 1, 2]) expect(bench.publish(images[i]!, i + 1)).toMatchObject({ kind: "published" });
    ask(bench, pathOf(images[0]!), 0, 1); // image 1 is being fetched by a mote
    expect(bench.publish(images[3]!, 4)).toMatchObject({ kind: "published" });
    expect(ask(bench, pathOf(images[0]!), 1, 2).code).toBe("2.05");
    expect(ask(bench, pathOf(images[1]!), 0, 3).code).toBe("4.04"); // evicted
    expect(bench.events).toContainEqual({ event: "image-evicted", reason: "" });
    ask(bench, pathOf(images[2]!), 0, 4); // now images 1 and 3 have transfers, 4 is current
    expect(bench.publish(makeImage(5, 5_000), 5)).toMatchObject({ kind: "refused", reason: "cache-full" });
    bench.run(8 * 86_400); // transfers that have been silent for a week hold nothing any more
    expect(bench.publish(makeImage(5, 5_000), 5)).toMatchObject({ kind: "published" });
  });

  it("offers an image under its alias, and the next one there after it", () => {
    const bench = new GatewayBench();
    bench.publish(image, 1, { alias: "fw" });
    expect(ask(bench, ["fw"], 0, 1).payload).toEqual(image.subarray(0, 64));
    const next = makeImage(7, 3_000);
    bench.publish(next, 2, { alias: "fw" });
    expect(ask(bench, ["fw"], 0, 2).payload).toEqual(next.subarray(0, 64));
    expect(bench.publish(makeImage(8, 100), 3, { alias: "a/b" })).toMatchObject({ reason: "bad-alias" });
    const third = makeImage(9, 2_000);
    bench.publish(third, 4);
    expect(ask(bench, ["fw"], 0, 3).payload).toEqual(third.subarray(0, 64));
    const otherClass = { change: { classId: new Uint8Array(16) }, alias: "fw" };
    expect(bench.publish(makeImage(10, 100), 1, otherClass)).toMatchObject({ reason: "alias-in-use" });
  });
});
