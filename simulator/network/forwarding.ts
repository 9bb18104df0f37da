import { FRAG1_BYTES, HOP_LIMIT_AT, readFragment, readHeader } from "./sixlowpan.ts";

/** Where the fragments of one datagram go on to; `undefined` when they stay here. */
interface Path {
  readonly onward: { readonly nextHop: number; readonly tag: number } | undefined;
  readonly untilUs: number;
}

/** Entries of a mote's virtual reassembly buffer, and how long one lives. */
const MAX_PATHS = 8;
const PATH_US = 10_000_000;

export type Forwarded = { readonly nextHop: number; readonly packet: Uint8Array } | "here" | "dropped";

/**
 * Fragment forwarding (RFC 8930): a router sends each fragment on as it comes, by the way that the first one opened,
 * and keeps no datagram. A fragment without such a way is dropped.
 */
export class FragmentForwarder {
  readonly #self: number;
  readonly #isHere: (to: number) => boolean;
  readonly #paths = new Map<number, Path>();

  /** `isHere` says which datagrams are put together at this node. */
  constructor(self: number, isHere: (to: number) => boolean) {
    this.#self = self;
    this.#isHere = isHere;
  }

  /** What becomes of a fragment from a neighbour. */
  accept(
    nowUs: number,
    from: number,
    packet: Uint8Array,
    route: (to: number) => number | undefined,
    newTag: () => number,
  ): Forwarded {
    const fragment = readFragment(packet);
    if (fragment === undefined) return "here";
    const key = from * 65_536 + fragment.tag;
    const path = fragment.first ? this.#open(nowUs, key, from, packet, route, newTag) : this.#paths.get(key);
    if (path === undefined) return "dropped";
    if (path.onward === undefined) return "here";
    const copy = packet.slice();
    copy[2] = path.onward.tag >> 8;
    copy[3] = path.onward.tag & 0xff;
    if (fragment.first) copy[FRAG1_BYTES + HOP_LIMIT_AT]!--;
    return { nextHop: path.onward.nextHop, packet: copy };
  }

  #open(
    nowUs: number,
    key: number,
    from: number,
    packet: Uint8Array,
    route: (to: number) => number | undefined,
    newTag: () => number,
  ): Path | undefined {
    const header = readHeader(packet.subarray(FRAG1_BYTES), from, this.#self);
    if (header === undefined) return undefined;
    const here = header.scope === "link" || this.#isHere(header.to);
    const nextHop = here ? undefined : route(header.to);
    if (!here && (nextHop === undefined || header.hopLimit <= 1)) return undefined;
    for (const [other, { untilUs }] of this.#paths) if (untilUs <= nowUs) this.#paths.delete(other);
    if (this.#paths.size >= MAX_PATHS) this.#paths.delete(this.#paths.keys().next().value!);
    const onward = nextHop === undefined ? undefined : { nextHop, tag: newTag() };
    const path = { onward, untilUs: nowUs + PATH_US };
    this.#paths.set(key, path);
    return path;
  }
}
