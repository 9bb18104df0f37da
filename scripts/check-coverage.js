// Each MUST of the texts in docs/coverage has a test, or a reason why none applies. A SHOULD may be
// `untested`, and is said so.
import { existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { parse } from "yaml";

const FOLDER = "docs/coverage";

const problems = [];
const files = new Map();
const source = (file) => {
  if (!files.has(file)) files.set(file, existsSync(file) ? readFileSync(file, "utf8") : undefined);
  return files.get(file);
};

function check(file, entry) {
  const kinds = ["test", "reason", "untested"].filter((kind) => entry[kind] !== undefined);
  if (kinds.length !== 1) problems.push(`${file}: ${entry.id} needs exactly one of test, reason, untested`);
  if (entry.level.startsWith("MUST") && entry.untested !== undefined)
    problems.push(`${file}: ${entry.id} is a MUST without a test: write one, or name the reason`);
  if (entry.test === undefined) return;
  const at = entry.test.indexOf(" > ");
  const [path, title] = [entry.test.slice(0, at), entry.test.slice(at + 3)];
  if (source(path) === undefined) problems.push(`${file}: ${entry.id} names ${path}, which is not there`);
  else if (!source(path).includes(JSON.stringify(title)))
    problems.push(`${file}: ${entry.id}: ${path} has no test "${title}"`);
}

const totals = [];
for (const file of readdirSync(FOLDER).filter((name) => name.endsWith(".yaml"))) {
  const entries = parse(readFileSync(`${FOLDER}/${file}`, "utf8"));
  for (const entry of entries) check(file, entry);
  const of = (kind) => entries.filter((entry) => entry[kind] !== undefined).length;
  totals.push(
    `${file.replace(".yaml", "")}: ${of("test")} tested, ${of("reason")} with a reason, ${of("untested")} not yet`,
  );
}
/** docs/security-coverage.md is made of docs/coverage/security.yaml; `--write` makes it anew. */
function securityPage() {
  const entries = parse(readFileSync(`${FOLDER}/security.yaml`, "utf8"));
  const heading = {
    requirement: "Requirements of RFC 9124",
    threat: "Threats of RFC 9124",
    usability: "Usability requirements of RFC 9124",
    story: "User stories of RFC 9124",
    concern: "Concerns of the IAB's workshop (RFC 8240)",
  };
  const lines = [
    "# Security coverage",
    "",
    "Each requirement, threat and user story of RFC 9124 and each concern of RFC 8240: where it is met, and the test that shows",
    "it, or why none does. Made of [coverage/security.yaml](coverage/security.yaml) by `node scripts/check-coverage.js --write`;",
    "`npm run check` fails where an entry names a test that is not there.",
  ];
  for (const kind of Object.keys(heading)) {
    lines.push(
      "",
      `## ${heading[kind]}`,
      "",
      "| | what it is about | where it is met | shown by |",
      "|---|---|---|---|",
    );
    for (const { id, section, text, where, test, reason } of entries.filter((entry) => entry.kind === kind)) {
      const shown = test === undefined ? "nothing" : `${test.replace(" > ", ": ")}`;
      lines.push(`| ${id} (${section}) | ${text} | ${where ?? `not met, or not here: ${reason}`} | ${shown} |`);
    }
  }
  return `${lines.join("\n")}\n`;
}

const PAGE = "docs/security-coverage.md";
if (process.argv.includes("--write")) writeFileSync(PAGE, securityPage());
else if (source(PAGE) !== securityPage())
  problems.push(`${PAGE} is not what docs/coverage/security.yaml says: run node scripts/check-coverage.js --write`);
if (totals.length < 6) problems.push(`only ${totals.length} texts in ${FOLDER}: the check does not work`);
for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
else console.log(`coverage: ${totals.join("; ")}; no MUST without a test`);
