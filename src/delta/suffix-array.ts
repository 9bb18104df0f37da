/**
 * Offsets of all suffixes of `bytes` in their order, by doubling: suffixes that are sorted by their first h bytes are
 * sorted by 2h once those at offset + h are known. Each round is two passes of a counting sort.
 */
export function suffixArray(bytes: Uint8Array): Int32Array {
  const { length } = bytes;
  let [order, other] = [new Int32Array(length), new Int32Array(length)];
  let [rank, next] = [new Int32Array(length), new Int32Array(length)];
  const starts = new Int32Array(Math.max(257, length + 1));
  for (let i = 0; i < length; i++) rank[i] = bytes[i]!;
  for (let i = 0; i < length; i++) other[i] = i;
  sortByRank(other, rank, order, starts, 256);
  for (let h = 1, classes = 256; h < length; h *= 2) {
    // By what stands h behind: those that end before come first, and the rest in the order that is known.
    let at = 0;
    for (let i = Math.max(0, length - h); i < length; i++) other[at++] = i;
    for (let i = 0; i < length; i++) if (order[i]! >= h) other[at++] = order[i]! - h;
    sortByRank(other, rank, order, starts, classes);
    classes = 0;
    for (let i = 0; i < length; i++) {
      if (i > 0 && !isSameRank(rank, order[i - 1]!, order[i]!, h)) classes++;
      next[order[i]!] = classes;
    }
    [rank, next] = [next, rank];
    if (++classes === length) break;
  }
  return order;
}

function isSameRank(rank: Int32Array, a: number, b: number, h: number): boolean {
  const behind = (i: number): number => (i + h < rank.length ? rank[i + h]! : -1);
  return rank[a] === rank[b] && behind(a) === behind(b);
}

/** Stable: `from` by the rank of each, into `to`. */
function sortByRank(from: Int32Array, rank: Int32Array, to: Int32Array, starts: Int32Array, classes: number): void {
  starts.fill(0, 0, classes + 1);
  for (let i = 0; i < rank.length; i++) starts[rank[i]! + 1]!++;
  for (let i = 1; i <= classes; i++) starts[i]! += starts[i - 1]!;
  for (let i = 0; i < from.length; i++) to[starts[rank[from[i]!]!]!++] = from[i]!;
}

/** The longest piece of `old` that `wanted` begins with at `at`. */
export function longestMatch(
  old: Uint8Array,
  order: Int32Array,
  wanted: Uint8Array,
  at: number,
): { readonly offset: number; readonly length: number } {
  let [low, high] = [0, order.length - 1];
  let best = { offset: 0, length: 0 };
  while (low <= high) {
    const middle = (low + high) >>> 1;
    const offset = order[middle]!;
    const length = commonLength(old, offset, wanted, at);
    if (length > best.length) best = { offset, length };
    if (at + length === wanted.length) break;
    // A suffix that ends is before whatever goes on.
    if (offset + length === old.length || old[offset + length]! < wanted[at + length]!) low = middle + 1;
    else high = middle - 1;
  }
  return best;
}

function commonLength(a: Uint8Array, atA: number, b: Uint8Array, atB: number): number {
  const most = Math.min(a.length - atA, b.length - atB);
  let length = 0;
  while (length < most && a[atA + length] === b[atB + length]) length++;
  return length;
}
