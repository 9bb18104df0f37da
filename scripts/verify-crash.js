// Kills the gateway at random instants of rollouts of 100 motes, on a disk whose writes fail and tear, until it has
// died a thousand times. `--kills <n>`, `--seed <n>`, `--plant` (a disk that lies, which has to be found out), `--json`.
import { readFileSync } from "node:fs";
import { parseArgs } from "node:util";
import { parseProfile } from "../dist/simulator/mote/profile.js";
import { runCrashes } from "../dist/simulator/rollout/crash-run.js";
import { readQuirks } from "../dist/src/cli/lwm2m-policy.js";
import { DEFAULT_POLICY } from "../dist/src/lwm2m/update/job.js";
import { SPEC_DEFAULTS } from "../dist/src/rollout/spec.js";

const { values } = parseArgs({
  options: {
    kills: { type: "string", default: "1000" },
    seed: { type: "string", default: "1" },
    plant: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
  },
});
const MOTES = 100;
const profile = parseProfile(JSON.parse(readFileSync(new URL("../simulator/profiles/nrf52840.json", import.meta.url))));
const devices = Array.from({ length: MOTES }, (_, i) => ({
  name: `mote-${i + 1}`,
  behaviour: "good",
  tags: [],
  hops: 1,
  per: 0.05,
  lifetimeS: 3_600,
  queue: undefined,
}));
const groups = [
  { name: "canary", percent: 5, successThreshold: 100, errorThreshold: 50, onSuccess: "pause" },
  { name: "half", percent: 50, successThreshold: 90, errorThreshold: 20, onSuccess: "next" },
  { name: "rest", successThreshold: 100, errorThreshold: 20, onSuccess: "next" },
];
const spec = {
  ...SPEC_DEFAULTS,
  name: "verify-crash",
  components: [{ object: [5, 0], digest: "00", size: 4_096, version: "2.0.0" }],
  policy: { ...DEFAULT_POLICY, graceS: 600 },
  groups,
  maxConcurrent: 10,
  deadlineS: 86_400,
};

/** To the end; with a barrier; cancelled half-way, without one and with one, where one write of five fails. */
const KINDS = [
  { barrier: false, failing: 0.03 },
  { barrier: true, failing: 0.03 },
  { barrier: false, failing: 0.2, cancelAt: MOTES / 2 },
  { barrier: true, failing: 0.2, cancelAt: 0.6 * MOTES },
];

const total = { kills: 0, lostAcks: 0, doubleUpdates: 0, wrongImages: 0, finished: true };
const findings = [];
let runs = 0;
for (let seed = Number(values.seed); total.kills < Number(values.kills); seed++) {
  const left = Number(values.kills) - total.kills;
  const parts = { profile, devices, quirks: readQuirks(undefined), kills: left, everyS: 2 };
  const { barrier, ...kind } = KINDS[seed % KINDS.length];
  const result = runCrashes({ ...spec, barrier }, seed, { ...parts, ...kind, lies: values.plant });
  for (const key of ["kills", "lostAcks", "doubleUpdates", "wrongImages"]) total[key] += result[key];
  total.finished &&= result.finished;
  findings.push(...result.findings.map((text) => `seed ${seed}: ${text}`));
  runs++;
  if (!values.json) console.error(`seed ${seed}: ${result.kills} kills, ${total.kills} in all`);
}
for (const finding of findings.slice(0, 20)) console.error(finding);
if (values.json) console.log(JSON.stringify(total));
else console.log(`${runs} rollouts of ${MOTES} motes: ${JSON.stringify(total)}`);
const sound = total.lostAcks + total.doubleUpdates + total.wrongImages === 0 && total.finished;
if (sound === values.plant) process.exitCode = 1;
