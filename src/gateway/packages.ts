import type { ImageCache } from "../image/image-cache.ts";
import type { Registration } from "../lwm2m/registration.ts";
import type { Packages } from "../lwm2m/update/updates.ts";
import type { PeerAddress } from "../ports/datagram.ts";
import type { TransferTable } from "../transfer/transfer-table.ts";
import type { Catalogue } from "./catalogue.ts";
import type { ServedImages } from "./resources.ts";

export interface PackagesParts {
  readonly catalogue: Catalogue;
  readonly cache: ImageCache;
  readonly served: ServedImages;
  readonly transfers: TransferTable;
  /** Where devices of a class, if it is known, find the manifest by which they come to have an image. */
  readonly manifestPath: (digest: string, classId: string | undefined) => readonly string[] | undefined;
  readonly refusal: Packages["refusal"];
  /** Class of a device that is known here, in hex. */
  readonly classOf: (endpoint: string) => string | undefined;
  /** Address and port of ours that a peer can reach, as in a URI: `[fd00::1]:5683`; undefined when there is none. */
  readonly ownAddress: (peer: PeerAddress) => string | undefined;
}

const pathOf = (id: string, component: number): string[] =>
  component === 0 ? ["u", id] : ["u", id, String(component)];

/** The name of a client in the table of transfers: no address looks like it. */
const deviceOf = (endpoint: string): string => `ep:${endpoint}`;

/** Images as the packages of LwM2M updates: each update has paths of its own, by which its blocks are counted. */
export function imagePackages(parts: PackagesParts): Packages {
  const { catalogue, cache, served, transfers, manifestPath, ownAddress, classOf, refusal } = parts;
  const uri = ({ peer }: Registration, path: readonly string[]): string | undefined => {
    const own = ownAddress(peer);
    return own === undefined ? undefined : `coap://${own.replace(/:5683$/, "")}/${path.join("/")}`;
  };
  return {
    serve: (id, component, digest, onServed) => {
      const image = catalogue.image(digest);
      if (image !== undefined) served.serve(pathOf(id, component), image, onServed);
    },
    withdraw: (id, components) => {
      for (let i = 0; i < components; i++) served.withdraw(pathOf(id, i));
    },
    image: (nowUs, digest) => {
      const image = catalogue.image(digest);
      if (image === undefined) return "unknown";
      const bytes = image.content ?? cache.memory(digest);
      if (bytes === undefined) cache.ensure(nowUs, image);
      return bytes ?? cache.memory(digest) ?? "loading";
    },
    refusal,
    uri: (registration, id, component) => uri(registration, pathOf(id, component)),
    manifestUri: (registration, digest) => {
      const path = manifestPath(digest, classOf(registration.endpoint));
      return path && uri(registration, path);
    },
    progress: (endpoint, digest) => {
      const transfer = transfers.of(deviceOf(endpoint), digest);
      return { covered: transfer?.served.covered ?? 0, firstMissing: transfer?.served.firstGap(0) ?? 0 };
    },
    restart: (endpoint, digest) => transfers.forget(deviceOf(endpoint), digest),
    record: (nowUs, endpoint, digest, bytes) => {
      const image = catalogue.image(digest);
      return image !== undefined && transfers.recordFor(nowUs, deviceOf(endpoint), image, bytes);
    },
    watch: (address, watcher) => served.watch(address, watcher),
  };
}
