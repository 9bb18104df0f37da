import type { Readable } from "node:stream";
import type { FastifyInstance, FastifyReply } from "fastify";
import { z } from "zod";
import type { UploadInfo, Uploads } from "../ports/uploads.ts";
import { ListQuery, sendList } from "./page.ts";
import { refuse } from "./problem.ts";

export type { Uploads } from "../ports/uploads.ts";

const CreateBody = z.strictObject({
  bytes: z.int().min(1),
  sha256: z.string().regex(/^[0-9a-f]{64}$/, "SHA-256 in lower-case hex"),
});
const Id = z.object({ id: z.string().regex(/^[0-9a-f]{16}$/) });
const PieceHeaders = z.looseObject({ "upload-offset": z.coerce.number().int().min(0) });
const PIECES = "application/offset+octet-stream";
const STATUS = {
  "no-such-upload": [404, "there is no such upload"],
  "wrong-offset": [409, "it goes on at the offset that a GET tells"],
  "too-long": [413, "there are more bytes than were announced"],
  "wrong-digest": [422, "the bytes are not those of the digest: it was thrown away"],
  "under-way": [409, "another connection sends it just now"],
  "disk-full": [507, "the disk is full"],
} as const;

type Named = { Params: { id: string } };

/** Uploads in pieces that go on where they stopped: created with length and digest, then sent by PATCH. */
export function addUploadRoutes(app: FastifyInstance, uploads: Uploads): void {
  const operate = { config: { access: "operate" } } as const;
  app.addContentTypeParser(PIECES, (_request, payload, done) => done(null, payload));
  const tell = async (reply: FastifyReply, status: number, info: UploadInfo): Promise<FastifyReply> =>
    reply.code(status).header("upload-offset", info.offset).send(info);
  app.post<{ Body: z.infer<typeof CreateBody> }>(
    "/v1/uploads",
    {
      schema: { summary: "Begins an upload of so many bytes", body: CreateBody },
      config: { ...operate.config, success: [201] },
    },
    async ({ body: { bytes, sha256 } }, reply) => {
      const info = await uploads.create(bytes, sha256);
      if (info === "too-long") return refuse(reply, 413, info, "it is larger than limits.maxImageBytes");
      if (info === "too-many-uploads") return refuse(reply, 409, info, "publish or delete some first");
      return tell(reply, 201, info);
    },
  );
  app.get(
    "/v1/uploads",
    { schema: { summary: "Uploads that are there, whole or not", querystring: ListQuery }, ...operate },
    async (request, reply) =>
      sendList(
        request,
        reply,
        await uploads.all(),
        ({ id }) => id,
        (one) => one,
      ),
  );
  app.get<Named>(
    "/v1/uploads/:id",
    { schema: { summary: "How far an upload is", params: Id }, ...operate },
    async ({ params: { id } }, reply) => {
      const info = await uploads.get(id);
      return info === undefined
        ? refuse(reply, 404, "no-such-upload", `there is no upload ${id}`)
        : tell(reply, 200, info);
    },
  );
  app.patch<Named & { Headers: { "upload-offset": number } }>(
    "/v1/uploads/:id",
    {
      schema: { summary: "More bytes of it, from Upload-Offset on", params: Id, headers: PieceHeaders },
      config: { ...operate.config, takes: PIECES },
    },
    async (request, reply) => {
      const { id } = request.params;
      const payload = request.body as Readable | null | undefined;
      if (typeof payload?.pipe !== "function") return refuse(reply, 415, "wrong-content-type", `send ${PIECES}`);
      const result = await uploads.append(id, request.headers["upload-offset"], payload);
      if (typeof result !== "string") return tell(reply, 200, result);
      const [status, detail] = STATUS[result];
      // What is left of the body nobody reads.
      void reply.header("connection", "close");
      return refuse(reply, status, result, detail);
    },
  );
  app.delete<Named>(
    "/v1/uploads/:id",
    { schema: { summary: "Throws an upload away", params: Id }, ...operate },
    async ({ params: { id } }, reply) =>
      (await uploads.remove(id))
        ? reply.code(204).send()
        : refuse(reply, 404, "no-such-upload", `there is no upload ${id}`),
  );
}
