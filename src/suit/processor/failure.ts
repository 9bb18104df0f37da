import type { SuitReason } from "../keys.ts";
import type { SuitRecord } from "./record.ts";

/** A command did not succeed: its sequence ends here, and with it the procedure unless the failure is soft. */
export class Failure extends Error {
  readonly reason: SuitReason;
  /** A condition that was not met; a try-each goes on with its next sequence. All else aborts (section 6.4). */
  readonly soft: boolean;
  record: SuitRecord | undefined;
  /** A dependency that is not there, or cannot be believed: it may yet be fetched. */
  isMissing = false;

  constructor(reason: SuitReason, detail: string, soft = false) {
    super(detail);
    this.reason = reason;
    this.soft = soft;
  }
}

export const abort = (reason: SuitReason, detail: string): Failure => new Failure(reason, detail);
export const notMet = (detail: string): Failure => new Failure("condition-failed", detail, true);
