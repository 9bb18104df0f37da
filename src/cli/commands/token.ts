import type { Command } from "commander";
import { callGateway } from "../control-client.ts";
import { gatewayOptions } from "../gateway-options.ts";
import { formatTable } from "../table.ts";

interface TokenView {
  readonly id: string;
  readonly name: string;
  readonly role: string;
  readonly expiresAt: string;
  readonly expired: boolean;
  readonly token?: string;
}

/** Tokens for the API over the network. */
export function addToken(program: Command): void {
  const group = program.command("token").description("say who may use the API over the network, and as what");
  gatewayOptions(group.command("create <name>"))
    .description("make a token; it is shown this once")
    .requiredOption("--role <role>", "admin, operator, viewer or auditor")
    .option("--days <number>", "until it expires", "90")
    .addHelpText(
      "after",
      "\nExample:\n  blockferry serve --state gw --api-listen 127.0.0.1:8080 &\n  blockferry token create ann --role operator --state gw",
    )
    .action(async (name: string, options: { role: string; days: string; state: string; json?: boolean }) => {
      const body = { name, role: options.role, days: Number(options.days) };
      const made = (await callGateway(options.state, "POST", "/v1/tokens", body)) as TokenView;
      if (options.json === true) console.log(JSON.stringify(made));
      else console.log(`${made.token}\n  ${name}, ${made.role}, until ${made.expiresAt}; it is not shown again`);
    });
  gatewayOptions(group.command("list"))
    .description("tokens, without their secrets")
    .action(async (options: { state: string; json?: boolean }) => {
      const tokens = (await callGateway(options.state, "GET", "/v1/tokens")) as TokenView[];
      if (options.json === true) return console.log(JSON.stringify({ tokens }));
      const rows = tokens.map(({ id, name, role, expiresAt, expired }) => [
        id,
        name,
        role,
        expired ? `expired ${expiresAt}` : expiresAt,
      ]);
      return console.log(formatTable(["id", "name", "role", "expires"], rows));
    });
  gatewayOptions(group.command("revoke <id>"))
    .description("take a token back, from now on")
    .action(async (id: string, options: { state: string; json?: boolean }) => {
      await callGateway(options.state, "DELETE", `/v1/tokens/${encodeURIComponent(id)}`);
      console.log(options.json === true ? JSON.stringify({ revoked: id }) : `${id} is revoked`);
    });
}
