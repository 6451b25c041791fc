/* The worker's JSON result as a table: fills it while rows come, draws it when it is full or the result is whole, then counts. Runs in
 * the command line. */
#include "cli/filter.h"
#include "cli/json_rows.h"
#include "cli/screen.h"
#include "cli/table.h"
#include "core/errors.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define NAME_MAX_BYTES ((size_t)4096)

struct filter_table {
    struct filter filter; /* first */
    struct json_rows rows;
    struct table table;
    uint32_t column; /* of the next cell */
    bool row_too_large;
    bool full; /* the rest is only counted */
    bool ended, footer_out;
    uint64_t total; /* rows of the result; known at the end */
    bool truncated;
};

static bool is_number(const char *type)
{
    static const char *const names[] = {"TINYINT",  "SMALLINT", "INTEGER",  "BIGINT", "HUGEINT", "UTINYINT", "USMALLINT",
                                        "UINTEGER", "UBIGINT",  "UHUGEINT", "FLOAT",  "DOUBLE",  "BIGNUM"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(type, names[i]) == 0)
            return true;
    return strncmp(type, "DECIMAL(", 8) == 0 && !strchr(type, '[');
}

static int take_column(struct table_column *c, const json_t *item)
{
    const json_t *name = json_object_get(item, "name"), *type = json_object_get(item, "type");
    if (!json_is_string(name) || !json_is_string(type))
        return -1;
    struct buf b = BUF_INIT(8 * NAME_MAX_BYTES);
    size_t len = json_string_length(name);
    if (len > NAME_MAX_BYTES)
        len = screen_whole(json_string_value(name), NAME_MAX_BYTES);
    CHECK(screen_append(&b, json_string_value(name), len, 0) && buf_append(&b, "", 1));
    c->name = b.data;
    c->width = screen_width(c->name, strlen(c->name));
    if (c->width == 0)
        c->width = 1;
    c->right = is_number(json_string_value(type));
    return 0;
}

static int on_columns(void *ctx, const json_t *columns)
{
    struct filter_table *f = ctx;
    struct table *t = &f->table;
    size_t i;
    json_t *item;
    if (json_array_size(columns) == 0)
        return -1;
    t->columns = calloc(json_array_size(columns), sizeof *t->columns);
    CHECK(t->columns);
    json_array_foreach(columns, i, item)
    {
        t->column_count++;
        if (take_column(&t->columns[i], item) < 0)
            return -1;
    }
    return 0;
}

static int on_cell(void *ctx, enum json_cell kind, const char *text, size_t len, bool cut)
{
    struct filter_table *f = ctx;
    if (f->column == f->table.column_count)
        return -1;
    if (f->full || f->row_too_large) {
        f->column++;
        return 0;
    }
    if (kind == JSON_CELL_NULL) {
        text = "NULL";
        len = 4;
    }
    f->row_too_large = !table_add(&f->table, f->column++, text, len, cut);
    return 0;
}

static int on_row(void *ctx)
{
    struct filter_table *f = ctx;
    if (f->column != f->table.column_count)
        return -1;
    f->column = 0;
    if (f->full)
        return 0;
    if (f->row_too_large)
        table_drop_row(&f->table);
    else
        f->table.rows++;
    f->full = f->row_too_large || table_is_full(&f->table);
    return 0;
}

static ssize_t feed(struct filter *base, const char *data, size_t len, bool last)
{
    struct filter_table *f = (struct filter_table *)base;
    (void)last;
    if (f->full) /* how many rows there are, the worker says at the end */
        return (ssize_t)len;
    return json_rows_feed(&f->rows, data, len) < 0 ? -1 : (ssize_t)len;
}

static int end(struct filter *base, uint64_t rows, bool truncated)
{
    struct filter_table *f = (struct filter_table *)base;
    f->ended = true;
    f->total = rows;
    f->truncated = truncated;
    bool whole = f->full || (f->rows.phase == JSON_ROWS_TAIL && f->table.rows == rows);
    return whole && rows >= f->table.rows ? 0 : -1;
}

static void footer(struct filter_table *f)
{
    const struct table *t = &f->table;
    struct buf *out = &f->filter.out;
    uint64_t left = f->total - t->rows;
    bool ok = buf_printf(out, "(%" PRIu64 " row%s", f->total, f->total == 1 ? "" : "s");
    if (left)
        ok = ok && buf_printf(out, ", the first %u shown, %" PRIu64 " more; --format csv or json gives all", t->rows, left);
    if (t->shown < t->column_count)
        ok = ok && buf_printf(out, "%s %u of %u columns shown", left ? ";" : ",", t->shown, t->column_count);
    CHECK(ok && buf_puts(out, f->truncated ? "; truncated)\n" : ")\n"));
    f->footer_out = true;
}

static void more(struct filter *base)
{
    struct filter_table *f = (struct filter_table *)base;
    struct buf *out = &base->out;
    if (!f->full && !f->ended)
        return;
    if (!f->table.drawing)
        table_draw_head(&f->table, out);
    while (out->len < FILTER_PIECE_BYTES && table_draw_line(&f->table, out))
        ;
    if (f->ended && !f->footer_out && out->len < FILTER_PIECE_BYTES)
        footer(f);
}

static void table_filter_free(struct filter *base)
{
    struct filter_table *f = (struct filter_table *)base;
    json_rows_free(&f->rows);
    table_free(&f->table);
    buf_free(&base->out);
    free(f);
}

struct filter *filter_table_new(unsigned columns)
{
    static const struct json_rows_events events = {on_columns, on_cell, on_row};
    struct filter_table *f = calloc(1, sizeof *f);
    CHECK(f);
    /* One drawn line is bounded by the table's own limits; the buffer's is only the last resort. */
    f->filter = (struct filter){feed, end, more, table_filter_free, BUF_INIT((size_t)1 << 30)};
    json_rows_init(&f->rows, &events, f);
    table_init(&f->table, columns);
    return &f->filter;
}
