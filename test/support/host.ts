import { join } from "node:path";
import { GatewayHost } from "../../src/cli/gateway-host.ts";
import { loadConfig, type Config } from "../../src/cli/config.ts";
import { newKey } from "../../src/cli/keys.ts";
import { nodeCrypto, toPublicKeyObject } from "../../src/adapters/node-crypto.ts";
import { imagePath } from "../../src/gateway/catalogue.ts";
import { createEnvelope, signEnvelope } from "../../src/suit/author.ts";
import { writeFileSync } from "node:fs";
import type { Log } from "../../src/ports/log.ts";
import type { PrivateKey } from "../../src/ports/crypto.ts";

/** A real gateway in this process, on loopback, with an author that it trusts. */
export class TestHost {
  readonly host: GatewayHost;
  readonly author: PrivateKey;
  readonly events: { event: string; reason: string }[];

  private constructor(host: GatewayHost, author: PrivateKey, events: TestHost["events"]) {
    this.host = host;
    this.author = author;
    this.events = events;
  }

  static async start(folder: string, limits: Partial<Config["limits"]> = {}): Promise<TestHost> {
    const author = newKey("ES256");
    const trust = join(folder, "author.pem");
    writeFileSync(trust, toPublicKeyObject(author.publicKey).export({ format: "pem", type: "spki" }));
    const config = loadConfig(undefined, { state: join(folder, "state"), trust: [trust], listen: ["127.0.0.1:0"] });
    const events: TestHost["events"] = [];
    const log: Log = {
      event: (_level, event, fields) => void events.push({ event, reason: String(fields?.["reason"] ?? "") }),
    };
    return new TestHost(
      await GatewayHost.start({ ...config, limits: { ...config.limits, ...limits } }, log),
      author,
      events,
    );
  }

  get port(): number {
    return Number(this.host.addresses[0]!.split(":").at(-1));
  }

  envelope(image: Uint8Array, sequenceNumber: number): Uint8Array {
    const description = { sequenceNumber, vendorId: new Uint8Array(16).fill(1), classId: new Uint8Array(16).fill(2) };
    const imageDigest = nodeCrypto.sha256(image);
    const uri = `/${imagePath(imageDigest).join("/")}`;
    return signEnvelope(
      nodeCrypto,
      this.author,
      createEnvelope(nodeCrypto, { ...description, imageDigest, imageSize: image.length, uri }),
    );
  }

  async publish(image: Uint8Array, sequenceNumber: number, source: string): Promise<string> {
    const outcome = await this.host.publish({ envelope: this.envelope(image, sequenceNumber), source, alias: "fw" });
    return outcome.kind === "published" ? "published" : outcome.reason;
  }
}
