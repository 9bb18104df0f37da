export type LogLevel = "debug" | "info" | "warn" | "error";
export type LogFields = Readonly<Record<string, string | number | boolean | undefined>>;

/** Structured events. `event` is a stable kebab-case name; a refusal carries a `reason` field. */
export interface Log {
  event(level: LogLevel, event: string, fields?: LogFields): void;
}

export const silentLog: Log = { event: () => {} };
