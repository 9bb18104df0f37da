/** Reason of a SourceError: the fetch can't go on at its offset, and has to begin at 0. */
export const RESUME_REFUSED = "resume-refused";

/** A source that could not give an image. `retryable` says whether the same again may go well. */
export class SourceError extends Error {
  readonly reason: string;
  readonly retryable: boolean;

  constructor(reason: string, detail: string, retryable: boolean) {
    super(detail);
    this.reason = reason;
    this.retryable = retryable;
  }
}

export interface SourceRequest {
  readonly uri: string;
  /** First byte wanted; what comes before is at hand, of the version that `validator` names. */
  readonly offset: number;
  readonly validator: string | undefined;
  /** More bytes than this are refused. */
  readonly maxBytes: number;
  readonly signal: AbortSignal;
}

export interface SourceResponse {
  /** Where `body` starts: the offset asked for, or 0 when the source begins again. */
  readonly offset: number;
  /** Names this version of the content (an HTTP ETag or Last-Modified), for the next resume. */
  readonly validator: string | undefined;
  readonly body: AsyncIterable<Uint8Array>;
}

/** Where images come from: one implementation per URI scheme. Failures are SourceErrors. */
export interface ImageSource {
  readonly schemes: readonly string[];
  open(request: SourceRequest): Promise<SourceResponse>;
}
