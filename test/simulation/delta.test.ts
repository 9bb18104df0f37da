import { beforeEach, describe, expect, it } from "vitest";
import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { makePatch } from "../../src/delta/patch.ts";
import { imagePath } from "../../src/gateway/catalogue.ts";
import type { Feature } from "../../src/lifecycle/classes.ts";
import type { Payload } from "../../src/suit/build.ts";
import { toHex, utf8 } from "../../src/util/bytes.ts";
import type { Mote, MoteParts } from "../../simulator/mote/mote.ts";
import { StorySite } from "../../simulator/story/site.ts";
import { makeImage } from "../support/gateway.ts";
import { defineClass, storyMote } from "../support/story-mote.ts";
import { AUTHOR, CLASS, imageOf, VENDOR } from "../support/suit-build.ts";
import { again, reportOf, small } from "../support/simulation.ts";
import { signedUpdate } from "../support/trust-bench.ts";

const MINUTE_US = 60_000_000;
const ROOM = 24_576;
const factory = makeImage(401, 15_000);
const wanted = factory.map((byte, i) => (i % 700 < 3 ? byte + 9 : byte));
const patch = makePatch(factory, wanted);
const digestOf = (bytes: Uint8Array): Uint8Array => nobleCrypto.sha256(bytes);
const pathOf = (bytes: Uint8Array): string => `/${imagePath(digestOf(bytes)).join("/")}`;

let story: StorySite;
beforeEach(() => (story = new StorySite(1)));

const define = (features?: readonly Feature[]): void => defineClass(story, features);

/** Publishes number 2: the image, and a patch to it. */
function publish(bytes: Uint8Array = patch, from: Uint8Array = factory): object | undefined {
  const patches: Payload["patches"] = [{ from: imageOf(from), patch: imageOf(bytes), uri: pathOf(bytes) }];
  const payloads = [{ image: imageOf(wanted), uri: pathOf(wanted), patches }];
  const components = [{ id: [Uint8Array.of(0)], payloads }];
  const update = { sequenceNumber: 2, vendorId: VENDOR, classIds: [CLASS], components };
  const sources: Record<string, string> = {};
  for (const image of [wanted, bytes]) {
    const hex = toHex(digestOf(image));
    story.disk.upstream.set((sources[hex] = `sim:${hex}`), image);
  }
  return story.publish({ envelope: signedUpdate(update, AUTHOR), sources });
}

const newMote = (parts: Partial<MoteParts> = {}): { mote: Mote; boot: () => void } =>
  storyMote(story, {
    maxImageBytes: ROOM,
    spareSlot: "used",
    factoryImage: { bytes: factory, sequenceNumber: 1 },
    ...parts,
  });

describe("a scenario with an image of which little is new", () => {
  const changes = { imageBytes: 16_384, changedBytes: 500, motes: 3 };

  it("costs what the patch costs, beside the limit of what is new, also where motes are reset", () => {
    const whole = reportOf(small({ ...changes, changedBytes: undefined }), 1);
    const patched = reportOf(small(changes), 1);
    expect([patched.updated, patched.violations, patched.newBytes]).toEqual([3, [], 500]);
    expect(patched.air.bytes).toBeLessThan(whole.air.bytes / 5);
    expect(patched.energyMj.total).toBeLessThan(whole.energyMj.total / 1.5);
    expect(patched.energyMj.flash).toBeGreaterThanOrEqual(whole.energyMj.flash * 0.7);
    expect(patched.imageBytesRatio).toBeCloseTo(1, 1);
    expect(patched.energyPerByteUj).toBeGreaterThan(patched.limitPerByteUj);
    for (const seed of [1, 2, 3]) {
      const faults = { "faults.rebootShare": 1, "faults.rebootWithinS": 20, "faults.flashWrite": 0.02 };
      const reset = reportOf(small({ ...changes, ...faults }), seed);
      expect([reset.updated, reset.violations], again(small(changes), seed)).toEqual([3, []]);
    }
  });

  it.each([
    [{ changedBytes: 20_000, imageBytes: 16_384 }, "20000 of 16384"],
    [{ changedBytes: 20, transport: "lwm2m" }, "LwM2M clients are given whole images"],
  ])("is refused where that is none: %o", (odd, why) => {
    expect(() => small(odd)).toThrow(why);
  });
});

describe("a mote that can make its image by a patch", () => {
  it("fetches that in place of the image", () => {
    define(["delta"]);
    expect(publish()).toMatchObject({ kind: "published" });
    const { mote, boot } = newMote();
    boot();
    story.settle(20 * MINUTE_US);
    expect([mote.outcome(2), mote.runs(wanted), mote.agent.failure]).toEqual(["updated", true, undefined]);
    expect(mote.imageBytesReceived).toBe(patch.length);
    expect(patch.length).toBeLessThan(wanted.length / 10);
  });

  it("that is cut off at any erase and any write makes it in the end, and fetches no block twice", () => {
    define(["delta"]);
    publish();
    let cuts = 0;
    for (let last = false; !last; cuts++) {
      const { mote, boot } = newMote();
      const { flash } = mote;
      let left = cuts;
      const [erase, program] = [flash.erase.bind(flash), flash.program.bind(flash)];
      const cut = (): void => {
        if (left-- === 0) throw new Error("power cut");
      };
      flash.erase = (address) => (cut(), erase(address));
      // Half of what was to be written is.
      flash.program = (address, bytes) => {
        if (left === 0) program(address, bytes.subarray(0, Math.floor(bytes.length / 8) * 4));
        cut();
        return program(address, bytes);
      };
      try {
        boot();
        story.settle(20 * MINUTE_US);
        last = true;
      } catch (error) {
        expect((error as Error).message).toBe("power cut");
      }
      flash.erase = erase;
      flash.program = program;
      if (!last) boot();
      story.settle(20 * MINUTE_US);
      expect([cuts, mote.outcome(2), mote.runs(wanted)]).toEqual([cuts, "updated", true]);
      expect(mote.imageBytesReceived).toBeLessThanOrEqual(patch.length + 64);
    }
    expect(cuts).toBeGreaterThan(15);
  });

  it.each([
    ["has another image", () => newMote({ factoryImage: { bytes: makeImage(402, 9_000), sequenceNumber: 1 } }), 0],
    ["has no room for it", () => newMote({ maxImageBytes: 16_384 }), 0],
  ])("fetches the image where it %s", (_why, make, ofPatch) => {
    define(["delta"]);
    publish();
    const { mote, boot } = make();
    boot();
    story.settle(60 * MINUTE_US);
    expect([mote.outcome(2), mote.runs(wanted)]).toEqual(["updated", true]);
    expect(mote.imageBytesReceived).toBe(ofPatch + wanted.length);
  });

  it.each([
    [
      "leads to another image",
      () =>
        makePatch(
          factory,
          wanted.map((byte, i) => (i === 5 ? byte + 1 : byte)),
        ),
    ],
    ["is none", () => makeImage(403, 300)],
    ["is for another image", () => makePatch(factory.subarray(1), wanted)],
  ])("fetches the image where the patch %s", (_what, make) => {
    define(["delta"]);
    const bytes = make();
    expect(publish(bytes)).toMatchObject({ kind: "published" });
    const { mote, boot } = newMote();
    boot();
    story.settle(60 * MINUTE_US);
    expect([mote.outcome(2), mote.runs(wanted)]).toEqual(["updated", true]);
    expect(mote.imageBytesReceived).toBe(bytes.length + wanted.length);
  });

  it("comes to the image in the end where the patch is wrong, however often it is reset", () => {
    define(["delta"]);
    publish(makePatch(factory, makeImage(404, 15_000).fill(7, 300)));
    const { mote, boot } = newMote();
    for (let boots = 1; mote.outcome(2) !== "updated"; boots++) {
      expect(boots).toBeLessThan(60);
      boot();
      story.settle(2_500_000);
    }
    expect(mote.runs(wanted)).toBe(true);
    expect(mote.imageBytesReceived).toBeLessThan(2 * wanted.length);
  });

  it("writes nothing in the name of what was there before", () => {
    const evil = makeImage(405, 2_000);
    story.disk.upstream.set("sim:evil", evil);
    const component = (id: readonly Uint8Array[]) => ({ id, payloads: [{ image: imageOf(evil), uri: "sim:evil" }] });
    const components = [component([Uint8Array.of(0), utf8("installed")])];
    const update = { sequenceNumber: 2, vendorId: VENDOR, classIds: [CLASS], components, invoke: false as const };
    expect(story.publish({ envelope: signedUpdate(update, AUTHOR), source: "sim:evil" })).toBeDefined();
    const { mote, boot } = newMote();
    boot();
    story.settle(MINUTE_US);
    expect([mote.runs(evil), mote.runs(factory)]).toEqual([false, true]);
  });

  it("is of a class that says so: to others nothing is published that they would refuse", () => {
    define();
    expect(publish()).toMatchObject({ kind: "refused", reason: "no-delta" });
    define(["version", "wait"]);
    expect(publish()).toMatchObject({ kind: "refused", reason: "no-delta" });
    define(["delta"]);
    expect(publish()).toMatchObject({ kind: "published" });
  });

  it("is of a class that is defined", () => {
    expect(publish()).toMatchObject({ kind: "refused" });
  });

  it("is published only where those come through that have another image, and by each of its patches", () => {
    define(["delta"]);
    const [other, third] = [makeImage(406, 700), makeImage(407, 800)];
    const toThird = makePatch(third, wanted);
    const both = (uri: string): Payload["patches"] => [
      { from: imageOf(factory), patch: imageOf(patch), uri: pathOf(patch) },
      { from: imageOf(third), patch: imageOf(toThird), uri },
    ];
    const publishing = (patches: Payload["patches"]): string | undefined => {
      const payloads = [{ image: imageOf(wanted), uri: pathOf(wanted), patches }];
      const components = [{ id: [Uint8Array.of(0)], payloads }];
      const sources: Record<string, string> = {};
      for (const image of [wanted, patch, toThird, other]) {
        const hex = toHex(digestOf(image));
        story.disk.upstream.set((sources[hex] = `sim:${hex}`), image);
      }
      const update = { sequenceNumber: 2, vendorId: VENDOR, classIds: [CLASS], components };
      return (story.publish({ envelope: signedUpdate(update, AUTHOR), sources }) as { reason?: string }).reason;
    };
    expect(publishing(both("/nowhere"))).toBe("uri-not-served");
    expect(publishing(both(pathOf(toThird)))).toBeUndefined();
  });
});
