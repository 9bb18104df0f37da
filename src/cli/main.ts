import { readFileSync } from "node:fs";
import { Command, CommanderError, Help } from "commander";
import { addCommands } from "./commands.ts";
import { ExitCode, UserError } from "./errors.ts";

const { version } = JSON.parse(readFileSync(new URL("../../../package.json", import.meta.url), "utf8")) as {
  version: string;
};

const program = new Command("blockferry")
  .description(
    "Update gateway for constrained networks: verifies signed firmware images, caches them, and ferries them block by block.",
  )
  .version(version)
  .showHelpAfterError("(--help shows an example)")
  .exitOverride()
  .configureHelp({
    optionDescription: (option) => `${new Help().optionDescription(option)}${option.mandatory ? " (needed)" : ""}`,
  })
  .addHelpText(
    "after",
    `
A first update, on one machine:
  blockferry key new --out author
  blockferry serve --state gw --trust author.pub.pem --listen 127.0.0.1:5683 &
  blockferry sign firmware.bin --key author.key.pem --vendor example.com --class sensor-a --sequence 1 --out fw.suit
  blockferry publish fw.suit --image firmware.bin --state gw
  blockferry get coap://127.0.0.1:5683/i/… --out copy.bin

Exit codes: 0 done, 1 failed, 2 wrong usage or input, 3 refused by the gateway, 4 no answer, 5 the machine does not allow it.`,
  );

const isKnown = await addCommands(program, process.argv[2]);

// Whoever reads our output may stop (`| head`); a gateway goes on all the same.
if (process.argv[2] !== "serve")
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(ExitCode.OK);
    throw error;
  });

try {
  // Of a name that is none nothing can be told, whatever stands behind it.
  await program.parseAsync(isKnown ? process.argv : process.argv.slice(0, 3));
} catch (error) {
  process.exitCode = report(error);
}

/** Prints an error for people, or as the JSON line that --json promises; returns the exit code. */
function report(error: unknown): number {
  const isJson = process.argv.includes("--json");
  if (error instanceof CommanderError) {
    if (error.exitCode === 0) return ExitCode.OK;
    // It has told people already.
    if (isJson) console.log(JSON.stringify({ error: { reason: error.code, message: error.message } }));
    return ExitCode.USAGE;
  }
  const known = error instanceof UserError;
  const { message, stack } = error as Error;
  const reason = known ? error.reason : "internal-error";
  if (isJson) console.log(JSON.stringify({ ...(known ? error.result : {}), error: { reason, message } }));
  console.error(known ? `error: ${message}` : `error: this is a defect in blockferry, please report it:\n${stack}`);
  return known ? error.exitCode : ExitCode.FAILED;
}
