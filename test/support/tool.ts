import { execFileSync } from "node:child_process";

/** True when a program of Debian's is here. Where it isn't, that is said aloud; CI fails. */
export function haveTool(name: string, debianPackage: string): boolean {
  try {
    execFileSync("sh", ["-c", `command -v ${name}`], { stdio: "ignore" });
    return true;
  } catch {
    const message = `${name} is not installed (apt-get install ${debianPackage})`;
    if (process.env["CI"] !== undefined) throw new Error(`CI must run the interop tests: ${message}`);
    console.warn(`SKIPPED: interop tests with ${name}: ${message}`);
    return false;
  }
}
