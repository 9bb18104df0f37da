import { beforeEach, describe, expect, it } from "vitest";
import type { LifecycleEvent } from "../../src/lifecycle/events.ts";
import { keyRecord } from "../../src/lifecycle/classes.ts";
import { toHex } from "../../src/util/bytes.ts";
import { author, classId, makeImage } from "../support/gateway.ts";
import { branching, named } from "../support/release-bench.ts";
import { siteOf, type RolloutSite } from "../support/rollout-site.ts";
import { sha256 } from "../support/suit-build.ts";
import { keyOf, newer, publishNewer, signedUpdate } from "../support/trust-bench.ts";

/* An update that is under way is judged as one that begins. */

const K2 = keyOf(81);
const other = new Uint8Array(16).fill(0xb2);
const DEVICE = "0102030405060708";

describe("an update under way", () => {
  let fleet: RolloutSite;
  let digest: string;
  beforeEach(() => {
    fleet = siteOf(1);
    for (const id of [classId, other]) fleet.define(toHex(id), named(author, K2));
    digest = fleet.bench.gateway.listings()[0]!.digest;
  });

  /** The push under way is in the middle yet. */
  const submit = (event: LifecycleEvent): void => expect(fleet.submit(event, 0.05).ok).toBe(true);
  const provision = (id: Uint8Array): void =>
    submit({ kind: "device-provisioned", device: DEVICE, classId: toHex(id), endpoint: "m0", stage: 2 });
  const jobs = (): string[] => [...fleet.bench.gateway.devices.updates.all()].map(({ state }) => state);
  const stopped = (reason: string): number | undefined => fleet.bench.counters.snapshot()[`updates_stopped.${reason}`];

  it("of a class for which nobody stands any more with this image ends, though somebody does for it with another", () => {
    const { bench } = fleet;
    provision(classId);
    const bytes = bench.disk.blobs.get(digest)!;
    const mine = makeImage(81, 2_000);
    bench.disk.upstream.set("sim:mine", mine).set("sim:theirs", bytes);
    const next = branching(9, K2, [
      [classId, mine, "sim:mine"],
      [other, bytes, "sim:theirs"],
    ]);
    expect(bench.publishEnvelope(next, undefined)?.kind).toBe("published");
    fleet.update("m0", { methods: ["push"] });
    bench.run(0.3);
    submit({ kind: "key-revoked", key: keyRecord(author.publicKey), reason: "stolen" });
    bench.run(3_000);
    expect([jobs(), stopped("release-withdrawn")]).toEqual([["cancelled"], 1]);
  });

  it("ends when it turns out that the device is of another class", () => {
    const { bench } = fleet;
    fleet.update("m0", { methods: ["push"] });
    bench.run(0.2);
    provision(other);
    bench.run(3_000);
    expect([jobs(), stopped("other-class")]).toEqual([["cancelled"], 1]);
    expect([...bench.gateway.devices.updates.all()]).toMatchObject([{ reason: "other-class" }]);
  });

  it.each([false, true])(
    "of a device in quarantine ends when its image is current no longer; restart: %s",
    (restarts) => {
      const { bench } = fleet;
      provision(classId);
      submit({ kind: "device-quarantined", device: DEVICE, reason: "odd" });
      fleet.update("m0", { methods: ["push"] });
      bench.run(0.05);
      expect(publishNewer(bench, K2)).toBe("published");
      if (restarts) bench.restart();
      bench.run(3_000);
      expect(jobs()).toEqual(["cancelled"]);
    },
  );

  it("does not begin behind the expiry of its image", () => {
    const { bench } = fleet;
    bench.disk.upstream.set("sim:y", newer);
    const useBefore = Math.floor(bench.engine.nowUs() / 1e6) + 40;
    const image = { digest: sha256(newer), size: newer.length };
    const components = [{ id: [Uint8Array.of(0)], payloads: [{ image, uri: "sim:y" }] }];
    const expiring = signedUpdate({ sequenceNumber: 3, components, useBefore }, author);
    expect(bench.publishEnvelope(expiring, "sim:y")?.kind).toBe("published");
    fleet.fate = () => 0; // out of reach
    fleet.update("m0", { methods: ["push"] }, { digest: toHex(image.digest), size: image.size, version: "3.0.0" });
    bench.run(100);
    fleet.fate = () => 1;
    bench.run(600);
    expect([...bench.gateway.devices.updates.all()]).toMatchObject([{ state: "cancelled", reason: "expired" }]);
    expect(stopped("expired")).toBe(1);
  });
});
