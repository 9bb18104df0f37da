// The arrows of docs/architecture.md, checked by dependency-cruiser. It reports nothing at all when
// it cannot parse TypeScript, so a run that sees too few modules fails.
import { cruise } from "dependency-cruiser";

const LEAST_MODULES = 50;

/** What each folder may import besides itself, src/ports and src/util. */
const ALLOWED = {
  "src/ports": [],
  "src/util": [],
  "src/codec": [],
  "src/crypto": [],
  "src/delta": [],
  "src/coap": ["src/codec"],
  "src/suit": ["src/codec", "src/delta"],
  "src/lifecycle": ["src/suit", "src/codec"],
  "src/image": ["src/codec"],
  "src/transfer": ["src/coap", "src/codec"],
  "src/lwm2m": ["src/coap", "src/codec"],
  "src/rollout": ["src/lwm2m"],
  "src/gateway": [
    "src/rollout",
    "src/lifecycle",
    "src/transfer",
    "src/lwm2m",
    "src/suit",
    "src/image",
    "src/coap",
    "src/codec",
  ],
  "src/host": [],
  "src/adapters": [],
  "src/http": ["src/gateway", "src/rollout", "src/transfer", "src/lifecycle", "src/lwm2m", "src/suit"],
  "src/cli": ["src", "simulator"],
  simulator: [
    "gateway",
    "lifecycle",
    "host",
    "coap",
    "codec",
    "crypto",
    "delta",
    "lwm2m",
    "rollout",
    "suit",
    "transfer",
  ].map((layer) => `src/${layer}`),
};

const forbidden = Object.entries(ALLOWED).map(([from, to]) => {
  const reachable = [from, "src/ports", ...(from === "src/ports" ? [] : ["src/util"]), ...to];
  return {
    name: `layer-${from}`,
    severity: "error",
    from: { path: `^${from}/` },
    to: { path: "^(src|simulator|test|bench)/", pathNot: reachable.map((folder) => `^${folder}/`) },
  };
});
forbidden.push({
  name: "no-cycles",
  severity: "error",
  from: {},
  to: { circular: true, dependencyTypesNot: ["type-only"] },
});

const { output } = await cruise(["src", "simulator"], {
  ruleSet: { forbidden },
  validate: true,
  parser: "swc",
  tsPreCompilationDeps: true,
  doNotFollow: { path: "node_modules" },
});
const { summary, modules } = output;
const own = modules.filter(({ source }) => /^(src|simulator)\//.test(source)).length;
for (const { rule, from, to } of summary.violations) console.error(`${rule.name}: ${from} -> ${to}`);
if (own < LEAST_MODULES) console.error(`only ${own} modules were seen: the check does not work`);
if (summary.violations.length > 0 || own < LEAST_MODULES) process.exitCode = 1;
else console.log(`layers: ${own} modules, no violation`);
