import { copyFileSync, writeFileSync } from "node:fs";
import { request } from "node:https";
import { connect } from "node:tls";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { cli, lastJson, Served, temporaryFolder } from "../support/process.ts";

const TLS = fileURLToPath(new URL("../support/tls/", import.meta.url));

/** Whose certificate the server shows. */
const shown = async (port: number): Promise<string> =>
  new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1", rejectUnauthorized: false }, () => {
      resolve(String(socket.getPeerCertificate().subject.CN));
      socket.destroy();
    });
    socket.on("error", reject);
  });

const get = async (port: number, path: string, token?: string): Promise<{ status: number; text: string }> =>
  new Promise((resolve, reject) => {
    const headers = token === undefined ? {} : { authorization: `Bearer ${token}` };
    const asked = request({ port, host: "127.0.0.1", path, headers, rejectUnauthorized: false }, (response) => {
      let text = "";
      response.on("data", (piece: Buffer) => (text += String(piece)));
      response.on("end", () => resolve({ status: response.statusCode!, text }));
    });
    asked.on("error", reject).end();
  });

describe("the API over the network", () => {
  it("speaks TLS, takes new certificates without a restart, wants tokens, and counts requests", async () => {
    const folder = temporaryFolder();
    const put = (name: string): void => {
      copyFileSync(join(TLS, `${name}.cert.pem`), join(folder, "cert.pem"));
      copyFileSync(join(TLS, `${name}.key.pem`), join(folder, "key.pem"));
    };
    put("a");
    const config = join(folder, "gateway.yaml");
    const api = "{ listen: '127.0.0.1:0', tls: { cert: cert.pem, key: key.pem }, requestsPerMinute: 20 }";
    writeFileSync(config, `api: ${api}\n`);
    const state = join(folder, "gw");
    const served = await Served.start(state, { config });
    try {
      const port = Number(new URL(served.api!).port);
      expect(await shown(port)).toBe("gateway-a");
      put("b");
      served.child.kill("SIGHUP");
      for (let i = 0; i < 50 && (await shown(port)) !== "gateway-b"; i++)
        await new Promise((resolve) => setTimeout(resolve, 50));
      expect(await shown(port)).toBe("gateway-b");
      // One that is none leaves the old one in place.
      writeFileSync(join(folder, "cert.pem"), "nonsense");
      served.child.kill("SIGHUP");
      await new Promise((resolve) => setTimeout(resolve, 200));
      expect(await shown(port)).toBe("gateway-b");
      expect((await get(port, "/v1/rollouts")).status).toBe(401);
      // Whoever has no token is counted by his address, whatever he says that his token is.
      const guesses = await Promise.all(
        Array.from({ length: 30 }, async (_, i) => get(port, "/v1/rollouts", `bf_${i}`)),
      );
      expect(guesses.some(({ status }) => status === 429)).toBe(true);
      const made = await cli("token", "create", "ann", "--role", "viewer", "--state", state, "--json");
      const { token } = lastJson(made.stdout) as { token: string };
      expect((await get(port, "/v1/rollouts", token)).status).toBe(200);
      const answers = await Promise.all(Array.from({ length: 30 }, async () => get(port, "/v1/rollouts", token)));
      const refused = answers.filter(({ status }) => status === 429);
      expect(refused.length).toBeGreaterThan(0);
      expect(JSON.parse(refused[0]!.text)).toMatchObject({ title: "too-many-requests", status: 429 });
      expect((await cli("rollout", "list", "--state", state)).code).toBe(0); // the socket is not counted
    } finally {
      served.child.kill("SIGKILL");
    }
  });
});
