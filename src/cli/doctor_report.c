/* The doctor's table. What comes from workers and files is escaped. Runs in the command line. */
#include "cli/doctor_report.h"
#include "cli/screen.h"
#include "core/buf.h"
#include "core/errors.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUT_MAX ((size_t)4 << 20)
#define CELLS 5
#define VERDICT_COLUMNS 4
#define NAME_COLUMNS 22
#define COLUMNS_LEAST 90

static const char *const verdicts[] = {[VERDICT_PASS] = "PASS", [VERDICT_WARN] = "WARN", [VERDICT_FAIL] = "FAIL"};

struct check *report_add(struct report *r, enum verdict verdict, const char *name)
{
    if (r->count % 16 == 0) {
        r->checks = reallocarray(r->checks, r->count + 16, sizeof *r->checks);
        CHECK(r->checks);
    }
    struct check *c = &r->checks[r->count++];
    *c = (struct check){.verdict = verdict};
    snprintf(c->name, sizeof c->name, "%s", name);
    return c;
}

void check_text(char field[CHECK_TEXT_BYTES], const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(field, CHECK_TEXT_BYTES, format, args);
    va_end(args);
}

enum verdict report_verdict(const struct report *r)
{
    enum verdict worst = VERDICT_PASS;
    for (size_t i = 0; i < r->count; i++)
        worst = r->checks[i].verdict > worst ? r->checks[i].verdict : worst;
    return worst;
}

void report_free(struct report *r)
{
    free(r->checks);
    *r = (struct report){0};
}

/* A cell's text and how much of it has been drawn. */
struct cell {
    struct buf text;
    size_t at, columns;
};

static struct cell make_cell(const char *text, size_t columns)
{
    struct cell c = {.text = BUF_INIT((size_t)8 * CHECK_TEXT_BYTES), .columns = columns};
    CHECK(screen_append(&c.text, text, strlen(text), SCREEN_ONE_LINE) && buf_append(&c.text, "", 1));
    return c;
}

static bool is_drawn(const struct cell *c) { return c->text.data[c->at] == 0; }

/* The next line of the cell, filled up with blanks: as many words as fit, or part of one that is longer than the column. */
static void put_line(struct buf *b, struct cell *c)
{
    const char *at = c->text.data + c->at;
    size_t width, n = screen_fit(at, strlen(at), c->columns, &width);
    if (at[n] && at[n] != ' ') {
        size_t cut = n;
        while (cut > 0 && at[cut - 1] != ' ')
            cut--;
        n = cut ? cut : n;
    }
    (void)screen_fit(at, n, c->columns, &width);
    buf_printf(b, "%.*s%*s", (int)n, at, width < c->columns ? (int)(c->columns - width) : 0, "");
    c->at += n + (at[n] == ' ');
}

static void put_row(struct buf *b, const char *const texts[], const size_t columns[], size_t count)
{
    struct cell cells[CELLS];
    bool more = true;
    for (size_t i = 0; i < count; i++)
        cells[i] = make_cell(texts[i], columns[i]);
    while (more) {
        more = false;
        for (size_t i = 0; i < count; i++) {
            put_line(b, &cells[i]);
            buf_puts(b, i + 1 < count ? "  " : "");
            more |= !is_drawn(&cells[i]);
        }
        while (b->len > 0 && b->data[b->len - 1] == ' ')
            b->len--;
        buf_puts(b, "\n");
    }
    for (size_t i = 0; i < count; i++)
        buf_free(&cells[i].text);
}

static void put_hint(struct buf *b, const char *hint, unsigned columns)
{
    const char *const texts[] = {"", "what to do:", hint};
    const size_t widths[] = {VERDICT_COLUMNS, NAME_COLUMNS, columns - VERDICT_COLUMNS - NAME_COLUMNS - 4};
    if (hint[0])
        put_row(b, texts, widths, 3);
}

static void put_table(struct buf *b, const struct report *r, unsigned screen_columns)
{
    unsigned counts[3] = {0}, columns = screen_columns < COLUMNS_LEAST ? COLUMNS_LEAST : screen_columns;
    size_t each = (columns - VERDICT_COLUMNS - NAME_COLUMNS - 2 * (CELLS - 1)) / 3;
    const size_t widths[CELLS] = {VERDICT_COLUMNS, NAME_COLUMNS, each, each, each};
    put_row(b, (const char *const[]){"", "CHECK", "CONFIGURED", "IN FORCE", "CHECKED BY"}, widths, CELLS);
    for (size_t i = 0; i < r->count; i++) {
        const struct check *c = &r->checks[i];
        counts[c->verdict]++;
        put_row(b, (const char *const[]){verdicts[c->verdict], c->name, c->configured, c->in_force, c->how}, widths, CELLS);
        put_hint(b, c->hint, columns);
    }
    buf_printf(b, "%u PASS, %u WARN, %u FAIL\n", counts[VERDICT_PASS], counts[VERDICT_WARN], counts[VERDICT_FAIL]);
}

static void put_field(struct buf *b, const char *name, const char *text)
{
    buf_printf(b, ",\"%s\":", name);
    buf_json_string(b, text, strlen(text));
}

static void put_json(struct buf *b, const struct report *r)
{
    buf_printf(b, "{\"verdict\":\"%s\",\"checks\":[", verdicts[report_verdict(r)]);
    for (size_t i = 0; i < r->count; i++) {
        const struct check *c = &r->checks[i];
        buf_printf(b, "%s{\"verdict\":\"%s\"", i ? "," : "", verdicts[c->verdict]);
        put_field(b, "name", c->name);
        put_field(b, "configured", c->configured);
        put_field(b, "in_force", c->in_force);
        put_field(b, "how", c->how);
        put_field(b, "hint", c->hint);
        buf_puts(b, "}");
    }
    buf_puts(b, "]}\n");
}

bool report_print(const struct report *r, bool json, unsigned columns)
{
    struct buf b = BUF_INIT(OUTPUT_MAX);
    screen_init();
    if (json)
        put_json(&b, r);
    else
        put_table(&b, r, columns);
    bool ok = fwrite(b.data, 1, b.len, stdout) == b.len && fflush(stdout) == 0;
    buf_free(&b);
    return ok;
}
