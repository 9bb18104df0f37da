import type { Verifier } from "../codec/cose.ts";
import { Code } from "../coap/numbers.ts";
import type { CoapResponse, IncomingRequest } from "../coap/request.ts";
import type { ResourceHandler, Router } from "../coap/router.ts";
import type { Crypto } from "../ports/crypto.ts";
import type { Log } from "../ports/log.ts";
import type { Metrics } from "../ports/metrics.ts";
import { CONFIRMATION, confirmationAnswer, decodeConfirmation, isConfirmationRequest } from "../suit/confirmation.ts";
import { openReport, REPORT_LIMITS, REPORT_PATH } from "../suit/report.ts";
import { toHex } from "../util/bytes.ts";

interface DeviceResourceParts {
  readonly crypto: Crypto;
  readonly log: Log;
  readonly metrics: Metrics;
  readonly keyOf: (device: string) => Uint8Array | undefined;
  /** False: it has to show that its request is fresh. */
  readonly heardAt: (request: IncomingRequest, device: string) => boolean;
  readonly seen: (nowUs: number, device: string, version: string | undefined) => void;
}

const CHALLENGE: CoapResponse = { code: Code.UNAUTHORIZED, challenge: true };

/** What devices say under keys of their own: that a new image runs, and how manifests went. */
export function addDeviceResources(router: Router, parts: DeviceResourceParts): void {
  router.add([...CONFIRMATION.path], confirmations(parts));
  router.add([...REPORT_PATH], reports(parts));
}

/** Shows a device that the gateway knows it: its new image has proved itself by that. */
function confirmations({ crypto, metrics, keyOf, heardAt, seen }: DeviceResourceParts): ResourceHandler {
  return {
    post: (nowUs, request) => {
      const { payload } = request;
      const asked = decodeConfirmation(payload);
      if (asked === undefined) return { code: Code.BAD_REQUEST };
      const device = toHex(asked.kid);
      const key = keyOf(device);
      const isIts = key !== undefined && isConfirmationRequest(crypto, key, payload);
      if (!isIts) {
        metrics.count("confirmation_refused", key === undefined ? "unknown-device" : "not-authentic");
        return { code: Code.UNAUTHORIZED };
      }
      if (!heardAt(request, device)) return CHALLENGE;
      metrics.count("confirmations");
      seen(nowUs, device, `number ${asked.sequenceNumber}`);
      return { code: Code.CHANGED, payload: confirmationAnswer(crypto, key, asked) };
    },
  };
}

/** How manifests went on devices, in their own words: believed by the device's key, logged and counted (RFC 9124, REQ.SEC.REPORTING). */
function reports({ crypto, metrics, log, keyOf, heardAt, seen }: DeviceResourceParts): ResourceHandler {
  return {
    maxBodyBytes: REPORT_LIMITS.maxBytes,
    post: (nowUs, request) => {
      const { payload } = request;
      const keysOf = (kid: Uint8Array | undefined): Verifier[] => {
        const key = kid === undefined ? undefined : keyOf(toHex(kid));
        return key === undefined ? [] : [{ algorithm: "HMAC-256", bytes: key }];
      };
      const opened = openReport(crypto, payload, keysOf);
      if (!opened.ok) {
        metrics.count("suit_report_refused", opened.reason);
        return { code: opened.reason === "not-authentic" ? Code.UNAUTHORIZED : Code.BAD_REQUEST };
      }
      if (!heardAt(request, toHex(opened.kid!))) return CHALLENGE;
      const { result, manifestDigest } = opened.report;
      const what = result.ok ? "ok" : result.reason;
      metrics.count("suit_reports", what);
      const record = result.ok ? undefined : result.record;
      const place = record && { section: record.section, offset: record.offset, component: record.componentIndex };
      log.event(result.ok ? "info" : "warn", "suit-report", {
        manifest: toHex(manifestDigest),
        result: what,
        ...place,
      });
      seen(nowUs, toHex(opened.kid!), undefined);
      return { code: Code.CHANGED };
    },
  };
}
