/* The contract's JSON object. Runs in the worker.
 * Values are what the engine's to_json gives, text for text, but for what would be no JSON: NaN and infinities are strings, and
 * a zero stands in front of a decimal's point. */
#include "result/bytes.h"
#include "result/escape.h"
#include "result/format.h"
#include "result/json_text.h"
#include "result/number.h"
#include "result/varchar.h"

static int put_literal(struct sink *sink, const char *s) { return sink_write(sink, s, strlen(s)); }
static int put_name(struct sink *sink, const char *s) { return escape_put_json(sink, (const uint8_t *)s, strlen(s)); }

static const value_put_fn values[COL_TYPE_COUNT];

/* Any value, also NULL. */
static int put_any(struct sink *sink, const struct column *c, uint64_t row)
{
    if (varchar_is_null(c, row))
        return put_literal(sink, "null");
    cell_put_fn cell = cell_json[c->type];
    if (!cell)
        return values[c->type](sink, c, row);
    uint8_t *p = sink_reserve(sink, CELL_MAX);
    if (!p)
        return -1;
    sink->pos = cell(p, c, row);
    return 0;
}

static int put_string(struct sink *sink, const struct column *c, uint64_t row)
{
    const struct column_string *s = column_string_at(c, row);
    return escape_put_json(sink, column_string_data(s), s->length);
}

static int put_enum(struct sink *sink, const struct column *c, uint64_t row)
{
    uint64_t i = column_enum_index(c, row);
    return escape_put_json(sink, (const uint8_t *)c->enum_text[i], c->enum_length[i]);
}

static int put_json_text(struct sink *sink, const struct column *c, uint64_t row)
{
    const struct column_string *s = column_string_at(c, row);
    return json_text_put(sink, column_string_data(s), s->length);
}

/* The cast to VARCHAR as a JSON string. */
static int put_as_text(struct sink *sink, const struct column *c, uint64_t row)
{
    struct text t = {sink, TEXT_JSON, false};
    if (put_literal(sink, "\"") < 0 || varchar_put(&t, c, row) < 0)
        return -1;
    return put_literal(sink, "\"");
}

static int put_bignum(struct sink *sink, const struct column *c, uint64_t row)
{
    struct text t = {sink, TEXT_PLAIN, false};
    return varchar_put(&t, c, row);
}

static int put_items(struct sink *sink, const struct column *child, uint64_t first, uint64_t count)
{
    if (put_literal(sink, "[") < 0)
        return -1;
    for (uint64_t i = first; i < first + count; i++) {
        if (i > first && put_literal(sink, ",") < 0)
            return -1;
        if (put_any(sink, child, i) < 0)
            return -1;
    }
    return put_literal(sink, "]");
}

static int put_list(struct sink *sink, const struct column *c, uint64_t row)
{
    const struct column_list *list = &((const struct column_list *)c->data)[row];
    return put_items(sink, &c->children[0], list->offset, list->length);
}

static int put_array(struct sink *sink, const struct column *c, uint64_t row)
{
    return put_items(sink, &c->children[0], row * c->array_size, c->array_size);
}

static int put_struct(struct sink *sink, const struct column *c, uint64_t row)
{
    for (uint32_t i = 0; i < c->child_count; i++)
        if (put_literal(sink, i ? "," : "{") < 0 || put_name(sink, c->children[i].name) < 0 || put_literal(sink, ":") < 0 ||
            put_any(sink, &c->children[i], row) < 0)
            return -1;
    return put_literal(sink, c->child_count ? "}" : "{}");
}

static int put_map(struct sink *sink, const struct column *c, uint64_t row)
{
    const struct column_list *list = &((const struct column_list *)c->data)[row];
    const struct column *key = &c->children[0].children[0], *value = &c->children[0].children[1];
    bool first = true;
    if (put_literal(sink, "{") < 0)
        return -1;
    for (uint64_t i = list->offset; i < list->offset + list->length; i++) {
        if (varchar_is_null(key, i))
            continue;
        if ((!first && put_literal(sink, ",") < 0) || put_as_text(sink, key, i) < 0 || put_literal(sink, ":") < 0 ||
            put_any(sink, value, i) < 0)
            return -1;
        first = false;
    }
    return put_literal(sink, "}");
}

static int put_union(struct sink *sink, const struct column *c, uint64_t row)
{
    const struct column *member = &c->children[1 + ((const uint8_t *)c->children[0].data)[row]];
    if (put_literal(sink, "{") < 0 || put_name(sink, member->name) < 0 || put_literal(sink, ":") < 0 ||
        put_any(sink, member, row) < 0)
        return -1;
    return put_literal(sink, "}");
}

static int put_unknown(struct sink *sink, const struct column *c, uint64_t row)
{
    (void)c, (void)row;
    return put_literal(sink, "null");
}

static const value_put_fn values[COL_TYPE_COUNT] = {
    [COL_INVALID] = put_unknown,
    [COL_VARCHAR] = put_string,
    [COL_ENUM] = put_enum,
    [COL_JSON_TEXT] = put_json_text,
    [COL_BLOB] = put_as_text,
    [COL_BIT] = put_as_text,
    [COL_GEOMETRY] = put_as_text,
    [COL_VARIANT] = put_as_text,
    [COL_BIGNUM] = put_bignum,
    [COL_LIST] = put_list,
    [COL_ARRAY] = put_array,
    [COL_STRUCT] = put_struct,
    [COL_MAP] = put_map,
    [COL_UNION] = put_union,
};

static int begin(struct encoder *e, struct sink *sink, const struct result_head *head)
{
    if (put_literal(sink, "{\"query_id\":") < 0 || put_name(sink, head->query_id) < 0 || put_literal(sink, ",\"columns\":[") < 0)
        return -1;
    for (uint32_t i = 0; i < e->column_count; i++)
        if (put_literal(sink, i ? ",{\"name\":" : "{\"name\":") < 0 || put_name(sink, e->columns[i].name) < 0 ||
            put_literal(sink, ",\"type\":") < 0 || put_name(sink, e->columns[i].type_name) < 0 || put_literal(sink, "}") < 0)
            return -1;
    return put_literal(sink, "],\"data\":[");
}

/* One unbounded column, with the separator in front. */
static int put_value(struct sink *sink, const struct plan *plan, const struct column *c, uint64_t row, bool first)
{
    if (!first && put_literal(sink, ",") < 0)
        return -1;
    return varchar_is_null(c, row) ? put_literal(sink, "null") : plan->value(sink, c, row);
}

static int put_row(const struct encoder *e, struct sink *sink, const struct column *columns, uint64_t row)
{
    for (uint32_t i = 0; i < e->column_count;) {
        const struct plan *plan = &e->plan[i];
        if (!plan->cell) {
            if (put_value(sink, plan, &columns[i], row, i == 0) < 0)
                return -1;
            i++;
            continue;
        }
        uint8_t *p = sink_reserve(sink, plan->reserve);
        if (!p)
            return -1;
        for (uint32_t end = i + plan->reserve / FORMAT_CELL_MAX; i < end; i++) {
            if (i > 0)
                *p++ = ',';
            if (column_is_null(&columns[i], row)) {
                memcpy(p, "null", 4);
                p += 4;
            } else {
                p = e->plan[i].cell(p, &columns[i], row);
            }
        }
        sink->pos = p;
    }
    return 0;
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
        if (put_row(e, sink, columns, row) < 0 || put_literal(sink, "]") < 0)
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

static int end(struct encoder *e, struct sink *sink, const struct result_tail *tail)
{
    (void)e;
    if (put_literal(sink, "],\"rows\":") < 0)
        return -1;
    uint8_t *p = sink_reserve(sink, 160);
    if (!p)
        return -1;
    p = number_put_u64(p, tail->rows);
    const char *truncated = tail->truncated ? ",\"truncated\":true,\"stats\":{" : ",\"truncated\":false,\"stats\":{";
    memcpy(p, truncated, strlen(truncated));
    p = put_ms(p + strlen(truncated), "\"queue_ms\":", tail->queue_us);
    p = put_ms(p, ",\"exec_ms\":", tail->exec_us);
    memcpy(p, "}}\n", 3);
    sink->pos = p + 3;
    return 0;
}

const struct format format_json = {begin, rows, end, cell_json, values};
