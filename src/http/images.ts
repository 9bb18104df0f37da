import type { FastifyInstance } from "fastify";
import { z } from "zod";
import { componentOf, imagePath, manifestPath, releasePath, type Listing } from "../gateway/catalogue.ts";
import type { Gateway } from "../gateway/gateway.ts";
import type { PublishOutcome, PublishRequest } from "../gateway/publications.ts";
import { decodeEnvelope, digestOf, SUIT_LIMITS } from "../suit/envelope.ts";
import { distinctImages, type Release, type ReleaseImage } from "../suit/release.ts";
import { bytesEqual, fromHex, toHex } from "../util/bytes.ts";
import type { Transfer } from "../transfer/transfer.ts";
import { ListQuery, sendList } from "./page.ts";
import { withoutQuery } from "../util/uri-text.ts";
import { refuse } from "./problem.ts";
import type { Uploads } from "./uploads.ts";

export interface ImagesControl {
  readonly gateway: Gateway;
  readonly uploads: Uploads | undefined;
  /** Whether a source may be named over the network: the gateway asks in its own network, where others may not. */
  readonly mayName: (source: string) => boolean;
  publish(request: PublishRequest): Promise<PublishOutcome>;
}

export interface ImageView {
  readonly key: string;
  readonly vendor: string;
  readonly class: string;
  readonly sequenceNumber: number;
  readonly version: string | null;
  readonly digest: string;
  readonly bytes: number;
  readonly source: string | null;
  readonly state: string;
  readonly fetchedBytes: number | null;
  readonly manifestPath: string;
  readonly imagePath: string;
  readonly aliasPath: string | null;
  /** All of the release's images, the one above first; each for devices of these classes. */
  readonly images: readonly FetchedView[];
  /** By which devices make one of those from what they have. */
  readonly patches: readonly FetchedView[];
}

interface FetchedView {
  readonly path: string;
  readonly digest: string;
  readonly bytes: number;
  readonly state: string;
  readonly classes: readonly string[];
}

const uri = z.string().max(2_048);
const envelopeText = z.base64().max(Math.ceil(SUIT_LIMITS.maxEnvelopeBytes / 3) * 4 + 8);
const PublishBody = z.strictObject({
  /** The envelope, base64. */
  envelope: envelopeText,
  /** Envelopes that it depends on and has devices fetch, base64: they are put into it. */
  dependencies: z.array(envelopeText).max(8).optional(),
  /** Where the image comes from: http(s), coap, `upload:` and its name, or a file for who is on this machine. */
  source: uri.optional(),
  /** URIs of images by SHA-256 in hex, where the manifest has several. */
  sources: z.record(z.string().regex(/^[0-9a-f]{64}$/), uri).optional(),
  /** A further path for the image; null for none, where the release before it has one. */
  alias: z.string().max(64).nullable().optional(),
  dialect: z.enum(["draft-37", "riot-09"]).optional(),
  /** Signed tables of images' sectors, base64. */
  tables: z.array(z.base64().max(100_000)).max(16).optional(),
});

/** Images and their manifests. */
export function addImageRoutes(app: FastifyInstance, control: ImagesControl): void {
  const { gateway } = control;
  const nameOf = ({ release }: Listing): string => release.key;
  app.get(
    "/v1/images",
    { schema: { summary: "Releases on offer", querystring: ListQuery }, config: { access: "read" } },
    async (request, reply) =>
      sendList(request, reply, gateway.listings(), nameOf, (listing) => viewOf(gateway, listing)),
  );
  app.get(
    "/v1/images/replaced",
    {
      schema: {
        summary: "Releases that others took the place of, and that an update may go back to",
        querystring: ListQuery,
      },
      config: { access: "read" },
    },
    async (request, reply) => {
      const numbered = ({ release }: Listing): string =>
        `${release.key}/${String(release.sequenceNumber).padStart(16, "0")}`;
      const view = (listing: Listing): ImageView => {
        const path = releasePath(listing.release.classId, fromHex(listing.digest)!);
        return { ...viewOf(gateway, listing), manifestPath: `/${path.join("/")}` };
      };
      return sendList(request, reply, gateway.replaced(), numbered, view);
    },
  );
  app.get<{ Params: { key: string } }>(
    "/v1/images/:key/manifest",
    {
      schema: {
        summary: "The signed manifest of a release, as it is served",
        params: z.object({ key: z.string().max(256) }),
      },
      config: { access: "read", gives: "application/suit-envelope+cose" },
    },
    async ({ params: { key } }, reply) => {
      const found = gateway.listings().find(({ release, digest }) => release.key === key || digest === key);
      if (found === undefined) return refuse(reply, 404, "no-such-image", `no release on offer is ${key}`);
      return reply.type("application/suit-envelope+cose").send(Buffer.from(found.release.envelope));
    },
  );
  app.get(
    "/v1/publications",
    {
      schema: { summary: "Releases whose image is on its way", querystring: ListQuery },
      config: { access: "read" },
    },
    async (request, reply) => {
      const listings = Array.from(gateway.publications(), ({ listing }) => listing);
      return sendList(request, reply, listings, nameOf, (listing) => viewOf(gateway, listing));
    },
  );
  app.get(
    "/v1/transfers",
    {
      schema: { summary: "How far devices are, by device and image", querystring: ListQuery },
      config: { access: "read" },
    },
    async (request, reply) =>
      sendList(request, reply, gateway.transfers(), ({ device, digest }) => `${device} ${digest}`, transferView),
  );
  addPublishing(app, control);
}

function addPublishing(app: FastifyInstance, control: ImagesControl): void {
  const { gateway, uploads } = control;
  app.post<{ Body: z.infer<typeof PublishBody> }>(
    "/v1/images",
    {
      schema: { summary: "Publishes a signed manifest and its images", body: PublishBody },
      config: { access: "operate", isRepeatable: true, success: [201] },
    },
    async (request, reply) => {
      const { body, caller } = request;
      const sources = [body.source, ...Object.values(body.sources ?? {})].filter((one) => one !== undefined);
      const odd = caller.local ? undefined : sources.find((one) => !one.startsWith("upload:") && !control.mayName(one));
      if (odd !== undefined) {
        const detail = `over the network a source is upload:, or of an origin that api.sources names; ${odd} is neither`;
        return refuse(reply, 403, "not-allowed", detail);
      }
      if (sources.some(hasUserInfo)) {
        const detail = "a source names no user and password: whoever may read would know them, and none is fetched so";
        return refuse(reply, 400, "bad-request", detail);
      }
      const read = (text: string): string | undefined =>
        text.startsWith("upload:") ? uploads?.uriOf(text.slice(7)) : text;
      const missing = sources.find((one) => read(one) === undefined);
      if (missing !== undefined) return refuse(reply, 422, "no-such-upload", `${missing} is not there, or not whole`);
      const bytesOf = (text: string): Uint8Array => new Uint8Array(Buffer.from(text, "base64"));
      const signed = bytesOf(body.envelope);
      const found = Object.entries(body.sources ?? {}).map(([digest, text]) => [digest, read(text)!] as const);
      const outcome = await control.publish({
        ...body,
        envelope: signed,
        dependencies: body.dependencies?.map(bytesOf),
        tables: body.tables?.map(bytesOf),
        ...(body.source === undefined ? {} : { source: read(body.source)! }),
        ...(body.sources === undefined ? {} : { sources: Object.fromEntries(found) }),
      });
      if (outcome.kind === "published") return reply.code(201).send(viewOf(gateway, outcome.listing));
      const { reason, detail } = outcome;
      const isDone = request.isRepeated && (reason === "replayed" || reason === "older-sequence-number");
      const done = isDone ? published(gateway, isPublished(signed, body.dependencies)) : undefined;
      if (done !== undefined) return reply.code(201).send(viewOf(gateway, done));
      const status = reason === "disk-full" || reason === "cache-full" ? 507 : 422;
      return refuse(reply, status, reason, detail);
    },
  );
}

/** The release that is this very envelope, be it on offer or one that was replaced since. */
const published = (gateway: Gateway, isIt: (release: Release) => boolean): Listing | undefined =>
  [...gateway.listings(), ...gateway.replaced()].find(({ release }) => isIt(release));

/** What was published is the envelope as it was given, or with what was to be put into it. */
function isPublished(envelope: Uint8Array, dependencies: readonly unknown[] = []): (release: Release) => boolean {
  if (dependencies.length === 0) return (release) => bytesEqual(release.envelope, envelope);
  const digest = digestOf(decodeEnvelope(envelope));
  return ({ manifestDigest }) => bytesEqual(manifestDigest, digest);
}

function viewOf(gateway: Gateway, listing: Listing): ImageView {
  const { release, digest, source, alias } = listing;
  const { state, fetched } = gateway.imageState(digest);
  return {
    key: release.key,
    vendor: toHex(release.vendorId),
    class: toHex(release.classId),
    sequenceNumber: release.sequenceNumber,
    version: release.version ?? null,
    digest,
    bytes: release.imageSize,
    source: source === undefined ? null : withoutQuery(source),
    state,
    fetchedBytes: fetched ?? null,
    manifestPath: `/${manifestPath(release.classId, componentOf(release)).join("/")}`,
    imagePath: `/${imagePath(fromHex(digest)!).join("/")}`,
    aliasPath: alias === undefined ? null : `/${alias}`,
    images: distinctImages(release).map((image) => fetchedView(gateway, image)),
    patches: release.images.filter(({ isPatch }) => isPatch).map((image) => fetchedView(gateway, image)),
  };
}

const fetchedView = (gateway: Gateway, { digest, size, classes }: ReleaseImage): FetchedView => ({
  path: `/${imagePath(digest).join("/")}`,
  digest: toHex(digest),
  bytes: size,
  state: gateway.imageState(toHex(digest)).state,
  classes,
});

function transferView(transfer: Transfer): object {
  const { device, digest, size, blocks, bytes, retransmissions, attempts, served, finished } = transfer;
  const firstMissing = finished ? null : served.firstGap(0);
  const figures = { size, blocks, bytes, retransmissions, attempts, finished };
  return { device, digest, ...figures, servedBytes: served.covered, firstMissing };
}

const hasUserInfo = (source: string): boolean =>
  URL.canParse(source) && (new URL(source).username !== "" || new URL(source).password !== "");
