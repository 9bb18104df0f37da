import type { FastifyReply } from "fastify";

/** Answers with a problem document (RFC 9457): the reason as one word, and what to know of it. */
export async function refuse(
  reply: FastifyReply,
  status: number,
  reason: string,
  detail: string,
): Promise<FastifyReply> {
  return reply
    .code(status)
    .type("application/problem+json")
    .send({ type: `urn:blockferry:${reason}`, title: reason, status, detail });
}
