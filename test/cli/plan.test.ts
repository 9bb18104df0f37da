import { copyFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { authorFiles, cli, FIRMWARE, lastJson, Served, temporaryFolder } from "../support/process.ts";

describe("rollout plan", () => {
  it("says what it would cost, keeps that, and has it stand beside the rollout", async () => {
    const folder = temporaryFolder();
    const { trust, key } = await authorFiles(folder);
    const state = join(folder, "gw");
    const served = await Served.start(state, { trust });
    try {
      const envelope = join(folder, "v2.suit");
      const names = ["--vendor", "example.com", "--class", "sensor-a", "--sequence", "2", "--label", "2.0.0"];
      await cli("sign", FIRMWARE(2), "--key", key, ...names, "--out", envelope);
      expect((await cli("publish", envelope, "--image", FIRMWARE(2), "--state", state)).code).toBe(0);
      for (const name of ["mote-1", "mote-2"])
        await cli("fleet", "describe", name, "--tag", "roof", "--hops", "2", "--state", state);
      const file = join(folder, "rollout.yaml");
      copyFileSync(fileURLToPath(new URL("../../config/rollout.yaml", import.meta.url)), file);
      const planned = await cli("rollout", "plan", file, "--state", state, "--json");
      expect(planned.code, planned.stderr).toBe(0);
      const { warnings, ...prediction } = lastJson(planned.stdout);
      expect(warnings).toEqual([]);
      expect(prediction).toMatchObject({ devices: 2, runs: 8 });
      const { low, value, high } = prediction["durationS"] as { low: number; value: number; high: number };
      expect(low).toBeLessThanOrEqual(value);
      expect(value).toBeLessThanOrEqual(high);
      expect(value).toBeGreaterThan(0);
      await cli("rollout", "create", file, "--state", state);
      const shown = lastJson((await cli("rollout", "show", "last", "--state", state, "--json")).stdout);
      expect(shown["prediction"]).toEqual(prediction);

      // One that has gone wrong is one object too, with the error in it.
      const nobody = join(folder, "nobody.yaml");
      writeFileSync(nobody, "name: nobody\ntarget: endpoint==x*\ncomponents: [{ image: 2.0.0 }]\n");
      const { code, stdout } = await cli("rollout", "start", nobody, "--state", state, "--json");
      expect([code, stdout.trim().split("\n").length]).toEqual([1, 1]);
      expect(lastJson(stdout)).toMatchObject({ state: "finished", error: { reason: "no-device-matched" } });
    } finally {
      await served.kill();
    }
  });
});
