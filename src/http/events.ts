import type { FastifyInstance } from "fastify";
import { z } from "zod";
import type { EventLog, GatewayEvent } from "./event-log.ts";
import { refuse } from "./problem.ts";
import type { Caller } from "./roles.ts";

/** Bytes that may wait for a listener that does not read; then it is let go, and comes back by Last-Event-ID. */
const MAX_WAITING_BYTES = 1_048_576;
const HEARTBEAT_MS = 15_000;
/** Streams of one token at once. */
const MAX_OF_ONE = 16;

const EventHeaders = z.looseObject({ "last-event-id": z.string().max(64).optional() });
const EventQuery = z.object({ kind: z.string().max(64).optional() });

/** Server-sent events: what happens, from where the listener left off. */
export function addEventRoutes(
  app: FastifyInstance,
  log: EventLog,
  /** Whether who began to listen may do so yet. */
  mayListen: (caller: Caller) => boolean,
): void {
  const listening = new Map<string, number>();
  app.get<{ Querystring: { kind?: string } }>(
    "/v1/events",
    {
      schema: {
        summary: "What happens, as server-sent events; goes on behind Last-Event-ID",
        headers: EventHeaders,
        querystring: EventQuery,
      },
      config: { access: "read", gives: "text/event-stream" },
      exposeHeadRoute: false,
    },
    async (request, reply) => {
      const { kind } = request.query;
      const wanted = (event: GatewayEvent): boolean => kind === undefined || event.kind === kind;
      const stream = reply.raw;
      let allowed = Number.POSITIVE_INFINITY;
      const write = (text: string): void => {
        if (stream.destroyed) return;
        stream.write(text);
        if (stream.writableLength > allowed) stream.destroy();
      };
      const send = (event: GatewayEvent): void => {
        if (wanted(event)) write(`id: ${event.id}\nevent: ${event.kind}\ndata: ${JSON.stringify(event.data)}\n\n`);
      };
      const { caller } = request;
      const others = listening.get(caller.id) ?? 0;
      const end = others >= MAX_OF_ONE ? undefined : log.listen(send);
      if (end === undefined) return refuse(reply, 503, "too-many-listeners", "too many listen already");
      listening.set(caller.id, others + 1);
      reply.hijack();
      stream.writeHead(200, { "content-type": "text/event-stream", "cache-control": "no-store" });
      write("retry: 2000\n\n");
      const id = request.headers["last-event-id"];
      const { events, gap } = log.since(typeof id === "string" ? id : undefined);
      // Whoever missed some asks for the whole state anew.
      if (gap) write("event: gap\ndata: {}\n\n");
      for (const event of events) send(event);
      // What was missed may be much; what waits beyond it is for one that does not read.
      allowed = stream.writableLength + MAX_WAITING_BYTES;
      const beat = setInterval(() => {
        if (mayListen(caller)) write(": still here\n\n");
        else stream.destroy();
      }, HEARTBEAT_MS);
      beat.unref();
      stream.on("close", () => {
        clearInterval(beat);
        listening.set(caller.id, listening.get(caller.id)! - 1);
        if (listening.get(caller.id) === 0) listening.delete(caller.id);
        end();
      });
      return reply;
    },
  );
}
