import { beforeEach, describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { encodeCbor } from "../../src/codec/cbor.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { optionValue, type CoapOption } from "../../src/coap/message.ts";
import { Code, codeText, MessageType, Option } from "../../src/coap/numbers.ts";
import { textOptions } from "../../src/coap/options.ts";
import { imagePath } from "../../src/gateway/catalogue.ts";
import type { AuditEntry } from "../../src/lifecycle/audit-log.ts";
import type { LifecycleEvent } from "../../src/lifecycle/events.ts";
import type { PeerAddress } from "../../src/ports/datagram.ts";
import { signEnvelope } from "../../src/suit/author.ts";
import { encodeConfirmation } from "../../src/suit/confirmation.ts";
import { decodeEnvelope, EnvelopeError } from "../../src/suit/envelope.ts";
import { fromUtf8, toHex, utf8 } from "../../src/util/bytes.ts";
import { decoded, getBlock } from "../support/coap-get.ts";
import { author, classId, makeImage } from "../support/gateway.ts";
import { CLIENT } from "../support/pair.ts";
import { sha256 } from "../support/suit-build.ts";
import { image, keyOf, TrustBench } from "../support/trust-bench.ts";

const KEY = new Uint8Array(32).fill(5);
const kid = (n: number): Uint8Array => new Uint8Array(8).fill(n);
const OTHER: PeerAddress = { address: "fd00::77", port: 5683 };

let site: TrustBench;
let id = 7_000;
beforeEach(() => {
  site = new TrustBench();
  site.define();
});

function provision(n: number, definition = classId): void {
  const event = { kind: "device-provisioned", device: toHex(kid(n)), classId: toHex(definition), stage: 2 } as const;
  site.bench.loop.call((now) => site.bench.gateway.desk.keepCredential(now, "t", event, KEY, () => {}));
  site.bench.run(1);
}
const confirmation = (n: number, nonce = 1): Uint8Array =>
  encodeConfirmation(nodeCrypto, KEY, { kid: kid(n), nonce: new Uint8Array(8).fill(nonce), sequenceNumber: 1 });

function send(bytes: Uint8Array, from: PeerAddress): { code: string; echo: Uint8Array | undefined } {
  site.bench.sent.length = 0;
  site.bench.loop.datagram(bytes, from);
  site.bench.run(0.1);
  const answer = decoded(site.bench.sent.at(-1)!);
  return { code: codeText(answer.code), echo: optionValue(answer.options, Option.ECHO) };
}
const confirm = (payload: Uint8Array, from: PeerAddress, ...more: CoapOption[]): ReturnType<typeof send> => {
  const options = [...textOptions(Option.URI_PATH, ["c"]), ...more];
  const message = { type: MessageType.CON, code: Code.POST, messageId: ++id, token: Uint8Array.of(9) };
  return send(encodeMessage({ ...message, options, payload }), from);
};
const fetchImage = (from: PeerAddress): string => send(getBlock(imagePath(sha256(image)), 0, 2, ++id), from).code;
/** Quarantine, with an image on offer that devices of its class may not have: another one is current by then. */
function hold(n: number): void {
  site.submit({ kind: "device-quarantined", device: toHex(kid(n)), reason: "odd" });
  site.define({ id: "c2".repeat(16), name: "another class" });
}

describe("an old message of a device, sent again from another's address", () => {
  it("takes no image from who is there, nor after a restart", () => {
    const elsewhere = new Uint8Array(16).fill(0xc9);
    site.define({ id: toHex(elsewhere), name: "held" });
    provision(6, elsewhere);
    site.publish(site.update());
    expect(confirm(confirmation(6), CLIENT).code).toBe("2.04");
    hold(6);
    expect([fetchImage(CLIENT), fetchImage(OTHER)]).toEqual(["4.03", "2.05"]);
    const replayed = confirm(confirmation(6), OTHER);
    expect(replayed).toMatchObject({ code: "4.01", echo: expect.any(Uint8Array) });
    expect(fetchImage(OTHER)).toBe("2.05");
    site.bench.restart();
    expect([fetchImage(CLIENT), fetchImage(OTHER)]).toEqual(["4.03", "2.05"]);
    // The device itself may move: it hears the challenge.
    const { echo } = confirm(confirmation(6, 2), OTHER);
    expect(confirm(confirmation(6, 2), OTHER, { number: Option.ECHO, value: echo! }).code).toBe("2.04");
    expect([fetchImage(CLIENT), fetchImage(OTHER)]).toEqual(["2.05", "4.03"]);
    site.bench.restart();
    expect([fetchImage(CLIENT), fetchImage(OTHER)]).toEqual(["2.05", "4.03"]);
  });

  it("nor does anybody's image hang on what another device says there, and the other hears its answer all the same", () => {
    const elsewhere = new Uint8Array(16).fill(0xc9);
    site.define({ id: toHex(elsewhere), name: "held" });
    provision(6);
    provision(7, elsewhere);
    site.publish(site.update());
    expect(confirm(confirmation(6), CLIENT).code).toBe("2.04");
    expect(confirm(confirmation(6, 2), CLIENT).code).toBe("2.04"); // from there it needs to show nothing
    expect(confirm(confirmation(7), CLIENT).code).toBe("2.04"); // nor another one, of which nothing hangs on it
    hold(7);
    expect(fetchImage(CLIENT)).toBe("2.05");
    expect(confirm(confirmation(7), CLIENT).code).toBe("4.01");
  });
});

it("whoever has the address of a decommissioned device next is another one", () => {
  provision(6);
  site.publish(site.update());
  expect(confirm(confirmation(6), CLIENT).code).toBe("2.04");
  site.bench.loop.call((now) => site.bench.gateway.desk.decommission(now, "t", toHex(kid(6)), () => {}));
  site.bench.run(1);
  expect([fetchImage(CLIENT), confirm(confirmation(6), CLIENT).code]).toEqual(["2.05", "4.01"]);
  site.bench.restart();
  expect(fetchImage(CLIENT)).toBe("2.05");
});

it("a device that moves while its quarantine is written is held where it is by then", () => {
  provision(6);
  provision(7);
  site.publish(site.update());
  expect(confirm(confirmation(6), CLIENT).code).toBe("2.04");
  expect(confirm(confirmation(7), OTHER).code).toBe("2.04");
  hold(7);
  const proof = { number: Option.ECHO, value: confirm(confirmation(6), OTHER).echo! };
  const event = { kind: "device-quarantined", device: toHex(kid(6)), reason: "odd" } as const;
  site.bench.loop.call((now) => site.bench.gateway.desk.submit(now, "t", event, () => {}));
  expect(confirm(confirmation(6, 2), OTHER, proof).code).toBe("2.04");
  site.bench.run(1);
  expect(fromUtf8(site.bench.disk.entries.get(`held/${toHex(kid(6))}`)!)).toBe(OTHER.address);
});

it("nor does a record of it that a stop left behind, or an earlier version, say otherwise", () => {
  provision(6);
  provision(7);
  site.publish(site.update());
  expect(confirm(confirmation(6), CLIENT).code).toBe("2.04");
  hold(6);
  const { entries } = site.bench.disk;
  const record = [...entries].find(([key]) => key.startsWith("held/"))!;
  site.bench.loop.call((now) => site.bench.gateway.desk.decommission(now, "t", toHex(kid(6)), () => {}));
  site.bench.run(1);
  entries.set(...record);
  entries.set(`held/${toHex(kid(7))}`, utf8(OTHER.address)); // of one that was set free
  site.bench.restart();
  expect([fetchImage(CLIENT), fetchImage(OTHER)]).toEqual(["2.05", "2.05"]);
  expect([...entries.keys()].filter((key) => key.startsWith("held/"))).toEqual([]);
  expect(confirm(confirmation(7), CLIENT).code).toBe("2.04");
});

describe("who signs", () => {
  it("signs the manifest that is there: a digest of something else is refused", () => {
    const [mine, others] = [site.update(), site.update({ sequenceNumber: 99 })].map(decodeEnvelope);
    const { members, manifestBytes } = mine!;
    const digests = [others!.digestBytes, encodeCbor([2, sha256(encodeCbor(manifestBytes))]), utf8("a table")];
    for (const digest of digests) {
      const forged = encodeCbor(new Map(members).set(2, encodeCbor([digest])).set(3, manifestBytes));
      expect(() => signEnvelope(nodeCrypto, keyOf(5), forged)).toThrow(EnvelopeError);
    }
    expect(() => signEnvelope(nodeCrypto, keyOf(5), site.update())).not.toThrow();
  });
});

describe("the log of a governed class", () => {
  const entries = (): string[] =>
    site.bench.gateway.desk.lines.flatMap((line) => {
      const { event } = JSON.parse(line) as AuditEntry;
      const { reason, sequenceNumber } = event as { reason?: string; sequenceNumber?: number };
      return event.kind.startsWith("release-") ? [`${event.kind} ${reason ?? sequenceNumber}`] : [];
    });

  it("has each release that is on offer, or the release is not", () => {
    site.bench.intercept = (command) =>
      command.kind === "store" && command.ops.some(({ key }) => key.startsWith("audit/"))
        ? { kind: "failed", reason: "io", detail: "the disk is full", retryable: false }
        : undefined;
    expect(site.publish(site.update({ sequenceNumber: 5 }))).toBe("store-write-failed");
    expect(fetchImage(CLIENT)).toBe("4.04");
    site.bench.intercept = () => undefined;
    site.bench.restart();
    expect([fetchImage(CLIENT), entries()]).toEqual(["4.04", []]);
    expect(site.publish(site.update({ sequenceNumber: 5 }))).toBe("published");
    expect(entries()).toEqual(["release-admitted 5"]);
  });

  it("has what was refused, whatever for, and the same once", () => {
    site.publish(site.update({ sequenceNumber: 5 }));
    for (let i = 0; i < 2; i++) site.publish(site.update({ sequenceNumber: 4 }));
    site.bench.disk.upstream.delete("sim:x");
    site.bench.publishEnvelope(site.update({ sequenceNumber: 6 }), "ftp://nowhere", { seconds: 1 });
    site.bench.run(1);
    expect(entries().slice(0, 2)).toEqual(["release-admitted 5", "release-refused older-sequence-number"]);
  });

  it("names no recovery image that is not there, and the one that it names stays", () => {
    const recovery = (digest: string) => site.submit({ kind: "recovery-set", classId: toHex(classId), digest })[0];
    expect(recovery("00".repeat(32))).toMatchObject({ ok: false, reason: "no-such-image" });
    site.publish(site.update());
    expect(recovery(toHex(sha256(image)))).toMatchObject({ ok: true });
    for (let n = 2; n < 14; n++) {
      const bytes = makeImage(n, 700_000);
      site.bench.disk.upstream.set("sim:y", bytes);
      const payloads = [{ image: { digest: sha256(bytes), size: bytes.length }, uri: "sim:y" }];
      const components = [{ id: [Uint8Array.of(0)], payloads }];
      const outcome = site.bench.publishEnvelope(site.update({ sequenceNumber: n, components }), "sim:y", {
        seconds: 60,
      });
      expect(outcome?.kind).toBe("published");
    }
    expect(fetchImage(CLIENT)).toBe("2.05");
  });
});

describe("a log that was tampered with", () => {
  const kinds = (): string[] =>
    site.bench.gateway.desk.lines.map((line) => (JSON.parse(line) as AuditEntry).event.kind);
  /** Changes an entry on disk, and starts again. */
  function tamper(kind: LifecycleEvent["kind"], change: (text: string) => string): void {
    const at = kinds().indexOf(kind) + 1;
    const key = `audit/${String(at).padStart(10, "0")}`;
    const text = new TextDecoder().decode(site.bench.disk.entries.get(key));
    const changed = change(text);
    expect(changed).not.toBe(text);
    site.bench.disk.entries.set(key, utf8(changed));
    site.bench.restart();
    expect(site.bench.gateway.desk.tampered).toMatch(/^line/);
  }

  it.each<[string, LifecycleEvent["kind"], (text: string) => string]>([
    ["the operators of a class", "class-defined", (text) => text.replace('"operators"', '"operatorr"')],
    ["its authorities", "class-defined", (text) => text.replace('"authorities":[{', '"authorities":[5,{')],
    [
      "its rights",
      "class-defined",
      (text) => text.replace('"name":"author"', '"name":"author","rights":[{"compon":1}]'),
    ],
    ["all of it", "class-defined", (text) => text.replace(/"definition":\{.*\}\},"prev/, '"definition":null},"prev')],
    ["a revoked key", "key-revoked", (text) => text.replace(/"key":\{[^}]*\}/, '"key":{}')],
    ["a device", "device-provisioned", (text) => text.replace('"device":"06', '"devise":"06')],
    ["who was put in quarantine", "device-quarantined", (text) => text.replace('"device":"06', '"device":5,"x":"06')],
  ])("keeps the gateway from nothing but new trust: %s", (_name, kind, change) => {
    site.publish(site.update());
    provision(6);
    provision(8);
    site.submit({ kind: "device-quarantined", device: toHex(kid(6)), reason: "odd" });
    site.revoke(keyOf(90));
    tamper(kind, change);
    expect(site.publish(site.update({ sequenceNumber: 9 }))).toBe("audit-log-tampered");
    const { lifecycle } = site.bench.gateway.desk;
    if (kind !== "device-quarantined") expect(lifecycle.state.held).toContain(toHex(kid(6)));
    expect(lifecycle.orphans()).toBeDefined();
    const { key, algorithm } = { key: toHex(author.publicKey.bytes), algorithm: "ES256" } as const;
    expect(lifecycle.trusting({ key, algorithm })).toBeDefined();
  });
});
