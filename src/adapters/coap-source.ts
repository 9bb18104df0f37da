import { withoutQuery } from "../util/uri-text.ts";
import type { IncomingMessage } from "coap";
import { SourceError, type ImageSource, type SourceRequest, type SourceResponse } from "../ports/image-source.ts";

/** A whole-body GET over a wired network takes well under this. */
const TIMEOUT_MS = 120_000;

/**
 * `coap:` URIs by node-coap (docs/adr/0002). It gathers the whole body, so there is no resume; that
 * it accepts answers of strangers does no harm here, since the image's digest is checked.
 */
export const coapSource: ImageSource = { schemes: ["coap"], open: openCoap };

async function openCoap({ uri, maxBytes, signal }: SourceRequest): Promise<SourceResponse> {
  // Loaded on first use: node-coap opens a socket as soon as it is imported.
  const { Agent, request: coapRequest } = await import("coap");
  const url = new URL(uri);
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const agent = new Agent({ type: host.includes(":") ? "udp6" : "udp4" });
  const port = url.port === "" ? 5683 : Number(url.port);
  try {
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const outgoing = coapRequest({ hostname: host, port, pathname: url.pathname, query: url.search.slice(1), agent });
      const settle = (action: () => void): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", onAbort);
        action();
      };
      const fail = (reason: string, detail: string, retryable: boolean): void =>
        settle(() => reject(new SourceError(reason, `${withoutQuery(uri)}: ${detail}`, retryable)));
      const onAbort = (): void => fail("stopped", "the gateway is stopping", false);
      // A silent server is not asked again: the whole body would have to come anew.
      const timer = setTimeout(() => fail("timeout", `no answer within ${TIMEOUT_MS / 1_000} s`, false), TIMEOUT_MS);
      signal.addEventListener("abort", onAbort);
      outgoing.on("response", (incoming: IncomingMessage) => settle(() => resolve(incoming)));
      outgoing.on("error", (error: Error) => fail("connection-failed", error.message, true));
      outgoing.end();
    });
    if (response.code !== "2.05")
      throw new SourceError(`coap-${response.code}`, `${withoutQuery(uri)} answered ${response.code}`, false);
    const body = response.payload;
    if (body.length > maxBytes) {
      throw new SourceError(
        "larger-than-signed",
        `${withoutQuery(uri)} has ${body.length} bytes, but ${maxBytes} were signed`,
        false,
      );
    }
    return { offset: 0, validator: undefined, body: once(body) };
  } finally {
    agent.close();
  }
}

async function* once(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}
