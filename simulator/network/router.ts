import type { Datagram } from "./datagram.ts";

/** Where a node sends what is not for itself. */
export interface Router {
  /** `from` is the neighbour that it came from; undefined for what this node sends itself. */
  nextHop(to: number, from?: number): number | undefined;
  /** A control message from a neighbour (ICMPv6). */
  onControl?(from: number, datagram: Datagram): void;
  /** How a frame to a neighbour went: what link costs are learnt from. */
  onSent?(neighbour: number, acknowledged: boolean, transmissions: number): void;
  start?(): void;
  stop?(): void;
}

/** One cell: whoever is meant is one hop away. */
export const DIRECT: Router = { nextHop: (to) => to };

/** Cost of a link in expected transmissions, with its acknowledgement; Infinity where there is none. */
export type LinkCost = (from: number, to: number) => number;

/** Links worse than this are no links: nine frames of ten are lost, and some acknowledgements. */
const MAX_ETX = 16;

/** The tree of least expected transmissions from all nodes to the nearest root; -1 for roots and what is cut off. */
export function spanningTree(
  nodes: number,
  roots: readonly number[],
  neighbours: (id: number) => readonly number[],
  cost: LinkCost,
  routes: (id: number) => boolean = () => true,
): Int32Array {
  const parents = new Int32Array(nodes).fill(-1);
  const total = new Float64Array(nodes).fill(Infinity);
  const done = new Uint8Array(nodes);
  for (const root of roots) total[root] = 0;
  for (;;) {
    let next = -1;
    for (let id = 0; id < nodes; id++) if (!done[id] && total[id]! < (next < 0 ? Infinity : total[next]!)) next = id;
    if (next < 0) return parents;
    done[next] = 1;
    if (!routes(next)) continue; // a node that sleeps forwards nothing
    for (const id of neighbours(next)) {
      const etx = cost(id, next);
      if (done[id] || etx > MAX_ETX || total[next]! + etx >= total[id]!) continue;
      total[id] = total[next]! + etx;
      parents[id] = next;
    }
  }
}

/** Hops from each node up to its root; -1 where there is no way. */
export function depths(parents: Int32Array, roots: readonly number[]): Int32Array {
  const depth = new Int32Array(parents.length).fill(-2);
  for (const root of roots) depth[root] = 0;
  const of = (id: number): number => {
    if (depth[id] === -2) {
      const above = parents[id]! < 0 ? -1 : of(parents[id]!);
      depth[id] = above < 0 ? -1 : above + 1;
    }
    return depth[id]!;
  };
  for (let id = 0; id < parents.length; id++) of(id);
  return depth;
}

/** Routers of a tree that stays as it is. */
export function treeRouters(parents: Int32Array): Router[] {
  const down: Map<number, number>[] = Array.from(parents, () => new Map());
  for (let id = 0; id < parents.length; id++) {
    for (let child = id, above = parents[id]!; above >= 0; child = above, above = parents[above]!)
      down[above]!.set(id, child);
  }
  return Array.from(parents, (parent, id) => ({
    nextHop: (to: number) => down[id]!.get(to) ?? (parent < 0 ? undefined : parent),
  }));
}
