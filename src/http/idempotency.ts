import { createHash } from "node:crypto";
import type { FastifyInstance, FastifyRequest } from "fastify";
import type { Answer, Asked } from "../gateway/answers.ts";
import { refuse } from "./problem.ts";

/** What is known of requests by their keys. */
export interface AnswersPort {
  readonly known: (key: string) => Asked | undefined;
  /** Whether it is on the disk that this is begun. */
  readonly begin: (key: string, print: string) => Promise<boolean>;
  readonly end: (key: string, answer: Answer | undefined) => Promise<void>;
}

/** The same POST by the same `Idempotency-Key` is answered as it was, and done once. */
export function addIdempotency(app: FastifyInstance, answers: AnswersPort): void {
  const asking = new WeakSet<FastifyRequest>();
  app.addHook("preHandler", async (request, reply) => {
    const key = keyOf(request);
    if (key === undefined) return undefined;
    const known = answers.known(key);
    if (known?.isRunning === true)
      return refuse(reply, 409, "under-way", "the first request by this key is under way yet");
    const print = sha256(JSON.stringify(request.body ?? null));
    if (known !== undefined && known.print !== print)
      return refuse(reply, 422, "key-reused", "this Idempotency-Key came with another body before");
    if (known?.answer !== undefined) {
      const { status, type, payload } = known.answer;
      return reply.code(status).type(type).header("idempotency-replayed", "true").send(payload);
    }
    if (known !== undefined && request.routeOptions.config.isRepeatable !== true)
      return refuse(reply, 409, "outcome-unknown", "the gateway stopped while it did this: look whether it is done");
    if (!(await answers.begin(key, print)))
      return refuse(reply, 507, "store-write-failed", "nothing was done: it could not be written that it was asked");
    asking.add(request);
    return undefined;
  });
  app.addHook("onSend", async (request, reply, payload) => {
    const key = keyOf(request);
    if (key === undefined || !asking.has(request)) return payload;
    const type = String(reply.getHeader("content-type") ?? "application/json");
    const status = reply.statusCode;
    // What failed may be tried again by the same key.
    await answers.end(key, status >= 500 || typeof payload !== "string" ? undefined : { status, type, payload });
    return payload;
  });
}

function keyOf({ method, headers, caller, url }: FastifyRequest): string | undefined {
  const key = headers["idempotency-key"];
  // A secret is shown once, whoever asks again.
  if (method !== "POST" || typeof key !== "string" || url.startsWith("/v1/tokens")) return undefined;
  return sha256(`${caller.id} ${url} ${key}`).slice(0, 32);
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
