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

/** In a few words: the code of the answer, or why there is none. */
export function outcomeText(result: OperationResult): string {
  if (result.kind === "failed") return result.reason;
  return result.kind === "done" ? result.code : `${result.code} ${result.detail}`.trim();
}
