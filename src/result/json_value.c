/* Values of any type as JSON (see the header). Runs in the worker. */
#include "result/json_value.h"
#include "result/bytes.h"
#include "result/escape.h"
#include "result/json_text.h"
#include "result/varchar.h"

int json_put_name(struct sink *sink, const char *s) { return escape_put_json(sink, (const uint8_t *)s, strlen(s)); }

/* Any value, also NULL. */
static int put_any(const struct encoder *e, struct sink *sink, const struct column *c, uint64_t row)
{
    if (varchar_is_null(c, row))
        return json_put_literal(sink, "null");
    cell_put_fn cell = e->cells[c->type];
    if (!cell)
        return json_values[c->type](e, sink, c, row);
    uint8_t *p = sink_reserve(sink, CELL_MAX);
    if (!p)
        return -1;
    sink->pos = cell(p, c, row);
    return 0;
}

static int put_string(const struct encoder *e, struct sink *sink, const struct column *c, uint64_t row)
{
    (void)e;
    const struct column_string *s = column_string_at(c, row);
    return escape_put_json(sink, column_string_data(s), s->length);
}

static int put_enum(const struct encoder *e, struct sink *sink, const struct column *c, uint64_t row)
{
    (void)e;
    uint64_t i = column_enum_index(c, row);
    return escape_put_json(sink, (const uint8_t *)c->enum_text[i], c->enum_length[i]);
}

static int put_json_text(const struct encoder *e, struct sink *sink, const struct column *c, uint64_t row)
{
    (void)e;
    const struct column_string *s = column_string_at(c, row);
    return json_text_put(sink, column_string_data(s), s->length);
}

/* The cast to VARCHAR as a JSON string. */
static int put_as_text(const struct encoder *e, struct sink *sink, const struct column *c, uint64_t row)
{
    (void)e;
    struct text t = {sink, TEXT_JSON, false};
    if (json_put_literal(sink, "\"") < 0 || varchar_put(&t, c, row) < 0)
        return -1;
    return json_put_literal(sink, "\"");
}

static int put_bignum(const struct encoder *e, struct sink *sink, const struct column *c, uint64_t row)
{
    if (e->options.big_numbers_as_text)
        return put_as_text(e, sink, c, row);
    struct text t = {sink, TEXT_PLAIN, false};
    return varchar_put(&t, c, row);
}

static int put_items(const struct encoder *e, struct sink *sink, const struct column *child, uint64_t first, uint64_t count)
{
    if (json_put_literal(sink, "[") < 0)
        return -1;
    for (uint64_t i = first; i < first + count; i++) {
        if (i > first && json_put_literal(sink, ",") < 0)
            return -1;
        if (put_any(e, sink, child, i) < 0)
            return -1;
    }
    return json_put_literal(sink, "]");
}

static int put_list(const struct encoder *e, struct sink *sink, const struct column *c, uint64_t row)
{
    const struct column_list *list = &((const struct column_list *)c->data)[row];
    return put_items(e, sink, &c->children[0], list->offset, list->length);
}

static int put_array(const struct encoder *e, struct sink *sink, const struct column *c, uint64_t row)
{
    return put_items(e, sink, &c->children[0], row * c->array_size, c->array_size);
}

static int put_struct(const struct encoder *e, struct sink *sink, const struct column *c, uint64_t row)
{
    for (uint32_t i = 0; i < c->child_count; i++)
        if (json_put_literal(sink, i ? "," : "{") < 0 || json_put_name(sink, c->children[i].name) < 0 || json_put_literal(sink, ":") < 0 ||
            put_any(e, sink, &c->children[i], row) < 0)
            return -1;
    return json_put_literal(sink, c->child_count ? "}" : "{}");
}

static int put_map(const struct encoder *e, struct sink *sink, const struct column *c, uint64_t row)
{
    const struct column_list *list = &((const struct column_list *)c->data)[row];
    const struct column *key = &c->children[0].children[0], *value = &c->children[0].children[1];
    bool first = true;
    if (json_put_literal(sink, "{") < 0)
        return -1;
    for (uint64_t i = list->offset; i < list->offset + list->length; i++) {
        if (varchar_is_null(key, i))
            continue;
        if ((!first && json_put_literal(sink, ",") < 0) || put_as_text(e, sink, key, i) < 0 || json_put_literal(sink, ":") < 0 ||
            put_any(e, sink, value, i) < 0)
            return -1;
        first = false;
    }
    return json_put_literal(sink, "}");
}

static int put_union(const struct encoder *e, struct sink *sink, const struct column *c, uint64_t row)
{
    const struct column *member = &c->children[1 + ((const uint8_t *)c->children[0].data)[row]];
    if (json_put_literal(sink, "{") < 0 || json_put_name(sink, member->name) < 0 || json_put_literal(sink, ":") < 0 ||
        put_any(e, sink, member, row) < 0)
        return -1;
    return json_put_literal(sink, "}");
}

static int put_unknown(const struct encoder *e, struct sink *sink, const struct column *c, uint64_t row)
{
    (void)e, (void)c, (void)row;
    return json_put_literal(sink, "null");
}

const value_put_fn json_values[COL_TYPE_COUNT] = {
    [COL_INVALID] = put_unknown, [COL_VARCHAR] = put_string,   [COL_ENUM] = put_enum,       [COL_JSON_TEXT] = put_json_text, [COL_BLOB] = put_as_text,
    [COL_BIT] = put_as_text,     [COL_GEOMETRY] = put_as_text, [COL_VARIANT] = put_as_text, [COL_BIGNUM] = put_bignum,       [COL_LIST] = put_list,
    [COL_ARRAY] = put_array,     [COL_STRUCT] = put_struct,    [COL_MAP] = put_map,         [COL_UNION] = put_union,
};
