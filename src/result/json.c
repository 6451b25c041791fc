/* JSON in two forms: the contract's object with its array of rows, and NDJSON: a line with one object for each row. Runs in the worker. */
#include "result/json_value.h"
#include "core/errors.h"
#include "result/escape.h"
#include "result/names.h"
#include "result/number.h"
#include "result/row.h"
#include <stdlib.h>

/* Beyond this length a key has no place in a shared reserve. */
#define KEY_SHORT 1024

static const struct row_style object_style = {false, "null", 4, "]\0\0", 1}, line_style = {true, "null", 4, "}\n\0", 2};

static uint8_t *string_cell(uint8_t *p, const struct column *c, uint64_t row)
{
    const struct column_string *s = column_string_at(c, row);
    *p = '"';
    p = s->length <= COLUMN_STRING_INLINE ? escape_json_inlined(p + 1, (const uint8_t *)s->inlined, s->length)
                                          : escape_json(p + 1, (const uint8_t *)s->pointer.data, s->length);
    *p = '"';
    return p + 1;
}

static uint8_t *enum_cell(uint8_t *p, const struct column *c, uint64_t row)
{
    uint64_t i = column_enum_index(c, row);
    *p = '"';
    p = escape_json(p + 1, (const uint8_t *)c->enum_text[i], c->enum_length[i]);
    *p = '"';
    return p + 1;
}

#define JSON_TEXT .text_cell = string_cell, .enum_cell = enum_cell, .text_factor = 6

/* ---- the object ---- */

static int begin(struct encoder *e, struct sink *sink, const struct result_head *head)
{
    if (json_put_literal(sink, "{\"query_id\":") < 0 || json_put_name(sink, head->query_id) < 0 ||
        (head->session_reset && json_put_literal(sink, ",\"session_reset\":true") < 0) || json_put_literal(sink, ",\"columns\":[") < 0)
        return -1;
    for (uint32_t i = 0; i < e->column_count; i++)
        if (json_put_literal(sink, i ? ",{\"name\":" : "{\"name\":") < 0 || json_put_name(sink, e->columns[i].name) < 0 ||
            json_put_literal(sink, ",\"type\":") < 0 || json_put_name(sink, e->columns[i].type_name) < 0 || json_put_literal(sink, "}") < 0)
            return -1;
    return json_put_literal(sink, "],\"data\":[");
}

static int rows(struct encoder *e, struct sink *sink, const struct column *columns, uint64_t count)
{
    for (uint64_t row = 0; row < count; row++) {
        uint8_t *p = sink_reserve(sink, 3);
        if (!p)
            return -1;
        if (e->any_row)
            *p++ = ',';
        *p++ = '[';
        sink->pos = p;
        e->any_row = true;
        if (row_put(e, sink, columns, row, object_style) < 0)
            return -1;
    }
    return 0;
}

/* Microseconds as milliseconds with three decimals. */
static uint8_t *put_ms(uint8_t *p, const char *name, int64_t us)
{
    size_t n = strlen(name);
    memcpy(p, name, n);
    return number_put_decimal(p + n, us, 3, true);
}

static uint8_t *put_count(uint8_t *p, const char *name, uint64_t count)
{
    size_t n = strlen(name);
    memcpy(p, name, n);
    return number_put_u64(p + n, count);
}

static uint8_t *put_profile(uint8_t *p, const struct result_profile *profile)
{
    p = put_count(p, ",\"profile\":{\"rows_scanned\":", profile->rows_scanned);
    p = put_ms(p, ",\"cpu_ms\":", profile->cpu_us);
    p = put_count(p, ",\"spill_bytes\":", profile->spill_bytes);
    p = put_count(p, ",\"peak_memory_bytes\":", profile->peak_memory_bytes);
    *p++ = '}';
    return p;
}

static int end(struct encoder *e, struct sink *sink, const struct result_tail *tail)
{
    (void)e;
    if (json_put_literal(sink, "],\"rows\":") < 0)
        return -1;
    uint8_t *p = sink_reserve(sink, 400);
    if (!p)
        return -1;
    p = number_put_u64(p, tail->rows);
    const char *truncated = tail->truncated ? ",\"truncated\":true,\"stats\":{" : ",\"truncated\":false,\"stats\":{";
    memcpy(p, truncated, strlen(truncated));
    p = put_ms(p + strlen(truncated), "\"queue_ms\":", tail->queue_us);
    p = put_ms(p, ",\"exec_ms\":", tail->exec_us);
    if (tail->profile.known)
        p = put_profile(p, &tail->profile);
    memcpy(p, "}}\n", 3);
    sink->pos = p + 3;
    return 0;
}

const struct format format_json = {
    .begin = begin, .rows = rows, .end = end, .cells = cell_json, .cells_big = cell_json_big, .values = json_values, JSON_TEXT};

/* ---- the lines ---- */

/* {"name": or ,"name": for each column, one behind the other in one allocation. */
static bool keys_open(struct encoder *e)
{
    char **names = names_unique(e->columns, e->column_count);
    size_t bytes = 0;
    for (uint32_t i = 0; names && i < e->column_count; i++)
        bytes += 6 * strlen(names[i]) + 16 + ROW_KEY_BLOCK;
    uint8_t *p = e->state = names ? malloc(bytes ? bytes : 1) : NULL;
    for (uint32_t i = 0; p && i < e->column_count; i++) {
        struct plan *plan = &e->plan[i];
        plan->key = p;
        *p++ = i ? ',' : '{';
        *p++ = '"';
        p = escape_json(p, (const uint8_t *)names[i], strlen(names[i]));
        memcpy(p, "\":", 2);
        p += 2;
        plan->key_length = (uint32_t)(p - plan->key);
        plan->key_room = (plan->key_length + ROW_KEY_BLOCK - 1) / ROW_KEY_BLOCK * ROW_KEY_BLOCK;
        plan->alone = plan->key_length > KEY_SHORT;
        p = (uint8_t *)plan->key + plan->key_room;
    }
    names_free(names, e->column_count);
    return e->state != NULL;
}

static void keys_close(struct encoder *e) { free(e->state); }

static int lines_begin(struct encoder *e, struct sink *sink, const struct result_head *head)
{
    (void)e, (void)sink, (void)head;
    return 0;
}

static int lines_rows(struct encoder *e, struct sink *sink, const struct column *columns, uint64_t count)
{
    for (uint64_t row = 0; row < count; row++)
        if ((e->column_count == 0 && json_put_literal(sink, "{") < 0) || row_put(e, sink, columns, row, line_style) < 0)
            return -1;
    return 0;
}

static int lines_end(struct encoder *e, struct sink *sink, const struct result_tail *tail)
{
    (void)e, (void)sink, (void)tail;
    return 0;
}

const struct format format_ndjson = {.open = keys_open,
                                     .close = keys_close,
                                     .begin = lines_begin,
                                     .rows = lines_rows,
                                     .end = lines_end,
                                     .cells = cell_json,
                                     .cells_big = cell_json_big,
                                     .values = json_values,
                                     JSON_TEXT};
