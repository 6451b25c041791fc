/* A table in plain characters: a head, a rule, a line per row; a cell of several lines continues with a + at its right edge. Runs in the
 * command line. */
#include "cli/table.h"
#include "cli/screen.h"
#include "core/errors.h"

#include <stdlib.h>
#include <string.h>

/* A column is not made narrower than this to get another one onto the screen. */
#define COLUMN_MIN 8u
static const char ellipsis[] = "\xE2\x80\xA6";

void table_init(struct table *t, unsigned screen_columns)
{
    *t = (struct table){.screen_columns = screen_columns, .text = BUF_INIT(TABLE_BYTES_MAX), .cells = BUF_INIT(TABLE_BYTES_MAX)};
    screen_init();
}

void table_free(struct table *t)
{
    for (uint32_t i = 0; i < t->column_count; i++)
        free(t->columns[i].name);
    free(t->columns);
    free(t->rest);
    buf_free(&t->text);
    buf_free(&t->cells);
}

static const struct table_cell *cell_at(const struct table *t, uint32_t row, uint32_t column)
{
    return (const struct table_cell *)(void *)t->cells.data + (size_t)row * t->column_count + column;
}

/* The first line of a cell; *ret_next is where the next one starts, `len` when there is none. */
static size_t line_length(const char *text, size_t len, size_t *ret_next)
{
    const char *nl = memchr(text, '\n', len);
    *ret_next = nl ? (size_t)(nl - text) + 1 : len;
    return nl ? (size_t)(nl - text) : len;
}

bool table_add(struct table *t, uint32_t column, const char *text, size_t len, bool cut)
{
    struct table_cell c = {.at = (uint32_t)t->text.len};
    if (!screen_append(&t->text, text, cut ? screen_whole(text, len) : len, SCREEN_KEEP_LINES) || (cut && !buf_puts(&t->text, ellipsis)))
        return false;
    c.len = (uint32_t)(t->text.len - c.at);
    size_t next;
    for (size_t at = 0; at < c.len; at += next) {
        size_t n = line_length(t->text.data + c.at + at, c.len - at, &next);
        size_t width = screen_width(t->text.data + c.at + at, n);
        if (width > t->columns[column].width)
            t->columns[column].width = width;
    }
    return buf_append(&t->cells, &c, sizeof c);
}

void table_drop_row(struct table *t) { t->cells.len = (size_t)t->rows * t->column_count * sizeof(struct table_cell); }

bool table_is_full(const struct table *t) { return t->rows >= TABLE_ROWS_MAX || t->text.len + t->cells.len >= TABLE_BYTES_FULL; }

/* The width of the whole table when no column is wider than `most`. */
static size_t total(const struct table *t, size_t most)
{
    size_t sum = 0;
    for (uint32_t i = 0; i < t->shown; i++)
        sum += (t->columns[i].width < most ? t->columns[i].width : most) + 3;
    return sum - 1;
}

static void lay_out(struct table *t)
{
    size_t most = TABLE_CELL_COLUMNS;
    t->shown = t->column_count;
    if (t->screen_columns) {
        while (t->shown > 1 && total(t, COLUMN_MIN) > t->screen_columns)
            t->shown--;
        while (most > 1 && total(t, most) > t->screen_columns)
            most--;
    }
    for (uint32_t i = 0; i < t->shown; i++)
        if (t->columns[i].width > most)
            t->columns[i].width = most;
}

static void put_times(struct buf *out, char c, size_t n)
{
    CHECK(buf_reserve(out, n));
    memset(out->data + out->len, c, n);
    out->len += n;
}

/* One line of one cell, cut or filled up to its column, and the mark that tells whether more follows. */
static void put_cell(struct buf *out, const struct table_column *c, const char *text, size_t len, bool right, bool follows, bool last)
{
    size_t width, n = screen_fit(text, len, c->width, &width);
    bool is_cut = n < len;
    if (is_cut)
        n = screen_fit(text, len, c->width - 1, &width);
    size_t fill = c->width - width - is_cut;
    put_times(out, ' ', 1 + (right ? fill : 0));
    CHECK(buf_append(out, text, n) && (!is_cut || buf_puts(out, ellipsis)));
    if (!last || follows)
        put_times(out, ' ', right ? 0 : fill);
    if (follows || !last)
        put_times(out, follows ? '+' : ' ', 1);
    if (!last)
        put_times(out, '|', 1);
}

void table_draw_head(struct table *t, struct buf *out)
{
    lay_out(t);
    t->drawing = true;
    t->rest = calloc(t->shown, sizeof *t->rest);
    CHECK(t->rest);
    for (uint32_t i = 0; i < t->shown; i++) {
        const struct table_column *c = &t->columns[i];
        put_cell(out, c, c->name, strlen(c->name), c->right, false, i + 1 == t->shown);
    }
    put_times(out, '\n', 1);
    for (uint32_t i = 0; i < t->shown; i++) {
        put_times(out, '-', t->columns[i].width + 2);
        put_times(out, i + 1 == t->shown ? '\n' : '+', 1);
    }
}

bool table_draw_line(struct table *t, struct buf *out)
{
    if (!t->in_row && t->row == t->rows)
        return false;
    if (!t->in_row)
        memcpy(t->rest, cell_at(t, t->row, 0), t->shown * sizeof *t->rest);
    t->in_row = false;
    for (uint32_t i = 0; i < t->shown; i++) {
        struct table_cell *c = &t->rest[i];
        const char *text = t->text.data ? t->text.data + c->at : "";
        size_t next, n = line_length(text, c->len, &next);
        c->at += (uint32_t)next;
        c->len -= (uint32_t)next;
        put_cell(out, &t->columns[i], text, n, t->columns[i].right, c->len > 0, i + 1 == t->shown);
        t->in_row |= c->len > 0;
    }
    put_times(out, '\n', 1);
    t->row += !t->in_row;
    return true;
}
