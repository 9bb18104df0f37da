import type { CborMap } from "../../codec/cbor.ts";

/** Where a command stands, and what its parameters were (draft-ietf-suit-report, SUIT_Record). */
export interface SuitRecord {
  /** Component indices that lead from the root manifest to the one that is meant; empty for the root. */
  readonly manifestId: readonly number[];
  /** Key of the section in its manifest. */
  readonly section: number;
  /** Byte offset of the command in the section. */
  readonly offset: number;
  readonly componentIndex: number;
  readonly properties: CborMap;
}
