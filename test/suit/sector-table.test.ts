import { describe, expect, it } from "vitest";
import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { keyPairOf } from "../../src/crypto/noble-crypto.ts";
import { firstWrongSector, openSectorTable, sectorRange, signSectorTable } from "../../src/suit/sector-table.ts";
import { makeImage } from "../support/gateway.ts";
import { AUTHOR, sha256 } from "../support/suit-build.ts";

describe("the signed table of sectors", () => {
  const image = makeImage(70, 10_000);
  const about = { digest: sha256(image), size: image.length };
  const bytes = signSectorTable(nodeCrypto, AUTHOR, image, 4_096);
  const keys = [AUTHOR.publicKey];

  it("tells which sector is wrong", () => {
    const opened = openSectorTable(nodeCrypto, bytes, keys, about);
    expect(opened).toMatchObject({ ok: true });
    if (!opened.ok) return;
    expect(sectorRange(opened.table, 2)).toEqual({ start: 8_192, end: 10_000 });
    expect(firstWrongSector(nodeCrypto, opened.table, image)).toBeUndefined();
    for (const [at, sector] of [
      [0, 0],
      [4_095, 0],
      [4_096, 1],
      [9_999, 2],
    ] as const) {
      const wrong = image.slice();
      wrong[at]! ^= 1;
      expect(firstWrongSector(nodeCrypto, opened.table, wrong)).toBe(sector);
    }
    expect(firstWrongSector(nodeCrypto, opened.table, image.subarray(1))).toBe(0);
  });

  it("counts under a key of the image's author, for that image, unchanged", () => {
    const stranger = keyPairOf("ES256", new Uint8Array(32).fill(4)).publicKey;
    expect(openSectorTable(nodeCrypto, bytes, [stranger], about)).toMatchObject({ reason: "not-authentic" });
    expect(openSectorTable(nodeCrypto, bytes, keys, { ...about, size: 9_999 })).toMatchObject({
      reason: "other-image",
    });
    expect(openSectorTable(nodeCrypto, new Uint8Array(70_000), keys, about)).toMatchObject({ reason: "too-large" });
    for (let at = 0; at < bytes.length; at++) {
      const changed = bytes.slice();
      changed[at]! ^= 4;
      expect(openSectorTable(nodeCrypto, changed, keys, about).ok).toBe(false);
      expect(openSectorTable(nodeCrypto, bytes.subarray(0, at), keys, about).ok).toBe(false);
    }
  });
});
