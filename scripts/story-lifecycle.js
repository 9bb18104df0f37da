// The life of five devices: made, updated, robbed, orphaned, handed over, retired. `--json` leaves the telling out but for the last line.
import { readFileSync } from "node:fs";
import { parseProfile } from "../dist/simulator/mote/profile.js";
import { LifecycleStory } from "../dist/simulator/story/lifecycle-story.js";

const file = new URL("../simulator/profiles/nrf52840.json", import.meta.url);
const profile = parseProfile(JSON.parse(readFileSync(file, "utf8")));
const json = process.argv.includes("--json");
const story = new LifecycleStory(1, profile, (line) => {
  if (!json) console.log(line);
});
const result = story.run();
console.log(JSON.stringify(result));
const refusals = result.refused.every(({ reason }) => reason !== "accepted");
const good =
  result.devices === 5 &&
  result.authentic === 5 &&
  result.orphansBeforeHandOver === 5 &&
  result.orphans === 0 &&
  result.auditOk &&
  result.tamperFound &&
  result.decommissioned &&
  refusals;
if (!good) process.exitCode = 1;
