import { spawn } from "node:child_process";
import { cpSync, mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { createSocket } from "node:dgram";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { temporaryFolder } from "../support/process.ts";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** The commands under 'Run a rollout', as they stand there. */
function commands(): string[] {
  const text = readFileSync(join(ROOT, "README.md"), "utf8");
  const section = text.slice(text.indexOf("## Run a rollout"));
  const block = /```sh\n([\s\S]*?)```/.exec(section)![1]!;
  return block.trim().split("\n");
}

const freePort = async (): Promise<number> =>
  new Promise((resolve) => {
    const socket = createSocket("udp4");
    socket.bind(0, "127.0.0.1", () => {
      const { port } = socket.address();
      socket.close(() => resolve(port));
    });
  });

describe("README: run a rollout", () => {
  it("has at most eight commands, and they bring ten motes to a new version with a pause and a resume", async () => {
    const lines = commands();
    expect(lines.length).toBeLessThanOrEqual(8);
    expect(lines[0]).toBe("npm ci");
    // In a folder like a checkout after `npm ci`; only the port may be taken on this machine, so it is another one.
    const folder = temporaryFolder();
    for (const name of ["firmware", "config"]) cpSync(join(ROOT, name), join(folder, name), { recursive: true });
    mkdirSync(join(folder, "bin"));
    symlinkSync(join(ROOT, "bin", "blockferry.js"), join(folder, "bin", "blockferry"));
    const port = await freePort();
    const script = lines
      .slice(1)
      .map((line) => line.replace(/^npx /, "").replaceAll("127.0.0.1:5683", `127.0.0.1:${port}`));
    const shell = spawn("bash", ["-e", "-c", `trap 'kill $(jobs -p)' EXIT\n${script.join("\n")}`], {
      cwd: folder,
      env: { ...process.env, PATH: `${join(folder, "bin")}:${process.env["PATH"]}` },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    for (const stream of [shell.stdout, shell.stderr]) stream.on("data", (piece: Buffer) => (output += String(piece)));
    const code = await new Promise<number | null>((resolve) => shell.on("exit", resolve));
    expect(code, output).toBe(0);
    expect(output).toMatch(/sensors to 2\.0\.0 is paused \(group-done\)/);
    expect(output).toMatch(/sensors to 2\.0\.0 is finished/);
    expect(output).toMatch(/rest +finished +8 +8 +0/);
  });
});
