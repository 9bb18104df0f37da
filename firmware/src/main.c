/* Reads, filters and reports once a minute of simulated time. */
#include "sensor.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char banner[] = "blockferry sensor, version " "0123456789";

/* A line of the serial console: `gain 0.1`, `at 3600`, `report`. */
static int command(const char *line, uint32_t *tick) {
  char word[16];
  double value = 0;
  const int fields = sscanf(line, "%15s %lf", word, &value);
  if (fields >= 1 && strcmp(word, "report") == 0) return 1;
  if (fields == 2 && strcmp(word, "at") == 0) *tick = (uint32_t)value;
  return 0;
}

int main(void) {
  filter_t filter;
  char text[160];
  uint8_t cbor[32];
  uint32_t tick = 0;
  printf("%.27s%c\n", banner, banner[27 + FIRMWARE_VERSION]);
#if FIRMWARE_VERSION >= 2
  if (!self_test()) {
    printf("self-test failed\n");
    return EXIT_FAILURE;
  }
#endif
  filter_init(&filter);
  command("at 3600", &tick);
  for (;; tick++) {
    const sample_t sample = sensor_read(tick);
    filter_add(&filter, &sample);
    if (tick % 60 == 0) {
      report_text(text, sizeof text, &filter);
      printf("%s %u\n", text, (unsigned)report_cbor(cbor, sizeof cbor, &filter));
    }
  }
}
