import { z } from "zod";

const Day = z.iso.date();
const Instant = z.iso.datetime({ offset: true });

/** Milliseconds since 1970 of an instant (RFC 3339), or of the beginning of a day in UTC; undefined for what is neither. */
export const dateMs = (text: string): number | undefined =>
  [Day, Instant].some((form) => form.safeParse(text).success) ? Date.parse(text) : undefined;
