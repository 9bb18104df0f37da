import { instance } from "@viz-js/viz";
import { describe, expect, it } from "vitest";
import { STATE_TABLES as COAP_TABLES } from "../../src/coap/states.ts";
import { UPDATE } from "../../src/lwm2m/states.ts";
import { ROLLOUT_TABLES } from "../../src/rollout/states.ts";
import { StateTable } from "../../src/util/state-table.ts";

/*
 * docs/state-machines is made from the tables that the code asks. When a table changes, these fail;
 * `npx vitest run test/docs -u` draws it anew.
 */

type Table = (typeof COAP_TABLES)[number];
const STATE_TABLES: readonly Table[] = [...COAP_TABLES, UPDATE, ...ROLLOUT_TABLES];
const FOLDER = "../../docs/state-machines";
const fileName = ({ title }: Table): string => `${title.toLowerCase().replaceAll(" ", "-")}.svg`;

function dotOf({ initial, rows, title }: Table): string {
  const edges = new Map<string, string[]>();
  for (const { from, on, to } of rows) {
    const edge = `"${from}" -> "${to}"`;
    edges.set(edge, [...(edges.get(edge) ?? []), on]);
  }
  const ends = new Set(rows.map(({ to }) => to));
  for (const { from, to } of rows) if (from !== to) ends.delete(from);
  return [
    `digraph "${title}" {`,
    `rankdir=LR; bgcolor=white; pad=0.2; nodesep=0.45; ranksep=0.9; node [shape=box, margin="0.25,0.1", style="rounded,filled", fillcolor="#eef3fb", color="#35507a", fontname="sans-serif", fontsize=13]; edge [fontname="sans-serif", fontsize=11, color="#666666"];`,
    `start [shape=circle, style=filled, fillcolor=black, label="", width=0.15]; start -> "${initial}";`,
    ...[...ends].map((end) => `"${end}" [shape=box, style="rounded,filled", fillcolor="#dddddd"];`),
    ...[...edges].map(([edge, events]) => `${edge} [label=" ${events.join("\\n ")} "];`),
    "}",
  ].join("\n");
}

function pageOf(tables: readonly Table[]): string {
  const sections = tables.map((table) => {
    const rows = table.rows.map(({ from, on, to, why }) => `| ${from} | ${on} | ${to} | ${why} |`);
    const head = ["| state | event | next | why |", "|---|---|---|---|"];
    return [`## ${table.title}`, "", `![${table.title}](${fileName(table)})`, "", ...head, ...rows].join("\n");
  });
  return [
    "# State machines",
    "",
    "Made from `states.ts` of `src/coap`, `src/lwm2m` and `src/rollout`, the tables that the code asks: an event without a row is ignored.",
    "A test fails when these pages and the tables differ.",
    "",
    sections.join("\n\n"),
    "",
  ].join("\n");
}

describe("docs/state-machines", () => {
  it.each(STATE_TABLES.map((table) => [table.title, table] as const))(
    "%s is drawn as its table says",
    async (_title, table) => {
      const viz = await instance();
      await expect(viz.renderString(dotOf(table), { format: "svg" })).toMatchFileSnapshot(
        `${FOLDER}/${fileName(table)}`,
      );
    },
  );

  it("the page shows every table", async () => {
    await expect(pageOf(STATE_TABLES)).toMatchFileSnapshot(`${FOLDER}/README.md`);
  });
});

describe("a table", () => {
  it("has one way out for an event, and none from a state that nothing leads to", () => {
    expect(
      () =>
        new StateTable("t", "a", [
          ["a", "x", "b", ""],
          ["a", "x", "a", ""],
        ]),
    ).toThrow(/two ways/);
    expect(() => new StateTable("t", "a", [["c", "x", "a", ""]])).toThrow(/nothing leads/);
    const table = new StateTable("t", "a", [["a", "x", "b", ""]]);
    const holder = { state: "a" as "a" | "b" };
    expect([table.step(holder, "x"), holder.state, table.step(holder, "x"), holder.state]).toEqual([
      true,
      "b",
      false,
      "b",
    ]);
  });
});
