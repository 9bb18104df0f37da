/**
 * Two incompatible encodings carry the same manifest version: a class says which one its devices speak, and nothing is
 * ever guessed. `riot-09` is draft-ietf-suit-manifest-09 as far as RIOT's sys/suit reads it.
 */
export type Dialect = "draft-37" | "riot-09";
export const DIALECTS: readonly Dialect[] = ["draft-37", "riot-09"];
