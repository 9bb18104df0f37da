import type { Router } from "../coap/router.ts";
import type { Refusal } from "../lifecycle/admission.ts";
import type { Lifecycle } from "../lifecycle/lifecycle.ts";
import type { Release } from "../suit/release.ts";
import { toHex } from "../util/bytes.ts";
import {
  componentOf,
  isForAllOf,
  isForTheSame,
  manifestPath,
  manifestPaths,
  type Catalogue,
  type Listing,
} from "./catalogue.ts";

interface PlacesParts {
  readonly catalogue: Catalogue;
  readonly lifecycle: Lifecycle;
  readonly router: Pick<Router, "has">;
  /** Why the configuration's anchors do not stand for a release. */
  readonly anchored: (release: Release) => Refusal | undefined;
}

/** Which release may take which place: the paths of its classes from the one that is there, and an alias from whoever has it. */
export class Places {
  readonly #parts: PlacesParts;

  constructor(parts: PlacesParts) {
    this.#parts = parts;
  }

  /** What is asked for, or that of the release before it: a client with a fixed URI must not lose it unsaid. */
  aliasOf(release: Release, asked: string | null | undefined): string | undefined | Refusal {
    const isOne = release.images.filter(({ isPatch }) => !isPatch).length === 1;
    if (asked === null) return undefined;
    if (asked !== undefined)
      return isOne
        ? asked
        : {
            reason: "bad-alias",
            detail: "an alias is of one image; this release has several, among which a manifest chooses",
          };
    const { catalogue } = this.#parts;
    const inUse = (detail: string): Refusal => ({ reason: "alias-in-use", detail: `${detail}; ${SAY_WHICH}` });
    const before = catalogue.get(release.key);
    const replaced = [before ?? [], catalogue.overtakenBy(release)].flat();
    const parted = manifestPaths(release)
      .map((path) => catalogue.at(path.join("/")))
      .find((one) => one?.alias !== undefined && !replaced.includes(one));
    if (parted !== undefined)
      return inUse(`devices of one of its classes have /${parted.alias}, which stays with ${parted.release.key}`);
    const aliases = [...new Set(replaced.flatMap(({ alias }) => alias ?? []))];
    const [alias] = aliases;
    if (alias === undefined) return undefined;
    if (aliases.length > 1) return inUse(`its devices have /${aliases.join(" and /")}, and it has one alias`);
    if (!isOne) return inUse(`devices have /${alias}, and this release has several images`);
    return before?.alias === undefined || isForAllOf(release, before.release)
      ? alias
      : inUse(`devices of a class that this release leaves out have /${alias}`);
  }

  /** Why a release cannot have its paths, or its alias. Numbers rise, so the latest of several has a path. */
  refusalOf(release: Release, alias: string | undefined): Refusal | undefined {
    const placed = this.#leftOut(release) ?? this.#behind(release);
    if (placed !== undefined) return placed;
    const { catalogue } = this.#parts;
    const holder = alias === undefined ? undefined : catalogue.at(alias);
    const isOwn =
      alias === undefined || holder?.release.key === release.key || catalogue.overtakenBy(release).includes(holder!);
    return isOwn ? undefined : this.#aliasTaken(release, alias);
  }

  /** Why it would be served to nobody: numbers of other vendors are others. */
  #behind(release: Release): Refusal | undefined {
    const ahead = manifestPaths(release)
      .map((path) => this.#parts.catalogue.at(path.join("/"))?.release)
      .find((one) => one !== undefined && one.key !== release.key && one.sequenceNumber >= release.sequenceNumber);
    const detail = `${ahead?.key} number ${ahead?.sequenceNumber} is served to one of its classes`;
    return ahead && { reason: "class-taken", detail };
  }

  /** Why a release may not take the one before it from classes that it leaves out: nobody who signed it counts there. */
  #leftOut(release: Release): Refusal | undefined {
    const before = this.#parts.catalogue.get(release.key)?.release;
    const left = before?.classIds.filter((id) => !release.classes.includes(toHex(id))) ?? [];
    const { lifecycle } = this.#parts;
    for (const id of left) {
      const path = manifestPath(id, componentOf(release)).join("/");
      if (this.#parts.catalogue.at(path)?.release.key !== release.key) continue;
      const classId = toHex(id);
      const older = this.#parts.catalogue
        .claimants(path, release.key)
        .find((one) => this.#parts.catalogue.stands(one))?.release;
      if (older !== undefined) {
        const detail = `class ${classId} would go back to number ${older.sequenceNumber}: publish one for it alone before`;
        return { reason: "class-left-out", detail };
      }
      const isGoverned = lifecycle.state.classes.has(classId);
      const refusal = isGoverned
        ? lifecycle.replacingRefusal(release.envelope, classId)
        : this.#parts.anchored(release);
      if (refusal === undefined) continue;
      const detail = `class ${classId} has the release before it, and would have none: ${refusal.detail}; sign it with a key that may for that class, or publish one for that class alone before`;
      return { reason: "class-left-out", detail };
    }
    return undefined;
  }

  /** One that nobody stands for keeps its alias: devices of its classes have it, and would get another's image. */
  #aliasTaken(release: Release, alias: string): Refusal | undefined {
    const holder = this.#parts.catalogue.at(alias);
    if (holder === undefined && this.#parts.router.has([alias]))
      return { reason: "bad-alias", detail: `/${alias} is a path of the gateway itself` };
    // What has been overtaken for all of its classes leaves its alias to what did so.
    const mayTake = (one: Listing): boolean =>
      isForTheSame(release, one.release) || (this.#parts.catalogue.stands(one) && isForAllOf(release, one.release));
    const other = holder ?? this.#parts.catalogue.claimants(alias, release.key).find((one) => !mayTake(one));
    return other && { reason: "alias-in-use", detail: `/${alias} is the alias of ${other.release.key}; ${SAY_WHICH}` };
  }
}

const SAY_WHICH = "say --alias or --no-alias";
