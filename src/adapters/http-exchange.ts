import type { HttpRequest, HttpResponse } from "../ports/http.ts";
import { concatBytes } from "../util/bytes.ts";

/** How long an origin may take for its whole answer. */
const TIMEOUT_MS = 30_000;

const DECODED: ReadonlySet<string> = new Set(["identity", "gzip", "x-gzip", "deflate", "br"]);

/** Carries out one exchange for the proxy. Redirections are not followed: nobody allowed where they lead. */
export async function exchangeHttp(request: HttpRequest, maxBytes: number, stop: AbortSignal): Promise<HttpResponse> {
  const signal = AbortSignal.any([stop, AbortSignal.timeout(TIMEOUT_MS)]);
  const { method, url, headers, body } = request;
  const response = await fetch(url, {
    method,
    signal,
    redirect: "manual",
    headers: { ...headers, "accept-encoding": "identity" },
    ...(body.length === 0 ? {} : { body: new Uint8Array(body) }),
  });
  // What fetch knows it has decoded; anything else would pass for what it is not.
  const coding = response.headers.get("content-encoding")?.toLowerCase() || "identity";
  if (!DECODED.has(coding)) {
    await response.body?.cancel();
    throw new Error(`${url} answers in the content coding ${coding}, which nobody asked for`);
  }
  const pieces: Uint8Array[] = [];
  let length = 0;
  for await (const piece of response.body ?? []) {
    const bytes = piece as Uint8Array;
    length += bytes.length;
    if (length > maxBytes) throw new Error(`${url} answers with more than ${maxBytes} bytes`);
    pieces.push(bytes);
  }
  return { status: response.status, headers: Object.fromEntries(response.headers), body: concatBytes(...pieces) };
}
