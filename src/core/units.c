/* Durations, sizes and whole numbers. Pure. Runs in every process. */
#include "core/units.h"
#include "core/errors.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

struct unit {
    const char *name;
    int64_t value;
};

/* Each from the smallest to the largest. */
static const struct unit durations[] = {{"ms", 1}, {"s", 1000}, {"m", 60000}, {"h", 3600000}, {"d", 86400000}, {0}};
static const struct unit sizes[] = {{"B", 1},
                                    {"KB", 1000},
                                    {"KiB", INT64_C(1) << 10},
                                    {"MB", 1000000},
                                    {"MiB", INT64_C(1) << 20},
                                    {"GB", 1000000000},
                                    {"GiB", INT64_C(1) << 30},
                                    {"TB", 1000000000000},
                                    {"TiB", INT64_C(1) << 40},
                                    {0}};

struct phrases {
    const char *not_a_number, *no_unit, *wrong_unit;
};

static const char too_large[] = "is too large";

/* The digits at *at, which moves behind them. False when the number does not fit. */
static bool digits(const char **at, int64_t *ret)
{
    int64_t v = 0;
    bool fits = true;
    for (; **at >= '0' && **at <= '9'; ++*at)
        fits = fits && !__builtin_mul_overflow(v, 10, &v) && !__builtin_add_overflow(v, **at - '0', &v);
    *ret = v;
    return fits;
}

static const char *parse(const char *text, const struct unit *units, const struct phrases *p, int64_t *ret)
{
    const char *at = text;
    int64_t v;
    if (!*text)
        return "is empty";
    if (*text == '-')
        return "is negative";
    bool fits = digits(&at, &v);
    if (at == text)
        return p->not_a_number;
    if (!*at && !units) {
        if (!fits)
            return too_large;
        *ret = v;
        return NULL;
    }
    if (!*at && !(fits && v == 0))
        return p->no_unit;
    const struct unit *u = units;
    while (*at && u && u->name && strcmp(at, u->name) != 0)
        u++;
    if (*at && (!u || !u->name))
        return p->wrong_unit;
    if (!fits || (*at && __builtin_mul_overflow(v, u->value, &v)))
        return too_large;
    *ret = v;
    return NULL;
}

#define DURATION_UNITS "ms, s, m, h or d"
#define SIZE_UNITS "B, KB, MB, GB, TB or KiB, MiB, GiB, TiB"

const char *units_parse_duration(const char *text, int64_t *ret_ms)
{
    static const struct phrases p = {"is not a duration: a whole number, then " DURATION_UNITS,
                                     "has no unit: write " DURATION_UNITS " right behind the number",
                                     "does not end in a unit: a whole number, then " DURATION_UNITS};
    return parse(text, durations, &p, ret_ms);
}

const char *units_parse_size(const char *text, int64_t *ret_bytes)
{
    static const struct phrases p = {"is not a size: a whole number, then " SIZE_UNITS, "has no unit: write " SIZE_UNITS " right behind the number",
                                     "does not end in a unit: a whole number, then " SIZE_UNITS};
    return parse(text, sizes, &p, ret_bytes);
}

const char *units_parse_int(const char *text, int64_t *ret)
{
    static const char phrase[] = "is not a whole number (it takes no unit)";
    static const struct phrases p = {phrase, phrase, phrase};
    return parse(text, NULL, &p, ret);
}

/* The largest unit that leaves a whole number gives the smallest number. */
static void format(int64_t v, const struct unit *units, char out[UNITS_TEXT_MAX])
{
    CHECK(v >= 0);
    const struct unit *best = units;
    for (const struct unit *u = units; u->name; u++)
        if (v % u->value == 0)
            best = u;
    if (v == 0)
        strcpy(out, "0");
    else
        snprintf(out, UNITS_TEXT_MAX, "%" PRId64 "%s", v / best->value, best->name);
}

void units_format_duration(int64_t ms, char out[UNITS_TEXT_MAX]) { format(ms, durations, out); }
void units_format_size(int64_t bytes, char out[UNITS_TEXT_MAX]) { format(bytes, sizes, out); }

void units_human_size(int64_t bytes, char out[UNITS_TEXT_MAX])
{
    static const char *const names[] = {"B", "KB", "MB", "GB", "TB"};
    uint64_t v = bytes < 0 ? -(uint64_t)bytes : (uint64_t)bytes, unit = 1;
    size_t i = 0;
    const char *sign = bytes < 0 ? "-" : "";
    /* 2400.0MB says more than 2.4GB where sizes are added up, so the next unit begins only at five digits. */
    while (i < 4 && v / unit >= (i ? 10000 : 1000))
        unit *= 1000, i++;
    if (i == 0) {
        snprintf(out, UNITS_TEXT_MAX, "%s%" PRIu64 "B", sign, v);
        return;
    }
    uint64_t tenth = unit / 10, tenths = v / tenth + (v % tenth >= tenth / 2);
    snprintf(out, UNITS_TEXT_MAX, "%s%" PRIu64 ".%" PRIu64 "%s", sign, tenths / 10, tenths % 10, names[i]);
}
