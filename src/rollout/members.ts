import type { Member } from "./record.ts";
import type { MemberState } from "./states.ts";

export type Counts = Record<MemberState, number>;

const none = (): Counts => ({
  pending: 0,
  commanded: 0,
  downloaded: 0,
  succeeded: 0,
  failed: 0,
  skipped: 0,
  cancelled: 0,
});

/** The devices of a rollout, counted by group and state as they change. */
export class Members {
  readonly #all = new Map<string, Member>();
  readonly #counts: Counts[];
  /** Those that are at it, and since when; in the order in which their deadlines come while `#isOrdered`. */
  #atIt = new Map<string, number>();
  #isOrdered = true;
  #newestMs = Number.NEGATIVE_INFINITY;
  /** Those that wait for their turn, by group; and those of them that were looked at, and may not have it yet. */
  readonly #ready: Set<string>[];
  readonly #blocked = new Set<string>();
  /** Those that wait to apply what they have. */
  readonly #downloaded = new Set<string>();

  constructor(groups: number) {
    this.#counts = Array.from({ length: groups }, none);
    this.#ready = Array.from({ length: groups }, () => new Set<string>());
  }

  get size(): number {
    return this.#all.size;
  }

  get(endpoint: string): Member | undefined {
    return this.#all.get(endpoint);
  }

  all(): Iterable<Member> {
    return this.#all.values();
  }

  counts(group: number): Counts {
    return this.#counts[group]!;
  }

  /** Of a state, in all groups. */
  count(state: MemberState): number {
    return this.#counts.reduce((sum, counts) => sum + counts[state], 0);
  }

  /** Devices of a group that its shares are taken of: those that a precondition keeps out are not. */
  total(group: number): number {
    const counts = this.counts(group);
    return Object.values(counts).reduce((sum, count) => sum + count, 0) - counts.skipped;
  }

  isGroupOver(group: number): boolean {
    const { pending, commanded, downloaded } = this.counts(group);
    return pending + commanded + downloaded === 0;
  }

  downloaded(): ReadonlySet<string> {
    return this.#downloaded;
  }

  /** Those that wait for their turn, and are not blocked. */
  ready(group: number): ReadonlySet<string> {
    return this.#ready[group]!;
  }

  /** It is not its turn yet, whosever turn it is. */
  block(endpoint: string): void {
    const member = this.#all.get(endpoint);
    if (member?.state !== "pending") return;
    this.#ready[member.group]!.delete(endpoint);
    this.#blocked.add(endpoint);
  }

  get hasBlocked(): boolean {
    return this.#blocked.size > 0;
  }

  /** It is looked at again, behind those that were not looked at. */
  unblock(endpoint: string): void {
    if (this.#blocked.delete(endpoint)) this.#ready[this.#all.get(endpoint)!.group]!.add(endpoint);
  }

  unblockAll(): void {
    for (const endpoint of this.#blocked) this.unblock(endpoint);
  }

  /** Those whose update is under way, since when: the oldest first. */
  atIt(): Iterable<[endpoint: string, sinceMs: number]> {
    if (!this.#isOrdered) this.#atIt = new Map([...this.#atIt].toSorted((a, b) => a[1] - b[1]));
    this.#isOrdered = true;
    return this.#atIt;
  }

  /** Puts a device in, or in place of what was known of it. */
  put(member: Member): void {
    const { endpoint, group, state, commandedMs, releasedMs } = member;
    const before = this.#all.get(endpoint);
    if (before !== undefined) this.#uncount(before);
    this.#all.set(endpoint, member);
    this.#counts[group]![state]++;
    if (state === "pending") this.#ready[group]!.add(endpoint);
    if (state === "downloaded") this.#downloaded.add(endpoint);
    const sinceMs = state === "commanded" ? commandedMs : state === "downloaded" ? releasedMs : undefined;
    if (sinceMs === undefined) return;
    this.#isOrdered &&= sinceMs >= this.#newestMs;
    this.#newestMs = Math.max(this.#newestMs, sinceMs);
    this.#atIt.set(endpoint, sinceMs);
  }

  remove(endpoint: string): void {
    const before = this.#all.get(endpoint);
    if (before !== undefined) this.#uncount(before);
    this.#all.delete(endpoint);
  }

  #uncount({ endpoint, group, state }: Member): void {
    this.#counts[group]![state]--;
    this.#atIt.delete(endpoint);
    this.#ready[group]!.delete(endpoint);
    this.#blocked.delete(endpoint);
    this.#downloaded.delete(endpoint);
  }
}
