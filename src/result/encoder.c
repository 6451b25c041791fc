/* A result as bytes of a wire format: what all formats share. Runs in the worker. */
#include "result/encoder.h"
#include "core/errors.h"
#include "result/format.h"
#include <stdlib.h>

/* Beyond this an ENUM's names take the long way. */
#define ENUM_NAME_MAX 1000

static uint32_t longest_name(const struct column *c)
{
    uint32_t longest = 0;
    for (uint32_t i = 0; i < c->enum_count; i++)
        longest = c->enum_length[i] > longest ? c->enum_length[i] : longest;
    return longest;
}

static void plan_column(const struct encoder *e, struct plan *p, const struct column *c)
{
    const struct format *f = e->format;
    p->cell = e->cells[c->type];
    p->value = f->values[c->type];
    p->bytes = FORMAT_CELL_MAX;
    if (c->type == COL_VARCHAR && f->text_cell) {
        p->cell = f->text_cell;
        p->bytes = FORMAT_TEXT_SLACK;
    } else if (c->type == COL_ENUM && f->enum_cell && longest_name(c) <= ENUM_NAME_MAX) {
        p->cell = f->enum_cell;
        p->bytes = FORMAT_TEXT_SLACK + f->text_factor * longest_name(c);
    }
    CHECK(p->cell || p->value);
}

/* Columns with a cell go into runs, as long as their fixed part leaves room for strings. */
static void plan_columns(struct encoder *e)
{
    struct plan *run = NULL;
    uint32_t texts = 0;
    for (uint32_t i = 0; i < e->column_count; i++) {
        struct plan *p = &e->plan[i];
        plan_column(e, p, &e->columns[i]);
        uint32_t bytes = p->bytes + p->key_room;
        if (!p->cell || p->alone) {
            run = NULL;
            continue;
        }
        if (!run || run->reserve + bytes > SINK_RESERVE_MAX / 2) {
            run = p;
            run->reserve = FORMAT_CLOSE_ROOM;
            run->text_first = texts;
        }
        run->reserve += bytes;
        run->run++;
        if (e->columns[i].type == COL_VARCHAR) {
            e->texts[texts++] = i;
            run->text_count++;
        }
    }
}

static const struct format *const formats[FORMAT_COUNT] = {
    [FORMAT_JSON] = &format_json,   [FORMAT_NDJSON] = &format_ndjson, [FORMAT_CSV] = &format_csv,
    [FORMAT_ARROW] = &format_arrow, [FORMAT_RAW] = &format_raw,
};

bool encoder_can(enum result_format format) { return (unsigned)format < FORMAT_COUNT && formats[format]; }

struct encoder *encoder_new(const struct encoder_options *options, const struct column *columns, uint32_t column_count)
{
    if (!encoder_can(options->format))
        return NULL;
    struct encoder *e = calloc(1, sizeof(*e) + column_count * sizeof(e->plan[0]));
    if (!e)
        return NULL;
    e->format = formats[options->format];
    e->options = *options;
    e->cells = options->big_numbers_as_text && e->format->cells_big ? e->format->cells_big : e->format->cells;
    e->columns = columns;
    e->column_count = column_count;
    e->texts = calloc(column_count ? column_count : 1, sizeof *e->texts);
    if (!e->texts || (e->format->open && !e->format->open(e))) {
        encoder_free(e);
        return NULL;
    }
    if (e->format->values)
        plan_columns(e);
    return e;
}

void encoder_free(struct encoder *e)
{
    if (!e)
        return;
    if (e->format->close)
        e->format->close(e);
    free(e->texts);
    free(e);
}

struct ArrowSchema *encoder_arrow_schema(struct encoder *e) { return e->format->arrow_schema ? e->format->arrow_schema(e) : NULL; }

const struct error *encoder_failure(const struct encoder *e) { return e->format->failure ? e->format->failure(e) : NULL; }

int encoder_begin(struct encoder *e, struct sink *sink, const struct result_head *head) { return e->format->begin(e, sink, head); }

int encoder_rows(struct encoder *e, struct sink *sink, const struct column *columns, uint64_t count)
{
    return e->format->rows(e, sink, columns, count);
}

int encoder_end(struct encoder *e, struct sink *sink, const struct result_tail *tail) { return e->format->end(e, sink, tail); }
