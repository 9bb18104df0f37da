import { mkdtempSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { UploadFolder } from "../../src/adapters/upload-folder.ts";

/** Uploads in a folder that nobody else has. */
export const temporaryUploads = (maxBytes = 100_000): UploadFolder =>
  new UploadFolder(mkdtempSync(join(tmpdir(), "uploads-")), maxBytes);
