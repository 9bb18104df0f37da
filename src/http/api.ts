import type { FastifyInstance } from "fastify";
import type { Gateway } from "../gateway/gateway.ts";
import type { Seen } from "../lifecycle/census.ts";
import type { PublishOutcome, PublishRequest } from "../gateway/publications.ts";
import { addAccessRoutes } from "./access.ts";
import { addCredentialRoutes } from "./credentials.ts";
import { addDeviceRoutes, type DevicesControl } from "./devices.ts";
import type { EventLog } from "./event-log.ts";
import { addEventRoutes } from "./events.ts";
import { addFleetRoutes } from "./fleet.ts";
import { addImageRoutes } from "./images.ts";
import { addLifecycleRoutes } from "./lifecycle.ts";
import { addMetricsRoutes } from "./metrics.ts";
import type { Predictor } from "./prediction.ts";
import { addRolloutRoutes } from "./rollouts.ts";
import { createServer, type ServerOptions } from "./server.ts";
import { addUpdateRoutes } from "./updates.ts";
import { addUploadRoutes, type Uploads } from "./uploads.ts";

/** What the API needs of a running gateway. */
export interface GatewayControl {
  readonly gateway: Gateway;
  readonly addresses: readonly string[];
  publish(request: PublishRequest): Promise<PublishOutcome>;
  metrics(): Record<string, number>;
  readonly operate: DevicesControl["operate"];
  readonly probe: DevicesControl["probe"];
  readonly call: DevicesControl["call"];
  /** Milliseconds since 1970. */
  readonly unixMs: () => number;
  /** Counts what the API answers. */
  readonly count?: ((name: string, label: string) => void) | undefined;
  readonly events: EventLog;
  readonly predict?: Predictor | undefined;
  readonly uploads?: Uploads | undefined;
  /** Sources of images that may be named over the network; none where it is absent. */
  readonly mayName?: ((source: string) => boolean) | undefined;
}

/** The operator's API: on the socket in the state folder, where only its owner comes, and over the network by tokens. */
export async function createApi(
  control: GatewayControl,
  options: ServerOptions = { local: true },
): Promise<FastifyInstance> {
  const { gateway, unixMs, events, predict, uploads, mayName = () => false } = control;
  const call = (action: (nowUs: number) => void): void => control.call(action);
  const app = await createServer(options, {
    token: (secret) => gateway.access.check(secret, unixMs()),
    answers: {
      known: (key) => gateway.answers.known(key, unixMs()),
      begin: async (key, print) =>
        await new Promise((resolve) => call((nowUs) => gateway.answers.begin(nowUs, key, print, resolve))),
      end: async (key, answer) => await new Promise((resolve) => call(() => gateway.answers.end(key, answer, resolve))),
    },
    count: (status) => control.count?.("http_requests", String(status)),
    audit: async ({ name, role }, method, path, status) =>
      await new Promise((resolve) =>
        call((nowUs) => gateway.desk.noteOperator(nowUs, name, { method, path, status, role }, resolve)),
      ),
  });
  const operate: DevicesControl["operate"] = async (...args) => control.operate(...args);
  // In a scope of its own, so that what comes before it is known to each route.
  await app.register(async (scope) => {
    addMetricsRoutes(scope, { gateway, addresses: control.addresses, metrics: () => control.metrics(), unixMs });
    addImageRoutes(scope, { gateway, uploads, mayName, publish: async (request) => control.publish(request) });
    addDeviceRoutes(scope, { devices: gateway.devices, operate, probe: async (name) => control.probe(name), call });
    addFleetRoutes(scope, { gateway, call, unixMs });
    addUpdateRoutes(scope, { gateway, call });
    addRolloutRoutes(scope, { gateway, call, unixMs, predict });
    const strangers = (): Iterable<Seen> => gateway.fleet.strangers();
    const running = (endpoint: string): string | undefined => {
      const device = gateway.fleet.device(endpoint);
      return device?.registered === true ? device.version : undefined;
    };
    addLifecycleRoutes(scope, { desk: gateway.desk, call, unixMs, strangers, running });
    addCredentialRoutes(scope, { desk: gateway.desk, call });
    addAccessRoutes(scope, { access: gateway.access, call, unixMs });
    addEventRoutes(scope, events, ({ local, id }) => local || gateway.access.isValid(id, unixMs()));
    // In a scope of their own: nothing else takes a body as a stream.
    if (uploads !== undefined) await scope.register(async (own) => Promise.resolve(addUploadRoutes(own, uploads)));
    scope.get(
      "/v1/openapi.json",
      { schema: { summary: "This API, as OpenAPI 3.1 has it" }, config: { access: "open" } },
      () => app.swagger(),
    );
  });
  return app;
}
