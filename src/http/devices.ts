import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { typeOf } from "../lwm2m/definitions.ts";
import type { OperationOutcome } from "../lwm2m/device-queue.ts";
import type { Operation } from "../lwm2m/operation.ts";
import { parsePath, pathText } from "../lwm2m/path.ts";
import type { Registration } from "../lwm2m/registration.ts";
import { ContentError, fromText, isObjectLink, linkText, type ResourceValue } from "../lwm2m/values.ts";
import { toBase64Url } from "../util/bytes.ts";
import { peerKey } from "../util/peer.ts";
import { refuse } from "./problem.ts";

export interface DeviceView {
  readonly endpoint: string;
  readonly location: string;
  readonly peer: string;
  readonly version: string;
  readonly lifetimeS: number;
  readonly binding: string;
  readonly queueMode: boolean;
  readonly sms: string | null;
  readonly others: Readonly<Record<string, string>>;
  readonly formats: readonly number[];
  readonly objects: readonly { readonly path: string; readonly version: string | null }[];
  /** By the gateway's clock, which begins with its process: when it registered or updated last. */
  readonly seenUs: number;
}

/** What the API needs of the gateway's LwM2M clients. */
export interface DevicesControl {
  registrations(): Iterable<{ readonly registration: Registration; readonly seenUs: number }>;
  /** Undefined when no such client is registered, or too much waits for it. */
  operate(endpoint: string, operation: Operation): Promise<OperationOutcome> | undefined;
}

const OperationBody = z.strictObject({
  operation: z.enum(["read", "discover", "write", "execute", "delete"]),
  path: z.string().max(64),
  /** Of a write: the value as text. Of an execute: its argument. */
  value: z.string().max(65_536).optional(),
});

export function addDeviceRoutes(app: FastifyInstance, control: DevicesControl): void {
  app.get("/v1/devices", () => [...control.registrations()].map(viewOf));
  app.post<{ Params: { endpoint: string } }>("/v1/devices/:endpoint/operations", async (request, reply) => {
    const body = OperationBody.safeParse(request.body);
    if (!body.success) return refuse(reply, 400, "bad-request", z.prettifyError(body.error));
    const operation = operationOf(body.data);
    if (typeof operation === "string") return refuse(reply, 400, "bad-request", operation);
    const { endpoint } = request.params;
    const outcome = control.operate(endpoint, operation);
    if (outcome === undefined)
      return refuse(
        reply,
        404,
        "no-such-device",
        `no client is registered as ${endpoint}, or too much waits for it: see blockferry devices`,
      );
    const { result } = await outcome;
    if (result.kind === "refused")
      return refuse(reply, 422, "device-refused", `${result.code} ${result.detail}`.trim());
    if (result.kind === "failed") return refuse(reply, 504, "device-failed", result.reason);
    return {
      code: result.code,
      readings: result.readings?.map(({ path, value }) => ({ path: pathText(path), value: plain(value) })) ?? [],
      links: result.links ?? [],
    };
  });
}

/** The operation that a body asks for, or what is wrong with it. */
function operationOf({ operation, path: text, value }: z.infer<typeof OperationBody>): Operation | string {
  const path = parsePath(text);
  if (path === undefined || path.length === 0) return `${text} is no path such as /3/0/3`;
  switch (operation) {
    case "execute":
      return path.length === 3
        ? { kind: "execute", path, argument: value ?? "" }
        : "only a resource, such as /5/0/2, can be executed";
    case "write": {
      if (path.length < 3 || value === undefined) return "a write needs a resource, such as /1/0/1, and its value";
      try {
        return { kind: "write", path, readings: [{ path, value: fromText(value, typeOf(path)) }], replace: true };
      } catch (error) {
        if (error instanceof ContentError) return error.message;
        throw error;
      }
    }
    case "read":
    case "discover":
    case "delete":
      break;
  }
  return { kind: operation, path };
}

function plain(value: ResourceValue): string | number | boolean {
  if (value instanceof Uint8Array) return toBase64Url(value);
  if (typeof value === "bigint") return String(value);
  return isObjectLink(value) ? linkText(value) : value;
}

function viewOf({ registration, seenUs }: { registration: Registration; seenUs: number }): DeviceView {
  const { endpoint, id, peer, version, lifetimeS, binding, queueMode, sms, others, formats, objects } = registration;
  return {
    endpoint,
    location: `/rd/${id}`,
    peer: peerKey(peer),
    version,
    lifetimeS,
    binding,
    queueMode,
    sms: sms ?? null,
    others,
    formats,
    objects: objects.map(({ path, version: of }) => ({ path: pathText(path), version: of ?? null })),
    seenUs,
  };
}
