/** Orders versions part by part: numbers as numbers, the rest as text, and a pre-release before its release. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [a, b].map((text) => text.replace(/^v(?=\d)/, "").split(/[.+_-]/));
  for (let i = 0; i < Math.max(left!.length, right!.length); i++) {
    const order = comparePart(left![i], right![i]);
    if (order !== 0) return order;
  }
  return 0;
}

const isNumber = (part: string): boolean => /^\d+$/.test(part);

function comparePart(a: string | undefined, b: string | undefined): number {
  // 1.2 and 1.2.0 are the same; 1.2-rc1 comes before 1.2.
  if (a === undefined) return b === undefined ? 0 : -comparePart(b, undefined);
  if (b === undefined) return isNumber(a) ? Math.sign(Number(a)) : -1;
  if (isNumber(a) && isNumber(b)) return Math.sign(Number(a) - Number(b));
  if (isNumber(a) !== isNumber(b)) return isNumber(a) ? 1 : -1;
  return a === b ? 0 : a < b ? -1 : 1;
}
