/* Values of bounded length as text. Knows columns; knows no sinks. Runs in the worker. */
#include "result/cell.h"
#include "result/datetime.h"
#include "result/number.h"
#include "result/real.h"
#include <string.h>

#define AT(type) (((const type *)c->data)[row])
#define CELL(name) static uint8_t *name(uint8_t *p, const struct column *c, uint64_t row)

CELL(put_boolean)
{
    bool v = AT(uint8_t);
    memcpy(p, v ? "true " : "false", 5);
    return p + 5 - v;
}
CELL(put_tinyint) { return number_put_i64(p, AT(int8_t)); }
CELL(put_smallint) { return number_put_i64(p, AT(int16_t)); }
CELL(put_integer) { return number_put_i64(p, AT(int32_t)); }
CELL(put_bigint) { return number_put_i64(p, AT(int64_t)); }
CELL(put_utinyint) { return number_put_u64(p, AT(uint8_t)); }
CELL(put_usmallint) { return number_put_u64(p, AT(uint16_t)); }
CELL(put_uinteger) { return number_put_u64(p, AT(uint32_t)); }
CELL(put_ubigint) { return number_put_u64(p, AT(uint64_t)); }

/* 16-byte values are only 8-byte aligned in vectors */
static u128 load_16(const struct column *c, uint64_t row)
{
    u128 v;
    memcpy(&v, (const uint8_t *)c->data + row * 16, 16);
    return v;
}
CELL(put_hugeint) { return number_put_i128(p, (i128)load_16(c, row)); }
CELL(put_uhugeint) { return number_put_u128(p, load_16(c, row)); }

CELL(put_float) { return real_put_float(p, AT(float), REAL_VARCHAR); }
CELL(put_double) { return real_put_double(p, AT(double), REAL_VARCHAR); }
CELL(json_float) { return real_put_float(p, AT(float), REAL_JSON); }
CELL(json_double) { return real_put_double(p, AT(double), REAL_JSON); }

static i128 load_decimal(const struct column *c, uint64_t row)
{
    switch (c->storage_bytes) {
    case 2: return AT(int16_t);
    case 4: return AT(int32_t);
    case 8: return AT(int64_t);
    default: return (i128)load_16(c, row);
    }
}
static int64_t load_small_decimal(const struct column *c, uint64_t row)
{
    return c->storage_bytes == 8 ? AT(int64_t) : c->storage_bytes == 4 ? AT(int32_t) : AT(int16_t);
}

static bool is_small_decimal(const struct column *c) { return c->storage_bytes <= 8 && c->scale > 0 && c->scale <= 8; }

static uint8_t *put_decimal_with(uint8_t *p, const struct column *c, uint64_t row, bool leading_zero)
{
    if (is_small_decimal(c))
        return number_put_small_decimal(p, load_small_decimal(c, row), c->scale, leading_zero);
    return number_put_decimal(p, load_decimal(c, row), c->scale, leading_zero);
}

/* A cast prints no zero in front of the point when the type has no digits there: .50 */
CELL(put_decimal) { return put_decimal_with(p, c, row, c->width > c->scale); }

/* Whether a narrow decimal is written with a point and no exponent: to_json writes 0.000001 so, and 1e-7. */
static bool is_plain(int64_t v, unsigned scale)
{
    static const int64_t least[] = {[7] = 10, [8] = 100};
    return scale <= 6 || (scale <= 8 && (v >= least[scale] || v <= -least[scale]));
}

/* to_json turns narrow decimals into doubles, and prints wide ones as they are. Up to 15 digits the shortest text of that
 * double is the decimal itself without its trailing zeros. A missing zero in front of the point is no JSON: we put it. */
CELL(json_decimal)
{
    if (c->width > 15)
        return put_decimal_with(p, c, row, true);
    int64_t v = load_small_decimal(c, row);
    if (c->scale > 0 && v != 0 && is_plain(v, c->scale))
        return number_put_short_decimal(p, v, c->scale);
    uint64_t digits = v < 0 ? -(uint64_t)v : (uint64_t)v;
    return real_put_decimal(p, v < 0, (struct real_decimal){digits, -(int)c->scale}, REAL_JSON);
}

CELL(put_date) { return datetime_put_date(p, AT(int32_t)); }
CELL(put_time) { return datetime_put_time(p, AT(int64_t)); }
CELL(put_time_ns) { return datetime_put_time_ns(p, AT(int64_t)); }
CELL(put_time_tz) { return datetime_put_time_tz(p, AT(uint64_t)); }
CELL(put_timestamp_s) { return datetime_put_timestamp(p, AT(int64_t), UNIT_SECONDS); }
CELL(put_timestamp_ms) { return datetime_put_timestamp(p, AT(int64_t), UNIT_MILLIS); }
CELL(put_timestamp) { return datetime_put_timestamp(p, AT(int64_t), UNIT_MICROS); }
CELL(put_timestamp_ns) { return datetime_put_timestamp(p, AT(int64_t), UNIT_NANOS); }

/* The engine goes through ICU here, which counts milliseconds in a double: beyond the year 287,396 their last bits are lost. */
CELL(put_timestamp_tz)
{
    const int64_t exact = 1LL << 53;
    int64_t v = AT(int64_t);
    if (v == INT64_MAX || v == -INT64_MAX || (v / 1000 < exact && v / 1000 > -exact))
        return datetime_put_timestamp_utc(p, v);
    int64_t micros = (v % 1000 + 1000) % 1000, millis = v / 1000 - (v % 1000 < 0);
    return datetime_put_timestamp_utc_parts(p, (int64_t)(double)millis, micros);
}

CELL(put_interval)
{
    struct {
        int32_t months, days;
        int64_t micros;
    } v;
    memcpy(&v, (const uint8_t *)c->data + row * 16, 16);
    return datetime_put_interval(p, v.months, v.days, v.micros);
}

CELL(put_uuid)
{
    static const char hex[] = "0123456789abcdef";
    u128 v = load_16(c, row) ^ (u128)1 << 127; /* stored with the top bit flipped, so that it sorts as a signed number */
    for (int i = 0; i < 32; i++) {
        if (i == 8 || i == 12 || i == 16 || i == 20)
            *p++ = '-';
        *p++ = (uint8_t)hex[v >> 124];
        v <<= 4;
    }
    return p;
}

CELL(put_null)
{
    (void)c, (void)row;
    memcpy(p, "NULL", 4);
    return p + 4;
}
CELL(json_null)
{
    (void)c, (void)row;
    memcpy(p, "null", 4);
    return p + 4;
}

#define QUOTED(name, put)       \
    CELL(name)                  \
    {                           \
        *p = '"';               \
        p = put(p + 1, c, row); \
        *p = '"';               \
        return p + 1;           \
    }
QUOTED(json_date, put_date)
QUOTED(json_time, put_time)
QUOTED(json_time_ns, put_time_ns)
QUOTED(json_time_tz, put_time_tz)
QUOTED(json_timestamp_s, put_timestamp_s)
QUOTED(json_timestamp_ms, put_timestamp_ms)
QUOTED(json_timestamp, put_timestamp)
QUOTED(json_timestamp_ns, put_timestamp_ns)
QUOTED(json_timestamp_tz, put_timestamp_tz)
QUOTED(json_interval, put_interval)
QUOTED(json_uuid, put_uuid)

/* ---- big numbers as text: what a double can't hold, and what has a scale ---- */

#define SAFE_MAX 9007199254740991 /* 2^53 - 1: the last integer that no other one rounds to */

CELL(big_bigint)
{
    int64_t v = AT(int64_t);
    if (v >= -SAFE_MAX && v <= SAFE_MAX)
        return number_put_i64(p, v);
    *p = '"';
    p = number_put_i64(p + 1, v);
    *p = '"';
    return p + 1;
}
CELL(big_ubigint)
{
    uint64_t v = AT(uint64_t);
    if (v <= SAFE_MAX)
        return number_put_u64(p, v);
    *p = '"';
    p = number_put_u64(p + 1, v);
    *p = '"';
    return p + 1;
}
/* All places of its scale, and always a digit in front of the point. */
CELL(whole_decimal) { return put_decimal_with(p, c, row, true); }
QUOTED(big_hugeint, put_hugeint)
QUOTED(big_uhugeint, put_uhugeint)
QUOTED(big_decimal, whole_decimal)

#define NUMBERS                                                                                                           \
    [COL_BOOLEAN] = put_boolean, [COL_TINYINT] = put_tinyint, [COL_SMALLINT] = put_smallint, [COL_INTEGER] = put_integer, \
    [COL_UTINYINT] = put_utinyint, [COL_USMALLINT] = put_usmallint, [COL_UINTEGER] = put_uinteger

#define JSON_REST                                                                                                                                 \
    [COL_FLOAT] = json_float, [COL_DOUBLE] = json_double, [COL_DATE] = json_date, [COL_TIME] = json_time, [COL_TIME_NS] = json_time_ns,           \
    [COL_TIME_TZ] = json_time_tz, [COL_TIMESTAMP_S] = json_timestamp_s, [COL_TIMESTAMP_MS] = json_timestamp_ms, [COL_TIMESTAMP] = json_timestamp, \
    [COL_TIMESTAMP_NS] = json_timestamp_ns, [COL_TIMESTAMP_TZ] = json_timestamp_tz, [COL_INTERVAL] = json_interval, [COL_UUID] = json_uuid,       \
    [COL_SQLNULL] = json_null

const cell_put_fn cell_json[COL_TYPE_COUNT] = {
    NUMBERS,
    [COL_BIGINT] = put_bigint,
    [COL_UBIGINT] = put_ubigint,
    [COL_HUGEINT] = put_hugeint,
    [COL_UHUGEINT] = put_uhugeint,
    [COL_DECIMAL] = json_decimal,
    JSON_REST,
};

const cell_put_fn cell_json_big[COL_TYPE_COUNT] = {
    NUMBERS,
    [COL_BIGINT] = big_bigint,
    [COL_UBIGINT] = big_ubigint,
    [COL_HUGEINT] = big_hugeint,
    [COL_UHUGEINT] = big_uhugeint,
    [COL_DECIMAL] = big_decimal,
    JSON_REST,
};

const cell_put_fn cell_varchar[COL_TYPE_COUNT] = {
    NUMBERS,
    [COL_BIGINT] = put_bigint,
    [COL_UBIGINT] = put_ubigint,
    [COL_HUGEINT] = put_hugeint,
    [COL_UHUGEINT] = put_uhugeint,
    [COL_FLOAT] = put_float,
    [COL_DOUBLE] = put_double,
    [COL_DECIMAL] = put_decimal,
    [COL_DATE] = put_date,
    [COL_TIME] = put_time,
    [COL_TIME_NS] = put_time_ns,
    [COL_TIME_TZ] = put_time_tz,
    [COL_TIMESTAMP_S] = put_timestamp_s,
    [COL_TIMESTAMP_MS] = put_timestamp_ms,
    [COL_TIMESTAMP] = put_timestamp,
    [COL_TIMESTAMP_NS] = put_timestamp_ns,
    [COL_TIMESTAMP_TZ] = put_timestamp_tz,
    [COL_INTERVAL] = put_interval,
    [COL_UUID] = put_uuid,
    [COL_SQLNULL] = put_null,
};
