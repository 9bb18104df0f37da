import type { Command } from "commander";
import { nodeCrypto } from "../../adapters/node-crypto.ts";
import { verifyChain } from "../../lifecycle/audit-log.ts";
import { callGateway } from "../control-client.ts";
import { ExitCode, usageError, UserError } from "../errors.ts";
import { readLines, writeOutput } from "../files.ts";
import { gatewayOptions } from "../gateway-options.ts";

export function addAudit(program: Command): void {
  gatewayOptions(program.command("audit"))
    .description("check the hash-chained audit log, and write it out")
    .option("--file <file>", "check this log instead of a running gateway's")
    .option(
      "--head <hash>",
      "hash of the last entry, as it was noted elsewhere: shows whether entries at the end are missing",
    )
    .option("--out <file>", "write the log, one entry on each line")
    .addHelpText(
      "after",
      "\nExample:\n  blockferry audit --state gw --out audit.jsonl\n  blockferry audit --file audit.jsonl --head 9f86d081…",
    )
    .action(async (options: { state: string; json?: boolean; file?: string; head?: string; out?: string }) => {
      const { file, head: noted, out, json } = options;
      if (noted !== undefined && !/^[0-9a-f]{64}$/.test(noted))
        throw usageError("bad-head", "--head is the 64 digits that blockferry audit has printed");
      const lines = file === undefined ? await linesOf(options.state) : readLines(file);
      const chain = verifyChain(nodeCrypto, lines, noted);
      if (out !== undefined) writeOutput(out, Buffer.from(lines.map((line) => `${line}\n`).join("")));
      const head = chain.entries.at(-1)?.hash ?? null;
      const entries = chain.entries.length;
      if (chain.ok) {
        console.log(
          json === true
            ? JSON.stringify({ ok: true, entries, head })
            : `${entries} entries, unbroken; the last hash is ${head}`,
        );
        return;
      }
      const { line, detail } = chain;
      const broken = new UserError(ExitCode.FAILED, "audit-log-tampered", `line ${line}: ${detail}`);
      if (json !== true) throw broken;
      const error = { reason: broken.reason, message: broken.message };
      console.log(JSON.stringify({ ok: false, entries, head, line, detail, error }));
      process.exitCode = broken.exitCode;
    });
}

async function linesOf(state: string): Promise<readonly string[]> {
  return ((await callGateway(state, "GET", "/v1/audit")) as { lines: string[] }).lines;
}
