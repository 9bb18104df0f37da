import { existsSync } from "node:fs";
import { request } from "node:http";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { environmentError, ExitCode, UserError } from "./errors.ts";

/** The operator's socket of the gateway on a state folder. */
export function controlSocket(state: string): string {
  const path = join(state, "control.sock");
  // The system cuts a longer one without a word, and two gateways could meet at the same name.
  if (Buffer.byteLength(path) <= MAX_SOCKET_PATH_BYTES) return path;
  throw environmentError(
    "state-path-too-long",
    `${path} has more than ${MAX_SOCKET_PATH_BYTES} bytes, which is too long for a socket: choose a shorter --state`,
  );
}

/** `sun_path` of unix(7), less its ending zero. */
const MAX_SOCKET_PATH_BYTES = 107;

/** Calls the API of the gateway that runs on `state`; a problem document becomes a UserError. */
export async function callGateway(
  state: string,
  method: "GET" | "POST" | "PATCH" | "DELETE",
  path: string,
  body?: object,
  actor?: string,
): Promise<unknown> {
  const { status, text } = await patiently(controlSocket(state), async (socket) =>
    exchange(socket, method, path, body, actor),
  ).catch((error: NodeJS.ErrnoException) => {
    throw new UserError(
      ExitCode.UNREACHABLE,
      "no-gateway",
      `no gateway answers on the state folder ${state} (${error.code ?? error.message}). Start one with: blockferry serve --state ${state}`,
    );
  });
  const value: unknown = text === "" ? undefined : JSON.parse(text);
  if (status < 400) return value;
  const { title, detail } = value as { title: string; detail: string };
  throw new UserError(ExitCode.REFUSED, title, `the gateway refused: ${title}: ${detail}`);
}

/** All pages of a list, one after the other. */
export async function readPages<T>(state: string, url: string): Promise<T[]> {
  const items: T[] = [];
  const sign = url.includes("?") ? "&" : "?";
  for (let next: string | null = ""; next !== null;) {
    const cursor: string = next === "" ? "" : `&cursor=${next}`;
    const page = (await callGateway(state, "GET", `${url}${sign}limit=1000${cursor}`)) as {
      readonly items: readonly T[];
      readonly next: string | null;
    };
    items.push(...page.items);
    ({ next } = page);
  }
  return items;
}

/** A gateway that is just being started is waited for: a second, or two when its folder is there already. */
async function patiently<T>(socket: string, ask: (socket: string) => Promise<T>): Promise<T> {
  for (let tries = 0; ; tries++)
    try {
      return await ask(socket);
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException;
      const starting = code === "ENOENT" || code === "ECONNREFUSED";
      const most = existsSync(dirname(socket)) ? START_TRIES : START_TRIES / 2;
      if (!starting || tries >= most) throw error;
      await sleep(START_MS);
    }
}

const START_TRIES = 10;
const START_MS = 200;

async function exchange(
  socketPath: string,
  method: string,
  path: string,
  body?: object,
  actor?: string,
): Promise<{ status: number; text: string }> {
  return await new Promise((resolve, reject) => {
    const headers = {
      ...(body === undefined ? {} : { "content-type": "application/json" }),
      ...(actor === undefined ? {} : { "blockferry-actor": actor }),
    };
    const outgoing = request({ socketPath, method, path, headers }, (response) => {
      const parts: Buffer[] = [];
      response.on("data", (part: Buffer) => parts.push(part));
      response.on("error", reject);
      response.on("end", () => resolve({ status: response.statusCode ?? 500, text: Buffer.concat(parts).toString() }));
    });
    outgoing.on("error", reject);
    outgoing.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
