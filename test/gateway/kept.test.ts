import { beforeEach, describe, expect, it } from "vitest";
import { TRANSFER_LIMITS } from "../../src/transfer/limits.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { manifestPath } from "../../src/gateway/catalogue.ts";
import { GATEWAY_LIMITS } from "../../src/gateway/limits.ts";
import type { LifecycleEvent } from "../../src/lifecycle/events.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import { toHex } from "../../src/util/bytes.ts";
import { textOptions } from "../../src/coap/options.ts";
import { decoded } from "../support/coap-get.ts";
import { author } from "../support/gateway.ts";
import { CLIENT } from "../support/pair.ts";
import { CLASSES, imageOf, ReleaseBench } from "../support/release-bench.ts";
import { sha256 } from "../support/suit-build.ts";
import { keyOf } from "../support/trust-bench.ts";

const [K2, K3] = [81, 82].map(keyOf) as [PrivateKey, PrivateKey];
const { A, B } = CLASSES;
const { maxReplaced, maxReplacedBegun } = GATEWAY_LIMITS;

let site: ReleaseBench;
beforeEach(() => (site = new ReleaseBench()));

const recovery = (n: number, id = A): LifecycleEvent => ({
  kind: "recovery-set",
  classId: toHex(id),
  digest: toHex(sha256(imageOf(n))),
});
const ok = (event: LifecycleEvent): boolean => site.submit(event)[0]!.ok;
/** Releases of class A, each with an image of its own. */
function follow(from: number, to: number, key: PrivateKey): void {
  for (let n = from; n <= to; n++) expect(site.release(n, [A], [key])).toBe("published");
}
const records = (): string[] => [...site.bench.disk.entries.keys()].filter((key) => key.startsWith("replaced/"));

describe("an image that is needed stays by a release that is as good for whoever needs it", () => {
  it("and not by one that nobody stands for", () => {
    site.defineFor(A, [K2, K3]);
    site.provision(A);
    site.release(1, [A], [K2], { image: 70 });
    expect(ok(recovery(70))).toBe(true);
    site.release(2, [A], [K3], { image: 70 });
    site.revoke(K3);
    follow(3, 3 + maxReplaced, K2);
    site.both(() => expect([site.image(70), site.given(70, "e0")]).toEqual(["2.05", "given"]));
  });

  it("nor by one whose key is revoked when the other one is gone", () => {
    site.defineFor(A, [K2, K3]);
    site.release(1, [A], [K2], { image: 70 });
    ok(recovery(70));
    site.release(2, [A], [K3], { image: 70 });
    follow(3, 3 + maxReplaced, K2);
    site.revoke(K3);
    site.both(() => expect([site.image(70), site.given(70)]).toEqual(["2.05", "given"]));
  });

  it("nor by one that leaves its class out", () => {
    for (const id of [A, B]) site.defineFor(id, [K2]);
    site.provision(A, B);
    site.release(1, [A, B], [K2], { image: 70 });
    expect(ok(recovery(70, B))).toBe(true);
    for (let n = 2; n <= 3 + maxReplaced; n++) site.release(n, [A], [K2], { image: 70 });
    site.both(() => expect(["e0", "e1"].map((who) => site.given(70, who))).toEqual(["given", "given"]));
    expect(records()).toHaveLength(maxReplaced + 1);
  });

  it("by eight of them, though there are more", () => {
    site.defineFor(A, [K2]);
    site.release(1, [A], [K2], { image: 70 });
    ok(recovery(70));
    for (let n = 2; n <= 2 * maxReplaced; n++) site.release(n, [A], [K2], { image: 70 });
    follow(2 * maxReplaced + 1, 3 * maxReplaced + 1, K2);
    expect(records()).toHaveLength(2 * maxReplaced);
    site.both(() => expect(site.given(70)).toBe("given"));
    ok(recovery(3 * maxReplaced)); // the other one is needed no longer
    site.both(() => expect([site.given(70), records().length]).toEqual(["release-withdrawn", maxReplaced]));
  });

  it("nor by many that one key has signed, where another one has signed it", () => {
    site.defineFor(A, [K2, K3]);
    site.release(1, [A], [K2], { image: 70 });
    ok(recovery(70));
    for (let n = 2; n <= 2 * maxReplaced + 2; n++) site.release(n, [A], [K3], { image: 70 });
    site.revoke(K3);
    site.both(() => expect([site.image(70), site.given(70)]).toEqual(["2.05", "given"]));
  });

  it("nor by one with signers that are fewer, though it was not known when it came that others count", () => {
    site.defineFor(A, [K2]);
    site.release(1, [A], [K2, K3], { image: 70 });
    ok(recovery(70));
    site.defineFor(A, [K2, K3]);
    site.release(2, [A], [K2], { image: 70 });
    for (let n = 3; n <= 3 + maxReplaced; n++) site.release(n, [A], [K3]);
    site.revoke(K2);
    site.both(() => expect([site.image(70), site.given(70)]).toEqual(["2.05", "given"]));
  });

  it("however many others anybody has begun to fetch", () => {
    const limits = GATEWAY_LIMITS as { maxReplacedBegun: number };
    limits.maxReplacedBegun = 3;
    try {
      site.defineFor(A, [K2]);
      follow(1, 1, K2);
      ok(recovery(1));
      for (let n = 2; n <= 2 * maxReplaced + 4; n++) {
        follow(n, n, K2);
        site.image(n); // one block of it
      }
      expect(records()).toHaveLength(maxReplaced + 3 + 1);
      site.both(() => expect(site.image(1)).toBe("2.05"));
    } finally {
      limits.maxReplacedBegun = maxReplacedBegun;
    }
  });

  it("with all images of its release", () => {
    const tight = new ReleaseBench({ budget: { maxImageBytes: 10_000, diskBytes: 9_000, memoryBytes: 10_000 } });
    tight.defineFor(A, [K2]);
    const images = [70, 71].map(imageOf);
    const payloads = images.map((bytes, slot) => {
      tight.bench.disk.upstream.set(`sim:${70 + slot}`, bytes);
      return { slot, image: { digest: sha256(bytes), size: bytes.length }, uri: `sim:${70 + slot}` };
    });
    const components = [{ id: [Uint8Array.of(0)], payloads }];
    expect(tight.release(1, [A], [K2], { image: 70, over: { components } })).toBe("published");
    expect(tight.submit(recovery(70))[0]!.ok).toBe(true);
    for (const n of [2, 3, 4]) tight.release(n, [A], [K2]);
    tight.both(() => expect([tight.image(70), tight.image(71), tight.image(2)]).toEqual(["2.05", "2.05", "4.04"]));
  });
});

describe("a class that the next releases leave out", () => {
  it("has the last one that was for it", () => {
    for (const id of [A, B]) site.defineFor(id, [K2]);
    site.provision(A, B);
    site.release(1, [A, B], [K2]);
    follow(2, 3 + maxReplaced, K2);
    site.both(() => expect([site.given(1, "e1"), site.manifestOf(B, 1)]).toEqual(["given", "2.05"]));
    site.release(4 + maxReplaced, [A, B], [K2]);
    follow(5 + maxReplaced, 5 + maxReplaced, K2);
    site.both(() => expect(site.given(1, "e1")).toBe("release-withdrawn"));
  });
});

describe("while more is kept than there is room for", () => {
  it("one by each key stays, and what is needed", () => {
    const limits = GATEWAY_LIMITS as { maxReplacedBytes: number };
    const { maxReplacedBytes } = limits;
    limits.maxReplacedBytes = 20_000;
    try {
      site.defineFor(A, [K2]);
      follow(1, 1, K2);
      ok(recovery(1));
      follow(2, 6, K2);
      site.both(() => expect([1, 2, 3, 4, 5, 6].filter((n) => site.image(n) === "2.05")).toEqual([1, 5, 6]));
    } finally {
      limits.maxReplacedBytes = maxReplacedBytes;
    }
  });

  it("and gives its room up when whoever has begun came no more: a full gateway does not stay full", () => {
    const limits = GATEWAY_LIMITS as { maxKeptBytes: number };
    const { maxKeptBytes } = limits;
    limits.maxKeptBytes = 1;
    try {
      const tight = new ReleaseBench();
      expect(tight.release(1, [A], [author])).toBe("published");
      tight.image(1); // one block of it
      expect([tight.release(2, [A], [author]), tight.release(3, [A], [author])]).toEqual([
        "published",
        "too-many-releases",
      ]);
      tight.bench.run(TRANSFER_LIMITS.abandonedUs / 1e6);
      expect([tight.release(4, [A], [author]), tight.image(1)]).toEqual(["published", "4.04"]);
    } finally {
      limits.maxKeptBytes = maxKeptBytes;
    }
  });

  it("by an entry that is still being written too, though room is short", () => {
    const tight = new ReleaseBench({ budget: { maxImageBytes: 10_000, diskBytes: 9_000, memoryBytes: 10_000 } });
    tight.defineFor(A, [K2]);
    for (const n of [1, 2]) expect(tight.release(n, [A], [K2])).toBe("published");
    const about = recovery(1);
    const told: boolean[] = [];
    // The entry takes its time, and the next image comes meanwhile.
    let held = true;
    tight.bench.intercept = (command) =>
      held && command.kind === "store" && command.ops.some(({ key }) => key.startsWith("audit/"))
        ? ((held = false), { kind: "failed", reason: "io", detail: "later", retryable: true })
        : undefined;
    tight.bench.loop.call((nowUs) => {
      tight.bench.gateway.desk.submit(nowUs, "o", about, ({ ok: done }) => told.push(done));
      expect(tight.bench.gateway.desk.isRecovery(toHex(sha256(imageOf(1))))).toBe(true);
    });
    tight.bench.run(1);
    expect([told, tight.bench.gateway.desk.isRecovery(toHex(sha256(imageOf(1))))]).toEqual([[false], false]);
    expect(tight.submit(about)[0]!.ok).toBe(true);
    for (const n of [3, 4, 5]) tight.release(n, [A], [K2]);
    tight.both(() => expect([tight.image(1), tight.image(2)]).toEqual(["2.05", "4.04"]));
  });
});

describe("a release for a class that nobody defined beside one that somebody did", () => {
  it("is judged by the anchors too", () => {
    expect(site.release(1, [A, B], [author, K2])).toBe("published");
    site.defineFor(A, [K2]);
    site.both(() => expect([site.manifest(A), site.manifest(B), site.image(1)]).toEqual(["2.05", "2.05", "2.05"]));
    site.revoke(author);
    site.both(() => expect([site.manifest(A), site.manifest(B), site.image(1)]).toEqual(["4.04", "4.04", "4.04"]));
  });

  it("and by the authorities", () => {
    expect(site.release(1, [A, B], [author])).toBe("published");
    site.defineFor(A, [K2]);
    site.both(() => expect([site.manifest(A), site.manifest(B), site.image(1)]).toEqual(["4.04", "4.04", "4.04"]));
  });

  it("is not taken", () => {
    site.defineFor(A, [K2]);
    expect(site.release(1, [A, B], [author, K2])).toBe("no-such-class");
  });
});

describe("an image that one release brings along", () => {
  beforeEach(() => {
    for (const id of [A, B]) site.defineFor(id, [K2]);
    expect(site.release(1, [A], [K2], { image: 70, integrated: true })).toBe("published");
  });

  it("is not there for another that names a place where nothing is", () => {
    expect(site.image(70)).toBe("2.05");
    expect(site.release(1, [B], [K2], { image: 70, uri: "sim:nowhere" })).toBe("not-found");
    site.both(() => expect(site.image(70)).toBe("2.05"));
  });

  it("is on the disk for another that names a place where it is, and stays when the first one is gone", () => {
    expect(site.release(1, [B], [K2], { image: 70 })).toBe("published");
    expect([...site.bench.disk.blobs.keys()]).toEqual([toHex(sha256(imageOf(70)))]);
    follow(2, 3 + maxReplaced, K2);
    site.bench.disk.upstream.clear();
    site.both(() => expect([site.image(70), site.manifest(B)]).toEqual(["2.05", "2.05"]));
  });

  it("is there by its release where both are gone, the disk's copy and the place where the other one says that it is", () => {
    expect(site.release(1, [B], [K2], { image: 70 })).toBe("published");
    site.bench.disk.blobs.clear();
    site.bench.disk.upstream.clear();
    site.bench.restart();
    expect([site.image(70), site.manifest(B)]).toEqual(["2.05", "2.05"]);
  });

  it("is given while another waits for it from a place that does not answer", () => {
    site.bench.restart(); // it is not in memory
    site.bench.intercept = (command) =>
      command.kind === "fetch" ? { kind: "failed", reason: "down", detail: "no", retryable: true } : undefined;
    site.begin(1, [B], [K2], { image: 70 });
    site.bench.run(0.1);
    expect(site.image(70)).toBe("2.05");
    expect(site.release(2, [A], [K2], { image: 70, integrated: true })).toBe("published");
  });

  it("is not forgotten with the copy on the disk", () => {
    const tight = new ReleaseBench({ budget: { maxImageBytes: 10_000, diskBytes: 7_000, memoryBytes: 10_000 } });
    for (const id of [A, B]) tight.defineFor(id, [K2]);
    tight.release(1, [A], [K2], { image: 70, integrated: true });
    tight.release(1, [B], [K2], { image: 70 });
    for (const id of [A, B]) for (const n of [2, 3, 4]) tight.release(n, [id], [K2], { image: n });
    expect([...tight.bench.disk.blobs.keys()]).not.toContain(toHex(sha256(imageOf(70))));
    tight.both(() =>
      expect([tight.image(70), tight.manifestOf(A, 70), tight.manifestOf(B, 70)]).toEqual(["2.05", "2.05", "4.04"]),
    );
  });
});

describe("an alias", () => {
  beforeEach(() => {
    site.defineFor(A, [K2]);
    expect(site.release(1, [A], [K2], { alias: "fw" })).toBe("published");
  });

  it("goes to no release that is for others too", () => {
    site.defineFor(A, [K3]);
    site.defineFor(B, [K2]);
    expect(site.release(2, [B], [K2], { alias: "other" })).toBe("published");
    site.defineFor(B, [K3]);
    expect(site.release(3, [A, B], [K3], { alias: "other" })).toBe("alias-in-use");
  });

  it("is of one component", () => {
    site.defineFor(A, [K3]);
    expect(site.image(1)).toBe("4.04");
    expect(site.release(1, [A], [K3], { image: 5, component: 1, alias: "fw" })).toBe("alias-in-use");
    expect(site.release(2, [A], [K3], { image: 6, alias: "fw" })).toBe("published");
  });
});

describe("the manifest by which an image is given", () => {
  it("is there as long as the image is, for each of its classes", () => {
    for (const id of [A, B]) site.defineFor(id, [K2, K3]);
    site.release(1, [A, B], [K2]);
    site.release(2, [A, B], [K3]);
    const seen = (n: number): string[] => [A, B].map((id) => site.manifestOf(id, n));
    site.both(() =>
      expect([seen(1), seen(2)]).toEqual([
        ["2.05", "2.05"],
        ["2.05", "2.05"],
      ]),
    );
    site.revoke(K2);
    site.both(() =>
      expect([seen(1), seen(2)]).toEqual([
        ["4.04", "4.04"],
        ["2.05", "2.05"],
      ]),
    );
    expect(site.bench.gateway.replaced()).toEqual([]);
  });
});

it("who observes the path of a class is shown no manifest of the key that is being revoked", () => {
  site.defineFor(A, [K3]);
  site.defineFor(B, [K3]);
  expect(site.release(1, [A], [K3])).toBe("published");
  expect(site.release(4, [B], [K3])).toBe("published");
  site.defineFor(B, [K2]);
  expect(site.release(5, [A, B], [K2, K3])).toBe("published");
  site.defineFor(B, [K3]);
  const path = textOptions(Option.URI_PATH, manifestPath(B, "00"));
  const options = [{ number: Option.OBSERVE, value: new Uint8Array(0) }, ...path];
  const message = { type: MessageType.CON, code: Code.GET, messageId: 900, token: Uint8Array.of(7) };
  const { bench } = site;
  bench.loop.datagram(encodeMessage({ ...message, options, payload: new Uint8Array(0) }), CLIENT);
  bench.run(0.1);
  const codes = (): string[] => bench.sent.splice(0).map((bytes) => codeText(decoded(bytes).code));
  expect(codes()).toEqual(["2.05"]);
  site.revoke(K3);
  expect(codes().filter((code) => code !== "4.04")).toEqual([]);
  expect(site.manifest(B)).toBe("4.04");
});
