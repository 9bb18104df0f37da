// 10,000 registered devices: blocks for 1,000 of them at once over UDP from another process, and the API beside them.
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import autocannon from "autocannon";

const DEVICES = 10_000;
const TRANSFERS = 1_000;
const SECONDS = 10;
/** Between two blocks of a transfer: 20 blocks of 64 bytes a second are what one hop of 802.15.4 carries at best. */
const BLOCK_MS = 50;
const API_SECONDS = 4;
const CONNECTIONS = 10;
const BIN = fileURLToPath(new URL("../../bin/blockferry.js", import.meta.url));
const ECHO = fileURLToPath(new URL("./echo.js", import.meta.url));
const LOAD = fileURLToPath(new URL("./fleet-load.js", import.meta.url));

interface FleetSite {
  readonly port: number;
  readonly api: string;
  readonly token: string;
  readonly pid: number;
  readonly folder: string;
}

async function withGateway(work: (site: FleetSite) => Promise<void>): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), "blockferry-bench-"));
  const cli = (...args: string[]): string => execFileSync(process.execPath, [BIN, ...args], { cwd: folder }).toString();
  cli("key", "new", "--out", "author");
  const listen = ["--listen", "127.0.0.1:0", "--api-listen", "127.0.0.1:0"];
  writeFileSync(join(folder, "gateway.yaml"), "api: { requestsPerMinute: 1000000 }\n");
  const rest = ["--config", "gateway.yaml", "--state", "gw", "--trust", "author.pub.pem", "--log-level", "error"];
  const child = spawn(process.execPath, [BIN, "serve", "--json", ...listen, ...rest], {
    cwd: folder,
    stdio: ["ignore", "pipe", "inherit"],
  });
  try {
    const ready = JSON.parse(await firstLine(child)) as { addresses: string[]; api: string };
    writeFileSync(join(folder, "image.bin"), randomBytes(65_536));
    const names = ["--vendor", "example.com", "--class", "bench", "--sequence", "1", "--label", "2.0.0"];
    cli("sign", "image.bin", "--key", "author.key.pem", ...names, "--out", "image.suit");
    cli("publish", "image.suit", "--image", "image.bin", "--alias", "fw", "--state", "gw");
    const made = cli("token", "create", "bench", "--role", "admin", "--state", "gw", "--json");
    const port = Number(ready.addresses[0]!.split(":").at(-1));
    const { token } = JSON.parse(made) as { token: string };
    await work({ port, token, api: ready.api, pid: child.pid!, folder });
  } finally {
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  }
}

const lines = (child: ChildProcess): AsyncIterator<string> => createInterface(child.stdout!)[Symbol.asyncIterator]();
const firstLine = async (child: ChildProcess): Promise<string> => (await lines(child).next()).value as string;

function rssMb(pid: number): number {
  const match = /VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${pid}/status`, "utf8"));
  return Number(match?.[1] ?? 0) / 1_024;
}

export interface FleetRow {
  readonly devices: number;
  readonly transfers: number;
  readonly registrationsPerS: number;
  readonly blocksPerS: number;
  readonly lost: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** The same generator against a bare echo: what of it is the generator's own. */
  readonly echoP99Ms: number;
  readonly rssMb: number;
  /** Leshan's demo server is not on this machine. */
  readonly leshan: null;
}

type Served = Pick<FleetRow, "blocksPerS" | "lost" | "p50Ms" | "p99Ms" | "maxMs"> & { readonly registerS: number };

async function load(port: number, mode = "go"): Promise<Served> {
  const args = [port, DEVICES, TRANSFERS, SECONDS, BLOCK_MS].map(String);
  const child = spawn(process.execPath, [LOAD, ...args, mode], { stdio: ["ignore", "pipe", "inherit"] });
  const out = lines(child);
  const registered = JSON.parse((await out.next()).value as string) as object;
  return { ...registered, ...(JSON.parse((await out.next()).value as string) as object) } as Served;
}

export async function fleetRow(): Promise<FleetRow> {
  let row: FleetRow | undefined;
  await withGateway(async ({ port, pid }) => {
    const { registerS, ...served } = await load(port);
    const rss = rssMb(pid);
    const registrationsPerS = Math.round(DEVICES / registerS);
    const echo = spawn(process.execPath, [ECHO], { stdio: ["ignore", "pipe", "inherit"] });
    const bare = await load((JSON.parse(await firstLine(echo)) as { port: number }).port, "echo");
    echo.kill("SIGKILL");
    const fixed = { devices: DEVICES, transfers: TRANSFERS, registrationsPerS };
    row = { ...fixed, ...served, echoP99Ms: bare.p99Ms, rssMb: rss, leshan: null };
  });
  return row!;
}

export interface ApiRow {
  readonly route: string;
  readonly devices: number;
  readonly requestsPerS: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly not2xx: number;
  readonly kibPerAnswer: number;
}

/** Routes that an operator's page asks for again and again, and one that has to search. */
const ROUTES = [
  "/healthz",
  "/v1/fleet?limit=100",
  "/v1/fleet?limit=100&filter=endpoint%3D%3Dbench-99*",
  "/v1/fleet/bench-77",
  "/v1/devices/bench-77/timeline",
  "/v1/rollouts",
  "/v1/images",
  "/metrics",
];

export async function apiRows(told: (row: ApiRow) => void): Promise<void> {
  await withGateway(async ({ port, api, token }) => {
    const args = [String(port), String(DEVICES), "0", "0", "0", "stay"];
    const child = spawn(process.execPath, [LOAD, ...args], { stdio: ["ignore", "pipe", "inherit"] });
    await firstLine(child);
    for (const route of ROUTES) {
      const headers = { authorization: `Bearer ${token}` };
      const fixed = { connections: CONNECTIONS, duration: API_SECONDS, headers };
      const result = await autocannon({ url: api + route, ...fixed });
      const { requests, latency, non2xx: not2xx, throughput } = result;
      const kibPerAnswer = Number((throughput.average / Math.max(1, requests.average) / 1_024).toFixed(1));
      const row = { route, devices: DEVICES, requestsPerS: Math.round(requests.average), not2xx, kibPerAnswer };
      told({ ...row, p50Ms: latency.p50, p99Ms: latency.p99 });
    }
    child.kill("SIGKILL");
  });
}
