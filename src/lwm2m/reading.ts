import type { Path } from "./path.ts";
import type { ResourceValue } from "./values.ts";

/** The value of a resource, or of one of its instances. */
export interface Reading {
  readonly path: Path;
  readonly value: ResourceValue;
  /** Seconds since 1970, or before now where negative; absent when the content does not say. */
  readonly timeS?: number;
}
