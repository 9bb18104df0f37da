import { utf8 } from "../../util/bytes.ts";
import { MAX_URI_BYTES, waysIn } from "../firmware.ts";
import type { Method } from "./job.ts";
import type { UpdateContext } from "./ports.ts";
import { hasFirmware } from "./reset.ts";

/** The next way: by what the client and the operator's policy say (resources 8 and 9); what was tried comes no second time. */
export function chooseMethod(context: UpdateContext): Method | undefined {
  const { job, facts, quirks, ports, target } = context;
  const ways = waysIn(facts, quirks.delivery);
  const { pull, push } = hasFirmware(context) ? ways : { pull: false, push: false };
  const can: Readonly<Record<Method, () => boolean>> = {
    pull: () => pull && fits(ports.packageUri(target.digest)),
    push: () => push,
    trigger: () => ports.manifestUri(target.digest) !== undefined,
  };
  return job.policy.methods.find((method) => !job.tried.includes(method) && can[method]());
}

const fits = (uri: string | undefined): boolean => uri !== undefined && utf8(uri).length <= MAX_URI_BYTES;
