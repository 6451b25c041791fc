/* One row of a text format: columns in runs that share a reserve. Included by the formats, and compiled into each with its own constants.
 * Runs in the worker. */
#pragma once
#include "result/escape.h"
#include "result/format.h"
#include "result/varchar.h"

struct row_style {
    bool with_keys;   /* plan.key in front of every value, else a comma in front of all but the first */
    const char *null; /* at most 4 bytes, and 4 may be read */
    uint32_t null_length;
    const char *close; /* behind the last value; likewise */
    uint32_t close_length;
};

#define ROW_INLINE static inline __attribute__((always_inline))

/* Keys are copied in blocks of this size, so there must be room for a whole one behind them. */
#define ROW_KEY_BLOCK 16

ROW_INLINE uint8_t *row_put_key(uint8_t *p, const struct plan *plan, uint32_t i, struct row_style style)
{
    if (!style.with_keys) {
        *p = ',';
        return p + (i > 0);
    }
    for (uint32_t k = 0; k < plan->key_length; k += ROW_KEY_BLOCK)
        memcpy(p + k, plan->key + k, ROW_KEY_BLOCK);
    return p + plan->key_length;
}

/* A column by itself: long values, long keys, and runs whose strings are too long to share a window. */
static inline int row_put_alone(const struct encoder *e, struct sink *sink, const struct column *columns, uint64_t row, uint32_t i,
                                struct row_style style)
{
    const struct plan *plan = &e->plan[i];
    const struct column *c = &columns[i];
    if (style.with_keys ? sink_write(sink, plan->key, plan->key_length) < 0 : i > 0 && sink_write(sink, ",", 1) < 0)
        return -1;
    if (varchar_is_null(c, row))
        return sink_write(sink, style.null, style.null_length);
    if (plan->value)
        return plan->value(e, sink, c, row);
    uint8_t *p = sink_reserve(sink, plan->bytes);
    if (!p)
        return -1;
    sink->pos = plan->cell(p, c, row);
    return 0;
}

/* What the strings of a run may take in this row, besides its fixed part. */
ROW_INLINE size_t row_text_bytes(const struct encoder *e, const struct plan *run, const struct column *columns, uint64_t row)
{
    size_t bytes = 0;
    for (uint32_t i = run->text_first; i < run->text_first + run->text_count; i++) {
        const struct column *c = &columns[e->texts[i]];
        bytes += column_is_null(c, row) ? 0 : column_string_at(c, row)->length;
    }
    return bytes * e->format->text_factor;
}

/* A value with what stands in front of it, into a window that has the room. */
ROW_INLINE uint8_t *row_put_value(uint8_t *p, const struct plan *plan, const struct column *c, uint64_t row, uint32_t i, struct row_style style)
{
    p = row_put_key(p, plan, i, style);
    if (column_is_null(c, row)) {
        memcpy(p, style.null, 4);
        return p + style.null_length;
    }
    return plan->cell(p, c, row);
}

/* A whole row. 0, or -1: stop. */
ROW_INLINE int row_put(const struct encoder *e, struct sink *sink, const struct column *columns, uint64_t row, struct row_style style)
{
    for (uint32_t i = 0; i < e->column_count;) {
        const struct plan *run = &e->plan[i];
        size_t need = run->reserve;
        if (run->text_count)
            need += row_text_bytes(e, run, columns, row);
        uint32_t end = i + run->run;
        if (run->run == 0 || need > SINK_RESERVE_MAX) {
            for (end += run->run == 0; i < end; i++)
                if (row_put_alone(e, sink, columns, row, i, style) < 0)
                    return -1;
            continue;
        }
        uint8_t *p = sink_reserve(sink, need);
        if (!p)
            return -1;
        for (; i < end; i++)
            p = row_put_value(p, &e->plan[i], &columns[i], row, i, style);
        if (i == e->column_count) {
            memcpy(p, style.close, 4);
            sink->pos = p + style.close_length;
            return 0;
        }
        sink->pos = p;
    }
    return sink_write(sink, style.close, style.close_length);
}
