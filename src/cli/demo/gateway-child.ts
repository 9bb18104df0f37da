import { spawn, type ChildProcess } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { ExitCode, UserError } from "../errors.ts";

const BIN = fileURLToPath(new URL("../../../../bin/blockferry.js", import.meta.url));

/** The gateway as a child process, so that it can be killed like one. */
export class GatewayChild {
  readonly address: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<void>;

  private constructor(child: ChildProcess, address: string, exited: Promise<void>) {
    this.#child = child;
    this.address = address;
    this.#exited = exited;
  }

  static async start(state: string, listen: string, trust: string, ackTimeoutMs: number): Promise<GatewayChild> {
    const args = [
      BIN,
      "serve",
      "--json",
      "--state",
      state,
      "--listen",
      listen,
      "--trust",
      trust,
      "--ack-timeout-ms",
      String(ackTimeoutMs),
      "--log-level",
      "error",
    ];
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
    const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
    const lines = createInterface({ input: child.stdout });
    const ready = new Promise<string>((resolve) => {
      lines.on("line", (line) => {
        const { event, addresses } = JSON.parse(line) as { event?: string; addresses?: string[] };
        if (event === "serving") resolve(addresses![0]!);
      });
    });
    const failed = exited.then(() => {
      throw new UserError(
        ExitCode.FAILED,
        "gateway-failed",
        "the gateway ended before it was ready; its message is above",
      );
    });
    const address = await Promise.race([ready, failed]);
    failed.catch(() => {}); // later ends are the demo's own doing
    return new GatewayChild(child, address, exited);
  }

  /** SIGKILL: no chance to write anything. */
  async kill(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }

  async stop(): Promise<void> {
    this.#child.kill("SIGTERM");
    await this.#exited;
  }
}
