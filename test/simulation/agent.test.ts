import { describe, expect, it } from "vitest";
import { readFileSync } from "node:fs";
import { decodeMessage } from "../../src/coap/decode.ts";
import { encodeMessage } from "../../src/coap/encode.ts";
import { Code, ContentFormat, MessageType, Option } from "../../src/coap/numbers.ts";
import { uriPath } from "../../src/coap/options.ts";
import { blockOption, encodeBlock } from "../../src/coap/blockwise/block.ts";
import { DEFAULT_PARAMETERS } from "../../src/coap/parameters.ts";
import { keyPairOf, nobleCrypto } from "../../src/crypto/noble-crypto.ts";
import { Condition as C, Directive as D, Parameter as P } from "../../src/suit/keys.ts";
import { signSectorTable } from "../../src/suit/sector-table.ts";
import { SeededRandom } from "../../simulator/engine/random.ts";
import { Mote, type MoteParts } from "../../simulator/mote/mote.ts";
import { parseProfile } from "../../simulator/mote/profile.ts";
import { author, classId, makeImage, sign, vendorId } from "../support/gateway.ts";
import { SERVER } from "../support/pair.ts";
import { envelopeOf, override, suitDigest } from "../support/suit-build.ts";
import { signedUpdate } from "../support/trust-bench.ts";

const profile = parseProfile(
  JSON.parse(readFileSync(new URL("../../simulator/profiles/nrf52840.json", import.meta.url), "utf8")),
);

interface Reply {
  readonly payload: Uint8Array;
  readonly etag: number;
  readonly whole?: boolean;
}

/** A mote against a gateway that answers as told; returns it after at most 20,000 steps. */
function runMote(reply: (path: string, request: number, num: number) => Reply, parts: Partial<MoteParts> = {}): Mote {
  const mote = new Mote({
    profile,
    crypto: nobleCrypto,
    random: new SeededRandom(1, "mote"),
    vendorId,
    classId,
    anchors: [author.publicKey],
    gateway: SERVER,
    blockBytes: 64,
    szx: 2,
    parameters: DEFAULT_PARAMETERS,
    policy: { backoffUs: 1_000_000, maxBackoffUs: 4_000_000, maxFailures: 3 },
    maxImageBytes: 4_096,
    factoryImage: { bytes: makeImage(50, 500), sequenceNumber: 1 },
    ...parts,
  });
  let [nowUs, requests] = [0, 0];
  mote.start(nowUs);
  for (let step = 0; step < 20_000 && mote.outcome(2) === undefined; step++) {
    for (let out = mote.pollTransmit(); out !== undefined; out = mote.pollTransmit()) {
      const decoded = decodeMessage(out.bytes.slice());
      if (!decoded.ok) throw new Error("unreadable");
      const { messageId, token, options } = decoded.message;
      const { num } = blockOption(options, Option.BLOCK2)!;
      const { payload, etag, whole } = reply(uriPath(options)![0]!, requests++, num);
      const end = Math.min((num + 1) * 64, payload.length);
      const more = end < payload.length;
      const answer = [
        { number: Option.ETAG, value: new Uint8Array(8).fill(etag) },
        { number: Option.CONTENT_FORMAT, value: Uint8Array.of(ContentFormat.OCTET_STREAM) },
        ...(whole === true ? [] : [{ number: Option.BLOCK2, value: encodeBlock({ num, more, szx: 2 }) }]),
      ];
      const body = whole === true ? payload : payload.subarray(num * 64, end);
      const message = { type: MessageType.ACK, code: Code.CONTENT, messageId, token, options: answer, payload: body };
      mote.handleDatagram(nowUs, encodeMessage(message), SERVER);
    }
    const next = mote.pollTimeout();
    if (next === undefined) break;
    nowUs = Math.max(nowUs, next);
    mote.handleTimeout(nowUs);
  }
  return mote;
}

describe("a mote with an odd gateway", () => {
  const image = makeImage(51, 1_000);
  const envelope = sign(image, 2);

  it("takes a small image whole from one that ignores Block2", () => {
    const mote = runMote((path) => ({ payload: path === "m" ? envelope : image, etag: 1, whole: path === "i" }));
    expect(mote.outcome(2)).toBe("updated");
    expect(mote.refetch.violations).toBe(0);
  });

  it("gives up on a manifest whose ETag changes for ever, instead of draining its battery", () => {
    const mote = runMote((_path, request) => ({ payload: envelope, etag: request % 2 }));
    expect(mote.outcome(2)).toBe("failed");
    expect(mote.agent.failure).toBe("manifest-keeps-changing");
    expect(mote.datagramsSent).toBeLessThan(20);
  });

  it("installs nothing that does not have the signed digest, and boots what it had", () => {
    const mote = runMote((path) => ({ payload: path === "m" ? envelope : makeImage(52, 1_000), etag: 1 }));
    expect(mote.agent.failure).toBe("digest-mismatch");
    mote.reboot(1e9);
    expect(mote.agent.booted?.info.sequenceNumber).toBe(1);
  });
});

describe("a mote whose image comes in the envelope", () => {
  const image = makeImage(55, 500);
  const withImage = (integrated: Uint8Array): Uint8Array => {
    const payloads = [{ image: { digest: nobleCrypto.sha256(image), size: image.length }, uri: "#app", integrated }];
    const components = [{ id: [Uint8Array.of(0)], payloads }];
    return signedUpdate({ sequenceNumber: 2, components });
  };
  const asked: string[] = [];
  const run = (integrated = image, parts: Partial<MoteParts> = {}): Mote => {
    asked.length = 0;
    const envelope = withImage(integrated);
    return runMote((path) => {
      if (!asked.includes(path)) asked.push(path);
      return { payload: envelope, etag: 1 };
    }, parts);
  };

  it("asks for nothing else, and boots it", () => {
    const mote = run();
    expect([mote.outcome(2), asked]).toEqual(["updated", ["m"]]);
    expect(mote.agent.booted?.info.digest).toEqual(nobleCrypto.sha256(image));
  });

  it("boots no other bytes than the signed ones", () => {
    const mote = run(makeImage(56, 500));
    expect(mote.agent.failure).toBe("digest-mismatch");
    mote.reboot(1e9);
    expect(mote.agent.booted?.info.sequenceNumber).toBe(1);
  });

  it("nor where the manifest never asks for the digest", () => {
    const ids = override([P.VENDOR_IDENTIFIER, vendorId], [P.CLASS_IDENTIFIER, classId]);
    const about = override([P.IMAGE_DIGEST, suitDigest(image)], [P.IMAGE_SIZE, image.length], [P.URI, "#app"]);
    const shared = [...ids, C.VENDOR_IDENTIFIER, 15, C.CLASS_IDENTIFIER, 15, ...about];
    const of = (bytes: Uint8Array): Uint8Array =>
      envelopeOf({
        key: author,
        sequenceNumber: 2,
        components: [["\0"]],
        shared,
        sections: { 20: [D.FETCH, 15] },
        integrated: { "#app": bytes },
      });
    const [signed, forged] = [of(image), of(makeImage(56, 500))];
    const good = runMote(() => ({ payload: signed, etag: 1 }));
    expect([good.outcome(2), good.agent.failure]).toEqual(["updated", undefined]);
    const mote = runMote(() => ({ payload: forged, etag: 1 }));
    expect(mote.agent.failure).toBe("digest-mismatch");
  });
});

describe("a mote with a signed table of sectors", () => {
  const image = makeImage(53, 3_000);
  const envelope = sign(image, 2);
  const table = signSectorTable(nobleCrypto, author, image, 512);
  const forged = makeImage(54, 3_000);

  /** The bytes of `image`, but for one block that somebody forges as often as `times`. */
  function run(times: number, given: Uint8Array = table, sectorTableBytes = 1_024): Mote {
    let left = times;
    return runMote(
      (path, _request, num) => {
        if (path === "m") return { payload: envelope, etag: 1 };
        if (path === "s") return { payload: given, etag: 2 };
        return { payload: num === 20 && left-- > 0 ? forged : image, etag: 1 };
      },
      { sectorTableBytes },
    );
  }

  it("installs the image, and nothing was refused", () => {
    const mote = run(0);
    expect([mote.outcome(2), mote.sectorsRefused]).toEqual(["updated", 0]);
  });

  it("asks again for the one sector that a forged block was in, and for no other", () => {
    const mote = run(1);
    expect([mote.outcome(2), mote.sectorsRefused]).toEqual(["updated", 1]);
    expect(mote.imageBytesReceived).toBe(3_000 + 512);
  });

  it("gives up a gateway that forges it again, at the cost of two sectors", () => {
    const mote = run(100);
    expect(mote.agent.failure).toBe("sector-mismatch");
    expect(mote.imageBytesReceived).toBeLessThan(20 * 64 + 2 * 512);
  });

  it("without a table it learns so when the whole image has come", () => {
    const mote = run(100, table, 0);
    expect(mote.agent.failure).toBe("digest-mismatch");
    expect(mote.imageBytesReceived).toBe(3_000);
  });

  it("a table by a stranger, of another image, or none, is no reason to stop", () => {
    const stranger = signSectorTable(nobleCrypto, keyPairOf("ES256", new Uint8Array(32).fill(5)), image, 512);
    const other = signSectorTable(nobleCrypto, author, forged, 512);
    for (const given of [stranger, other, new Uint8Array(30)]) {
      const mote = run(0, given);
      expect(mote.outcome(2)).toBe("updated");
    }
  });
});
