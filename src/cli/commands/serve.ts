import { join } from "node:path";
import type { Command } from "commander";
import { pinoLog } from "../../adapters/pino-log.ts";
import { UploadFolder } from "../../adapters/upload-folder.ts";
import { openApis } from "../api-listeners.ts";
import { loadConfig, type ConfigOverrides } from "../config.ts";
import { GatewayHost } from "../gateway-host.ts";
import { ofOrigins } from "../origins.ts";
import { simulatedPredictor } from "../prediction/predictor.ts";

/** A stop that takes longer than this is given up: the checkpoints cost at most their last second. */
const STOP_TIMEOUT_MS = 1_800;

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
  process.umask(0o077); // before the first file: keys of devices may come to lie in them
  // A reader of our output that goes away must not take the gateway with it.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  const log = pinoLog(config.log.level, process.stderr);
  const host = await GatewayHost.start(config, log);
  const predict = simulatedPredictor(host.gateway, config.state, config.coap.blockSize);
  const apis = await openApis(config, log, {
    unixMs: () => Date.now(),
    gateway: host.gateway,
    addresses: host.addresses,
    events: host.events,
    predict,
    uploads: new UploadFolder(join(config.state, "uploads"), {
      maxBytes: config.limits.maxImageBytes,
      isNeeded: (sha256) => host.gateway.isNamed(sha256),
    }),
    mayName: ofOrigins(config.api.sources),
    publish: async (request) => host.publish(request),
    call: (action) => host.call(action),
    operate: async (endpoint, spec, how) => host.operate(endpoint, spec, how),
    probe: async (endpoint) => host.probe(endpoint),
    count: (name, label) => host.counters.count(name, label),
    metrics: () => host.counters.snapshot(),
  }).catch(async (error: unknown) => {
    await host.stop();
    throw error;
  });
  log.event("info", "serving", { addresses: host.addresses.join(" "), state: config.state });
  if (options.json === true)
    console.log(
      JSON.stringify({
        event: "serving",
        addresses: host.addresses,
        api: apis.address ?? null,
        state: config.state,
        pid: process.pid,
      }),
    );
  const signal = await nextSignal();
  log.event("info", "stopping", { reason: signal });
  setTimeout(() => process.exit(0), STOP_TIMEOUT_MS).unref();
  await host.stop();
  await apis.close();
  log.event("info", "stopped");
}

async function nextSignal(): Promise<string> {
  return await new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve(signal));
  });
}
