import type { BlockPath, BlockResource } from "../coap/blockwise/block-path.ts";
import type { Link } from "../codec/link-format.ts";
import { hasRoom } from "../coap/limits.ts";
import { encodeUint } from "../coap/message.ts";
import { Code, ContentFormat, Option } from "../coap/numbers.ts";
import type { CoapResponse, HandlerResult, IncomingRequest } from "../coap/request.ts";
import type { ResourceHandler, Router } from "../coap/router.ts";
import type { ImageCache } from "../image/image-cache.ts";
import type { WantedImage } from "../image/image-fetch.ts";
import type { Metrics } from "../ports/metrics.ts";
import type { PeerAddress } from "../ports/datagram.ts";
import type { TransferTable } from "../transfer/transfer-table.ts";
import type { Admission } from "../transfer/admission.ts";
import { fromHex } from "../util/bytes.ts";
import { peerKey } from "../util/peer.ts";
import { Tally } from "../util/tally.ts";
import { GATEWAY_LIMITS } from "./limits.ts";

interface ServedParts {
  readonly cache: ImageCache;
  readonly transfers: TransferTable;
  readonly metrics: Metrics;
  /** Where all devices share one channel: who may transfer now. */
  readonly admission?: Admission | undefined;
  readonly respond: (nowUs: number, exchange: number, response: CoapResponse) => boolean;
  /** One in quarantine gets the current image, or the recovery image; absent: anybody may have any. */
  readonly mayHave?: ((peer: PeerAddress, digest: string) => boolean) | undefined;
}

/** Told of each block that was put on its way. */
export type OnServed = (nowUs: number, offset: number, length: number) => void;

interface Parked {
  readonly request: IncomingRequest;
  readonly resource: ServedImage;
  readonly path: string;
}

const unavailable = (maxAgeS: number): CoapResponse => ({
  code: Code.SERVICE_UNAVAILABLE,
  options: [{ number: Option.MAX_AGE, value: encodeUint(maxAgeS) }],
});
const UNAVAILABLE: CoapResponse = unavailable(GATEWAY_LIMITS.unavailableMaxAgeS);

/** Images on the air: the short path for what is in memory, and the wait for what is not. */
export class ServedImages {
  readonly #parts: ServedParts;
  readonly #router: Router;
  readonly #blockPath: BlockPath;
  readonly #parked = new Map<string, Parked[]>();
  /** Digests of images by the paths where they are. */
  readonly #served = new Map<string, string>();
  readonly #parkedOf = new Tally();
  #parkedCount = 0;
  readonly #watched = new Map<string, Watcher>();
  #told = false;

  constructor(parts: ServedParts, router: Router, blockPath: BlockPath) {
    this.#parts = parts;
    this.#router = router;
    this.#blockPath = blockPath;
  }

  /** `onServed` keeps the account of a path that only one device knows; else each address has its own. */
  serve(path: readonly string[], image: WantedImage, onServed?: OnServed): void {
    const { transfers } = this.#parts;
    const account: Account =
      onServed === undefined
        ? (nowUs, peer, offset, length) => {
            const { admission } = this.#parts;
            const before = admission && transfers.of(peerKey(peer), image.digest)?.retransmissions;
            const transfer = transfers.record(nowUs, peer, image, offset, length);
            const repeated = before !== undefined && transfer.retransmissions > before;
            admission?.served(nowUs, peer.address, repeated, offset + length >= image.size);
            const watcher = this.#watched.size > 0 ? this.#watched.get(peer.address) : undefined;
            if (watcher === undefined) return;
            this.#told = true;
            watcher(nowUs, image.digest, offset, length);
          }
        : (nowUs, _peer, offset, length) => {
            this.#told = true;
            onServed(nowUs, offset, length);
          };
    const name = path.join("/");
    const park: Park = (nowUs, request, served) => this.#park(nowUs, { request, resource: served, path: name });
    const resource = new ServedImage(this.#parts, image, { park, account, hidden: onServed !== undefined });
    this.#served.set(path.join("/"), image.digest);
    this.#router.add(path, resource);
    this.#blockPath.register(path, resource);
  }

  /** Whether anybody has been told of a block since the last time, and may have something to say. */
  takeTold(): boolean {
    const told = this.#told;
    this.#told = false;
    return told;
  }

  /** Tells of whatever is served to an address, until `watcher` is undefined. */
  watch(address: string, watcher: Watcher | undefined): void {
    if (watcher === undefined) this.#watched.delete(address);
    else this.#watched.set(address, watcher);
  }

  /** Why who asks gets no manifest: it may have none of its images, or not all of those that it brings along. */
  manifestRefusal(peer: PeerAddress, images: readonly WantedImage[]): CoapResponse | undefined {
    const { mayHave, metrics } = this.#parts;
    const may = ({ digest }: WantedImage): boolean => mayHave?.(peer, digest) !== false;
    if (images.some(may) && images.every((image) => image.content === undefined || may(image))) return undefined;
    metrics.count("coap_refused", "quarantined");
    return { code: Code.FORBIDDEN };
  }

  withdraw(path: readonly string[]): void {
    this.#served.delete(path.join("/"));
    this.#router.remove(path);
    this.#blockPath.unregister(path);
  }

  /** The image is in memory, or cannot be had: whoever waited for it is answered. */
  settle(nowUs: number, digest: string): void {
    const waiting = this.#parked.get(digest) ?? [];
    this.#parked.delete(digest);
    this.#parkedCount -= waiting.length;
    for (const parked of waiting) {
      const { address } = parked.request.peer;
      this.#parkedOf.add(address, -1);
      this.#parts.respond(nowUs, parked.request.exchange, this.#answer(parked));
    }
  }

  /** It may have been withdrawn meanwhile, or who asked have been put in quarantine. */
  #answer({ request, resource, path }: Parked): CoapResponse {
    const { digest } = resource.image;
    if (this.#served.get(path) !== digest) return { code: Code.NOT_FOUND };
    if (this.#parts.mayHave?.(request.peer, digest) === false) return { code: Code.FORBIDDEN };
    return resource.answer(request) ?? UNAVAILABLE;
  }

  #park(nowUs: number, parked: Parked): HandlerResult {
    const { maxParked } = GATEWAY_LIMITS;
    const { request, resource } = parked;
    const { address } = request.peer;
    if (!hasRoom(maxParked, this.#parkedCount, this.#parkedOf.of(address))) {
      this.#parts.metrics.count("coap_refused", "too-many-parked");
      return UNAVAILABLE;
    }
    const { digest } = resource.image;
    this.#parkedCount++;
    this.#parkedOf.add(address, 1);
    this.#parked.set(digest, [...(this.#parked.get(digest) ?? []), parked]);
    this.#parts.cache.ensure(nowUs, resource.image);
    return "deferred";
  }
}

type Park = (nowUs: number, request: IncomingRequest, resource: ServedImage) => HandlerResult;
type Account = (nowUs: number, peer: PeerAddress, offset: number, length: number) => void;
type Watcher = (nowUs: number, digest: string, offset: number, length: number) => void;

class ServedImage implements BlockResource, ResourceHandler {
  readonly image: WantedImage;
  readonly etag: Uint8Array;
  readonly size: number;
  readonly attributes?: Link["attributes"];
  readonly admits?: (nowUs: number, peer: PeerAddress) => boolean;
  readonly #parts: ServedParts;
  readonly #park: Park;
  readonly served: Account;

  constructor(
    parts: ServedParts,
    image: WantedImage,
    { park, account, hidden }: { park: Park; account: Account; hidden: boolean },
  ) {
    this.#parts = parts;
    this.#park = park;
    this.served = account;
    this.image = image;
    this.etag = fromHex(image.digest)!.subarray(0, 8);
    this.size = image.size;
    const { admission } = parts;
    const { mayHave } = parts;
    if ((admission !== undefined || mayHave !== undefined) && !hidden)
      this.admits = (nowUs, peer) =>
        mayHave?.(peer, image.digest) !== false && (admission === undefined || admission.admits(nowUs, peer.address));
    if (!hidden) this.attributes = { ct: ContentFormat.OCTET_STREAM, sz: image.size, rt: "blockferry.image" };
  }

  bytes(): Uint8Array | undefined {
    return this.image.content ?? this.#parts.cache.memory(this.image.digest);
  }

  get(nowUs: number, request: IncomingRequest): HandlerResult {
    const { admission, metrics, mayHave } = this.#parts;
    if (mayHave?.(request.peer, this.image.digest) === false) {
      metrics.count("coap_refused", "quarantined");
      return { code: Code.FORBIDDEN };
    }
    // A place on the channel is for whoever is where he says that he is.
    if (admission !== undefined && request.proven === false) return { code: Code.UNAUTHORIZED, challenge: true };
    if (this.admits?.(nowUs, request.peer) === false) {
      metrics.count("coap_refused", "no-airtime");
      return unavailable(admission!.waitS(request.peer.address));
    }
    return this.answer(request) ?? this.#park(nowUs, request, this);
  }

  /** The response when the bytes are at hand. */
  answer({ peer }: IncomingRequest): CoapResponse | undefined {
    const bytes = this.bytes();
    if (bytes === undefined) return undefined;
    const sent = (nowUs: number, offset: number, length: number): void => this.served(nowUs, peer, offset, length);
    return { code: Code.CONTENT, body: { bytes, etag: this.etag, contentFormat: ContentFormat.OCTET_STREAM, sent } };
  }
}

export type ManifestHandler = ResourceHandler & Required<Pick<ResourceHandler, "get">>;

/**
 * The envelope of a release. Its ETag lets a mote ask cheaply whether it is still that one; one that stays awake may
 * observe it (RFC 7641) where it is the current one of a class, at the path `observable`.
 */
export function manifestResource(
  envelope: Uint8Array,
  etag: Uint8Array,
  refusal: (peer: PeerAddress) => CoapResponse | undefined,
  observable?: string,
): ManifestHandler {
  const body = { bytes: envelope, etag, contentFormat: ContentFormat.OCTET_STREAM };
  const content = { code: Code.CONTENT, body, ...(observable === undefined ? {} : { observable }) };
  const get: ManifestHandler["get"] = (_nowUs, { peer }) => refusal(peer) ?? content;
  if (observable === undefined) return { get };
  return {
    attributes: { ct: ContentFormat.OCTET_STREAM, sz: envelope.length, rt: "blockferry.manifest", obs: true },
    get,
  };
}
