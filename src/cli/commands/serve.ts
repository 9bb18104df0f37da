import type { Command } from "commander";
import { loadConfig, type ConfigOverrides } from "../config.ts";

interface ServeOptions extends Omit<ConfigOverrides, "blockSize" | "ackTimeoutMs"> {
  config?: string;
  blockSize?: string;
  ackTimeoutMs?: string;
  json?: boolean;
}

export function addServe(program: Command): void {
  program
    .command("serve")
    .description("run the gateway: serve published images over CoAP, until SIGTERM or SIGINT")
    .option("--config <file>", "YAML configuration; config/gateway.yaml shows every key")
    .option("--listen <address...>", "address and port, such as 0.0.0.0:5683 or [::]:5683; port 0 picks a free one")
    .option("--state <folder>", "where images, releases and checkpoints are kept (.blockferry)")
    .option("--trust <file...>", "public keys (PEM) whose signatures are trusted; <state>/trust/*.pem are too")
    .option("--block-size <bytes>", "for clients that name none (64)")
    .option("--ack-timeout-ms <ms>", "ACK_TIMEOUT of RFC 7252 section 4.8 (2000)")
    .option("--api-listen <address>", "the API over the network as well, such as 127.0.0.1:8080; needs tokens")
    .option("--log-level <level>", "debug, info, warn, error or silent (info)")
    .option("--json", "print one JSON line when ready")
    .addHelpText(
      "after",
      `
Logs are JSON lines on standard error. The operator's commands (publish, images) find the gateway
by its state folder.

Example:
  blockferry serve --state /var/lib/blockferry --trust author.pub.pem
  blockferry serve --config config/gateway.yaml`,
    )
    .action(async (options: ServeOptions) => serve(options));
}

async function serve(options: ServeOptions): Promise<void> {
  const number = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number(text));
  const overrides = { ...options, blockSize: number(options.blockSize), ackTimeoutMs: number(options.ackTimeoutMs) };
  const config = loadConfig(options.config, overrides);
  // What a gateway takes is loaded when there is one to run: help and wrong configurations do without.
  const { runGateway } = await import("../run-gateway.ts");
  await runGateway(config, options.json === true);
}
