const two = (value: number): string => String(value).padStart(2, "0");

/** RFC 3339 text of seconds since 1970, in UTC; arithmetic only, so that no clock is near. */
export function isoTime(unixS: number): string {
  const [days, second] = [Math.floor(unixS / 86_400), unixS - Math.floor(unixS / 86_400) * 86_400];
  // Days of the proleptic Gregorian calendar in eras of 400 years that begin with March.
  const shifted = days + 719_468;
  const era = Math.floor(shifted / 146_097);
  const dayOfEra = shifted - era * 146_097;
  const yearOfEra = Math.floor(
    (dayOfEra - Math.floor(dayOfEra / 1_460) + Math.floor(dayOfEra / 36_524) - Math.floor(dayOfEra / 146_096)) / 365,
  );
  const dayOfYear = dayOfEra - (365 * yearOfEra + Math.floor(yearOfEra / 4) - Math.floor(yearOfEra / 100));
  const monthFromMarch = Math.floor((5 * dayOfYear + 2) / 153);
  const day = dayOfYear - Math.floor((153 * monthFromMarch + 2) / 5) + 1;
  const month = monthFromMarch < 10 ? monthFromMarch + 3 : monthFromMarch - 9;
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0);
  const time = [Math.floor(second / 3_600), Math.floor((second % 3_600) / 60), Math.floor(second % 60)]
    .map(two)
    .join(":");
  return `${year}-${two(month)}-${two(day)}T${time}Z`;
}
