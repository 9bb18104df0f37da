import { Command } from "commander";
import { expect, it } from "vitest";
import { addCommands, COMMANDS } from "../../src/cli/commands.ts";

const namesOf = async (asked: string | undefined): Promise<string[]> => {
  const program = new Command();
  await addCommands(program, asked);
  return program.commands.map((command) => command.name());
};

it("each command is where its name says, and nothing else is loaded for it", async () => {
  const all = COMMANDS.flatMap(([names]) => names);
  expect(await namesOf(undefined)).toEqual(all);
  expect(await namesOf("--help")).toEqual(all);
  for (const [names] of COMMANDS) for (const name of names) expect(await namesOf(name)).toEqual(names);
});
