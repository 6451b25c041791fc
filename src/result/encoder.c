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
        p->cell = e->format->cells[type];
        p->value = e->format->values[type];
        if (!p->cell) {
            CHECK(p->value);
            first = NULL;
            continue;
        }
        if (!first || first->reserve == FORMAT_CELL_MAX * FORMAT_RUN_MAX)
            first = p;
        first->reserve += FORMAT_CELL_MAX;
    }
}

static const struct format *const formats[FORMAT_COUNT] = {
    [FORMAT_JSON] = &format_json,
    [FORMAT_CSV] = &format_csv,
    [FORMAT_RAW] = &format_raw,
};

bool encoder_can(enum result_format format) { return (unsigned)format < FORMAT_COUNT && formats[format]; }

struct encoder *encoder_new(enum result_format format, const struct column *columns, uint32_t column_count)
{
    if (!encoder_can(format))
        return NULL;
    struct encoder *e = calloc(1, sizeof(*e) + column_count * sizeof(e->plan[0]));
    if (!e)
        return NULL;
    e->format = formats[format];
    e->columns = columns;
    e->column_count = column_count;
    plan_columns(e);
    return e;
}

void encoder_free(struct encoder *e) { free(e); }

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
