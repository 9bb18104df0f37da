import { describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { encodeCbor } from "../../src/codec/cbor.ts";
import type { Verifier } from "../../src/codec/cose.ts";
import { SUPPORTED_COMMANDS } from "../../src/suit/processor/machine.ts";
import { SUPPORTED_PARAMETERS } from "../../src/suit/processor/parameters.ts";
import {
  decodeReport,
  encodeReport,
  openReport,
  reportOf,
  signReport,
  type SuitReport,
} from "../../src/suit/report.ts";
import { utf8 } from "../../src/util/bytes.ts";
import { AUTHOR, identity, map, run } from "../support/suit-build.ts";

const key = { algorithm: "HMAC-256", bytes: new Uint8Array(32).fill(3) } as const;
const digest = new Uint8Array(32).fill(9);
const about = { uri: "coap://site/m/1", digest, nonce: utf8("asked") };
const ok = run({ shared: identity(), sections: { 20: [20, map([[18, utf8("x")]]), 18, 15] } });
const failed = run({ shared: identity(), sections: { 20: [3, 15] } });

describe("SUIT reports (draft-ietf-suit-report)", () => {
  it("say what was done and what failed, and where", () => {
    for (const outcome of [ok, failed]) {
      const report = reportOf(outcome, about);
      const bytes = signReport(nodeCrypto, key, report, utf8("kid"));
      const opened = openReport(nodeCrypto, bytes, (kid) => (Buffer.from(kid!).toString() === "kid" ? [key] : []));
      expect(opened).toMatchObject({ ok: true, report });
    }
    const { result } = reportOf(failed, about);
    expect(result).toMatchObject({ ok: false, reason: "condition-failed", record: { section: 20, offset: 1 } });
    expect(reportOf(ok, about).records.length).toBeGreaterThan(2);
  });

  it("carry what a device can do", () => {
    const capabilities = {
      components: [[utf8("00")]],
      commands: SUPPORTED_COMMANDS,
      parameters: SUPPORTED_PARAMETERS,
      algorithms: [-16, -9],
    };
    const report: SuitReport = { ...reportOf(ok, about), capabilities };
    expect(decodeReport(encodeReport(report))).toEqual(report);
  });

  it("can be signed, and count only under a key of the device", () => {
    const bytes = signReport(nodeCrypto, AUTHOR, reportOf(ok, about));
    const by = (keys: readonly Verifier[]): object => openReport(nodeCrypto, bytes, () => keys);
    expect(by([AUTHOR.publicKey])).toMatchObject({ ok: true });
    expect(by([key])).toEqual({ ok: false, reason: "not-authentic" });
    expect(by([])).toEqual({ ok: false, reason: "not-authentic" });
  });

  it("are refused malformed, too large, or with any byte changed, without an exception", () => {
    const bytes = signReport(nodeCrypto, key, reportOf(failed, about));
    for (let at = 0; at < bytes.length; at++) {
      const changed = bytes.slice();
      changed[at]! ^= 1 << (at % 8);
      expect(openReport(nodeCrypto, changed, () => [key]).ok, `byte ${at}`).toBe(false);
      expect(openReport(nodeCrypto, bytes.subarray(0, at), () => [key]).ok).toBe(false);
    }
    expect(openReport(nodeCrypto, new Uint8Array(9_000), () => [key])).toEqual({ ok: false, reason: "too-large" });
    for (const odd of [true, [], map([]), map([[99, [1, 2]]]), map([[4, true]])])
      expect(decodeReport(encodeCbor(odd))).toBeUndefined();
  });
});
