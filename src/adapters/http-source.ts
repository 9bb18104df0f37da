import { withoutQuery } from "../util/uri-text.ts";
import {
  RESUME_REFUSED,
  SourceError,
  type ImageSource,
  type SourceRequest,
  type SourceResponse,
} from "../ports/image-source.ts";

export const HTTP_SOURCE_LIMITS = { maxRedirects: 5, headerTimeoutMs: 15_000, stallTimeoutMs: 30_000 } as const;

/** `http:` and `https:` URIs: Range with If-Range to go on after a break (RFC 9110 sections 13.1.5, 14.2). */
export const httpSource: ImageSource = { schemes: ["http", "https"], open: openHttp };

async function openHttp(request: SourceRequest): Promise<SourceResponse> {
  // Only a strong validator may stand in If-Range (section 13.1.5).
  const resume = request.offset > 0 && request.validator !== undefined && !request.validator.startsWith("W/");
  const headers: Record<string, string> = { "accept-encoding": "identity" };
  if (resume) Object.assign(headers, { range: `bytes=${request.offset}-`, "if-range": request.validator });
  const stall = new AbortController();
  const timer = setTimeout(() => stall.abort(), HTTP_SOURCE_LIMITS.headerTimeoutMs);
  try {
    const signal = AbortSignal.any([request.signal, stall.signal]);
    const response = await followRedirects(request.uri, headers, signal);
    const offset = resume && response.status === 206 ? contentRangeStart(response, request.offset) : 0;
    const length = Number(response.headers.get("content-length") ?? 0);
    if (offset + length > request.maxBytes) {
      await response.body?.cancel();
      const detail = `${withoutQuery(request.uri)} has ${offset + length} bytes, but ${request.maxBytes} were signed`;
      throw new SourceError("larger-than-signed", detail, false);
    }
    const etag = response.headers.get("etag");
    const validator =
      etag !== null && !etag.startsWith("W/") ? etag : (response.headers.get("last-modified") ?? undefined);
    return { offset, validator, body: watched(response, stall, request) };
  } catch (error) {
    throw toSourceError(error, request.uri);
  } finally {
    clearTimeout(timer);
  }
}

async function followRedirects(uri: string, headers: Record<string, string>, signal: AbortSignal): Promise<Response> {
  let target = new URL(uri);
  for (let hops = 0; hops <= HTTP_SOURCE_LIMITS.maxRedirects; hops++) {
    const response = await fetch(target, { headers, signal, redirect: "manual" });
    const location = response.headers.get("location");
    if (response.status < 300 || response.status >= 400 || location === null) return checkStatus(response, target);
    await response.body?.cancel();
    const next = new URL(location, target);
    if (!/^https?:$/.test(next.protocol) || (target.protocol === "https:" && next.protocol === "http:")) {
      throw new SourceError("redirect-refused", `${target.href} redirects to ${next.href}, which is less safe`, false);
    }
    target = next;
  }
  throw new SourceError(
    "too-many-redirects",
    `${withoutQuery(uri)} redirects more than ${HTTP_SOURCE_LIMITS.maxRedirects} times`,
    false,
  );
}

async function checkStatus(response: Response, target: URL): Promise<Response> {
  if (response.status === 200 || response.status === 206) return response;
  await response.body?.cancel();
  if (response.status === 416) throw new SourceError(RESUME_REFUSED, `${target.href} has no such range`, true);
  const retryable = response.status >= 500 || response.status === 429 || response.status === 408;
  throw new SourceError(`http-${response.status}`, `${target.href} answered ${response.status}`, retryable);
}

function contentRangeStart(response: Response, asked: number): number {
  const start = /^bytes (\d+)-/.exec(response.headers.get("content-range") ?? "")?.[1];
  if (Number(start) === asked) return asked;
  throw new SourceError(RESUME_REFUSED, `asked for byte ${asked}, was offered ${start ?? "none"}`, true);
}

/** The body, broken off when nothing has come for a while. */
async function* watched(
  response: Response,
  stall: AbortController,
  request: SourceRequest,
): AsyncGenerator<Uint8Array> {
  if (response.body === null) return;
  const rearm = (): NodeJS.Timeout => setTimeout(() => stall.abort(), HTTP_SOURCE_LIMITS.stallTimeoutMs);
  let timer = rearm();
  try {
    for await (const bytes of response.body) {
      clearTimeout(timer);
      yield bytes;
      timer = rearm();
    }
  } catch (error) {
    throw toSourceError(error, request.uri);
  } finally {
    clearTimeout(timer);
  }
}

function toSourceError(error: unknown, uri: string): SourceError {
  if (error instanceof SourceError) return error;
  const { message, cause } = error as Error & { cause?: Error };
  return new SourceError("connection-failed", `${withoutQuery(uri)}: ${cause?.message ?? message}`, true);
}
