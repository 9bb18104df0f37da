import { beforeEach, expect, it } from "vitest";
import { Code, codeText } from "../../src/coap/numbers.ts";
import { imagePath } from "../../src/gateway/catalogue.ts";
import { keyRecord } from "../../src/lifecycle/classes.ts";
import type { LifecycleEvent } from "../../src/lifecycle/events.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import { fromHex, toHex } from "../../src/util/bytes.ts";
import { decoded, getBlock } from "../support/coap-get.ts";
import { author, classId, makeImage } from "../support/gateway.ts";
import { CLIENT } from "../support/pair.ts";
import { branching, CLASSES, imageOf, named, ReleaseBench } from "../support/release-bench.ts";
import { siteOf } from "../support/rollout-site.ts";
import { sha256 } from "../support/suit-build.ts";
import { keyOf, signedUpdate } from "../support/trust-bench.ts";

/* What is decided while an image is on its way, to a device or from the disk. */

const [K2, K3] = [81, 82].map(keyOf) as [PrivateKey, PrivateKey];
const { A, B } = CLASSES;

let site: ReleaseBench;
beforeEach(() => (site = new ReleaseBench()));

it.each<[string, LifecycleEvent, number]>([
  ["its key is revoked", { kind: "key-revoked", key: keyRecord(K3.publicKey), reason: "stolen" }, Code.NOT_FOUND],
  ["nothing", { kind: "key-revoked", key: keyRecord(K2.publicKey), reason: "stolen" }, Code.CONTENT],
])("who waits for an image to be read hears what is so by then: %s", (_what, event, code) => {
  site.defineFor(A, [K3]);
  site.release(1, [A], [K3]);
  site.bench.restart();
  let reading: number | undefined;
  site.bench.intercept = (command) => {
    if (command.kind !== "blob-read" || reading !== undefined) return undefined;
    reading = command.id;
    return { kind: "started", offset: 0, validator: undefined }; // the disk takes its time
  };
  site.bench.sent.length = 0;
  site.bench.loop.datagram(getBlock(imagePath(sha256(imageOf(1))), 0, 2, 4_242), CLIENT);
  site.bench.run(0.05);
  expect([site.bench.sent.length, reading === undefined]).toEqual([0, false]);
  expect(site.submit(event)[0]!.ok).toBe(true);
  site.bench.loop.call((now) => site.bench.gateway.handleEvent(now, reading!, { kind: "done", bytes: imageOf(1) }));
  site.bench.run(0.5);
  const answers = site.bench.sent.map((bytes) => codeText(decoded(bytes).code)).filter((text) => text !== "0.00");
  expect(answers).toEqual([codeText(code)]);
});

it("a release whose class is defined with others while its image comes is not published", () => {
  site.defineFor(A, [K2]);
  site.begin(1, [A], [K2]);
  site.defineFor(A, [K3]);
  expect(site.bench.outcomes).toMatchObject([{ kind: "refused", reason: "signature-invalid" }]);
  site.both(() => expect([site.manifest(A), site.image(1)]).toEqual(["4.04", "4.04"]));
});

it("an update ends where no release of its class has its image any more, though one of another class has", () => {
  const fleet = siteOf(1);
  const { bench } = fleet;
  const other = new Uint8Array(16).fill(0xb2);
  fleet.define(toHex(classId), named(author));
  fleet.define(toHex(other), named(K3));
  const device = { device: "0102030405060708", classId: toHex(classId), endpoint: "m0", stage: 2 } as const;
  fleet.submit({ kind: "device-provisioned", ...device });
  const { digest, images } = bench.gateway.listings()[0]!;
  const payloads = [{ image: { digest: fromHex(digest)!, size: images[0]!.size }, uri: images[0]!.uri! }];
  const components = [{ id: [Uint8Array.of(0)], payloads }];
  bench.publishEnvelope(signedUpdate({ classIds: [other], components }, K3), images[0]!.uri);
  fleet.delayUs = 100_000;
  fleet.update("m0", { methods: ["push"] });
  bench.run(3);
  const job = () => bench.gateway.devices.updates.get("m0")!;
  expect(job().state).toBe("transferring");
  const isIts = (key: string): boolean => key.startsWith("release/") && key.includes(toHex(classId));
  bench.disk.entries.delete([...bench.disk.entries.keys()].find(isIts)!);
  bench.restart();
  bench.run(3_000);
  expect(job()).toMatchObject({ state: "cancelled", reason: "other-class" });
});

it("a client finds the manifest by which its class has the image, though a later one has it for others", () => {
  const fleet = siteOf(1);
  const { bench } = fleet;
  const third = makeImage(6, 1_500);
  bench.disk.upstream.set("sim:y", third);
  const { images, digest } = bench.gateway.listings()[0]!;
  const theirs = [new Uint8Array(16).fill(0xff), bench.disk.blobs.get(digest)!, images[0]!.uri!] as const;
  const next = branching(3, author, [[classId, third, "sim:y"], theirs], "\u0000");
  expect(bench.publishEnvelope(next, undefined)?.kind).toBe("published");
  fleet.update("m0", { methods: ["pull"] });
  bench.run(2_000);
  expect(bench.gateway.devices.updates.get("m0")).toMatchObject({ state: "succeeded", versionAfter: "2.0.0" });
});

it("bytes that a record has instead of those that were signed are nobody's image", () => {
  site.defineFor(A, [K2]);
  site.defineFor(B, [K2]);
  expect(site.release(1, [A], [K2], { integrated: true })).toBe("published");
  const { entries } = site.bench.disk;
  const key = [...entries.keys()].find((name) => name.startsWith("release/"))!;
  const record = entries.get(key)!.slice();
  const at = Buffer.from(record).indexOf(imageOf(1).subarray(0, 64));
  expect(at).toBeGreaterThan(0);
  record[at + 100]! ^= 1;
  entries.set(key, record);
  site.bench.restart();
  expect(site.bench.events).toContainEqual({ event: "record-not-recovered", reason: "integrated-payload-mismatch" });
  expect([site.manifest(A), site.bench.gateway.listings()]).toEqual(["4.04", []]);
});

it("publications of one image that say that it is in different places end each by its own", () => {
  site.defineFor(A, [K3]);
  const before = site.bench.outcomes.length;
  site.begin(1, [A], [K3], { uri: "sim:gone" });
  for (const n of [2, 3, 4]) site.begin(n, [A], [K3], { image: 1, component: n, uri: n === 3 ? "sim:lost" : "sim:1" });
  site.bench.run(1);
  const ends = site.bench.outcomes.slice(before).map((one) => (one.kind === "refused" ? one.reason : one.operation));
  expect(ends).toEqual(["not-found", 2, 3, 4]);
  expect(site.image(1)).toBe("2.05");
});

it("who asks for an image is not answered by what another release says of it", () => {
  site.defineFor(A, [K3]);
  site.release(1, [A], [K3]);
  site.bench.disk.blobs.clear();
  site.bench.restart();
  site.begin(2, [A], [K3], { image: 1, component: 2, uri: "sim:gone" });
  site.bench.sent.length = 0;
  site.bench.loop.datagram(getBlock(imagePath(sha256(imageOf(1))), 0, 2, 4_244), CLIENT);
  site.bench.run(1);
  expect(codeText(decoded(site.bench.sent.at(-1)!).code)).toBe("2.05");
  expect(site.bench.outcomes.at(-1)).toMatchObject({ kind: "refused", reason: "not-found" });
});
