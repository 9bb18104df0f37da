import { describe, expect, it } from "vitest";
import { CoapEndpoint } from "../../src/coap/endpoint.ts";
import { Code, ContentFormat } from "../../src/coap/numbers.ts";
import { Router, type ResourceHandler } from "../../src/coap/router.ts";
import { manifestPath } from "../../src/gateway/catalogue.ts";
import { Directive as D, Parameter as P } from "../../src/suit/keys.ts";
import { keyPairOf, nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { signEnvelope } from "../../src/suit/author.ts";
import { buildEnvelope } from "../../src/suit/build.ts";
import { encodeTransfer, TRUST_COMPONENT, transferUpdate, trustOf } from "../../src/suit/trust.ts";
import { toHex, utf8 } from "../../src/util/bytes.ts";
import type { Mote, MoteParts } from "../../simulator/mote/mote.ts";
import { GATEWAY, StorySite } from "../../simulator/story/site.ts";
import { keyRecord } from "../../src/lifecycle/classes.ts";
import { AUTHOR, CLASS, envelopeOf, map, suitDigest, VENDOR } from "../support/suit-build.ts";
import { makeImage } from "../support/gateway.ts";
import { defineClass, storyMote } from "../support/story-mote.ts";

const HOUR_US = 3_600_000_000;
const KID = new Uint8Array(8).fill(1);
const KEY = new Uint8Array(32).fill(2);
const image = makeImage(60, 2_000);
const digest = nobleCrypto.sha256(image);

function envelope(sequenceNumber: number, change: object = {}): Uint8Array {
  const payloads = [{ image: { digest, size: image.length }, uri: "sim:image" }];
  const components = [{ id: [Uint8Array.of(0)], payloads }];
  return signEnvelope(
    nobleCrypto,
    AUTHOR,
    buildEnvelope(nobleCrypto, { sequenceNumber, vendorId: VENDOR, classIds: [CLASS], components, ...change }),
  );
}

/** A gateway that knows the class and, unless told otherwise, the device; and the device. */
function site(parts: Partial<MoteParts> = {}, known = true): { site: StorySite; mote: Mote; boot: () => void } {
  const story = new StorySite(1);
  defineClass(story);
  const event = { kind: "device-provisioned", device: toHex(KID), classId: toHex(CLASS), stage: 2 } as const;
  if (known) story.onDesk((desk, nowUs, done) => desk.keepCredential(nowUs, "t", event, KEY, done));
  story.disk.upstream.set("sim:image", image);
  const { mote, boot } = storyMote(story, {
    credential: { kid: KID, key: KEY },
    maxImageBytes: 4_096,
    factoryImage: { bytes: makeImage(61, 1_500), sequenceNumber: 1 },
    ...parts,
  });
  return { site: story, mote, boot };
}

/** A mote beside a gateway that gives one envelope for all that is asked under /m, and one image for all else. */
function besideAFake(manifest: Uint8Array, body: Uint8Array): Mote {
  const { site: story, mote, boot } = site({ credential: undefined });
  const get = (bytes: Uint8Array): ResourceHandler => ({
    get: () => ({
      code: Code.CONTENT,
      body: { bytes, etag: Uint8Array.of(1), contentFormat: ContentFormat.OCTET_STREAM },
    }),
  });
  const router = new Router(2, nobleCrypto.sha256.bind(nobleCrypto));
  router.add(manifestPath(CLASS, "00"), get(manifest));
  router.add(["i", "AAAAAAAA"], get(body));
  const endpoint = new CoapEndpoint({ random: story.random.fork("fake"), handler: router });
  story.attach(GATEWAY.address, {
    handleDatagram: (nowUs, bytes, peer) => void endpoint.handleDatagram(nowUs, bytes, peer),
    handleTimeout: (nowUs) => endpoint.handleTimeout(nowUs),
    pollTransmit: () => endpoint.pollTransmit(),
    pollTimeout: () => endpoint.pollTimeout(),
  });
  boot();
  story.settle(HOUR_US);
  return mote;
}

const numberOf = (mote: Mote): number | undefined => mote.agent.booted?.info.sequenceNumber;

describe("whatever the manifest leaves out", () => {
  /** The gateway's images are all one, which is none that was signed. */
  const bare = (): Uint8Array => {
    const fetching = [
      D.OVERRIDE_PARAMETERS,
      map([
        [P.IMAGE_DIGEST, suitDigest(good)],
        [P.IMAGE_SIZE, good.length],
        [P.URI, "/i/AAAAAAAA"],
      ]),
    ];
    return envelopeOf({ components: [["\0"]], sequenceNumber: 2, sections: { 20: [...fetching, D.FETCH, 15] } });
  };
  const good = makeImage(62, 640);

  it("an image is not booted whose digest nobody asked for and that is another one", () => {
    const mote = besideAFake(bare(), makeImage(63, 640));
    expect([numberOf(mote), mote.agent.failure]).toEqual([1, "operation-failed: the image is not what was signed"]);
  });

  it("a manifest that is offered as software names no keys, and a hand-over fetches none", () => {
    const trust = [
      12,
      0,
      20,
      map([[P.CONTENT, encodeTransfer({ epoch: 1, authorities: [AUTHOR.publicKey] })]]),
      D.WRITE,
      15,
    ];
    const names = ["blockferry", "trust"];
    const naming = envelopeOf({ components: [names], sequenceNumber: 2, sections: { 20: trust.slice(2) } });
    const mote = besideAFake(naming, good);
    expect([mote.agent.trust.epoch, mote.agent.failure]).toEqual([0, expect.stringContaining("component-unsupported")]);
  });
});

describe("a new image proves itself, or the old one comes back", () => {
  it("by a fresh nonce that the gateway answers under the device's credential", () => {
    const { site: story, mote, boot } = site();
    expect(story.publish({ envelope: envelope(2) })).toMatchObject({ kind: "published" });
    boot();
    story.settle(4 * HOUR_US);
    expect([numberOf(mote), mote.agent.booted?.onTrial, mote.agent.state]).toEqual([2, true, "up-to-date"]);
    expect(story.counters.snapshot()).toMatchObject({ confirmations: 1 });
    boot();
    story.settle(HOUR_US);
    expect([numberOf(mote), mote.agent.booted?.onTrial]).toEqual([2, false]);
  });

  it("is not even fetched where its author has no right to the component, whatever the gateway lets through", () => {
    const limited = (component: string) => ({ ...AUTHOR.publicKey, rights: [{ component: [utf8(component)] }] });
    const outcomes = ["app", "\0"].map((component) => {
      const { site: story, mote, boot } = site({ anchors: trustOf([limited(component)]) });
      expect(story.publish({ envelope: envelope(2) })).toMatchObject({ kind: "published" });
      boot();
      story.settle(HOUR_US);
      return [numberOf(mote), mote.agent.failure];
    });
    expect(outcomes).toEqual([
      [1, "component-unauthorised: who signed this may not fetch this component"],
      [2, undefined],
    ]);
  });

  it("never goes below what has proved itself, though its image rots, and can have the very same again", () => {
    const { site: story, mote, boot } = site();
    story.publish({ envelope: envelope(5) });
    for (let i = 0; i < 2; i++) {
      boot();
      story.settle(HOUR_US);
    }
    expect([numberOf(mote), mote.agent.booted?.onTrial]).toEqual([5, false]);
    mote.flash.program(mote.layout.slotAddress[1], new Uint8Array(8)); // bits that rotted
    const received = mote.imageBytesReceived;
    const older = site();
    older.site.publish({ envelope: envelope(3) });
    older.site.attach("fd00::9", mote).call((nowUs) => mote.reboot(nowUs));
    older.site.settle(HOUR_US);
    expect([numberOf(mote), mote.agent.state, mote.imageBytesReceived]).toEqual([1, "up-to-date", received]);
    boot();
    story.settle(2 * HOUR_US);
    expect([numberOf(mote), mote.agent.failure]).toEqual([5, undefined]);
    expect(mote.imageBytesReceived).toBe(received + image.length);
  });

  it("a number that did not prove itself locks out none below it, and is itself not tried again", () => {
    const { site: story, mote, boot } = site({}, false);
    story.publish({ envelope: envelope(2 ** 52) });
    boot();
    story.settle(12 * HOUR_US);
    expect([numberOf(mote), mote.agent.failure]).toEqual([1, "image-did-not-confirm"]);
    const sound = site();
    sound.site.publish({ envelope: envelope(7) });
    sound.site.attach("fd00::9", mote).call((nowUs) => mote.reboot(nowUs));
    sound.site.settle(4 * HOUR_US);
    expect([numberOf(mote), mote.agent.failure]).toEqual([7, undefined]);
  });

  it("looks for a hand-over where there is no software for it any more, and says so where there is none", () => {
    const { site: story, mote, boot } = site({ anchors: trustOf([AUTHOR.publicKey]) });
    story.publish({ envelope: envelope(1) });
    const key = keyRecord(AUTHOR.publicKey);
    const heir = keyPairOf("ES256", new Uint8Array(32).fill(44));
    const transfer = transferUpdate(VENDOR, [CLASS], { epoch: 1, authorities: [heir.publicKey] });
    const handOver = signEnvelope(nobleCrypto, AUTHOR, buildEnvelope(nobleCrypto, transfer));
    const revoked = { kind: "key-revoked", key, reason: "stolen" } as const;
    const orphan = site({ anchors: trustOf([AUTHOR.publicKey]) });
    orphan.boot();
    orphan.site.settle(HOUR_US);
    expect(orphan.mote.agent.failure).toBe("manifest-4.04");
    story.onDesk((desk, nowUs, done) => desk.transfer(nowUs, "t", toHex(CLASS), handOver, [], done));
    story.onDesk((desk, nowUs, done) => desk.submit(nowUs, "t", revoked, done));
    boot();
    story.settle(HOUR_US);
    expect([mote.agent.trust.epoch, mote.agent.failure]).toEqual([1, "manifest-4.04"]);
  });

  it("goes back where the gateway does not know it, and does not try the same image again", () => {
    const { site: story, mote, boot } = site({}, false);
    story.publish({ envelope: envelope(2) });
    boot();
    story.settle(12 * HOUR_US);
    expect([numberOf(mote), mote.agent.failure]).toEqual([1, "image-did-not-confirm"]);
    const received = mote.imageBytesReceived;
    boot();
    story.settle(HOUR_US);
    expect([numberOf(mote), mote.imageBytesReceived]).toEqual([1, received]);
  });

  it("goes back from an image that starts and does nothing", () => {
    const { site: story, mote, boot } = site({ isDead: (booted) => toHex(booted) === toHex(digest) });
    story.publish({ envelope: envelope(2) });
    boot();
    story.settle(12 * HOUR_US);
    expect([numberOf(mote), mote.agent.failure]).toEqual([1, "image-did-not-confirm"]);
    // A higher number with another image is another matter, and so is this one repaired.
    expect(story.publish({ envelope: envelope(3) })).toMatchObject({ kind: "published" });
    boot();
    story.settle(12 * HOUR_US);
    expect(numberOf(mote)).toBe(1);
  });

  it("survives two power cuts on trial, and is given up at the third", () => {
    const { site: story, mote, boot } = site({}, false);
    story.publish({ envelope: envelope(2) });
    boot();
    story.settle(HOUR_US / 60);
    expect([numberOf(mote), mote.agent.booted?.onTrial]).toEqual([2, true]);
    boot();
    boot();
    expect(numberOf(mote)).toBe(2);
    boot();
    expect(numberOf(mote)).toBe(1);
  });
});

it("a device says what went wrong, and where, under its own key; nobody else says it for it", () => {
  const { site: story, mote, boot } = site({ unixS: undefined });
  // Signed by a trusted key and fit for the class, but this device has no version of its component to tell.
  const components = [
    {
      id: [Uint8Array.of(0)],
      payloads: [{ image: { digest, size: image.length }, uri: "sim:image" }],
      requires: [{ comparison: 2, version: [1] }],
    },
  ];
  expect(story.publish({ envelope: envelope(2, { components }) })).toMatchObject({ kind: "published" });
  boot();
  story.settle(HOUR_US);
  expect(mote.agent.failure).toBe("condition-failed: version cannot be told on this device");
  expect(story.counters.snapshot()).toMatchObject({ "suit_reports.condition-failed": 1 });
  const { site: other, boot: start } = site({ credential: { kid: KID, key: new Uint8Array(32) } });
  other.publish({ envelope: envelope(2, { components }) });
  start();
  other.settle(HOUR_US);
  expect(other.counters.snapshot()).toMatchObject({ "suit_report_refused.not-authentic": 1 });
});

describe("who may say whom a device believes", () => {
  const other = { ...AUTHOR, publicKey: { ...AUTHOR.publicKey } };

  it("an image manifest that writes the trust component is refused by the gateway, and by the device", () => {
    const { site: story } = site();
    const content = encodeTransfer({ epoch: 1, authorities: [other.publicKey] });
    const outcome = story.publish({ envelope: envelope(2, { write: { component: TRUST_COMPONENT, content } }) });
    expect(outcome).toMatchObject({ kind: "refused", reason: "trust-in-release" });
  });

  it("a class that was defined takes releases of its authorities only, whatever else the gateway trusts", () => {
    const { site: story } = site();
    const key = { kind: "key-revoked", key: keyRecord(AUTHOR.publicKey), reason: "stolen" } as const;
    expect(story.publish({ envelope: envelope(2) })).toMatchObject({ kind: "published" });
    story.onDesk((desk, nowUs, done) => desk.submit(nowUs, "t", key, done));
    expect(story.publish({ envelope: envelope(3) })).toMatchObject({ kind: "refused", reason: "key-revoked" });
    expect(story.counters.snapshot()).toMatchObject({ "releases_withdrawn.key-revoked": 1 });
    story.restart();
    expect(story.publish({ envelope: envelope(3) })).toMatchObject({ kind: "refused", reason: "key-revoked" });
  });
});

describe("before any device hears of it, a release is run on a model of its class", () => {
  it.each([
    ["what expires, for a class without a clock", { useBefore: 2_000_000_000 }, "no-rtc"],
    ["slots that the class has not all of", { slots: [0] }, "dry-run-failed"],
  ] as const)("%s, is refused", (_what, change, reason) => {
    const { site: story } = site();
    const payloads = [0, 5].map((slot) => ({ slot, image: { digest, size: image.length }, uri: "sim:image" }));
    const components = [{ id: [Uint8Array.of(0)], payloads }];
    const outcome = story.publish({ envelope: envelope(2, "slots" in change ? { components } : change) });
    expect(outcome).toMatchObject({ kind: "refused", reason });
  });
});
