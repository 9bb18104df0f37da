import type { Command, CommandEvent } from "../ports/commands.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { StoreOp } from "../ports/store.ts";
import { fromUtf8, toHex, utf8 } from "../util/bytes.ts";
import type { FleetNews } from "./fleet-desk.ts";

export const WEBHOOK_PREFIX = "webhook/";
export const WEBHOOK_LIMITS = {
  /** Events that wait for one target; the oldest goes. */
  maxWaiting: 5_000,
  firstRetryUs: 5_000_000,
  longestRetryUs: 3_600_000_000,
  /** An event that could not be told for so long is given up. */
  giveUpMs: 259_200_000,
  maxAnswerBytes: 65_536,
} as const;

/** Somebody who is told of what happens. */
export interface WebhookTarget {
  readonly url: string;
  /** Key of the HMAC that shows that it is us. */
  readonly secret: Uint8Array;
  /** Kinds of events: rollout, update, device, support; all when absent. */
  readonly kinds?: readonly string[] | undefined;
}

export interface WebhooksParts {
  readonly crypto: Crypto;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly unixMs: (nowUs: number) => number;
  readonly targets: readonly WebhookTarget[];
  readonly send: (command: Omit<Command & { kind: "http" }, "id">) => number;
  readonly store: (ops: readonly StoreOp[]) => number;
}

interface Waiting {
  readonly key: string;
  readonly atMs: number;
  readonly body: string;
}

interface Lane {
  readonly target: WebhookTarget;
  readonly name: string;
  readonly waiting: Waiting[];
  sending: number | undefined;
  failures: number;
  notBeforeUs: number;
}

/**
 * Tells targets of what happens, each event once it is on the disk, in order, until the target has said that it has it:
 * at least once, so an event has an id by which a target knows one that it has.
 */
export class Webhooks {
  readonly #parts: WebhooksParts;
  readonly #lanes: readonly Lane[];
  #number = 0;

  constructor(parts: WebhooksParts) {
    this.#parts = parts;
    this.#lanes = parts.targets.map((target, i) => ({
      target,
      name: toHex(parts.crypto.sha256(utf8(`${i} ${target.url}`)).subarray(0, 6)),
      waiting: [],
      sending: undefined,
      failures: 0,
      notBeforeUs: 0,
    }));
  }

  add(nowUs: number, { kind, data }: FleetNews): void {
    const atMs = this.#parts.unixMs(nowUs);
    for (const lane of this.#lanes) {
      if (lane.target.kinds?.includes(kind) === false) continue;
      const key = `${WEBHOOK_PREFIX}${lane.name}/${String(Math.floor(atMs)).padStart(15, "0")}-${String(this.#number++).padStart(9, "0")}`;
      const body = JSON.stringify({ id: key.slice(key.lastIndexOf("/") + 1), kind, at: atMs, data });
      const ops: StoreOp[] = [{ kind: "put", key, value: utf8(body) }];
      lane.waiting.push({ key, atMs, body });
      if (lane.waiting.length > WEBHOOK_LIMITS.maxWaiting) ops.push(this.#drop(lane, "too-many"));
      this.#parts.store(ops);
      this.#go(nowUs, lane);
    }
  }

  recover(key: string, record: Uint8Array): boolean | undefined {
    if (!key.startsWith(WEBHOOK_PREFIX)) return undefined;
    const [, name, id = ""] = key.split("/");
    const lane = this.#lanes.find((one) => one.name === name);
    const body = fromUtf8(record);
    if (body === undefined) return false;
    // A target that is told no more: what waits for it is forgotten.
    if (lane === undefined) this.#parts.store([{ kind: "delete", key }]);
    lane?.waiting.push({ key, atMs: Number(id.split("-")[0]), body });
    lane?.waiting.sort((a, b) => (a.key < b.key ? -1 : 1));
    return true;
  }

  handleEvent(nowUs: number, id: number, event: CommandEvent): boolean {
    const lane = this.#lanes.find(({ sending }) => sending === id);
    if (lane === undefined) return false;
    lane.sending = undefined;
    const status = event.kind === "http-response" ? event.response.status : 0;
    if (status >= 200 && status < 300) {
      lane.failures = 0;
      const [done] = lane.waiting.splice(0, 1);
      if (done !== undefined) this.#parts.store([{ kind: "delete", key: done.key }]);
      this.#parts.metrics.count("webhooks", "told");
    } else {
      const reason = event.kind === "failed" ? event.detail : `status ${status}`;
      // A target that says that it never takes this must not keep the others waiting.
      const isFinal = status >= 400 && status < 500 && ![408, 425, 429].includes(status);
      if (isFinal) this.#parts.store([this.#drop(lane, "refused")]);
      else this.#failed(nowUs, lane, reason);
    }
    this.#go(nowUs, lane);
    return true;
  }

  #failed(nowUs: number, lane: Lane, reason: string): void {
    const { log, metrics, unixMs, store } = this.#parts;
    metrics.count("webhooks", "failed");
    log.event("warn", "webhook-failed", { url: lane.target.url, reason });
    const { firstRetryUs, longestRetryUs, giveUpMs } = WEBHOOK_LIMITS;
    lane.notBeforeUs = nowUs + Math.min(longestRetryUs, firstRetryUs * 2 ** Math.min(lane.failures, 20));
    lane.failures++;
    const first = lane.waiting[0];
    if (first !== undefined && unixMs(nowUs) - first.atMs > giveUpMs) store([this.#drop(lane, "given-up")]);
  }

  #drop(lane: Lane, reason: string): StoreOp {
    // The one that is being sent is the first.
    const [gone] = lane.waiting.splice(lane.sending === undefined ? 0 : 1, 1);
    this.#parts.metrics.count("webhooks", reason);
    return { kind: "delete", key: gone!.key };
  }

  handleTimeout(nowUs: number): void {
    for (const lane of this.#lanes) this.#go(nowUs, lane);
  }

  pollTimeout(): number | undefined {
    const due = this.#lanes.filter(({ sending, waiting }) => sending === undefined && waiting.length > 0);
    return due.length === 0 ? undefined : Math.min(...due.map(({ notBeforeUs }) => notBeforeUs));
  }

  #go(nowUs: number, lane: Lane): void {
    const [first] = lane.waiting;
    if (lane.sending !== undefined || first === undefined || nowUs < lane.notBeforeUs) return;
    const { crypto, unixMs, send } = this.#parts;
    const seconds = Math.floor(unixMs(nowUs) / 1_000);
    const mac = toHex(crypto.hmacSha256(lane.target.secret, utf8(`${seconds}.${first.body}`)));
    const headers = { "content-type": "application/json", "blockferry-signature": `t=${seconds},v1=${mac}` };
    const request = { method: "POST", url: lane.target.url, headers, body: utf8(first.body) };
    lane.sending = send({ kind: "http", request, maxBytes: WEBHOOK_LIMITS.maxAnswerBytes });
  }
}
