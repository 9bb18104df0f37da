import type { FastifyReply } from "fastify";

export const PROBLEM_TYPE = "application/problem+json";

/** A problem document (RFC 9457): the reason as one word, and what to know of it. */
export const problemOf = (status: number, reason: string, detail: string): object => ({
  type: `urn:blockferry:${reason}`,
  title: reason,
  status,
  detail,
});

/** Answers with a problem document. */
export async function refuse(
  reply: FastifyReply,
  status: number,
  reason: string,
  detail: string,
): Promise<FastifyReply> {
  return reply
    .code(status)
    .type(PROBLEM_TYPE)
    .send(problemOf(status, reason, detail));
}
