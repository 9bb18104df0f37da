import type { FastifyInstance } from "fastify";
import { z } from "zod";
import type { LifecycleDesk } from "../gateway/lifecycle-desk.ts";
import type { Device } from "../lifecycle/events.ts";
import { fromHex } from "../util/bytes.ts";
import { hex } from "./class-schema.ts";
import { answer, settled, type DeskControl } from "./desk.ts";
import { ListQuery, sendList } from "./page.ts";
import { refuse } from "./problem.ts";

const Named = z.object({ device: hex(8) });
/** `key`: the 32 bytes that the device answers by, in hex. It goes in, and never comes out. */
const SecretBody = z.strictObject({ key: hex(32) });

type Of = { Params: z.infer<typeof Named> };

/** Secrets of devices: who has one can be read, what it is cannot. */
export function addCredentialRoutes(app: FastifyInstance, control: DeskControl): void {
  const { desk } = control;
  app.get(
    "/v1/credentials",
    {
      schema: { summary: "Devices whose secret is here, without it", querystring: ListQuery },
      config: { access: "read" },
    },
    async (request, reply) => {
      const kept = [...desk.lifecycle.state.devices.values()].filter(({ id }) => desk.hasCredential(id));
      return sendList(request, reply, kept, ({ id }) => id, viewOf);
    },
  );
  app.get<Of>(
    "/v1/credentials/:device",
    {
      schema: { summary: "Whether a device's secret is here, without it", params: Named },
      config: { access: "read" },
    },
    async ({ params: { device } }, reply) => {
      const known = holderOf(desk, device);
      return known === undefined ? refuse(reply, 404, "no-such-credential", NONE(device)) : reply.send(viewOf(known));
    },
  );
  app.put<Of & { Body: z.infer<typeof SecretBody> }>(
    "/v1/credentials/:device",
    {
      schema: { summary: "Another secret for a device, which it has been given", params: Named, body: SecretBody },
      config: { access: "administer" },
    },
    async (request, reply) => {
      const { params, body, caller } = request;
      const { device } = params;
      if (holderOf(desk, device) === undefined) return refuse(reply, 404, "no-such-credential", NONE(device));
      const event = { kind: "credential-replaced", device } as const;
      const key = fromHex(body.key)!;
      return answer(
        reply,
        await settled(control, (now, done) => desk.keepCredential(now, caller.name, event, key, done)),
        200,
      );
    },
  );
}

const NONE = (device: string): string =>
  `${device} has none here: \`blockferry factory\` makes devices, a decommissioned one has lost it`;

const holderOf = (desk: LifecycleDesk, device: string): Device | undefined =>
  desk.hasCredential(device) ? desk.lifecycle.state.devices.get(device) : undefined;

const viewOf = ({ id, classId, endpoint, state }: Device): object => ({
  device: id,
  classId,
  endpoint: endpoint ?? null,
  state,
  kind: "confirmation-key",
});
