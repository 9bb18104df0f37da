import type { Command } from "commander";

/** What a command on a running gateway takes: which one, and how to answer. */
export const gatewayOptions = (command: Command): Command =>
  command
    .option("--state <folder>", "state folder of the gateway", ".blockferry")
    .option("--json", "print one JSON object");
