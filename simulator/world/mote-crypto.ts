import { nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { verifyingOnce } from "../../src/codec/verifying-once.ts";
import type { Crypto } from "../../src/ports/crypto.ts";

/**
 * For all motes of all cells: they get the same manifest. What it costs each mote to verify it is charged by its profile,
 * not by this machine's time.
 */
export const moteCrypto: Crypto = verifyingOnce(nobleCrypto, 1_000);
