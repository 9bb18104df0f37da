import { readFileSync, rmSync } from "node:fs";
import type { Server } from "node:https";
import type { Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import type { FastifyInstance } from "fastify";
import { createApi, type GatewayControl } from "../http/api.ts";
import type { Log } from "../ports/log.ts";
import { parsePeer } from "../util/peer.ts";
import type { Config } from "./config.ts";
import { controlSocket } from "./control-client.ts";
import { environmentError } from "./errors.ts";

/** The API where it listens: the socket in the state folder, and an address where one is configured. */
export interface Apis {
  /** Of the network, with the port that was free. */
  readonly address: string | undefined;
  /** Whoever has asked is answered, unless that takes long; nobody is answered afterwards. */
  close(): Promise<void>;
}

const GRACE_MS = 500;

/** Listeners to events, and questions to devices, would hold it open for ever. */
async function closeAll(apps: readonly FastifyInstance[], sockets: ReadonlySet<Socket>): Promise<void> {
  const closing = Promise.all(apps.map(async (app) => app.close()));
  await Promise.race([closing, sleep(GRACE_MS, undefined, { ref: false })]);
  // One that has not ended its handshake is none that the server knows of.
  for (const socket of sockets) socket.destroy();
  await Promise.race([closing, sleep(GRACE_MS, undefined, { ref: false })]);
}

/** All connections of a server, whatever has become of them. */
function keepSockets({ server }: FastifyInstance, sockets: Set<Socket>): void {
  server.on("connection", (socket: Socket) => {
    sockets.add(socket);
    socket.once("close", () => sockets.delete(socket));
  });
}

export async function openApis(config: Config, log: Log, control: GatewayControl): Promise<Apis> {
  const sockets = new Set<Socket>();
  const local = await createApi(control);
  keepSockets(local, sockets);
  await listenLocally(local, config);
  if (config.api.listen === undefined) return { address: undefined, close: async () => closeAll([local], sockets) };
  const { api } = config;
  const { address, port } = parsePeer(api.listen!)!;
  const readTls = (): { cert: Buffer; key: Buffer } | undefined => api.tls && readPem(api.tls);
  try {
    const tls = readTls();
    const { requestsPerMinute } = api;
    const remote = await createApi(control, { local: false, tls, requestsPerMinute });
    if (tls === undefined && !/^(127\.|::1$)/.test(address))
      log.event("warn", "api-without-tls", { reason: "tokens cross the network in clear: set api.tls" });
    keepSockets(remote, sockets);
    const url = await remote.listen({ host: address, port });
    process.on("SIGHUP", () => reload(remote, readTls, log));
    return {
      address: url,
      close: async () => closeAll([remote, local], sockets),
    };
  } catch (error) {
    await local.close();
    throw environmentError("api-listen", `cannot open the API on ${api.listen}: ${(error as Error).message}`);
  }
}

/** New certificates for new connections; the old ones stay where the new ones are none. */
function reload(app: FastifyInstance, read: () => { cert: Buffer; key: Buffer } | undefined, log: Log): void {
  try {
    const tls = read();
    if (tls === undefined) return;
    (app.server as unknown as Server).setSecureContext(tls);
    log.event("info", "certificates-reloaded");
  } catch (error) {
    log.event("error", "certificates-not-reloaded", { reason: (error as Error).message });
  }
}

function readPem({ cert, key }: { readonly cert: string; readonly key: string }): { cert: Buffer; key: Buffer } {
  return { cert: readFileSync(cert), key: readFileSync(key) };
}

async function listenLocally(api: FastifyInstance, config: Config): Promise<void> {
  const path = controlSocket(config.state);
  try {
    // The store's lock is ours, so a socket that is there was left by a gateway that died.
    rmSync(path, { force: true });
    await api.listen({ path });
  } catch (error) {
    throw environmentError(
      "control-socket",
      `cannot open ${path}: ${(error as Error).message}; choose another --state`,
    );
  }
}
