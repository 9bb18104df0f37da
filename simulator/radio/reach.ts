/** Where a sender is heard while its powers stay as they are. */
export interface Reach {
  readonly neighbours: readonly number[];
  /** In the order of the neighbours, in mW; 0 where nothing arrives. */
  readonly powersMw: Float64Array;
  /** Those that could receive it: most of a large grid's neighbours it only disturbs. */
  readonly audible: readonly number[];
  /** The same powers by node, from `first` on. */
  readonly first: number;
  readonly byNode: Float64Array;
}

export function reachOf(neighbours: readonly number[], powersMw: Float64Array, sensitivityMw: number): Reach {
  const first = neighbours.reduce((least, id) => Math.min(least, id), Number.POSITIVE_INFINITY);
  const last = neighbours.reduce((most, id) => Math.max(most, id), 0);
  const byNode = new Float64Array(neighbours.length === 0 ? 0 : last - first + 1);
  for (const [i, id] of neighbours.entries()) byNode[id - first] = powersMw[i]!;
  return { neighbours, powersMw, audible: neighbours.filter((_, i) => powersMw[i]! >= sensitivityMw), first, byNode };
}

/** Its power at a node in mW. */
export function powerAt({ first, byNode }: Reach, id: number): number {
  const i = id - first;
  return i >= 0 && i < byNode.length ? byNode[i]! : 0;
}
