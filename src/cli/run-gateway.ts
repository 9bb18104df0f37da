import { join } from "node:path";
import { pinoLog } from "../adapters/pino-log.ts";
import { UploadFolder } from "../adapters/upload-folder.ts";
import { openApis } from "./api-listeners.ts";
import type { Config } from "./config.ts";
import { GatewayHost } from "./gateway-host.ts";
import { ofOrigins } from "./origins.ts";
import { simulatedPredictor } from "./prediction/predictor.ts";

/** A stop that takes longer than this is given up: the checkpoints cost at most their last second. */
const STOP_TIMEOUT_MS = 1_800;

/** Runs a gateway until SIGTERM or SIGINT; with `json` it says in one line when it is ready. */
export async function runGateway(config: Config, json: boolean): Promise<void> {
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
  if (json)
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
  // While there is a disk to write to what somebody is told.
  await apis.close();
  await host.stop();
  log.event("info", "stopped");
}

async function nextSignal(): Promise<string> {
  return await new Promise((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => resolve(signal));
  });
}
