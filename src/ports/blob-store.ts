/** A file of the blob store. `digest` is the SHA-256 of the whole content in hex. */
export interface BlobInfo {
  readonly digest: string;
  readonly bytes: number;
  /** False while the content is still being fetched; its digest is a promise until then. */
  readonly complete: boolean;
}

/** Content-addressed bytes. A part becomes a blob by `commit`, after its digest was checked. */
export interface BlobStore {
  list(): Promise<BlobInfo[]>;
  /** Opens the part of `digest` for appending after its first `offset` bytes; the rest is cut off. */
  openPart(digest: string, offset: number): Promise<PartWriter>;
  readPart(digest: string): Promise<Uint8Array>;
  /** Makes the part a blob, durably. */
  commit(digest: string): Promise<void>;
  read(digest: string): Promise<Uint8Array>;
  /** Removes the blob, or its part; it is gone afterwards, whether or not it was there before. */
  remove(digest: string, part: boolean): Promise<void>;
}

export interface PartWriter {
  append(bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}
