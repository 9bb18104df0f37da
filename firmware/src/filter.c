#include "sensor.h"
#include <math.h>
#include <string.h>

static const double GAIN = 0.05;

void filter_init(filter_t *filter) { memset(filter, 0, sizeof *filter); }

int filter_add(filter_t *filter, const sample_t *sample) {
#if FIRMWARE_VERSION >= 2
  /* Version 1 pulled the mean up from zero for the first hundred samples. */
  if (filter->accepted == 0) {
    filter->mean = *sample;
    filter->variance = 1.0;
    filter->accepted = 1;
    return 1;
  }
#endif
  const double error = sample->temperature_c - filter->mean.temperature_c;
  if (filter->accepted > 100 && error * error > 16.0 * filter->variance) {
    filter->rejected++;
    return 0;
  }
  filter->mean.temperature_c += GAIN * error;
  filter->mean.humidity_percent += GAIN * (sample->humidity_percent - filter->mean.humidity_percent);
  filter->mean.pressure_hpa += GAIN * (sample->pressure_hpa - filter->mean.pressure_hpa);
  filter->variance = (1.0 - GAIN) * (filter->variance + GAIN * error * error);
  filter->accepted++;
  return 1;
}

#if FIRMWARE_VERSION >= 2
double dew_point_c(const sample_t *sample) {
  const double gamma = log(sample->humidity_percent / 100.0) + 17.62 * sample->temperature_c / (243.12 + sample->temperature_c);
  return 243.12 * gamma / (17.62 - gamma);
}

int self_test(void) {
  const sample_t calm = {20.0, 50.0, 1013.25};
  filter_t filter;
  filter_init(&filter);
  for (int i = 0; i < 200; i++) filter_add(&filter, &calm);
  const sample_t glitch = {90.0, 50.0, 1013.25};
  return filter.rejected == 0 && filter_add(&filter, &glitch) == 0 && fabs(dew_point_c(&calm) - 9.26) < 0.05;
}
#endif
