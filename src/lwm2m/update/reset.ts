import { Firmware, hasObject, State } from "../firmware.ts";
import { writeOf, type Operation } from "../operation.ts";
import type { Quirks } from "../quirks.ts";
import type { UpdateContext } from "./ports.ts";

/** A push that was broken off may be in the way of the next one, whatever State says. */
export const forgets = ({ forgetsPushAfterS }: Quirks): boolean => forgetsPushAfterS !== undefined;

/** The Write that takes back what an earlier attempt has left in a client; undefined where none is needed, or none would help. */
export function resetWrite(context: UpdateContext): Operation | undefined {
  const { quirks, target } = context;
  const idle = context.state() === State.IDLE && !forgets(quirks);
  if (quirks.reset === "none" || !quirks.trustState || idle || !hasFirmware(context)) return undefined;
  const path = [...target.object, quirks.reset === "uri" ? Firmware.PACKAGE_URI : Firmware.PACKAGE];
  return writeOf(path, quirks.reset === "uri" ? "" : Uint8Array.of(0));
}

/** Whether the client has the object that is to be updated: it has registered it, or answered for it. */
export function hasFirmware({ ports, target, facts }: UpdateContext): boolean {
  return hasObject(ports.registration(), target.object) || facts.state !== undefined;
}
