import { setTimeout as sleep } from "node:timers/promises";
import type { Command } from "commander";
import type { UpdateView } from "../../http/updates.ts";
import { hasEnded } from "../../lwm2m/update/job.ts";
import { callGateway } from "../control-client.ts";
import { ExitCode, usageError, UserError } from "../errors.ts";
import { Progress } from "../progress.ts";

interface UpdateOptions {
  image?: string;
  expect?: string | undefined;
  versionPath?: string | undefined;
  component?: string[];
  method?: string[];
  soak?: string;
  grace?: string;
  deadline?: string;
  severity?: string;
  maxDefer?: string;
  restart: boolean;
  force?: boolean;
  cancel?: boolean;
  wait: boolean;
  state: string;
  json?: boolean;
}

export function addUpdate(program: Command): void {
  program
    .command("update")
    .description("update the firmware of an LwM2M client, and say what it boots")
    .argument("<endpoint>", "its endpoint name")
    .option("--image <key|digest|version>", "a published image: see blockferry images")
    .option("--expect <version>", "what its version resource has to read afterwards, exactly (the manifest's version)")
    .option("--version-path <path>", "where that is read (/3/0/3, or what its profile says)")
    .option(
      "--component <path=image...>",
      "for 33629, in place of --image: /33629/1=<image>[,expect=<version>][,version-path=<path>], several to be applied together",
    )
    .option("--method <name...>", "pull, push, trigger: what is tried, in this order (all three)")
    .option("--soak <seconds>", "how long the version has to stay (0)")
    .option("--grace <seconds>", "how long it may be silent beyond its lifetime (120)")
    .option("--deadline <seconds>", "give up when it has not been executed by then")
    .option("--severity <0-2>", "critical, mandatory or optional, for clients that ask their user")
    .option("--max-defer <seconds>", "how long its user may put it off")
    .option("--no-restart", "what is updated is applied without a restart: its version alone is waited for")
    .option("--force", "also when it runs the version already")
    .option("--cancel", "cancel the update under way")
    .option("--no-wait", "return once the update is on the gateway's disk")
    .option("--state <folder>", "state folder of the gateway", ".blockferry")
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      `
Success is that the client has registered again and reads exactly the expected version. Whatever it
reports, one that comes back with another version has failed (exit code 1). The update goes on in the
gateway when this command is stopped.

Example:
  blockferry update mote-7 --image 2.0.0 --soak 600 --state gw
  blockferry device mote-7 --timeline --state gw`,
    )
    .action(async (endpoint: string, options: UpdateOptions) => update(endpoint, options));
}

async function update(endpoint: string, options: UpdateOptions): Promise<void> {
  const url = `/v1/devices/${encodeURIComponent(endpoint)}/update`;
  const json = options.json === true;
  if (options.cancel === true) {
    const job = (await callGateway(options.state, "DELETE", url)) as UpdateView;
    return console.log(json ? JSON.stringify(job) : `the update of ${endpoint} is ${job.state}`);
  }
  let job = (await callGateway(options.state, "POST", url, bodyOf(options))) as UpdateView;
  if (!options.wait) return console.log(json ? JSON.stringify(job) : `update ${job.id} of ${endpoint} is ${job.state}`);
  const device = (await callGateway(options.state, "GET", `/v1/fleet/${encodeURIComponent(endpoint)}`).catch(
    () => {},
  )) as { readonly registered: boolean } | undefined;
  if (device?.registered !== true)
    console.error(
      `${endpoint} is not registered now: it is updated when it is (this command may be stopped meanwhile)`,
    );
  const progress = new Progress(!json);
  for (let size = 0; !hasEnded(job); job = (await callGateway(options.state, "GET", url)) as UpdateView) {
    // Of several components each has its own size.
    if (job.size !== size) progress.start(endpoint, (size = job.size));
    progress.update(Math.min(job.bytes, job.size));
    await sleep(500);
  }
  progress.stop();
  if (json) console.log(JSON.stringify(job));
  else if (job.state !== "failed") console.log(verdict(job));
  if (job.state === "failed")
    throw new UserError(
      ExitCode.FAILED,
      job.reason ?? "failed",
      `${verdict(job)}\nnext: ${job.advice ?? "see its timeline"}`,
    );
}

function bodyOf(options: UpdateOptions): object {
  const { image, component, expect, versionPath } = options;
  if ((image === undefined) === (component === undefined))
    throw usageError("no-image", "say which image with --image, or which components with --component");
  const components =
    image === undefined
      ? component!.map((text) => componentOf(text, options))
      : [{ image, ...fixedBy({ expect, versionPath }) }];
  const number = (name: string, text: string | undefined): object =>
    text === undefined ? {} : { [name]: Number(text) };
  return {
    components,
    ...(options.method === undefined ? {} : { methods: options.method }),
    ...number("soakS", options.soak),
    ...number("graceS", options.grace),
    ...number("deadlineS", options.deadline),
    ...number("severity", options.severity),
    ...number("maxDeferS", options.maxDefer),
    ...(options.restart ? {} : { restarts: false }),
    ...(options.force === true ? { force: true } : {}),
  };
}

/** `/33629/1=<image>`, with `,expect=<version>` and `,version-path=<path>` where they are needed. */
function componentOf(text: string, { component, expect, versionPath }: UpdateOptions): object {
  const [first, ...settings] = text.split(",");
  const at = first!.indexOf("=");
  const known = settings.every((setting) => /^(?:expect|version-path)=/.test(setting));
  if (at < 1 || !known)
    throw usageError(
      "bad-component",
      `${text}: write a component as /33629/1=<image>, or /33629/1=<image>,expect=<version>,version-path=<path>`,
    );
  if (component!.length > 1 && (expect !== undefined || versionPath !== undefined))
    throw usageError(
      "bad-component",
      "--expect and --version-path are for one image: give each component its own, as in /33629/1=<image>,expect=<version>",
    );
  const own = (name: string): string | undefined =>
    settings.find((setting) => setting.startsWith(`${name}=`))?.slice(name.length + 1);
  const fixed = fixedBy({ expect: own("expect") ?? expect, versionPath: own("version-path") ?? versionPath });
  return { object: first!.slice(0, at), image: first!.slice(at + 1), ...fixed };
}

function fixedBy({ expect, versionPath }: Pick<UpdateOptions, "expect" | "versionPath">): object {
  return {
    ...(expect === undefined ? {} : { version: expect }),
    ...(versionPath === undefined ? {} : { versionPath }),
  };
}

function verdict({ endpoint, state, reason, detail, method, versionBefore, versionAfter }: UpdateView): string {
  if (state === "succeeded" && reason === undefined)
    return `${endpoint} runs ${versionAfter}; it ran ${versionBefore ?? "an unknown version"} before (by ${method})`;
  return `the update of ${endpoint} ${state === "succeeded" ? "was not needed" : `has ${state === "failed" ? "failed" : "been cancelled"}`}: ${detail ?? reason}`;
}
