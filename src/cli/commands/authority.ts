import type { Command } from "commander";
import { nodeCrypto } from "../../adapters/node-crypto.ts";
import { keyRecord } from "../../lifecycle/classes.ts";
import { signEnvelope } from "../../suit/author.ts";
import { buildEnvelope } from "../../suit/build.ts";
import { transferUpdate, TRUST_LIMITS } from "../../suit/trust.ts";
import { toHex } from "../../util/bytes.ts";
import { readInput } from "../authoring/input.ts";
import { callGateway } from "../control-client.ts";
import { usageError } from "../errors.ts";
import { writeOutput } from "../files.ts";
import { identifiers } from "../identifiers.ts";
import { namesKeyTwice, readPrivateKey, readPublicKey } from "../keys.ts";
import {
  classIdOf,
  lifecycleOf,
  offerText,
  operatorOptions,
  tell,
  watchingOffers,
  type OperatorOptions,
} from "../operator.ts";

interface TransferOptions {
  vendor: string;
  class: string;
  epoch: string;
  to: string[];
  key: string[];
  out: string;
  json?: boolean;
}

export function addAuthority(program: Command): void {
  const group = program
    .command("authority")
    .description("hand devices over to new authorities: rotation, a sale, or escrow when the vendor is gone");
  group
    .command("transfer")
    .description("make and sign a hand-over; needs no gateway")
    .requiredOption("--vendor <domain|uuid>", "vendor of the class")
    .requiredOption("--class <name|uuid>", "the class")
    .requiredOption("--epoch <n>", "number of this hand-over: one more than the class has had")
    .requiredOption("--to <file...>", "public keys of the new authorities; name the old ones too for an overlap")
    .requiredOption("--key <file...>", "private keys of an authority, of escrow, or of enough of the quorum")
    .requiredOption("--out <file>", "the envelope to write")
    .option("--json", "print one JSON object")
    .addHelpText(
      "after",
      "\nExample:\n  blockferry authority transfer --vendor example.com --class sensor-a --epoch 1 \\\n    --to old.pub.pem new.pub.pem --key old.key.pem --out handover.suit\n  blockferry inspect handover.suit --trust old.pub.pem\n  blockferry authority apply handover.suit --class-id sensor-a --name old new --state gw",
    )
    .action(makeTransfer);
  addApply(group);
  addRevoke(group);
}

function makeTransfer(options: TransferOptions): void {
  const epoch = Number(options.epoch);
  if (!Number.isSafeInteger(epoch) || epoch < 1) throw usageError("bad-epoch", "--epoch is 1 or more");
  const { vendorId, classId } = identifiers(options.vendor, options.class);
  const transfer = { epoch, authorities: options.to.map(readPublicKey) };
  const { authorities } = transfer;
  if (authorities.length > TRUST_LIMITS.maxKeys)
    throw usageError(
      "too-many-keys",
      `--to names ${authorities.length} keys: devices take 1 to ${TRUST_LIMITS.maxKeys}`,
    );
  if (namesKeyTwice(authorities)) throw usageError("key-twice", "--to names one key twice");
  const unsigned = buildEnvelope(nodeCrypto, transferUpdate(vendorId, [classId], transfer));
  const keys = options.key.map(readPrivateKey);
  const envelope = keys.reduce((bytes, key) => signEnvelope(nodeCrypto, key, bytes), unsigned);
  writeOutput(options.out, envelope, [...options.key, ...options.to]);
  const summary = { envelope: options.out, class: toHex(classId), epoch, authorities: options.to.length };
  console.log(
    options.json === true ? JSON.stringify(summary) : `${options.out}: hand-over ${epoch} of class ${summary.class}`,
  );
}

function addApply(group: Command): void {
  operatorOptions(group.command("apply <envelope>"))
    .description("give a hand-over to a running gateway, which offers it to the devices of the class")
    .requiredOption("--class-id <class>", "the class: its name there, or its id")
    .option("--name <name...>", "names of the new authorities, in their order", [])
    .addHelpText("after", "\nExample:\n  blockferry authority apply handover.suit --class-id sensor-a --state gw")
    .action(async (file: string, options: OperatorOptions & { classId: string; name: string[] }) => {
      const { state, actor, name } = options;
      const envelope = Buffer.from(readInput(file)).toString("base64");
      const body = { actor, classId: await classIdOf(state, options.classId), envelope, names: name };
      tell(await callGateway(state, "POST", "/v1/lifecycle/transfers", body), options, "handed over");
    });
}

function addRevoke(group: Command): void {
  operatorOptions(group.command("revoke <public-key>"))
    .description("revoke a key; what was signed with it is offered no longer, and the devices that trust it are named")
    .requiredOption("--reason <text>", "why, for the audit log")
    .addHelpText(
      "after",
      "\nExample:\n  blockferry authority revoke stolen.pub.pem --reason 'laptop stolen' --state gw",
    )
    .action(async (file: string, options: OperatorOptions & { reason: string }) => {
      const { state, actor, reason } = options;
      const key = keyRecord(readPublicKey(file));
      const event = { kind: "key-revoked", key, reason };
      const [entry, offers] = await watchingOffers(state, async () =>
        callGateway(state, "POST", "/v1/lifecycle/events", { actor, event }),
      );
      const { revoked } = await lifecycleOf(state);
      const trustedBy = revoked.find((one) => one.key.key === key.key)?.trustedBy ?? [];
      if (options.json === true) console.log(JSON.stringify({ ...(entry as object), trustedBy, ...offers }));
      else {
        const devices = trustedBy.map((name) => `\n  ${name}`).join("");
        console.log(
          `revoked${offerText(offers)}\n${trustedBy.length} devices trust this key until a hand-over reaches them${devices}`,
        );
      }
    });
}
