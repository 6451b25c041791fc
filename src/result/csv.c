/* CSV (RFC 4180: header line, CRLF) and RAW. Runs in the worker.
 * Values are what the engine's cast to VARCHAR gives. NULL is an empty field, an empty string is "". */
#include "result/row.h"

static const cell_put_fn no_cells[COL_TYPE_COUNT];

static int put_string(const struct encoder *e, struct sink *sink, const struct column *c, uint64_t row)
{
    (void)e;
    const struct column_string *s = column_string_at(c, row);
    return escape_put_csv(sink, column_string_data(s), s->length);
}

static int put_enum(const struct encoder *e, struct sink *sink, const struct column *c, uint64_t row)
{
    (void)e;
    uint64_t i = column_enum_index(c, row);
    return escape_put_csv(sink, (const uint8_t *)c->enum_text[i], c->enum_length[i]);
}

/* In quotes always: the text is made on the way. */
static int put_quoted(const struct encoder *e, struct sink *sink, const struct column *c, uint64_t row)
{
    (void)e;
    struct text t = {sink, TEXT_CSV, false};
    if (sink_write(sink, "\"", 1) < 0 || varchar_put(&t, c, row) < 0)
        return -1;
    return sink_write(sink, "\"", 1);
}

static int put_plain(const struct encoder *e, struct sink *sink, const struct column *c, uint64_t row)
{
    (void)e;
    struct text t = {sink, TEXT_PLAIN, false};
    return varchar_put(&t, c, row);
}

static const value_put_fn values[COL_TYPE_COUNT] = {
    [COL_INVALID] = put_plain, /* nothing */
    [COL_VARCHAR] = put_string, [COL_JSON_TEXT] = put_string, [COL_ENUM] = put_enum,      [COL_BLOB] = put_quoted, [COL_BIT] = put_quoted,
    [COL_BIGNUM] = put_plain,   [COL_GEOMETRY] = put_quoted,  [COL_VARIANT] = put_quoted, [COL_LIST] = put_quoted, [COL_ARRAY] = put_quoted,
    [COL_STRUCT] = put_quoted,  [COL_MAP] = put_quoted,       [COL_UNION] = put_quoted,
};

static int begin(struct encoder *e, struct sink *sink, const struct result_head *head)
{
    (void)head;
    for (uint32_t i = 0; i < e->column_count; i++) {
        const char *name = e->columns[i].name;
        if ((i && sink_write(sink, ",", 1) < 0) || escape_put_csv(sink, (const uint8_t *)name, strlen(name)) < 0)
            return -1;
    }
    return sink_write(sink, "\r\n", 2);
}

static uint8_t *string_cell(uint8_t *p, const struct column *c, uint64_t row)
{
    const struct column_string *s = column_string_at(c, row);
    return s->length <= COLUMN_STRING_INLINE ? escape_csv_inlined(p, (const uint8_t *)s->inlined, s->length)
                                             : escape_csv(p, (const uint8_t *)s->pointer.data, s->length);
}

static uint8_t *enum_cell(uint8_t *p, const struct column *c, uint64_t row)
{
    uint64_t i = column_enum_index(c, row);
    return escape_csv(p, (const uint8_t *)c->enum_text[i], c->enum_length[i]);
}

static const struct row_style style = {false, "\0\0\0", 0, "\r\n\0", 2};

static int rows(struct encoder *e, struct sink *sink, const struct column *columns, uint64_t count)
{
    for (uint64_t row = 0; row < count; row++)
        if (row_put(e, sink, columns, row, style) < 0)
            return -1;
    return 0;
}

static int end(struct encoder *e, struct sink *sink, const struct result_tail *tail)
{
    (void)e, (void)sink, (void)tail;
    return 0;
}

const struct format format_csv = {.begin = begin,
                                  .rows = rows,
                                  .end = end,
                                  .cells = cell_varchar,
                                  .values = values,
                                  .text_cell = string_cell,
                                  .enum_cell = enum_cell,
                                  .text_factor = 2};

static int raw_begin(struct encoder *e, struct sink *sink, const struct result_head *head)
{
    (void)e, (void)sink, (void)head;
    return 0;
}

static int raw_rows(struct encoder *e, struct sink *sink, const struct column *columns, uint64_t count)
{
    for (uint64_t row = 0; e->column_count > 0 && row < count; row++)
        if (!varchar_is_null(&columns[0], row) && put_plain(e, sink, &columns[0], row) < 0)
            return -1;
    return 0;
}

static const value_put_fn raw_values[COL_TYPE_COUNT] = {[0 ... COL_TYPE_COUNT - 1] = put_plain};

const struct format format_raw = {.begin = raw_begin, .rows = raw_rows, .end = end, .cells = no_cells, .values = raw_values};
