import type { Command } from "commander";
import { newKey, writeKeyFiles } from "../keys.ts";
import { usageError } from "../errors.ts";

export function addKey(program: Command): void {
  const key = program.command("key").description("make the keys that sign and verify manifests");
  key
    .command("new")
    .description("make a signing key: a private file to keep, a public one for gateways and motes")
    .requiredOption("--out <prefix>", "writes <prefix>.key.pem and <prefix>.pub.pem")
    .option("--algorithm <name>", "ES256 or Ed25519", "ES256")
    .option("--json", "print one JSON object")
    .addHelpText("after", "\nExample:\n  blockferry key new --out author\n  blockferry serve --trust author.pub.pem")
    .action((options: { out: string; algorithm: string; json?: boolean }) => {
      const { algorithm } = options;
      if (algorithm !== "ES256" && algorithm !== "Ed25519")
        throw usageError("bad-algorithm", "--algorithm is ES256 or Ed25519");
      const files = writeKeyFiles(options.out, newKey(algorithm));
      if (options.json === true) console.log(JSON.stringify({ algorithm, ...files }));
      else {
        console.log(`${files.privateFile}  private, ${algorithm}: keep it offline`);
        console.log(`${files.publicFile}  public: give it to gateways (serve --trust) and motes`);
      }
    });
}
