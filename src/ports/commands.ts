import type { HttpRequest, HttpResponse } from "./http.ts";
import type { Durability, StoreOp } from "./store.ts";

/**
 * What the gateway asks of its host. Each command is answered by one `done` or `failed` event under
 * its id, `http` by `http-response` or `failed`; a `fetch` sends `started` and `progress` before.
 */
export type Command =
  | { readonly kind: "store"; readonly id: number; readonly ops: readonly StoreOp[]; readonly durability: Durability }
  | { readonly kind: "blob-read"; readonly id: number; readonly digest: string; readonly part: boolean }
  | { readonly kind: "blob-commit"; readonly id: number; readonly digest: string }
  | { readonly kind: "blob-remove"; readonly id: number; readonly digest: string; readonly part: boolean }
  | {
      readonly kind: "fetch";
      readonly id: number;
      readonly digest: string;
      readonly uri: string;
      readonly offset: number;
      readonly validator: string | undefined;
      readonly maxBytes: number;
    }
  | { readonly kind: "http"; readonly id: number; readonly request: HttpRequest; readonly maxBytes: number };

export type CommandEvent =
  | { readonly kind: "done"; readonly bytes?: Uint8Array }
  | { readonly kind: "failed"; readonly reason: string; readonly detail: string; readonly retryable: boolean }
  | { readonly kind: "started"; readonly offset: number; readonly validator: string | undefined }
  | { readonly kind: "progress"; readonly bytes: number }
  | { readonly kind: "http-response"; readonly response: HttpResponse };

/** Runs commands. `emit` may be called at once or later, never from another thread. */
export interface CommandExecutor {
  execute(command: Command, emit: (event: CommandEvent) => void): void;
}
