import type { Command } from "commander";

type Add = (program: Command) => void;

/** Commands by name, and where they are: in the order in which help lists them. */
export const COMMANDS: readonly (readonly [names: readonly string[], load: () => Promise<readonly Add[]>])[] = [
  [["serve"], async () => [(await import("./commands/serve.ts")).addServe]],
  [["key"], async () => [(await import("./commands/key.ts")).addKey]],
  [["sign"], async () => [(await import("./commands/sign.ts")).addSign]],
  [
    ["inspect", "verify"],
    async () => {
      const { addInspect, addVerify } = await import("./commands/inspect.ts");
      return [addInspect, addVerify];
    },
  ],
  [["bundle"], async () => [(await import("./commands/bundle.ts")).addBundle]],
  [["factory"], async () => [(await import("./commands/factory.ts")).addFactory]],
  [["class"], async () => [(await import("./commands/class.ts")).addClass]],
  [["authority"], async () => [(await import("./commands/authority.ts")).addAuthority]],
  [
    ["adopt", "quarantine", "decommission", "orphan", "census"],
    async () => [(await import("./commands/lifecycle.ts")).addLifecycle],
  ],
  [["audit"], async () => [(await import("./commands/audit.ts")).addAudit]],
  [["publish"], async () => [(await import("./commands/publish.ts")).addPublish]],
  [["images"], async () => [(await import("./commands/images.ts")).addImages]],
  [["devices"], async () => [(await import("./commands/devices.ts")).addDevices]],
  [["device"], async () => [(await import("./commands/device.ts")).addDevice]],
  [["probe"], async () => [(await import("./commands/probe.ts")).addProbe]],
  [["update"], async () => [(await import("./commands/update.ts")).addUpdate]],
  [["updates"], async () => [(await import("./commands/updates.ts")).addUpdates]],
  [["rollout"], async () => [(await import("./commands/rollout.ts")).addRollout]],
  [["fleet"], async () => [(await import("./commands/fleet.ts")).addFleet]],
  [["token"], async () => [(await import("./commands/token.ts")).addToken]],
  [["mote"], async () => [(await import("./commands/mote.ts")).addMote]],
  [["get"], async () => [(await import("./commands/get.ts")).addGet]],
  [["simulate"], async () => [(await import("./commands/simulate.ts")).addSimulate]],
  [["limit"], async () => [(await import("./commands/limit.ts")).addLimit]],
  [["demo"], async () => [(await import("./commands/demo.ts")).addDemo]],
];

/** Adds the command that is asked for, without what the others need; all of them where it is none. Whether it is one. */
export async function addCommands(program: Command, asked: string | undefined): Promise<boolean> {
  const one = COMMANDS.filter(([names]) => asked !== undefined && names.includes(asked));
  for (const [, load] of one.length > 0 ? one : COMMANDS) for (const add of await load()) add(program);
  return one.length > 0 || asked === undefined || asked === "help" || asked.startsWith("-");
}
