import type { Crypto } from "../ports/crypto.ts";
import type { Random } from "../ports/random.ts";
import type { StoreOp } from "../ports/store.ts";
import { constantTimeEqual, fromUtf8, toHex, utf8 } from "../util/bytes.ts";
import { randomBytes, randomId } from "../util/random.ts";

export const TOKEN_PREFIX = "token/";
export const ACCESS_LIMITS = { maxTokens: 1_000, secretBytes: 24, idDigits: 8 } as const;

/** A token of the API; its secret is nowhere. */
export interface TokenRecord {
  readonly id: string;
  readonly name: string;
  readonly role: string;
  readonly createdMs: number;
  readonly expiresMs: number;
  /** SHA-256 of the secret in hex: it has 192 random bits, so nothing slower is needed. */
  readonly hash: string;
}

interface AccessParts {
  readonly crypto: Crypto;
  readonly random: Random;
  readonly unixMs: (nowUs: number) => number;
  readonly store: (ops: readonly StoreOp[]) => number;
}

/** Who may use the API over the network. */
export class AccessTokens {
  readonly #parts: AccessParts;
  readonly #tokens = new Map<string, TokenRecord>();
  readonly #writes = new Map<number, (done: boolean) => void>();

  constructor(parts: AccessParts) {
    this.#parts = parts;
  }

  recover(key: string, record: Uint8Array): boolean | undefined {
    if (!key.startsWith(TOKEN_PREFIX)) return undefined;
    try {
      const token = JSON.parse(fromUtf8(record) ?? "") as TokenRecord;
      const whole = [token.id, token.name, token.role, token.hash].every((text) => typeof text === "string");
      if (!whole || !Number.isFinite(token.expiresMs)) return false;
      this.#tokens.set(token.id, token);
      return true;
    } catch {
      return false;
    }
  }

  all(): Iterable<TokenRecord> {
    return this.#tokens.values();
  }

  /** `tell` gets the token once it is on the disk: it is shown this once. */
  create(
    nowUs: number,
    { name, role, days }: { readonly name: string; readonly role: string; readonly days: number },
    tell: (token: { readonly record: TokenRecord; readonly secret: string } | "too-many-tokens" | "not-stored") => void,
  ): void {
    const { random, unixMs, store } = this.#parts;
    // Those that have expired make room.
    for (const { id, expiresMs } of this.#tokens.values())
      if (this.#tokens.size >= ACCESS_LIMITS.maxTokens && unixMs(nowUs) >= expiresMs) this.revoke(id, () => {});
    if (this.#tokens.size >= ACCESS_LIMITS.maxTokens) return tell("too-many-tokens");
    const id = randomId(random, ACCESS_LIMITS.idDigits);
    const secret = `bf_${id}_${toHex(randomBytes(random, ACCESS_LIMITS.secretBytes))}`;
    const createdMs = unixMs(nowUs);
    const record = { id, name, role, createdMs, expiresMs: createdMs + days * 86_400_000, hash: this.#hash(secret) };
    const write = store([{ kind: "put", key: TOKEN_PREFIX + id, value: utf8(JSON.stringify(record)) }]);
    this.#writes.set(write, (done) => {
      if (done) this.#tokens.set(id, record);
      tell(done ? { record, secret } : "not-stored");
    });
    return undefined;
  }

  /** Takes a token back; `tell` once that is on the disk. False when there is none. */
  revoke(id: string, tell: (done: boolean) => void): boolean {
    const token = this.#tokens.get(id);
    if (token === undefined) return false;
    this.#tokens.delete(id); // from now on, whatever becomes of the write
    this.#writes.set(this.#parts.store([{ kind: "delete", key: TOKEN_PREFIX + id }]), (done) => {
      if (!done) this.#tokens.set(id, token);
      tell(done);
    });
    return true;
  }

  /** Whose secret this is; undefined for one that is none, or has expired. */
  check(secret: string, unixMs: number): TokenRecord | undefined {
    const id = /^bf_([a-z0-9]{8})_[0-9a-f]{48}$/.exec(secret)?.[1];
    const token = id === undefined ? undefined : this.#tokens.get(id);
    if (token === undefined || unixMs >= token.expiresMs) return undefined;
    return constantTimeEqual(utf8(this.#hash(secret)), utf8(token.hash)) ? token : undefined;
  }

  /** Whether the token has neither expired nor been revoked. */
  isValid(id: string, unixMs: number): boolean {
    const token = this.#tokens.get(id);
    return token !== undefined && unixMs < token.expiresMs;
  }

  stored(write: number, done: boolean): boolean {
    const then = this.#writes.get(write);
    this.#writes.delete(write);
    then?.(done);
    return then !== undefined;
  }

  #hash(secret: string): string {
    return toHex(this.#parts.crypto.sha256(utf8(secret)));
  }
}
