import { expect, it } from "vitest";
import { nrf52840 } from "../support/simulation.ts";
import { LifecycleStory } from "../../simulator/story/lifecycle-story.ts";

it.each([1, 2, 3])(
  "the life of five devices, seed %i: from the factory to the end, whoever owns the vendor",
  (seed) => {
    const told: string[] = [];
    const result = new LifecycleStory(seed, nrf52840, (line) => told.push(line)).run();
    expect(result, told.join("\n")).toMatchObject({
      devices: 5,
      authentic: 5,
      orphansBeforeHandOver: 5,
      orphans: 0,
      auditOk: true,
      tamperFound: true,
      quarantined: "current image only",
      support: "old sensor: ended",
      decommissioned: true,
    });
    const reasons = Object.fromEntries(result.refused.map(({ what, reason }) => [what, reason]));
    expect(reasons).toEqual({
      "an image by the stolen key, at the gateway": "key-revoked",
      "an image by the stolen key, at the devices": "signature-invalid",
      "somebody hands A's devices to himself": "signature-invalid",
      "A's later image": "key-revoked",
      "A's later image, at the devices": "signature-invalid",
      "a last image that expires": "last-image-expires",
    });
  },
);
