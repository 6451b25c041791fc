/* Dates, times, timestamps and intervals as the engine's cast to VARCHAR prints them. Knows nothing of columns. Runs in the worker.
 * Each writes at p (at most DATETIME_TEXT_MAX bytes) and returns the end. */
#pragma once
#include <stdint.h>

#define DATETIME_TEXT_MAX 88

uint8_t *datetime_put_date(uint8_t *p, int32_t days);   /* since 1970-01-01; INT32_MAX, -INT32_MAX: infinities */
uint8_t *datetime_put_time(uint8_t *p, int64_t micros); /* since midnight; up to 24:00:00 */
uint8_t *datetime_put_time_ns(uint8_t *p, int64_t nanos);
uint8_t *datetime_put_time_tz(uint8_t *p, uint64_t packed); /* the engine's 40 bits of micros, 24 bits of offset */

enum datetime_unit { UNIT_SECONDS, UNIT_MILLIS, UNIT_MICROS, UNIT_NANOS };
/* Since 1970-01-01 00:00:00; INT64_MAX, -INT64_MAX: infinities */
uint8_t *datetime_put_timestamp(uint8_t *p, int64_t value, enum datetime_unit unit);
uint8_t *datetime_put_timestamp_utc(uint8_t *p, int64_t micros); /* with +00 */
/* The same from whole milliseconds and the 0..999 microseconds behind them: reaches further than one count of microseconds. */
uint8_t *datetime_put_timestamp_utc_parts(uint8_t *p, int64_t millis, int64_t micros);

uint8_t *datetime_put_interval(uint8_t *p, int32_t months, int32_t days, int64_t micros);
