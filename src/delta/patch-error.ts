export type PatchReason =
  /** It does not begin as a patch does. */
  | "patch-unknown"
  | "patch-too-short"
  /** It is for an image of another size, or leads to one. */
  | "patch-of-other-size"
  /** It reads where the old image is not. */
  | "patch-out-of-range"
  /** A number in it is larger than any image. */
  | "patch-malformed";

/** A patch that cannot be applied. */
export class PatchError extends Error {
  readonly reason: PatchReason;

  constructor(reason: PatchReason) {
    super(reason);
    this.reason = reason;
  }
}
