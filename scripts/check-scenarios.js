// Every scenario at reduced size, twice with one seed: both runs have to take the same course, no check may be
// violated, and the table of results has to be the golden one. `--update` writes the golden table anew.
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";

const REDUCED = {
  "s1-desk": [],
  "s2-room": ["imageBytes=16384"],
  "s3-line-8": ["mac.maxRetries=3", "imageBytes=8192"],
  "s4-grid-100": ["imageBytes=4096", "startWithinS=120"],
  "s5-iotlab-50": ["imageBytes=2048", "startWithinS=300"],
  "s6-thread-home": ["imageBytes=8192", "startWithinS=600"],
  "s7-meter-500": [
    "motes=48",
    "topology.columns=7",
    "network.borderRouters=1",
    "imageBytes=2048",
    "startWithinS=3600",
    "maxHours=4",
  ],
  "s8-bad-day": ["imageBytes=8192"],
  "lwm2m-sleepy": [],
  restart: [],
};
const GOLDEN = new URL("../test/golden/scenarios.json", import.meta.url);

function run(name, seed) {
  const sets = REDUCED[name].flatMap((assignment) => ["--set", assignment]);
  const args = ["bin/blockferry.js", "simulate", name, "--seed", String(seed), "--json", ...sets];
  const out = execFileSync(process.execPath, args, { maxBuffer: 64 * 1_048_576 }).toString();
  return JSON.parse(out.trim().split("\n").at(-1));
}

const table = {};
let failed = false;
for (const name of Object.keys(REDUCED)) {
  const startMs = performance.now();
  const [first, second] = [run(name, 1), run(name, 1)];
  const seconds = ((performance.now() - startMs) / 2_000).toFixed(1);
  if (first.traceHash !== second.traceHash) {
    console.error(`${name}: two runs of seed 1 differ: ${first.traceHash}, ${second.traceHash}`);
    failed = true;
  }
  table[name] = first.cases.map(({ swept, outcomes, completionS, energyPerByteUj, air, traceHash }) => ({
    swept,
    outcomes,
    p50S: Number(completionS.p50.toFixed(3)),
    uJPerByte: Number(energyPerByteUj.toFixed(4)),
    frames: air.frames,
    traceHash,
  }));
  console.log(`${name}: trace ${first.traceHash}, ${first.updated} of ${first.motes} updated, ${seconds} s`);
}
const golden = process.argv.includes("--update") ? undefined : JSON.parse(readFileSync(GOLDEN, "utf8"));
if (golden === undefined) writeFileSync(GOLDEN, `${JSON.stringify(table, undefined, 2)}\n`);
else if (JSON.stringify(golden) !== JSON.stringify(table)) {
  console.error("results are not those of test/golden/scenarios.json: where that is meant, write it anew with");
  console.error("node scripts/check-scenarios.js --update, and say in the commit why they changed");
  for (const [name, cases] of Object.entries(table))
    if (JSON.stringify(golden[name]) !== JSON.stringify(cases)) console.error(`- ${name}`);
  failed = true;
}
if (failed) process.exitCode = 1;
