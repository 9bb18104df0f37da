import { createHash } from "node:crypto";
import type { FastifyInstance, FastifyReply, FastifyRequest } from "fastify";
import type { Answer, Asked } from "../gateway/answers.ts";
import { refuse } from "./problem.ts";

/** What is known of requests by their keys. */
export interface AnswersPort {
  readonly known: (key: string) => Asked | undefined;
  /** Whether it is on the disk that this is begun. */
  readonly begin: (key: string, print: string) => Promise<boolean>;
  readonly end: (key: string, answer: Answer | "unkept" | undefined) => Promise<void>;
}

const MAX_KEY_CHARACTERS = 255;
/** Marks an answer that was given before. */
export const REPLAYED = "idempotency-replayed";

/** The same POST by the same `Idempotency-Key` is answered as it was, and done once. */
export function addIdempotency(app: FastifyInstance, answers: AnswersPort): void {
  const asking = new WeakMap<FastifyRequest, string>();
  app.decorateRequest("isRepeated", false);
  app.addHook("preHandler", async (request, reply) => {
    const { method, headers } = request;
    const given = headers["idempotency-key"];
    if (method === "POST" && given !== undefined && given.length > MAX_KEY_CHARACTERS)
      return refuse(reply, 400, "bad-request", `Idempotency-Key has ${MAX_KEY_CHARACTERS} characters at most`);
    const key = keyOf(request);
    if (key === undefined) return undefined;
    const known = answers.known(key);
    if (known?.isRunning === true)
      return refuse(reply, 409, "under-way", "the first request by this key is under way yet");
    const print = sha256(JSON.stringify(request.body ?? null));
    if (known !== undefined && known.print !== print)
      return refuse(reply, 422, "key-reused", "this Idempotency-Key came with another body before");
    if (known?.answer !== undefined) {
      const { status, type, payload, etag } = known.answer;
      if (etag !== undefined) void reply.header("etag", etag);
      return reply.code(status).type(type).header(REPLAYED, "true").send(payload);
    }
    if (known !== undefined && request.routeOptions.config.isRepeatable !== true)
      return refuse(
        reply,
        409,
        "outcome-unknown",
        "this was begun before, and its answer is not known any more: look whether it is done",
      );
    if (!(await answers.begin(key, print)))
      return refuse(reply, 507, "store-write-failed", "nothing was done: it could not be written that it was asked");
    asking.set(request, key);
    request.isRepeated = known !== undefined;
    return undefined;
  });
  app.addHook("onSend", async (request, reply, payload) => {
    const key = asking.get(request);
    if (key === undefined) return payload;
    await answers.end(key, answerOf(reply, payload ?? ""));
    return payload;
  });
}

/** What failed may be tried again by the same key, unless it may have been done: 504 is a device that does not answer. */
function answerOf(reply: FastifyReply, payload: unknown): Answer | "unkept" | undefined {
  const { statusCode: status } = reply;
  if (status >= 500 && status !== 504) return undefined;
  const type = String(reply.getHeader("content-type") ?? "application/json");
  const etag = reply.getHeader("etag");
  return typeof payload === "string"
    ? { status, type, payload, ...(typeof etag === "string" ? { etag } : {}) }
    : "unkept";
}

function keyOf({ method, headers, caller, routeOptions, params, query }: FastifyRequest): string | undefined {
  const key = headers["idempotency-key"];
  // A secret is shown once, whoever asks again.
  if (method !== "POST" || typeof key !== "string" || routeOptions.config.showsSecret === true) return undefined;
  return sha256(JSON.stringify([caller.id, routeOptions.url, params, query, key])).slice(0, 32);
}

const sha256 = (text: string): string => createHash("sha256").update(text).digest("hex");
