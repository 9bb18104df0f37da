import { beforeEach, describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { keyPairOf } from "../../src/crypto/noble-crypto.ts";
import type { DeskResult } from "../../src/gateway/audit-writer.ts";
import { imagePath, manifestPath } from "../../src/gateway/catalogue.ts";
import { keyRecord, type Authority, type DeviceClass } from "../../src/lifecycle/classes.ts";
import type { LifecycleEvent } from "../../src/lifecycle/events.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import { signEnvelope } from "../../src/suit/author.ts";
import { buildEnvelope, type UpdateDescription } from "../../src/suit/build.ts";
import { encodeConfirmation } from "../../src/suit/confirmation.ts";
import { decodeEnvelope, digestOf } from "../../src/suit/envelope.ts";
import { transferUpdate } from "../../src/suit/trust.ts";
import { fromHex, toHex, utf8 } from "../../src/util/bytes.ts";
import { decoded, getBlock } from "../support/coap-get.ts";
import { author, classId, GatewayBench, makeImage, sign, vendorId } from "../support/gateway.ts";
import { signedUpdate } from "../support/trust-bench.ts";
import { CLIENT } from "../support/pair.ts";

const CLASS = toHex(classId);
const DEVICE = "0101010101010101";
const KEY = new Uint8Array(32).fill(1);
const [first, second, third] = [makeImage(1, 3_000), makeImage(2, 3_000), makeImage(3, 3_000)];
const stolen = keyRecord(author.publicKey);
const other = keyPairOf("Ed25519", new Uint8Array(32).fill(9));
const sha = (bytes: Uint8Array): Uint8Array => nodeCrypto.sha256(bytes);

const definitionOf = (over: Partial<DeviceClass> = {}): DeviceClass => ({
  id: CLASS,
  name: "sensor",
  vendorId: toHex(vendorId),
  hardware: { rng: true, rtc: true, slots: 2, recoveryImage: false, ramBytes: 262_144 },
  authorities: [{ ...stolen, name: "author" }],
  escrow: [],
  operators: [],
  epoch: 0,
  ...over,
});

let bench: GatewayBench;
beforeEach(() => (bench = new GatewayBench()));

function begin(event: LifecycleEvent, told: (result: DeskResult) => void): void {
  bench.loop.call((nowUs) => bench.gateway.desk.submit(nowUs, "operator", event, told));
}

function submit(event: LifecycleEvent): DeskResult {
  let result: DeskResult | undefined;
  begin(event, (told) => (result = told));
  bench.run(1);
  return result!;
}

const define = (over?: Partial<DeviceClass>): DeskResult =>
  submit({ kind: "class-defined", definition: definitionOf(over) });
const revoke = (key = stolen): DeskResult => submit({ kind: "key-revoked", key, reason: "stolen" });
const quarantine = (): DeskResult => submit({ kind: "device-quarantined", device: DEVICE, reason: "odd" });

function provision(device = DEVICE, key = KEY): DeskResult {
  let result: DeskResult | undefined;
  const event = { kind: "device-provisioned", device, classId: CLASS, stage: 2 } as const;
  bench.loop.call((nowUs) =>
    bench.gateway.desk.keepCredential(nowUs, "factory", event, key, (told) => (result = told)),
  );
  bench.run(1);
  return result!;
}

function hand(epoch: number, to: readonly PrivateKey[], by: PrivateKey, over: Partial<UpdateDescription> = {}): string {
  let result: DeskResult | undefined;
  const transfer = { epoch, authorities: to.map(({ publicKey }) => publicKey) };
  const update = { ...transferUpdate(vendorId, [classId], transfer), ...over };
  const envelope = signEnvelope(nodeCrypto, by, buildEnvelope(nodeCrypto, update));
  bench.loop.call((nowUs) =>
    bench.gateway.desk.transfer(nowUs, "operator", CLASS, envelope, [], (told) => (result = told)),
  );
  bench.run(1);
  return result!.ok ? "ok" : result!.reason;
}

function ask(path: readonly string[], address = CLIENT.address): string {
  bench.sent.length = 0;
  bench.loop.datagram(getBlock(path, 0, 2, ++messageId), { address, port: CLIENT.port });
  bench.run(0.1);
  return codeText(decoded(bench.sent.at(-1)!).code);
}
let messageId = 0;

function confirm(device = DEVICE, key = KEY, address = CLIENT.address): string {
  bench.sent.length = 0;
  const nonce = new Uint8Array(8).fill(++messageId);
  const payload = encodeConfirmation(nodeCrypto, key, { kid: fromHex(device)!, nonce, sequenceNumber: 1 });
  const options = textOptions(Option.URI_PATH, ["c"]);
  const header = { type: MessageType.CON, code: Code.POST, messageId, token: Uint8Array.of(7) } as const;
  bench.loop.datagram(encodeMessage({ ...header, options, payload }), { address, port: CLIENT.port });
  bench.run(0.1);
  return codeText(decoded(bench.sent.at(-1)!).code);
}

const reasonOf = (outcome: ReturnType<GatewayBench["publish"]>): string =>
  outcome?.kind === "refused" ? outcome.reason : (outcome?.kind ?? "nothing");
const imageOf = (bytes: Uint8Array): string[] => imagePath(sha(bytes));
const manifest = manifestPath(classId, "00");

describe("the audit log on a disk that fails", () => {
  it("an entry that was not written never was, and the one behind it is chained to what is there", () => {
    define();
    provision();
    let failures = 1;
    bench.intercept = (command) =>
      command.kind === "store" && command.ops.some(({ key }) => key.startsWith("audit/")) && failures-- > 0
        ? { kind: "failed", reason: "io-error", detail: "EIO", retryable: false }
        : undefined;
    const results: DeskResult[] = [];
    begin({ kind: "device-quarantined", device: DEVICE, reason: "odd" }, (told) => results.push(told));
    begin({ kind: "key-revoked", key: stolen, reason: "stolen" }, (told) => results.push(told));
    bench.run(1);
    expect(results.map(({ ok }) => ok)).toEqual([false, true]);
    bench.restart();
    expect(bench.gateway.desk.tampered).toBeUndefined();
    expect(bench.gateway.desk.lifecycle.state.isRevoked(stolen)).toBe(true);
    expect(bench.gateway.desk.lifecycle.state.devices.get(DEVICE)?.state).toBe("active");
  });

  it("what was not written does not hold", () => {
    define({ operators: [keyRecord(other.publicKey)] });
    bench.intercept = (command) =>
      command.kind === "store" && command.ops.some(({ key }) => key.startsWith("audit/"))
        ? { kind: "failed", reason: "disk-full", detail: "full", retryable: false }
        : undefined;
    expect(define()).toMatchObject({ ok: false, reason: "store-write-failed" });
    bench.intercept = () => undefined;
    expect(reasonOf(bench.publish(first, 1))).toBe("no-countersignature");
  });

  it("a log that was changed sets nobody free", () => {
    define();
    provision();
    bench.publish(first, 1);
    bench.publish(second, 2);
    confirm();
    quarantine();
    revoke();
    const [key] = [...bench.disk.entries.keys()].filter((name) => name.startsWith("audit/")).toSorted();
    const line = new TextDecoder().decode(bench.disk.entries.get(key!));
    bench.disk.entries.set(key!, utf8(line.replace('"operator"', '"nobody"')));
    bench.restart();
    expect(bench.gateway.desk.tampered).toMatch(/line 1/);
    expect(ask(manifest)).toBe("4.04");
    expect(bench.gateway.desk.mayHave(CLIENT.address, undefined, toHex(sha(first)))).toBe(false);
    expect(reasonOf(bench.publish(third, 3))).toBe("audit-log-tampered");
  });
});

describe("releases of a class that is defined", () => {
  it("are on offer after a restart, when only the class knows the key", () => {
    const mine = keyPairOf("Ed25519", new Uint8Array(32).fill(5));
    const authority: Authority = { ...keyRecord(mine.publicKey), name: "mine" };
    define({ authorities: [authority] });
    bench.disk.upstream.set("sim:own", first);
    const payloads = [{ image: { digest: sha(first), size: first.length }, uri: "sim:own" }];
    bench.publishEnvelope(signedUpdate({ components: [{ id: [Uint8Array.of(0)], payloads }] }, mine), "sim:own");
    expect(ask(manifest)).toBe("2.05");
    bench.restart();
    expect(ask(manifest)).toBe("2.05");
  });

  it("are gone with their key: manifest, image and listing, and so after a restart", () => {
    define();
    bench.publish(first, 1);
    expect([ask(manifest), ask(imageOf(first))]).toEqual(["2.05", "2.05"]);
    revoke();
    const look = (): unknown[] => [ask(manifest), ask(imageOf(first)), bench.gateway.listings().length];
    expect(look()).toEqual(["4.04", "4.04", 0]);
    bench.restart();
    expect(look()).toEqual(["4.04", "4.04", 0]);
  });

  it("are asked for again when their images have come", () => {
    define();
    bench.disk.upstream.set("sim:late", first);
    bench.loop.call((nowUs) => bench.gateway.publish(nowUs, 77, { envelope: sign(first, 1), source: "sim:late" }));
    begin({ kind: "key-revoked", key: stolen, reason: "stolen" }, () => {});
    bench.run(5);
    expect(bench.outcomes.find(({ operation }) => operation === 77)).toMatchObject({ reason: "key-revoked" });
  });

  const limited = { rights: [{ component: "app", actions: ["fetch"] }] };
  const payloadsOf = (bytes: Uint8Array): UpdateDescription["components"][0]["payloads"] => [
    { image: { digest: sha(bytes), size: bytes.length }, uri: "sim:x" },
  ];
  const publishUpdate = (update: Partial<UpdateDescription>): string => {
    bench.disk.upstream.set("sim:x", first);
    const components = [{ id: [utf8("app")], payloads: payloadsOf(first) }];
    const envelope = signedUpdate({ components, invoke: false, ...update });
    return reasonOf(bench.publishEnvelope(envelope, "sim:x"));
  };

  it("do by a dependency what their signer may do, and no more", () => {
    define({ authorities: [{ ...stolen, name: "limited", ...limited }] });
    const payloads = [{ image: { digest: sha(second), size: second.length }, uri: "sim:y" }];
    const child = signedUpdate({ components: [{ id: [utf8("boot")], payloads }], invoke: false });
    const dependency = {
      id: [utf8("child")],
      digest: digestOf(decodeEnvelope(child)),
      uri: "#child",
      integrated: child,
    };
    expect(publishUpdate({ dependencies: [dependency] })).toBe("no-right");
  });

  it("invoke what their signer may invoke", () => {
    define({ authorities: [{ ...stolen, name: "limited", ...limited }] });
    expect(publishUpdate({ invoke: 0 })).toBe("no-right");
    expect(publishUpdate({})).toBe("published");
  });

  it("are of the vendor of the class", () => {
    define();
    expect(publishUpdate({ vendorId: new Uint8Array(16).fill(0x77) })).toBe("other-vendor");
  });
});

describe("hand-overs", () => {
  beforeEach(() => define());

  it("are byte for byte what a hand-over is, one after the other", () => {
    expect(hand(1, [other], author, { useBefore: 1 })).toBe("not-a-transfer");
    expect(hand(1, [other], author, { classIds: [new Uint8Array(16).fill(3)] })).toBe("other-class");
    expect(hand(2, [other], author)).toBe("not-the-next-transfer");
    expect(hand(1, [author, other], author)).toBe("ok");
    expect(hand(1, [author, other], author)).toBe("older-transfer");
    expect(hand(2, [other], other)).toBe("ok");
    const id = manifest[1]!;
    expect([1, 2, 3].map((epoch) => ask(["t", id, `${epoch}`]))).toEqual(["2.05", "2.05", "4.04"]);
    bench.restart();
    expect([1, 2, 3].map((epoch) => ask(["t", id, `${epoch}`]))).toEqual(["2.05", "2.05", "4.04"]);
  });

  it("go to no revoked key, and come from nobody whose rights are limited", () => {
    revoke(keyRecord(other.publicKey));
    expect(hand(1, [other], author)).toBe("key-revoked");
    define({ authorities: [{ ...stolen, name: "limited", rights: [{ component: "app" }] }] });
    expect(hand(1, [author], author)).toBe("no-right");
  });

  it("are not forgotten when the class is defined again, nor is what was decided for it", () => {
    const policy = { features: "refuse", security: "allow" } as const;
    expect(hand(1, [author], author)).toBe("ok");
    submit({ kind: "policy-set", classId: CLASS, policy });
    define();
    expect(bench.gateway.desk.lifecycle.state.classes.get(CLASS)).toMatchObject({ epoch: 1, policy });
    expect(hand(1, [author], author)).toBe("older-transfer");
  });
});

describe("devices that are held", () => {
  beforeEach(() => {
    define();
    provision();
    bench.publish(first, 1);
    bench.publish(second, 2);
  });

  it("get the current image and no other, after a restart too", () => {
    expect(confirm()).toBe("2.04");
    quarantine();
    const look = (): string[] => [ask(imageOf(first)), ask(imageOf(second))];
    expect(look()).toEqual(["4.03", "2.05"]);
    bench.restart();
    expect(look()).toEqual(["4.03", "2.05"]);
  });

  it("cannot be made of others: who confirms shows that it has the key", () => {
    quarantine();
    expect(confirm(DEVICE, new Uint8Array(32).fill(2), "fd00::88")).toBe("4.01");
    expect(ask(imageOf(first), "fd00::88")).toBe("2.05");
  });

  it("answer by another secret once they have been given one, behind a restart too", () => {
    const fresh = new Uint8Array(32).fill(9);
    let done: DeskResult | undefined;
    const event = { kind: "credential-replaced", device: DEVICE } as const;
    bench.loop.call((nowUs) =>
      bench.gateway.desk.keepCredential(nowUs, "operator", event, fresh, (told) => (done = told)),
    );
    bench.run(1);
    expect(done).toMatchObject({ ok: true });
    expect(confirm(DEVICE, KEY)).toBe("4.01");
    bench.restart();
    expect([confirm(DEVICE, KEY), confirm(DEVICE, fresh)]).toEqual(["4.01", "2.04"]);
  });

  it("stay dead once decommissioned, whoever provisions them again", () => {
    let done: DeskResult | undefined;
    bench.loop.call((nowUs) => bench.gateway.desk.decommission(nowUs, "operator", DEVICE, (told) => (done = told)));
    bench.run(1);
    expect(done).toMatchObject({ ok: true });
    expect(confirm()).toBe("4.01");
    expect(provision()).toMatchObject({ ok: false, reason: "already-provisioned" });
    expect(confirm()).toBe("4.01");
  });

  it("keep their name: no other device takes it", () => {
    const event = { kind: "device-provisioned", classId: CLASS, stage: 2, endpoint: "sensor-1" } as const;
    expect(submit({ ...event, device: "0a0a0a0a0a0a0a0a" })).toMatchObject({ ok: true });
    expect(submit({ ...event, device: "0b0b0b0b0b0b0b0b" })).toMatchObject({ reason: "endpoint-in-use" });
  });
});
