#include "sensor.h"
#include <stdio.h>
#include <string.h>

size_t report_text(char *out, size_t size, const filter_t *filter) {
  int n = snprintf(out, size, "T=%.2f C RH=%.1f %% P=%.2f hPa h=%.0f m n=%lu r=%lu", filter->mean.temperature_c,
                   filter->mean.humidity_percent, filter->mean.pressure_hpa,
                   altitude_m(filter->mean.pressure_hpa, filter->mean.temperature_c), (unsigned long)filter->accepted,
                   (unsigned long)filter->rejected);
#if FIRMWARE_VERSION >= 2
  if (n > 0 && (size_t)n < size) n += snprintf(out + n, size - (size_t)n, " dew=%.2f C", dew_point_c(&filter->mean));
#endif
  return n < 0 ? 0 : (size_t)n;
}

static size_t put_double(uint8_t *out, double value) {
  uint64_t bits;
  memcpy(&bits, &value, sizeof bits);
  out[0] = 0xfb;
  for (int i = 0; i < 8; i++) out[1 + i] = (uint8_t)(bits >> (56 - 8 * i));
  return 9;
}

size_t report_cbor(uint8_t *out, size_t size, const filter_t *filter) {
  if (size < 28) return 0;
  size_t n = 0;
  out[n++] = 0x83;
  n += put_double(out + n, filter->mean.temperature_c);
  n += put_double(out + n, filter->mean.humidity_percent);
  n += put_double(out + n, filter->mean.pressure_hpa);
  return n;
}
