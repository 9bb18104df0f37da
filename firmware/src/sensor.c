/* A sensor model that needs no hardware: a day's course with noise, from a small generator. */
#include "sensor.h"
#include <math.h>

static uint32_t state = 0x2545f491;

static double noise(void) {
  state ^= state << 13;
  state ^= state >> 17;
  state ^= state << 5;
  return (double)state / 4294967296.0 - 0.5;
}

sample_t sensor_read(uint32_t tick) {
  const double day = 2.0 * 3.14159265358979 * (double)(tick % 86400u) / 86400.0;
  sample_t sample;
  sample.temperature_c = 15.0 + 8.0 * sin(day) + 0.4 * noise();
  sample.humidity_percent = 60.0 - 20.0 * sin(day + 0.3) + 2.0 * noise();
  sample.pressure_hpa = 1013.25 + 6.0 * cos(day / 3.0) + 0.5 * noise();
  if ((state & 0x3ff) == 0) sample.temperature_c += 40.0; /* a glitch now and then */
  return sample;
}

double altitude_m(double pressure_hpa, double temperature_c) {
  return (pow(1013.25 / pressure_hpa, 1.0 / 5.257) - 1.0) * (temperature_c + 273.15) / 0.0065;
}
