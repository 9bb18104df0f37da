import type { PeerAddress } from "../../ports/datagram.ts";
import { utf8 } from "../../util/bytes.ts";
import { blockSize, MAX_BLOCK_NUM } from "./block.ts";
import { writeOptionHeader } from "../encode.ts";
import { Code, MessageType, Option } from "../numbers.ts";
import type { TransmitQueue } from "../transmit-queue.ts";

/** A representation that never changes while it is registered, such as an image. */
export interface BlockResource {
  /** 8 bytes, the same on every block. */
  readonly etag: Uint8Array;
  readonly size: number;
  /** The verified bytes when they are at hand; undefined sends the request the long way. */
  bytes(): Uint8Array | undefined;
  /** False sends the request of a peer the long way, which may say more than a block. */
  admits?: ((nowUs: number, peer: PeerAddress) => boolean) | undefined;
  /** Called for each block put on its way. */
  served(nowUs: number, peer: PeerAddress, offset: number, length: number): void;
}

interface Entry {
  /** The Uri-Path options as they stand in a request: header and value of each segment. */
  readonly encodedPath: Uint8Array;
  readonly resource: BlockResource;
}

/**
 * The short way for the gateway's inner loop: a CON GET with nothing but Uri-Path and Block2 for a
 * registered resource. The response is a pure function of (resource, num, szx), so there is no
 * deduplication, no session and no timer (RFC 7252 section 4.5 allows that for what is idempotent;
 * RFC 7959 section 2.4). Whatever looks unusual is left to the general path, which decides alone
 * what is an error.
 */
export class BlockPath {
  readonly #entries = new Map<number, Entry[]>();

  register(path: readonly string[], resource: BlockResource): void {
    const encodedPath = encodePath(path);
    const hash = hashOf(encodedPath, 0, encodedPath.length);
    const others = (this.#entries.get(hash) ?? []).filter((entry) => !sameBytes(entry.encodedPath, encodedPath, 0));
    this.#entries.set(hash, [...others, { encodedPath, resource }]);
  }

  unregister(path: readonly string[]): void {
    const encodedPath = encodePath(path);
    const hash = hashOf(encodedPath, 0, encodedPath.length);
    const others = (this.#entries.get(hash) ?? []).filter((entry) => !sameBytes(entry.encodedPath, encodedPath, 0));
    if (others.length === 0) this.#entries.delete(hash);
    else this.#entries.set(hash, others);
  }

  /** Answers the datagram when it is of the simple kind; false leaves it to the general path. */
  tryServe(nowUs: number, bytes: Uint8Array, peer: PeerAddress, out: TransmitQueue): boolean {
    // Version 1, CON, token of at most 8 bytes, GET.
    const tokenLength = bytes[0]! & 15;
    if (bytes.length < 6 || bytes[0]! >> 4 !== 4 || tokenLength > 8 || bytes[1] !== Code.GET) return false;
    const pathStart = 4 + tokenLength;
    const pathEnd = skipPath(bytes, pathStart);
    if (pathEnd <= pathStart) return false;
    // Block2 is 23 - 11 = 12 above the last Uri-Path, one to three bytes, and the last thing there.
    const head = bytes[pathEnd]!;
    const blockLength = head & 15;
    if (head >> 4 !== 12 || blockLength > 3 || pathEnd + 1 + blockLength !== bytes.length) return false;
    let word = 0;
    for (let i = pathEnd + 1; i < bytes.length; i++) word = (word << 8) | bytes[i]!;
    const szx = word & 7;
    if (szx === 7) return false;
    const resource = this.#find(bytes, pathStart, pathEnd);
    if (resource === undefined) return false;
    const offset = (word >>> 4) * blockSize(szx);
    if (offset >= resource.size || resource.size > (MAX_BLOCK_NUM + 1) * blockSize(szx)) return false;
    const body = resource.bytes();
    if (body === undefined || resource.admits?.(nowUs, peer) === false) return false;
    const end = Math.min(offset + blockSize(szx), body.length);
    const datagram = out.reserve(peer, 32 + blockSize(szx));
    if (datagram === undefined) return true;
    const more = end < body.length;
    out.commit(
      writeBlock(
        datagram,
        { request: bytes, tokenLength },
        resource.etag,
        (word & ~8) | (more ? 8 : 0),
        body,
        offset,
        end,
      ),
    );
    resource.served(nowUs, peer, offset, end - offset);
    return true;
  }

  #find(bytes: Uint8Array, start: number, end: number): BlockResource | undefined {
    const candidates = this.#entries.get(hashOf(bytes, start, end));
    if (candidates === undefined) return undefined;
    for (const { encodedPath, resource } of candidates) {
      if (encodedPath.length === end - start && sameBytes(encodedPath, bytes, start)) return resource;
    }
    return undefined;
  }
}

/** ACK 2.05 with ETag, Content-Format 42, Block2 and the payload: the order of their numbers. */
function writeBlock(
  out: Uint8Array,
  { request, tokenLength }: { request: Uint8Array; tokenLength: number },
  etag: Uint8Array,
  blockWord: number,
  body: Uint8Array,
  start: number,
  end: number,
): number {
  out[0] = 0x40 | (MessageType.ACK << 4) | tokenLength;
  out[1] = Code.CONTENT;
  for (let i = 2; i < 4 + tokenLength; i++) out[i] = request[i]!;
  let at = writeOptionHeader(out, 4 + tokenLength, Option.ETAG, etag.length);
  for (let i = 0; i < etag.length; i++) out[at++] = etag[i]!;
  out[at++] = ((Option.CONTENT_FORMAT - Option.ETAG) << 4) | 1;
  out[at++] = 42;
  const blockLength = blockWord === 0 ? 0 : blockWord < 256 ? 1 : blockWord < 65_536 ? 2 : 3;
  out[at++] = ((Option.BLOCK2 - Option.CONTENT_FORMAT) << 4) | blockLength;
  for (let shift = (blockLength - 1) * 8; shift >= 0; shift -= 8) out[at++] = (blockWord >> shift) & 0xff;
  if (end === start) return at;
  out[at++] = 0xff;
  // A view and `set` cost more than they save on very short blocks.
  if (end - start > 32) out.set(body.subarray(start, end), at);
  else for (let from = start, to = at; from < end;) out[to++] = body[from++]!;
  return at + end - start;
}

/** Offset behind the run of Uri-Path options at `start`; `start` itself when there is none. */
function skipPath(bytes: Uint8Array, start: number): number {
  let at = start;
  let wanted = Option.URI_PATH as number;
  while (at < bytes.length && bytes[at]! >> 4 === wanted && (bytes[at]! & 15) < 13) {
    at += 1 + (bytes[at]! & 15);
    wanted = 0;
  }
  return at < bytes.length ? at : start;
}

function encodePath(path: readonly string[]): Uint8Array {
  const segments = path.map(utf8);
  const out = new Uint8Array(segments.reduce((sum, segment) => sum + 3 + segment.length, 0));
  let at = 0;
  for (const [i, segment] of segments.entries()) {
    at = writeOptionHeader(out, at, i === 0 ? Option.URI_PATH : 0, segment.length);
    out.set(segment, at);
    at += segment.length;
  }
  return out.subarray(0, at);
}

/** FNV-1a, 32 bits. */
function hashOf(bytes: Uint8Array, start: number, end: number): number {
  let hash = 0x811c9dc5;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ bytes[i]!, 0x01000193);
  return hash;
}

function sameBytes(expected: Uint8Array, bytes: Uint8Array, start: number): boolean {
  for (let i = 0; i < expected.length; i++) if (expected[i] !== bytes[start + i]) return false;
  return true;
}
