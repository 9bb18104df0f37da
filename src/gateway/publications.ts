import { isSameKey, type Verifier } from "../codec/cose.ts";
import type { Router } from "../coap/router.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { StoreOp } from "../ports/store.ts";
import { EnvelopeError } from "../suit/envelope.ts";
import { withDependencies } from "../suit/integrate.ts";
import { openRelease, type Release } from "../suit/release.ts";
import type { Dialect } from "../suit/dialect.ts";
import { firstWrongSector, openSectorTable } from "../suit/sector-table.ts";
import { toHex } from "../util/bytes.ts";
import { imagesOf, type Catalogue, type Listing } from "./catalogue.ts";
import { listingOps, overtakenOps } from "./listing-record.ts";
import type { LifecycleDesk } from "./lifecycle-desk.ts";
import { keyRecord, verifierOf, type KeyRecord } from "../lifecycle/classes.ts";
import type { Deeds, Refusal } from "../lifecycle/admission.ts";
import { dryRun } from "./dry-run.ts";
import { Floors } from "./floors.ts";
import { GATEWAY_LIMITS } from "./limits.ts";
import { Places } from "./places.ts";
import { clashes, overlap, unservedBy } from "./served-paths.ts";

/** What an operator gives: an envelope, and where its image can be fetched by the gateway. */
export interface PublishRequest {
  readonly envelope: Uint8Array;
  /** Envelopes that it has devices fetch, and that are to be in it. */
  readonly dependencies?: readonly Uint8Array[] | undefined;
  /** URI of the first image; without it the one in the manifest is used, when it is absolute. */
  readonly source?: string | undefined;
  /** URIs of images by their SHA-256 in hex, where there are several. */
  readonly sources?: Readonly<Record<string, string>> | undefined;
  /** The encoding of the manifest; each class that it is for must have it. Draft -37 unless given. */
  readonly dialect?: Dialect | undefined;
  /** Signed tables of the images' sectors. */
  readonly tables?: readonly Uint8Array[] | undefined;
  /** A further path for the image, of one segment; `null` for none. Without it the release keeps that of the one before it. */
  readonly alias?: string | null | undefined;
}

export type PublishOutcome =
  | { readonly kind: "published"; readonly operation: number; readonly listing: Listing }
  | { readonly kind: "refused"; readonly operation: number; readonly reason: string; readonly detail: string };

export interface Publication {
  readonly operation: number;
  readonly listing: Listing;
  /** Digests of the images that are not there yet. */
  readonly missing: Set<string>;
  stage: "image" | "store";
}

/** Publications under way: at most one per release key, each waiting for its image or its record. */
export class Publications {
  readonly #crypto: Crypto;
  readonly #anchors: readonly Verifier[];
  readonly #catalogue: Catalogue;
  readonly #desk: LifecycleDesk;
  readonly #places: Places;
  readonly #underWay = new Map<string, Publication>();
  readonly floors: Floors = new Floors();

  constructor(
    crypto: Crypto,
    anchors: readonly Verifier[],
    catalogue: Catalogue,
    desk: LifecycleDesk,
    router: Pick<Router, "has">,
  ) {
    this.#desk = desk;
    this.#crypto = crypto;
    this.#anchors = anchors;
    this.#catalogue = catalogue;
    const anchored = (release: Release): Refusal | undefined => this.#anchored(release);
    this.#places = new Places({ catalogue, lifecycle: desk.lifecycle, router, anchored });
  }

  /** Authenticates the envelope and checks that it is newer; nothing is fetched for one that isn't. */
  open(nowUs: number, operation: number, request: PublishRequest): Publication | PublishOutcome {
    const anchors = this.#trusted();
    const { dialect } = request;
    const envelope = this.#whole(request, anchors);
    if (typeof envelope === "string") return { kind: "refused", operation, reason: "bad-dependency", detail: envelope };
    let opened = openRelease(this.#crypto, envelope, { anchors, dialect });
    const refuse = (reason: string, detail: string): PublishOutcome => {
      if (opened.ok) this.noteRefusal(nowUs, opened.release, reason);
      return { kind: "refused", operation, reason, detail };
    };
    // Who may sign what is not known any more.
    if (this.#desk.tampered !== undefined) return refuse("audit-log-tampered", this.#desk.tampered);
    if (!opened.ok) return refuse(opened.reason, opened.detail);
    const admitted = this.#desk.admit(nowUs, envelope, opened.release.classes, opened.release.dialect);
    // A class that nobody defined has the anchors of the configuration, and no others.
    if (admitted === "not-governed")
      opened = openRelease(this.#crypto, envelope, { anchors: this.#valid(this.#anchors), dialect });
    else if (admitted !== undefined) return refuse(admitted.reason, admitted.detail);
    if (!opened.ok) return refuse(opened.reason, opened.detail);
    const { release } = opened;
    if (admitted === "not-governed" && release.images.some(({ isPatch }) => isPatch))
      return refuse("no-delta", "patches go to classes that are defined, with the feature delta");
    const older = this.#olderThanFloor(release);
    if (older !== undefined) return refuse(older.reason, older.detail);
    if (this.#underWay.has(release.key)) {
      return refuse(
        "publication-under-way",
        "another release of this class is being published; try again when it is done",
      );
    }
    const { maxPublications, maxReleases, maxFloors } = GATEWAY_LIMITS;
    if (this.#underWay.size >= maxPublications)
      return refuse("too-many-publications", `at most ${maxPublications} are published at once; try again later`);
    const isNew = this.#catalogue.get(release.key) === undefined;
    const hasRoom = !isNew || this.#catalogue.size < maxReleases;
    const added = this.floors.added(release);
    if (!hasRoom || (added > 0 && this.floors.size + added > maxFloors))
      return refuse("too-many-releases", `at most ${maxReleases} releases are kept`);
    if (!this.#catalogue.hasRoom) return refuse("too-many-releases", FULL);
    // A client with a fixed URI must not lose it because a release was published without the option.
    const alias = this.#places.aliasOf(release, request.alias);
    if (typeof alias === "object") return refuse(alias.reason, alias.detail);
    const taken = this.#taken(release, alias);
    if (taken !== undefined) return refuse(taken.reason, taken.detail);
    const unserved = unservedBy(release, (path) => path === alias);
    if (unserved !== undefined) return refuse(unserved.reason, unserved.detail);
    const digest = toHex(release.imageDigest);
    const wanted = release.images.map((image) => toHex(image.digest));
    const coming = [...this.#underWay.values()].flatMap(({ listing }) => listing.images.map((image) => image.digest));
    if (clashes([...this.#catalogue.images(), ...coming, ...wanted]))
      return refuse("image-path-clash", "another image has the same short identifier");
    const sources = new Map(Object.entries(request.sources ?? {}));
    if (request.source !== undefined) sources.set(digest, request.source);
    const images = imagesOf(release, sources);
    const tables = this.#tablesOf(request, release);
    if ("reason" in tables) return refuse(tables.reason, tables.detail);
    const listing: Listing = { release, digest, images, tables, source: images[0]!.uri, alias };
    for (const { digest: brought, content } of images) {
      const wrong = content && this.#imageRefusal(listing, brought, content);
      if (wrong !== undefined) return refuse(wrong.reason, wrong.detail);
    }
    const missing = new Set(images.filter(({ content }) => content === undefined).map((image) => image.digest));
    const publication: Publication = { operation, listing, missing, stage: "image" };
    this.#underWay.set(release.key, publication);
    return publication;
  }

  noteRefusal(nowUs: number, { classes, sequenceNumber }: Release, reason: string): void {
    this.#desk.noteRefusal(nowUs, classes, sequenceNumber, reason);
  }

  #olderThanFloor(release: Release): Refusal | undefined {
    return this.floors.refusalOf(release, this.#catalogue.isOnOffer(release.key));
  }

  /** Why a release is not put on record, now that its images are there and its turn has come. */
  refusalOf(nowUs: number, listing: Listing): Refusal | undefined {
    return (
      this.#admitAgain(nowUs, listing) ??
      this.#olderThanFloor(listing.release) ??
      this.#taken(listing.release, listing.alias) ??
      this.#dryRun(nowUs, listing)
    );
  }

  /** The writes that make a release last. */
  opsOf(listing: Listing): StoreOp[] {
    const before = this.#catalogue.get(listing.release.key);
    const overtaken = overtakenOps(this.#catalogue.overtakenBy(listing.release));
    return [...listingOps(listing, before), ...overtaken, ...this.floors.ops(listing.release, before?.release)];
  }

  /** Whose word counts for devices of these classes: that of their authorities, or of the configuration's anchors. */
  #counting(classIds: readonly string[]): readonly KeyRecord[] {
    const { classes, former } = this.#desk.lifecycle.state;
    const of = (id: string): readonly KeyRecord[] =>
      classes.has(id) ? [...classes.get(id)!.authorities, ...(former.get(id) ?? [])] : this.#anchors.map(keyRecord);
    return classIds.flatMap(of);
  }

  /** Why nobody stands for a release any more; policies of today do not matter to what is on offer. */
  standing({ release }: Listing): Refusal | undefined {
    const { lifecycle } = this.#desk;
    const { classes } = release;
    const governed = classes.filter((id) => lifecycle.state.classes.has(id));
    for (const id of governed) {
      const refusal = lifecycle.standing(release.envelope, id);
      if (refusal !== undefined) return refusal;
    }
    // Each class has its own judge, so one that nobody defined does beside others.
    return governed.length < classes.length ? this.#anchored(release) : undefined;
  }

  /** Whether the signed table of an image's sectors is by a key that counts. */
  tableStands({ release, tables }: Listing, digest: string): boolean {
    const image = release.images.find((one) => toHex(one.digest) === digest);
    const table = tables.get(digest);
    if (image === undefined || table === undefined) return false;
    return openSectorTable(this.#crypto, table, this.#signingTables(release), image).ok;
  }

  deedsOf({ release }: Listing): Deeds | undefined {
    return this.#desk.lifecycle.plans.deedsOf(release);
  }

  /** A class that nobody defined has the anchors of the configuration, and no others. */
  #anchored({ envelope, dialect, signers, depends }: Release): Refusal | undefined {
    const anchors = this.#valid(this.#anchors);
    const refusal = (keys: readonly Verifier[]): Refusal | undefined => {
      if (!depends && signers.some((signer) => keys.some((key) => isSameKey(signer, key)))) return undefined;
      const opened = openRelease(this.#crypto, envelope, { anchors: keys, dialect });
      return opened.ok ? undefined : { reason: opened.reason, detail: opened.detail };
    };
    const now = refusal(anchors);
    return now === undefined || refusal(this.#anchors) !== undefined ? now : { ...now, reason: "key-revoked" };
  }

  /** Why a release cannot have its alias, or take another's place now. Numbers rise, so the latest of several has a path. */
  #taken(release: Release, alias: string | undefined): Refusal | undefined {
    if (alias !== undefined && !/^[A-Za-z0-9_-]{1,32}$/.test(alias))
      return { reason: "bad-alias", detail: "an alias is one path segment of 1 to 32 letters, digits, - or _" };
    const others = [...this.#underWay.values()].flatMap(({ listing }) =>
      listing.release.key === release.key ? [] : [listing],
    );
    if (others.some((other) => overlap(other, release) || (alias !== undefined && other.alias === alias)))
      return {
        reason: "publication-under-way",
        detail: "a release for one of its classes is being published; wait for it",
      };
    return this.#places.refusalOf(release, alias);
  }

  #tablesOf({ tables = [] }: PublishRequest, release: Release): Map<string, Uint8Array> | Refusal {
    const valid = this.#signingTables(release);
    const found = new Map<string, Uint8Array>();
    for (const bytes of tables) {
      const table = tableOf(this.#crypto, bytes, valid, release);
      if ("reason" in table) return table;
      found.set(table.digest, bytes);
    }
    return found;
  }

  /** A table is signed as the release may be; a key that was revoked signs none either. */
  #signingTables(release: Release): Verifier[] {
    return this.#valid(this.#counting(release.classes).map(verifierOf));
  }

  /** A revoked key counts as none, whoever is governed by whom. */
  #valid(keys: readonly Verifier[]): Verifier[] {
    const { state } = this.#desk.lifecycle;
    return keys.filter((key) => !state.isRevoked(keyRecord(key)));
  }

  #trusted(): Verifier[] {
    return [...this.#anchors, ...this.#desk.anchors()];
  }

  underWay(): Iterable<Publication> {
    return this.#underWay.values();
  }

  /** Those that wait for an image. */
  waitingFor(digest: string): Publication[] {
    return [...this.#underWay.values()].filter(({ stage, missing }) => stage === "image" && missing.has(digest));
  }

  /** Whether a release that is being published needs this image, be it there already or not. */
  needsImage(digest: string): boolean {
    return [...this.#underWay.values()].some(({ listing }) => listing.images.some((image) => image.digest === digest));
  }

  /** Whether its classes take it still: much may have been decided while its images came. */
  #admitAgain(nowUs: number, { release }: Listing): Refusal | undefined {
    const { envelope, dialect } = release;
    const refusal = this.#desk.admit(nowUs, envelope, release.classes, dialect);
    return refusal === "not-governed" ? this.#anchored(release) : refusal;
  }

  /** Why no device of its classes would take a release. */
  #dryRun(nowUs: number, { release }: Listing): Refusal | undefined {
    return dryRun(release, {
      crypto: this.#crypto,
      trust: { anchors: this.#valid(this.#trusted()), dialect: release.dialect },
      unixMs: this.#desk.unixMs(nowUs),
      hardwareOf: (classId) => this.#desk.lifecycle.state.classes.get(classId)?.hardware,
    });
  }

  /** The images behind an event of the cache; those whose publication has all of them, and those that end with it. */
  imageCame(
    digest: string,
    bytes: Uint8Array | undefined,
  ): { readonly complete: Publication[]; readonly wrong: (readonly [Publication, Refusal])[] } {
    const complete: Publication[] = [];
    const wrong: [Publication, Refusal][] = [];
    for (const publication of this.waitingFor(digest)) {
      publication.missing.delete(digest);
      const refusal = this.#imageRefusal(publication.listing, digest, bytes);
      if (refusal !== undefined) wrong.push([publication, refusal]);
      else if (publication.missing.size === 0) complete.push(publication);
    }
    return { complete, wrong };
  }

  /** Its size, and its sectors while it is at hand: with several images it may leave memory before all are there. */
  #imageRefusal({ release, tables }: Listing, digest: string, bytes: Uint8Array | undefined): Refusal | undefined {
    const image = release.images.find((one) => toHex(one.digest) === digest)!;
    if (bytes?.length !== image.size)
      return { reason: "size-mismatch", detail: `the image has ${bytes?.length} bytes, not ${image.size}` };
    const table = tables.get(digest);
    const opened = table && openSectorTable(this.#crypto, table, this.#signingTables(release), image);
    const wrong = opened?.ok === true ? firstWrongSector(this.#crypto, opened.table, bytes) : undefined;
    if (wrong === undefined) return undefined;
    const detail = `its table has another digest for sector ${wrong} of the image`;
    return { reason: "sector-table-mismatch", detail };
  }

  /** With the dependencies that came beside it; why one of them is none. */
  #whole({ envelope, dependencies = [], dialect }: PublishRequest, anchors: readonly Verifier[]): Uint8Array | string {
    if (dependencies.length === 0) return envelope;
    if (dialect === "riot-09") return "RIOT's manifests depend on no others";
    try {
      return withDependencies(this.#crypto, envelope, dependencies, { anchors, dialect });
    } catch (error) {
      if (error instanceof EnvelopeError) return error.message;
      throw error;
    }
  }

  end(publication: Publication): void {
    this.#underWay.delete(publication.listing.release.key);
  }

  /** Its record is on the disk. */
  stored(publication: Publication): void {
    this.end(publication);
    this.floors.raise(publication.listing.release);
  }
}

const FULL =
  "what was replaced and is needed yet fills its room: end the rollouts and updates that need it, or name another recovery image";

/** The image that a table is of; it must be signed as the release is. */
function tableOf(
  crypto: Crypto,
  bytes: Uint8Array,
  anchors: readonly Verifier[],
  release: Release,
): { readonly digest: string } | Refusal {
  let reason = "other-image";
  for (const image of release.images) {
    const opened = openSectorTable(crypto, bytes, anchors, image);
    if (opened.ok) return { digest: toHex(image.digest) };
    reason = opened.reason;
  }
  return {
    reason: `sector-table-${reason}`,
    detail: "a sector table is signed by an author of the release, for one of its images",
  };
}
