import { describe, expect, it } from "vitest";
import { keyRecord } from "../../src/lifecycle/classes.ts";
import type { LifecycleEvent } from "../../src/lifecycle/events.ts";
import { DEFAULT_POLICY } from "../../src/lwm2m/update/job.ts";
import { toHex } from "../../src/util/bytes.ts";
import { BEHAVIOURS } from "../../simulator/mote/lwm2m/behaviour.ts";
import { author, classId, makeImage, vendorId } from "../support/gateway.ts";
import { Lwm2mSite } from "../support/lwm2m-site.ts";

const DEVICE = "0101010101010101";
const IMAGE_BYTES = 6_000;

/** A client that is known by its name, in the midst of an update. */
function siteInUpdate(behaviour: string): Lwm2mSite {
  const site = new Lwm2mSite(IMAGE_BYTES);
  site.addMote("m", BEHAVIOURS[behaviour]);
  const { updates } = site.bench.gateway.devices;
  const hardware = { rng: true, rtc: true, slots: 2, recoveryImage: false, ramBytes: 262_144 };
  const authorities = [{ ...keyRecord(author.publicKey), name: "author" }];
  const identity = { id: toHex(classId), vendorId: toHex(vendorId), name: "sensor" };
  submit(site, {
    kind: "class-defined",
    definition: { ...identity, hardware, authorities, escrow: [], operators: [], epoch: 0 },
  });
  const provisioned = { kind: "device-provisioned", device: DEVICE, classId: identity.id, stage: 2 } as const;
  submit(site, { ...provisioned, endpoint: "m" });
  site.bench.run(2);
  site.update("m");
  for (let i = 0; i < 10_000 && updates.bytesOf(site.job("m")) < 200; i++) site.bench.run(0.01);
  expect(site.job("m").state).toBe("transferring");
  return site;
}

function submit(site: Lwm2mSite, event: LifecycleEvent): void {
  let ok: boolean | undefined;
  const { loop, gateway } = site.bench;
  loop.call((nowUs) => gateway.desk.submit(nowUs, "operator", event, (result) => (ok = result.ok)));
  site.bench.run(0.1);
  expect(ok).toBe(true);
}

describe.each(["pull-only", "push-only"])("an update under way, %s", (behaviour) => {
  const ended = (site: Lwm2mSite): void => {
    site.settle(["m"], 600);
    expect(site.job("m"), site.timeline("m").join("\n")).toMatchObject({ state: "cancelled", executes: 0 });
  };

  it("ends when the device's life does", () => {
    const site = siteInUpdate(behaviour);
    submit(site, { kind: "device-decommissioned", device: DEVICE, erased: [] });
    ended(site);
  });

  it("ends in quarantine, unless it is the image on offer", () => {
    const quarantine: LifecycleEvent = { kind: "device-quarantined", device: DEVICE, reason: "odd" };
    const current = siteInUpdate(behaviour);
    submit(current, quarantine);
    current.settle(["m"]);
    expect(current.job("m").state).toBe("succeeded");
    const old = siteInUpdate(behaviour);
    old.bench.publish(makeImage(6, IMAGE_BYTES), 3, { change: { version: "3.0.0" } });
    submit(old, quarantine);
    ended(old);
  });

  it("ends when the key was revoked that its image is believed by", () => {
    const site = siteInUpdate(behaviour);
    submit(site, { kind: "key-revoked", key: keyRecord(author.publicKey), reason: "stolen" });
    ended(site);
  });
});

it("an update whose record could not be written is not begun by what its client says meanwhile", () => {
  const site = new Lwm2mSite();
  site.addMote("m");
  site.bench.run(10);
  const { updates } = site.bench.gateway.devices;
  let writes = 0;
  site.bench.intercept = (command) => {
    if (command.kind !== "store" || command.ops[0]?.key !== "update/m" || writes++ > 0) return undefined;
    return { kind: "failed", reason: "disk-full", detail: "no space", retryable: true };
  };
  let written: boolean | undefined;
  site.bench.loop.call((nowUs) => {
    updates.start(nowUs, "m", [site.target], DEFAULT_POLICY, (done) => (written = done));
    updates.imageSettled(nowUs, site.target.digest, true);
  });
  site.bench.run(600);
  expect([written, writes]).toEqual([false, 1]);
  site.bench.restart();
  site.bench.run(600);
  expect(site.bench.gateway.devices.updates.get("m")).toBeUndefined();
  expect(site.mote("m").boots).toBe(1);
});

it("a word to wait that could not be written leaves what was said before, and is told so", () => {
  const site = new Lwm2mSite();
  site.addMote("m", {}, { queueMode: { wakeIntervalS: 7_000, awakeS: 30 }, lifetimeS: 20_000 });
  site.bench.run(10);
  site.update("m", { hold: true });
  const { updates } = site.bench.gateway.devices;
  for (let i = 0; i < 20_000 && site.job("m").state !== "downloaded"; i++) site.bench.run(1);
  site.bench.run(100); // it sleeps
  const told: boolean[] = [];
  const say = (untilMs: number): void => {
    site.bench.loop.call(() => updates.release("m", untilMs, (done) => told.push(done)));
    site.bench.run(1);
  };
  say(9e15);
  site.bench.intercept = ({ kind }) =>
    kind === "store" ? { kind: "failed", reason: "disk-full", detail: "", retryable: true } : undefined;
  say(0);
  expect([told, site.job("m").releasedUntilMs]).toEqual([[true, false], 9e15]);
});
