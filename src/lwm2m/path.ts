/** Object, object instance, resource, resource instance: as many of them as are meant (LwM2M 1.1 Core, section 7.3). */
export type Path = readonly number[];

/** IDs are 16 bits; 65535 stands for none (LwM2M 1.1 Core, section 7.3.1). */
const MAX_ID = 65_534;

/** `/3/0/9`; `/` for the root. */
export const pathText = (path: Path): string => `/${path.join("/")}`;

/** The path of `/3/0/9` or `3/0/9`; undefined when it is none. */
export function parsePath(text: string): Path | undefined {
  const bare = text.startsWith("/") ? text.slice(1) : text;
  if (bare === "") return [];
  const ids = bare.split("/");
  if (ids.length > 4 || !ids.every((id) => /^(?:0|[1-9]\d{0,4})$/.test(id) && Number(id) <= MAX_ID)) return undefined;
  return ids.map(Number);
}

/** Whether `path` is `above`, or lies in it. */
export const isWithin = (path: Path, above: Path): boolean => above.every((id, i) => id === path[i]);

/** Whether two lists name the same paths in the same order. */
export function samePaths(a: readonly Path[], b: readonly Path[]): boolean {
  return a.length === b.length && a.every((path, i) => pathText(path) === pathText(b[i]!));
}
