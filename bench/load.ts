import { execFile, execFileSync, spawn, type ChildProcess } from "node:child_process";
import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { createInterface } from "node:readline";
import { promisify } from "node:util";

const run = promisify(execFile);

/** What the load generator printed. */
export interface LoadResult {
  readonly reqPerS: number;
  readonly p99Us: number;
  readonly rssMiB: number;
  readonly bad: number;
  readonly retransmissions: number;
}

const hasTaskset = ((): boolean => {
  try {
    execFileSync("taskset", ["-c", "0", "true"], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
})();

/** A command pinned to one core, where the machine can do that. */
function pinned(core: number, command: string, args: readonly string[]): [string, string[]] {
  return hasTaskset ? ["taskset", ["-c", String(core), command, ...args]] : [command, [...args]];
}

/** Compiles the generator, a C program for N closed-loop clients; undefined when there is none or no compiler. */
export function compileGenerator(folder: string): string | undefined {
  const source = resolve(process.env["BLOCKFERRY_SHARED"] ?? "../shared", "tools/coapload.c");
  if (!existsSync(source)) return undefined;
  const binary = join(folder, "coapload");
  try {
    execFileSync("gcc", ["-O2", "-o", binary, source], { stdio: "inherit" });
    return binary;
  } catch {
    return undefined;
  }
}

/** Starts a server on core 0 and waits for its JSON line. */
export async function startServer(
  args: readonly string[],
): Promise<{ child: ChildProcess; ready: Record<string, unknown> }> {
  const child = spawn(...pinned(0, process.execPath, args), { stdio: ["ignore", "pipe", "inherit"] });
  const line = await new Promise<string>((done, fail) => {
    createInterface({ input: child.stdout }).once("line", done);
    child.once("exit", (code) => fail(new Error(`server ended with ${code}`)));
  });
  return { child, ready: JSON.parse(line) as Record<string, unknown> };
}

/** libcoap's example server on core 0 with `image` at /fw; undefined when it is not installed. */
export async function startLibcoap(image: string): Promise<{ child: ChildProcess; port: number } | undefined> {
  const port = 40_000 + (process.pid % 10_000);
  try {
    execFileSync("sh", ["-c", "command -v coap-server-notls && command -v coap-client-notls"], { stdio: "ignore" });
  } catch {
    return undefined;
  }
  const server = ["-A", "127.0.0.1", "-p", String(port), "-d", "10"];
  const child = spawn(...pinned(0, "coap-server-notls", server), { stdio: "ignore" });
  await new Promise((done) => setTimeout(done, 500));
  const put = ["-m", "put", "-b", "1024", "-t", "42", "-f", image, `coap://127.0.0.1:${port}/fw`];
  execFileSync("coap-client-notls", put, { stdio: "ignore" });
  return { child, port };
}

/** One measurement from core 1. */
export async function load(generator: string, args: readonly (string | number)[]): Promise<LoadResult> {
  // It ends with 1 when a reply was not what it should be, which its figures say as well: a slow server
  // still answers the measurement before.
  const { stdout } = await run(...pinned(1, generator, args.map(String)), { maxBuffer: 1_048_576 }).catch(
    (error: Error & { stdout?: string }) => {
      if (error.stdout?.startsWith("{") !== true) throw error;
      return { stdout: error.stdout };
    },
  );
  const out = JSON.parse(stdout) as Record<string, number>;
  return {
    reqPerS: out["req_s"]!,
    p99Us: out["p99_us"]!,
    rssMiB: out["srv_rss_MiB"]!,
    bad: out["bad"]! + out["giveup"]!,
    retransmissions: out["retrans"]!,
  };
}
