import { execFile, spawn, type ChildProcess } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { afterAll, expect } from "vitest";

export const BIN: string = fileURLToPath(new URL("../../bin/blockferry.js", import.meta.url));
export const FIRMWARE: (version: 1 | 2) => string = (version) =>
  fileURLToPath(new URL(`../../firmware/sensor-${version}.bin`, import.meta.url));

/** A folder that is removed when the test file is done. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "blockferry-test-"));
  afterAll(() => rmSync(folder, { recursive: true, force: true }));
  return folder;
}

export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs the command line to its end. */
export async function cli(...args: string[]): Promise<Finished> {
  return await new Promise((resolve) => {
    execFile(process.execPath, [BIN, ...args], { timeout: 60_000 }, (error, stdout, stderr) => {
      resolve({ code: error === null ? 0 : Number(error.code ?? -1), stdout, stderr });
    });
  });
}

export const lastJson = (stdout: string): Record<string, unknown> =>
  JSON.parse(stdout.trim().split("\n").at(-1)!) as Record<string, unknown>;

/** What a command says by `--json` that does what it is told. */
export async function json(...args: string[]): Promise<Record<string, unknown>> {
  const { code, stdout, stderr } = await cli(...args, "--json");
  expect(code, `${args.join(" ")}\n${stderr}`).toBe(0);
  return lastJson(stdout);
}

/** The word by which a command refuses, without a stack. */
export async function reasonOf(...args: string[]): Promise<unknown> {
  const { code, stdout, stderr } = await cli(...args, "--json");
  expect(code, stdout).toBeGreaterThan(1);
  expect(stderr).not.toContain("    at ");
  return (lastJson(stdout)["error"] as { reason: string }).reason;
}

/** A running `serve`. */
export class Served {
  readonly child: ChildProcess;
  readonly port: number;
  /** Where the API listens on the network. */
  readonly api: string | undefined;
  readonly #exited: Promise<number | null>;

  private constructor(child: ChildProcess, port: number, exited: Promise<number | null>, api: string | undefined) {
    this.api = api;
    this.child = child;
    this.port = port;
    this.#exited = exited;
  }

  /** `fileLimitKiB` bounds the size of any file that the process writes: a disk that is full, without root. */
  static async start(
    state: string,
    options: { trust?: string; listen?: string; fileLimitKiB?: number; config?: string; logLevel?: string } = {},
  ): Promise<Served> {
    const args = [
      BIN,
      "serve",
      "--json",
      "--state",
      state,
      "--listen",
      options.listen ?? "127.0.0.1:0",
      "--log-level",
      options.logLevel ?? "error",
    ];
    if (options.config !== undefined) args.push("--config", options.config);
    if (options.trust !== undefined) args.push("--trust", options.trust);
    const command: [string, string[]] =
      options.fileLimitKiB === undefined
        ? [process.execPath, args]
        : ["bash", ["-c", `ulimit -f ${options.fileLimitKiB}; exec "$@"`, "bash", process.execPath, ...args]];
    const child = spawn(...command, { stdio: ["ignore", "pipe", "pipe"] });
    const exited = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)));
    let stderr = "";
    child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
    const line = await new Promise<string>((resolve, reject) => {
      createInterface({ input: child.stdout }).once("line", resolve);
      void exited.then((code) => reject(new Error(`serve ended with ${code}: ${stderr}`)));
    });
    const { addresses, api } = JSON.parse(line) as { addresses: string[]; api: string | null };
    return new Served(child, Number(addresses[0]!.split(":").at(-1)), exited, api ?? undefined);
  }

  async kill(): Promise<void> {
    this.child.kill("SIGKILL");
    await this.#exited;
  }

  /** Stops it gracefully; returns the exit code and how long it took. */
  async stop(): Promise<{ code: number | null; ms: number }> {
    const startMs = performance.now();
    this.child.kill("SIGTERM");
    return { code: await this.#exited, ms: performance.now() - startMs };
  }
}

/** A key and a signed envelope for a firmware image. */
export async function authorFiles(
  folder: string,
  version: 1 | 2 = 1,
): Promise<{ trust: string; key: string; envelope: string }> {
  const prefix = join(folder, "author");
  const [key, trust, envelope] = [`${prefix}.key.pem`, `${prefix}.pub.pem`, join(folder, `fw-${version}.suit`)];
  await cli("key", "new", "--out", prefix);
  await cli(
    "sign",
    FIRMWARE(version),
    "--key",
    key,
    "--vendor",
    "example.com",
    "--class",
    "sensor-a",
    "--sequence",
    String(version),
    "--out",
    envelope,
  );
  return { trust, key, envelope };
}
