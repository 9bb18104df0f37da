/** An upload: bytes that come piece by piece, perhaps over several connections. */
export interface UploadInfo {
  readonly id: string;
  /** How many bytes it is to have, and their SHA-256 in hex. */
  readonly bytes: number;
  readonly sha256: string;
  /** Bytes that are on the disk. */
  readonly offset: number;
  readonly complete: boolean;
  /** Milliseconds since 1970: when bytes came last. Left alone for a week it is thrown away. */
  readonly touchedMs: number;
}

export type AppendResult =
  | UploadInfo
  | "no-such-upload"
  | "wrong-offset"
  | "too-long"
  | "wrong-digest"
  | "under-way"
  | "disk-full";

/** Where uploads are kept; hashed as they come. */
export interface Uploads {
  create(bytes: number, sha256: string): Promise<UploadInfo | "too-many-uploads" | "too-long">;
  get(id: string): Promise<UploadInfo | undefined>;
  /** All that there are, in no order. */
  all(): Promise<UploadInfo[]>;
  /** Takes bytes from `offset` on, for as long as they come; what came before an interruption stays. */
  append(id: string, offset: number, pieces: AsyncIterable<Uint8Array>): Promise<AppendResult>;
  remove(id: string): Promise<boolean>;
  /** Where a complete one can be fetched from. */
  uriOf(id: string): string | undefined;
}
