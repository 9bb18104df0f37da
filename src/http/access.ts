import type { FastifyInstance } from "fastify";
import { z } from "zod";
import type { AccessTokens, TokenRecord } from "../gateway/access.ts";
import { isoTime } from "../util/iso-time.ts";
import { ListQuery, sendList } from "./page.ts";
import { refuse } from "./problem.ts";
import { ROLES } from "./roles.ts";

export interface AccessControl {
  readonly access: AccessTokens;
  readonly call: (action: (nowUs: number) => void) => void;
  readonly unixMs: () => number;
}

const TokenBody = z.strictObject({
  /** Whose: it stands in the audit log. */
  name: z.string().min(1).max(64),
  role: z.enum(ROLES),
  days: z.number().positive().max(3_650).default(90),
});
const Id = z.object({ id: z.string().max(64) });

/** Tokens: their secrets are shown once, and kept nowhere. */
export function addAccessRoutes(app: FastifyInstance, { access, call, unixMs }: AccessControl): void {
  const administer = { config: { access: "administer" } } as const;
  app.get(
    "/v1/tokens",
    { schema: { summary: "Tokens, without their secrets", querystring: ListQuery }, ...administer },
    async (request, reply) =>
      sendList(
        request,
        reply,
        access.all(),
        ({ id }) => id,
        (one) => viewOf(one, unixMs()),
      ),
  );
  app.post<{ Body: z.infer<typeof TokenBody> }>(
    "/v1/tokens",
    {
      schema: { summary: "Makes a token; its secret is in this answer only", body: TokenBody },
      config: { ...administer.config, showsSecret: true, success: [201] },
    },
    async (request, reply) => {
      type Made = Parameters<Parameters<AccessTokens["create"]>[2]>[0];
      const made = await new Promise<Made>((resolve) => call((nowUs) => access.create(nowUs, request.body, resolve)));
      if (made === "too-many-tokens") return refuse(reply, 409, made, "revoke some first");
      if (made === "not-stored")
        return refuse(reply, 507, made, "the token could not be written: free some disk space");
      return reply.code(201).send({ ...viewOf(made.record, unixMs()), token: made.secret });
    },
  );
  app.delete<{ Params: { id: string } }>(
    "/v1/tokens/:id",
    { schema: { summary: "Takes a token back", params: Id }, ...administer },
    async (request, reply) => {
      const { id } = request.params;
      const done = await new Promise<boolean | undefined>((resolve) =>
        call(() => {
          if (!access.revoke(id, resolve)) resolve(undefined);
        }),
      );
      if (done === undefined) return refuse(reply, 404, "no-such-token", `there is no token ${id}`);
      return done
        ? reply.code(204).send()
        : refuse(reply, 507, "not-stored", "that it is revoked could not be written");
    },
  );
}

const viewOf = ({ id, name, role, createdMs, expiresMs }: TokenRecord, unixMs: number): object => ({
  id,
  name,
  role,
  createdAt: isoTime(Math.floor(createdMs / 1_000)),
  expiresAt: isoTime(Math.floor(expiresMs / 1_000)),
  expired: unixMs >= expiresMs,
});
