import { z } from "zod";
import { figure, type ChipProfile, type Figure } from "./profile.ts";

/** A battery, and what a mote draws from it when nothing happens. */
export interface Battery {
  readonly name: string;
  readonly capacityMah: Figure;
  readonly volts: Figure;
  /** Share of the capacity that is gone after a year without any load. */
  readonly selfDischargePerYear: Figure;
  /** More than this, and its voltage breaks down. */
  readonly pulseLimitMa: Figure;
  /** Mean current of the mote between updates. */
  readonly baselineUa: Figure;
}

const BatterySchema: z.ZodType<Battery> = z.strictObject({
  name: z.string(),
  capacityMah: figure,
  volts: figure,
  selfDischargePerYear: figure,
  pulseLimitMa: figure,
  baselineUa: figure,
});

/** Checks a battery read from JSON; throws a ZodError that names the field. */
export function parseBattery(value: unknown): Battery {
  return BatterySchema.parse(value);
}

const DAY_S = 86_400;

/** Joules a day that go without any update: the baseline current and self-discharge. */
export function idleJoulesPerDay({ capacityMah, volts, selfDischargePerYear, baselineUa }: Battery): number {
  const baseline = baselineUa.value * 1e-6 * volts.value * DAY_S;
  const joules = capacityMah.value * 3.6 * volts.value;
  return baseline + (joules * selfDischargePerYear.value) / 365;
}

/** Days by which an energy shortens a battery's life. */
export function batteryDays(battery: Battery, mj: number): number {
  return mj / 1_000 / idleJoulesPerDay(battery);
}

/** Why this chip cannot run from this battery; undefined when it can. */
export function brownOut(battery: Battery, { txMa, rxMa, cpuMa, flashMa }: ChipProfile): string | undefined {
  const peak = Math.max(txMa.value, rxMa.value) + Math.max(cpuMa.value, flashMa.value);
  if (peak <= battery.pulseLimitMa.value) return undefined;
  return `brown-out: ${peak.toFixed(1)} mA with radio and CPU on are more than ${battery.name} gives (${battery.pulseLimitMa.value} mA)`;
}
