import { z } from "zod";

/** A figure with where it comes from; `verified` is false until somebody has read that source. */
export const figure: z.ZodType<Figure> = z.strictObject({
  value: z.number().nonnegative(),
  source: z.string().min(3),
  verified: z.boolean(),
});
export interface Figure {
  readonly value: number;
  readonly source: string;
  readonly verified: boolean;
}

/** A chip: currents in mA at `supplyV`, times in us, flash geometry in bytes. */
const ChipProfileSchema: z.ZodType<ChipProfile> = z.strictObject({
  name: z.string(),
  supplyV: figure,
  txMa: figure,
  rxMa: figure,
  sleepMa: figure,
  cpuMa: figure,
  flashMa: figure,
  sectorBytes: figure,
  writeUnitBytes: figure,
  eraseSectorUs: figure,
  programUnitUs: figure,
  sha256UsPerByte: figure,
  verifySignatureUs: figure,
  ramBytes: figure,
  ramBaseBytes: figure,
});

export interface ChipProfile {
  readonly name: string;
  readonly supplyV: Figure;
  readonly txMa: Figure;
  readonly rxMa: Figure;
  readonly sleepMa: Figure;
  readonly cpuMa: Figure;
  readonly flashMa: Figure;
  readonly sectorBytes: Figure;
  readonly writeUnitBytes: Figure;
  readonly eraseSectorUs: Figure;
  readonly programUnitUs: Figure;
  readonly sha256UsPerByte: Figure;
  readonly verifySignatureUs: Figure;
  readonly ramBytes: Figure;
  /** What system, network stack and application take without any buffer that depends on the scenario. */
  readonly ramBaseBytes: Figure;
}

/** Checks a profile read from JSON; throws a ZodError that names the field. */
export function parseProfile(value: unknown): ChipProfile {
  return ChipProfileSchema.parse(value);
}

/** Fields whose source nobody has checked: a report has to name them. */
export function unverifiedFields(profile: object): string[] {
  return Object.entries(profile)
    .filter(([, field]) => typeof field === "object" && !(field as Figure).verified)
    .map(([name]) => name);
}

/** What a mote's CPU takes for it, in microseconds. */
export interface CpuCosts {
  readonly sha256UsPerByte: number;
  readonly verifySignatureUs: number;
}

export function costsOf({ sha256UsPerByte, verifySignatureUs }: ChipProfile): CpuCosts {
  return { sha256UsPerByte: sha256UsPerByte.value, verifySignatureUs: verifySignatureUs.value };
}
