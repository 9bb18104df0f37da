import type { Link } from "../codec/link-format.ts";
import type { Reading } from "./reading.ts";

/** What became of an operation. */
export type OperationResult =
  | {
      readonly kind: "done";
      readonly code: string;
      readonly readings?: readonly Reading[];
      readonly links?: readonly Link[];
    }
  /** The client answered with an error. */
  | { readonly kind: "refused"; readonly code: string; readonly detail: string }
  /** It did not answer, or what it answered is not to be understood. */
  | { readonly kind: "failed"; readonly reason: string };
