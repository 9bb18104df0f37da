import { isOver, type Member } from "./record.ts";
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
  /** Those that are at it, in the order in which their deadlines come. */
  readonly #atIt = new Map<string, number>();
  /** Those that wait for their turn, by group. */
  readonly #pending: Set<string>[];

  constructor(groups: number) {
    this.#counts = Array.from({ length: groups }, none);
    this.#pending = Array.from({ length: groups }, () => new Set<string>());
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

  pending(group: number): Iterable<string> {
    return this.#pending[group]!;
  }

  /** Those whose update is under way, since when. */
  atIt(): Iterable<[endpoint: string, sinceMs: number]> {
    return this.#atIt;
  }

  /** Puts a device in, or in place of what was known of it. */
  put(member: Member): void {
    const before = this.#all.get(member.endpoint);
    if (before !== undefined) this.#uncount(before);
    this.#all.set(member.endpoint, member);
    this.#counts[member.group]![member.state]++;
    if (member.state === "pending") this.#pending[member.group]!.add(member.endpoint);
    const sinceMs = member.state === "commanded" ? member.commandedMs : member.releasedMs;
    if (!isOver(member) && member.state !== "pending" && sinceMs !== undefined)
      this.#atIt.set(member.endpoint, sinceMs);
  }

  remove(endpoint: string): void {
    const before = this.#all.get(endpoint);
    if (before !== undefined) this.#uncount(before);
    this.#all.delete(endpoint);
  }

  #uncount({ endpoint, group, state }: Member): void {
    this.#counts[group]![state]--;
    this.#atIt.delete(endpoint);
    this.#pending[group]!.delete(endpoint);
  }
}
