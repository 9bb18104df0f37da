import { pino, type DestinationStream, type LevelWithSilent } from "pino";
import type { Log } from "../ports/log.ts";

/** JSON lines by pino: time, level, `event`, and the event's fields. */
export function pinoLog(level: LevelWithSilent, destination?: DestinationStream): Log {
  const options = { level, base: null, timestamp: (): string => `,"time":"${new Date().toISOString()}"` };
  const logger = destination === undefined ? pino(options) : pino(options, destination);
  return { event: (at, event, fields) => logger[at]({ event, ...fields }) };
}
