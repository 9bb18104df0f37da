/**
 * A stream of random numbers. Streams are forked by label, so that a new draw in one place does
 * not move the draws of another.
 */
export interface Random {
  /** A uniform integer in [0, 2^32). */
  uint32(): number;
  /** A stream of its own for `label`; the same label gives the same stream. */
  fork(label: string): Random;
}
