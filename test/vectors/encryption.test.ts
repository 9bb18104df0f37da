import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { nodeCipher } from "../../src/adapters/node-cipher.ts";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { verifyHss } from "../../src/codec/hss-lms.ts";
import { nobleCipher } from "../../src/crypto/noble-cipher.ts";
import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { decryptPayload } from "../../src/suit/encryption.ts";
import { fromHex, utf8 } from "../../src/util/bytes.ts";
import { noShared, readHex, SHARED } from "../support/shared.ts";
import { DECRYPTION_KEYS } from "../support/suit-vectors.ts";

describe.skipIf(noShared)("encrypted payloads of draft-ietf-suit-firmware-encryption", () => {
  const pairs = ["aes-kw-aes-ctr", "aes-kw-aes-gcm", "es-ecdh-aes-ctr", "es-ecdh-aes-gcm"];

  describe.each([
    ["node:crypto", nodeCipher],
    ["noble", nobleCipher],
  ])("with %s", (_name, cipher) => {
    it.each(pairs)("%s decrypts to the text that all of them hold", (pair) => {
      const info = readHex(`suit-encryption-info-${pair}.hex`);
      const opened = decryptPayload(cipher, info, readHex(`encrypted-payload-${pair}.hex`), DECRYPTION_KEYS);
      expect(opened).toMatchObject({ ok: true });
      if (opened.ok) expect(Buffer.from(opened.plaintext).toString()).toBe("This is a real firmware image.");
    });

    it.each(pairs)("%s does not open for another device", (pair) => {
      const info = readHex(`suit-encryption-info-${pair}.hex`);
      const other = [{ kek: utf8("bbbbbbbbbbbbbbbb") }];
      expect(decryptPayload(cipher, info, readHex(`encrypted-payload-${pair}.hex`), other)).toMatchObject({
        ok: false,
      });
    });

    it("GCM finds a changed byte", () => {
      const payload = readHex("encrypted-payload-aes-kw-aes-gcm.hex");
      payload[3]! ^= 1;
      const opened = decryptPayload(
        cipher,
        readHex("suit-encryption-info-aes-kw-aes-gcm.hex"),
        payload,
        DECRYPTION_KEYS,
      );
      expect(opened).toEqual({ ok: false, detail: "the payload does not authenticate" });
    });
  });
});

describe.skipIf(noShared)("HSS/LMS signatures of RFC 8554, Appendix F", () => {
  const text = noShared ? "" : readFileSync(`${SHARED}/standards/rfc/rfc8554.txt`, "utf8");

  /** The hex column of a table between two headings. */
  function table(from: string, to: string): Uint8Array {
    const start = text.indexOf(from, text.indexOf("Appendix F.  Test Cases\n"));
    const part = text.slice(start, text.indexOf(to, start + from.length));
    const hex: string[] = [];
    for (const line of part.split("\n")) {
      const field = /^ {3}(?:[A-Za-z][\w[\]() ]*?)? +((?:[0-9a-f]{2})+)(?: *\|.*\|| *#.*)?$/.exec(line);
      const data = field?.[1] ?? /^ {3}([0-9a-f]{2}(?:[0-9a-f]{2})*) *\|/.exec(line)?.[1];
      if (data !== undefined) hex.push(data);
    }
    return fromHex(hex.join(""))!;
  }

  it.each([1, 2])("test case %i verifies, and not with any byte changed", (n) => {
    const key = table(`Test Case ${n} Public Key`, `Test Case ${n} Message`);
    const message = table(`Test Case ${n} Message`, `Test Case ${n} Signature`);
    const signature = table(`Test Case ${n} Signature`, n === 1 ? "Test Case 2 Private Key" : "Acknowledgements");
    expect(key).toHaveLength(60);
    for (const crypto of [nodeCrypto, nobleCrypto]) expect(verifyHss(crypto, key, message, signature)).toBe(true);
    for (let at = 0; at < signature.length; at += 97) {
      const changed = signature.slice();
      changed[at]! ^= 0x10;
      expect(verifyHss(nodeCrypto, key, message, changed)).toBe(false);
    }
    expect(verifyHss(nodeCrypto, key, message.subarray(1), signature)).toBe(false);
    expect(verifyHss(nodeCrypto, key, message, signature.subarray(0, -1))).toBe(false);
    expect(verifyHss(nodeCrypto, key, message, new Uint8Array([...signature, 0]))).toBe(false);
  });
});
