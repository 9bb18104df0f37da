import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UploadFolder, type UploadOptions } from "../../src/adapters/upload-folder.ts";

/** Uploads in a folder that nobody else has. */
export const temporaryUploads = (options: Partial<UploadOptions> = {}): UploadFolder =>
  new UploadFolder(mkdtempSync(join(tmpdir(), "uploads-")), { maxBytes: 100_000, isNeeded: () => false, ...options });
