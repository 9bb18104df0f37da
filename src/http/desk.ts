import type { FastifyReply, FastifyRequest } from "fastify";
import type { DeskResult, LifecycleDesk } from "../gateway/lifecycle-desk.ts";
import { refuse } from "./problem.ts";

/** What routes need that change the lifecycle. */
export interface DeskControl {
  readonly desk: LifecycleDesk;
  /** Makes a call into the core. */
  readonly call: (action: (nowUs: number) => void) => void;
}

/** Over the network it is the token's name that counts. */
export const whoOf = ({ caller }: FastifyRequest, named: string): string => (caller.local ? named : caller.name);

export const settled = async (
  { call }: DeskControl,
  action: (nowUs: number, done: (result: DeskResult) => void) => void,
): Promise<DeskResult> => await new Promise((resolve) => call((nowUs) => action(nowUs, resolve)));

/** The entry of the audit log that says so, once it is on the disk. */
export async function answer(reply: FastifyReply, result: DeskResult, status = 201): Promise<FastifyReply> {
  if (result.ok) return reply.code(status).send({ number: result.entry.number, hash: result.entry.hash });
  return refuse(reply, STATUS[result.reason] ?? 409, result.reason, result.detail);
}

const STATUS: Readonly<Record<string, number>> = { "store-write-failed": 507, "no-such-device": 404 };
