import { describe, expect, it } from "vitest";
import { Lwm2mSite } from "../support/lwm2m-site.ts";

describe("Firmware Update of a mote", () => {
  it.each(["pull", "push"] as const)("by %s: it boots the new image, registers again, and reads the version", (delivery) => {
    const site = new Lwm2mSite();
    const mote = site.addMote("m", { delivery });
    site.bench.run(2);
    site.update("m");
    site.settle(["m"]);
    console.log(site.timeline("m").join("\n"), site.job("m"));
    expect(site.job("m")).toMatchObject({ state: "succeeded", method: delivery, versionBefore: "1.0.0", versionAfter: "2.0.0" });
    expect(mote.runs(site.image)).toBe(true);
  });
});
