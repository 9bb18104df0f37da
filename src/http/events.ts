import type { ServerResponse } from "node:http";
import type { FastifyInstance } from "fastify";
import { z } from "zod";
import type { EventLog, GatewayEvent } from "./event-log.ts";
import { refuse } from "./problem.ts";

/** Bytes that may wait for a listener that does not read; then it is let go, and comes back by Last-Event-ID. */
const MAX_WAITING_BYTES = 1_048_576;
const HEARTBEAT_MS = 15_000;

const EventHeaders = z.looseObject({ "last-event-id": z.string().max(64).optional() });
const EventQuery = z.object({ kind: z.string().max(64).optional() });

/** Server-sent events: what happens, from where the listener left off. */
export function addEventRoutes(app: FastifyInstance, log: EventLog): void {
  app.get<{ Querystring: { kind?: string } }>(
    "/v1/events",
    {
      schema: {
        summary: "What happens, as server-sent events; goes on behind Last-Event-ID",
        headers: EventHeaders,
        querystring: EventQuery,
      },
      config: { access: "read" },
    },
    async (request, reply) => {
      const { kind } = request.query;
      const wanted = (event: GatewayEvent): boolean => kind === undefined || event.kind === kind;
      const stream = reply.raw;
      const send = (event: GatewayEvent): void => {
        if (wanted(event))
          write(stream, `id: ${event.id}\nevent: ${event.kind}\ndata: ${JSON.stringify(event.data)}\n\n`);
      };
      const end = log.listen(send);
      if (end === undefined) return refuse(reply, 503, "too-many-listeners", "too many listen already");
      reply.hijack();
      stream.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
      write(stream, "retry: 2000\n\n");
      const id = request.headers["last-event-id"];
      const { events, gap } = log.since(typeof id === "string" ? id : undefined);
      // Whoever missed some asks for the whole state anew.
      if (gap) write(stream, "event: gap\ndata: {}\n\n");
      for (const event of events) send(event);
      const beat = setInterval(() => write(stream, ": still here\n\n"), HEARTBEAT_MS);
      beat.unref();
      stream.on("close", () => {
        clearInterval(beat);
        end();
      });
      return reply;
    },
  );
}

function write(stream: ServerResponse, text: string): void {
  if (stream.destroyed) return;
  stream.write(text);
  if (stream.writableLength > MAX_WAITING_BYTES) stream.destroy();
}
