import { nodeCrypto } from "../../src/adapters/node-crypto.ts";
import { optionValue } from "../../src/coap/message.ts";
import { codeText, Option } from "../../src/coap/numbers.ts";
import { keyPairOf } from "../../src/crypto/noble-crypto.ts";
import type { DeskResult } from "../../src/gateway/audit-writer.ts";
import type { GatewayParts } from "../../src/gateway/gateway.ts";
import { keyRecord, type DeviceClass } from "../../src/lifecycle/classes.ts";
import type { LifecycleEvent } from "../../src/lifecycle/events.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";
import { signEnvelope } from "../../src/suit/author.ts";
import { buildEnvelope, type UpdateDescription } from "../../src/suit/build.ts";
import { transferUpdate } from "../../src/suit/trust.ts";
import { toHex } from "../../src/util/bytes.ts";
import { decoded, getBlock } from "./coap-get.ts";
import { author, classId, GatewayBench, makeImage, vendorId } from "./gateway.ts";
import { CLIENT } from "./pair.ts";

export const keyOf = (seed: number): PrivateKey => keyPairOf("ES256", new Uint8Array(32).fill(seed));
export const image: Uint8Array = makeImage(1, 3_000);
const IMAGE = { digest: nodeCrypto.sha256(image), size: image.length };

export const newer: Uint8Array = makeImage(77, 2_500);

/** An update of the one component of a mote, signed by each of the keys. */
export function signedUpdate(over: Partial<UpdateDescription> = {}, ...keys: readonly PrivateKey[]): Uint8Array {
  const components = [{ id: [Uint8Array.of(0)], payloads: [{ image: IMAGE, uri: "sim:x" }] }];
  const built = buildEnvelope(nodeCrypto, { sequenceNumber: 1, vendorId, classIds: [classId], components, ...over });
  const signers = keys.length === 0 ? [author] : keys;
  return signers.reduce((envelope, key) => signEnvelope(nodeCrypto, key, envelope), built);
}

/** Publishes the newer image, as number 3. */
export function publishNewer(bench: GatewayBench, key: PrivateKey): string | undefined {
  bench.disk.upstream.set("sim:y", newer);
  const payloads = [{ image: { digest: nodeCrypto.sha256(newer), size: newer.length }, uri: "sim:y" }];
  const components = [{ id: [Uint8Array.of(0)], payloads }];
  const envelope = signedUpdate({ sequenceNumber: 3, components }, key);
  return bench.publishEnvelope(envelope, "sim:y", { seconds: 0.2 })?.kind;
}

/** A gateway, classes that it governs, and who signs for them. */
export class TrustBench {
  readonly bench: GatewayBench;
  #messageId = 0;

  constructor(parts: Partial<GatewayParts> = {}) {
    this.bench = new GatewayBench(parts);
  }

  submit(...events: readonly LifecycleEvent[]): DeskResult[] {
    const told: DeskResult[] = [];
    this.bench.loop.call((nowUs) => {
      for (const event of events) this.bench.gateway.desk.submit(nowUs, "operator", event, (one) => told.push(one));
    });
    this.bench.run(1);
    return told;
  }

  define(over: Partial<DeviceClass> = {}): DeskResult {
    const definition: DeviceClass = {
      id: toHex(classId),
      name: "sensor",
      vendorId: toHex(vendorId),
      hardware: { rng: true, rtc: true, slots: 2, recoveryImage: false, ramBytes: 262_144 },
      authorities: [{ ...keyRecord(author.publicKey), name: "author" }],
      escrow: [],
      operators: [],
      epoch: 0,
      ...over,
    };
    return this.submit({ kind: "class-defined", definition })[0]!;
  }

  revoke(key: PrivateKey = author): DeskResult {
    return this.submit({ kind: "key-revoked", key: keyRecord(key.publicKey), reason: "stolen" })[0]!;
  }

  handOver(epoch: number, to: readonly PrivateKey[], by: PrivateKey): Uint8Array {
    const transfer = { epoch, authorities: to.map(({ publicKey }) => publicKey) };
    return signEnvelope(nodeCrypto, by, buildEnvelope(nodeCrypto, transferUpdate(vendorId, [classId], transfer)));
  }

  hand(epoch: number, to: readonly PrivateKey[], by: PrivateKey): string {
    let result: DeskResult | undefined;
    const envelope = this.handOver(epoch, to, by);
    this.bench.loop.call((nowUs) =>
      this.bench.gateway.desk.transfer(nowUs, "o", toHex(classId), envelope, [], (told) => (result = told)),
    );
    this.bench.run(1);
    return result!.ok ? "ok" : result!.reason;
  }

  update(over: Partial<UpdateDescription> = {}, ...keys: readonly PrivateKey[]): Uint8Array {
    return signedUpdate(over, ...keys);
  }

  publish(envelope: Uint8Array, alias?: string): string {
    this.bench.disk.upstream.set("sim:x", image);
    const outcome = this.bench.publishEnvelope(envelope, "sim:x", alias === undefined ? {} : { alias });
    return outcome?.kind === "refused" ? outcome.reason : (outcome?.kind ?? "nothing");
  }

  /** What is there, as its code and the ETag of the whole. */
  look(path: readonly string[]): string {
    const code = this.ask(path);
    const { options } = decoded(this.bench.sent.at(-1)!);
    const etag = optionValue(options, Option.ETAG);
    return etag === undefined ? code : `${code} ${toHex(etag)}`;
  }

  ask(path: readonly string[]): string {
    this.bench.sent.length = 0;
    this.bench.loop.datagram(getBlock(path, 0, 2, ++this.#messageId), CLIENT);
    this.bench.run(0.1);
    return codeText(decoded(this.bench.sent.at(-1)!).code);
  }
}
