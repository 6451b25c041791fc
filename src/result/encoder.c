/* A result as bytes of a wire format: what all formats share. Runs in the worker. */
#include "result/encoder.h"
#include "core/errors.h"
#include "result/format.h"
#include <stdlib.h>

_Static_assert(FORMAT_CELL_MAX * FORMAT_RUN_MAX <= SINK_RESERVE_MAX, "a run of cells fits one reserve");

static void plan_columns(struct encoder *e)
{
    struct plan *first = NULL; /* of the present run */
    for (uint32_t i = 0; i < e->column_count; i++) {
        struct plan *p = &e->plan[i];
        enum column_type type = e->columns[i].type;
        p->cell = e->cells[type];
        p->value = e->format->values[type];
        CHECK(p->cell || p->value);
        uint32_t bytes = FORMAT_CELL_MAX + p->key_room;
        if (!p->cell || p->alone) {
            first = NULL;
            continue;
        }
        if (!first || first->run == FORMAT_RUN_MAX || first->reserve + bytes > SINK_RESERVE_MAX)
            first = p;
        first->reserve += bytes;
        first->run++;
    }
}

static const struct format *const formats[FORMAT_COUNT] = {
    [FORMAT_JSON] = &format_json,
    [FORMAT_NDJSON] = &format_ndjson,
    [FORMAT_CSV] = &format_csv,
    [FORMAT_ARROW] = &format_arrow,
    [FORMAT_RAW] = &format_raw,
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
    if (e->format->open && !e->format->open(e)) {
        encoder_free(e);
        return NULL;
    }
    if (e->format->values)
        plan_columns(e);
    return e;
}

void encoder_free(struct encoder *e)
{
    if (e && e->format->close)
        e->format->close(e);
    free(e);
}

struct ArrowSchema *encoder_arrow_schema(struct encoder *e)
{
    return e->format->arrow_schema ? e->format->arrow_schema(e) : NULL;
}

const struct error *encoder_failure(const struct encoder *e)
{
    return e->format->failure ? e->format->failure(e) : NULL;
}

int encoder_begin(struct encoder *e, struct sink *sink, const struct result_head *head)
{
    return e->format->begin(e, sink, head);
}

int encoder_rows(struct encoder *e, struct sink *sink, const struct column *columns, uint64_t count)
{
    return e->format->rows(e, sink, columns, count);
}

int encoder_end(struct encoder *e, struct sink *sink, const struct result_tail *tail)
{
    return e->format->end(e, sink, tail);
}
