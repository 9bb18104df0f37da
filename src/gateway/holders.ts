/** A release that may be at some paths. */
export interface Claim {
  readonly sequenceNumber: number;
  /** Paths of its manifest, one for each of its classes. */
  readonly manifests: readonly string[];
  readonly alias: string | undefined;
  /** Whether somebody stands for it. */
  readonly stands: boolean;
}

/** Who was at a path, and who is. */
export interface Change {
  readonly before: string | undefined;
  readonly after: string | undefined;
}

/**
 * Which release is at which path: of those that have it and that somebody stands for the one with the highest number,
 * since numbers only rise. An alias is of who is on offer. Nothing is decided by what came first, so that a restart comes
 * to the same.
 */
export class Holders {
  readonly #claims = new Map<string, Claim>();
  readonly #byPath = new Map<string, Set<string>>();
  readonly #holders = new Map<string, string>();

  /** The release at a path. */
  at(path: string): string | undefined {
    return this.#holders.get(path);
  }

  /** Whether a release is at the path of one of its classes at least. */
  isOnOffer(key: string): boolean {
    return this.#claims.get(key)?.manifests.some((path) => this.#holders.get(path) === key) === true;
  }

  #stands(key: string): boolean {
    return this.#claims.get(key)?.stands === true;
  }

  /** Releases that have a path, be they there or not. */
  claimants(path: string): Iterable<string> {
    return this.#byPath.get(path) ?? [];
  }

  /** Puts a release in the place of the one by its key; what changed by it. */
  set(key: string, claim: Claim): Map<string, Change> {
    const before = this.#unlist(key);
    this.#claims.set(key, claim);
    for (const path of pathsOf(claim)) this.#byPath.set(path, (this.#byPath.get(path) ?? new Set()).add(key));
    return this.#settle(new Set([...before, ...pathsOf(claim)]));
  }

  /** A release is one of those no longer; what changed by it. */
  remove(key: string): Map<string, Change> {
    const paths = this.#unlist(key);
    this.#claims.delete(key);
    return this.#settle(new Set(paths));
  }

  /** Takes a release off its paths, which are returned. */
  #unlist(key: string): string[] {
    const paths = pathsOf(this.#claims.get(key));
    for (const path of paths) {
      const keys = this.#byPath.get(path)!;
      keys.delete(key);
      if (keys.size === 0) this.#byPath.delete(path);
    }
    return paths;
  }

  /** Somebody stands for a release again, or nobody does any more. */
  judge(key: string, stands: boolean): Map<string, Change> {
    const claim = this.#claims.get(key)!;
    return claim.stands === stands ? new Map() : this.set(key, { ...claim, stands });
  }

  #settle(paths: ReadonlySet<string>): Map<string, Change> {
    const changes = new Map<string, Change>();
    const aliases = new Set<string>();
    for (const path of paths) {
      const holder = this.#holders.get(path);
      for (const key of [...this.claimants(path)].concat(holder ?? [])) {
        const alias = this.#claims.get(key)?.alias;
        if (alias !== undefined) aliases.add(alias);
      }
    }
    const isManifest = (path: string): boolean => path.includes("/");
    for (const path of paths)
      if (isManifest(path)) this.#give(path, (key) => this.#stands(key), changes);
      else aliases.add(path);
    for (const alias of aliases) this.#give(alias, (key) => this.isOnOffer(key), changes);
    return changes;
  }

  #give(path: string, mayHave: (key: string) => boolean, changes: Map<string, Change>): void {
    let after: string | undefined;
    for (const key of this.claimants(path))
      if (mayHave(key) && (after === undefined || this.#isLater(key, after))) after = key;
    const before = this.#holders.get(path);
    if (before === after) return;
    if (after === undefined) this.#holders.delete(path);
    else this.#holders.set(path, after);
    changes.set(path, { before, after });
  }

  #isLater(a: string, b: string): boolean {
    const [one, other] = [this.#claims.get(a)!.sequenceNumber, this.#claims.get(b)!.sequenceNumber];
    return one === other ? a > b : one > other;
  }
}

const pathsOf = (claim: Claim | undefined): string[] =>
  claim === undefined ? [] : [...claim.manifests, ...(claim.alias === undefined ? [] : [claim.alias])];
