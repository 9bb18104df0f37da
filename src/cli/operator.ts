import type { Command } from "commander";
import type { ImageView } from "../http/images.ts";
import type { SupportWarning } from "../gateway/support-watch.ts";
import type { LifecycleView } from "../http/lifecycle-view.ts";
import { fromHex } from "../util/bytes.ts";
import { callGateway } from "./control-client.ts";
import { usageError } from "./errors.ts";
import { gatewayOptions } from "./gateway-options.ts";

/** What a command takes that changes the lifecycle. */
export interface OperatorOptions {
  state: string;
  actor: string;
  json?: boolean;
}

export const operatorOptions = (command: Command): Command =>
  gatewayOptions(command).option("--actor <name>", "who does it, for the audit log", process.env["USER"] ?? "operator");

export const lifecycleOf = async (state: string): Promise<LifecycleView> =>
  (await callGateway(state, "GET", "/v1/lifecycle")) as LifecycleView;

/** Submits an event, and says which entry of the audit log it has become. */
export async function submit(options: OperatorOptions, event: object, text: string): Promise<void> {
  const { state, actor } = options;
  tell(await callGateway(state, "POST", "/v1/lifecycle/events", { actor, event }), options, text);
}

export function tell(result: unknown, { json }: Pick<OperatorOptions, "json">, text: string): void {
  if (json === true) console.log(JSON.stringify(result));
  else console.log(`${text}; entry ${(result as { number: number }).number} of the audit log`);
}

/** The id of a class: as it is written, or by its name on the gateway. */
export async function classIdOf(state: string, text: string): Promise<string> {
  const bytes = fromHex(text.replaceAll("-", "").toLowerCase());
  if (bytes?.length === 16) return text.replaceAll("-", "").toLowerCase();
  const { classes } = await lifecycleOf(state);
  const named = classes.filter(({ name }) => name === text);
  if (named.length === 1) return named[0]!.id;
  if (named.length === 0)
    throw usageError("no-such-class", `no class is called ${text} here: blockferry class list --state ${state}`);
  const ids = named.map(({ id }) => id).join(", ");
  throw usageError("several-classes", `several classes are called ${text}: write one of ${ids}`);
}

export const supportText = ({ name, state, endsMs }: SupportWarning): string =>
  `support of ${name} ${state === "ended" ? "ended" : "ends"} ${new Date(endsMs).toISOString().slice(0, 10)}`;

/** The digest of an image on offer, by as much of it as is clear, or by its path. */
export async function imageDigestOf(state: string, text: string): Promise<string> {
  const published = (await callGateway(state, "GET", "/v1/images")) as ImageView[];
  const all = published.flatMap(({ images }) => images);
  const found = new Set(
    all
      .filter(({ path, digest }) => path === text || digest.startsWith(text.toLowerCase()))
      .map(({ digest }) => digest),
  );
  const [digest] = found;
  if (digest !== undefined && found.size === 1) return digest;
  if (/^[0-9a-f]{64}$/i.test(text)) return text.toLowerCase();
  throw usageError(
    "no-such-image",
    `${text} is ${found.size === 0 ? "no image" : "several images"} on offer: write a digest or a path of blockferry images --state ${state}`,
  );
}

/** What a change of the lifecycle did to what is on offer. */
export interface OfferChange {
  readonly withdrawn: readonly string[];
  readonly offered: readonly string[];
}

/** Does something that may take releases off, or bring earlier ones back; which they are. */
export async function watchingOffers<T>(state: string, action: () => Promise<T>): Promise<[result: T, OfferChange]> {
  const before = await offersOn(state);
  const result = await action();
  const after = await offersOn(state);
  const without = (some: readonly string[], others: readonly string[]): string[] =>
    some.filter((one) => !others.includes(one));
  return [result, { withdrawn: without(before, after), offered: without(after, before) }];
}

async function offersOn(state: string): Promise<string[]> {
  const images = (await callGateway(state, "GET", "/v1/images")) as ImageView[];
  return images.map(({ key, sequenceNumber }) => `${key} number ${sequenceNumber}`);
}

export function offerText({ withdrawn, offered }: OfferChange): string {
  const lines = [
    ...withdrawn.map((one) => `  on offer no longer: ${one}`),
    ...offered.map((one) => `  on offer again: ${one}`),
  ];
  return lines.map((line) => `\n${line}`).join("");
}
