#ifndef SENSOR_H
#define SENSOR_H

#include <stddef.h>
#include <stdint.h>

/* One measurement in engineering units. */
typedef struct {
  double temperature_c;
  double humidity_percent;
  double pressure_hpa;
} sample_t;

/* Exponential smoothing with rejection of outliers. */
typedef struct {
  sample_t mean;
  double variance;
  uint32_t accepted;
  uint32_t rejected;
} filter_t;

sample_t sensor_read(uint32_t tick);
void filter_init(filter_t *filter);
int filter_add(filter_t *filter, const sample_t *sample);
double altitude_m(double pressure_hpa, double temperature_c);
size_t report_text(char *out, size_t size, const filter_t *filter);
size_t report_cbor(uint8_t *out, size_t size, const filter_t *filter);
#if FIRMWARE_VERSION >= 2
double dew_point_c(const sample_t *sample);
int self_test(void);
#endif

#endif
