import type { Command } from "commander";
export function addGet(program: Command): void { void program; }
