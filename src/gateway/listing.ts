import type { WantedImage } from "../image/image-fetch.ts";
import type { Release } from "../suit/release.ts";

/** A release that the gateway offers, and where its image comes from. */
export interface Listing {
  readonly release: Release;
  /** SHA-256 of the first image in hex. */
  readonly digest: string;
  /** All images that devices of the class may fetch. */
  readonly images: readonly WantedImage[];
  readonly source: string | undefined;
  /** Signed tables of images' sectors, by the image's digest in hex. */
  readonly tables: ReadonlyMap<string, Uint8Array>;
  /** A further path for the image, for clients whose URI is fixed. */
  readonly alias: string | undefined;
}

/** Classes whose devices fetch an image of a release. */
export const classesOf = ({ release, images }: Listing, digest: string): readonly string[] =>
  release.images[images.findIndex((one) => one.digest === digest)]?.classes ?? [];
