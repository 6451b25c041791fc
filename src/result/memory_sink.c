/* A sink into memory (see the header). Runs in the worker. */
#include "result/memory_sink.h"
#include <stdlib.h>

static int more(struct sink *sink, size_t need)
{
    struct memory_sink *m = (struct memory_sink *)sink;
    size_t used = memory_sink_length(m), cap = m->cap ? 2 * m->cap : 4096;
    while (cap - used < need)
        cap *= 2;
    uint8_t *data = realloc(m->data, cap);
    if (!data)
        return -1;
    m->data = data;
    m->cap = cap;
    sink->pos = data + used;
    sink->end = data + cap;
    return 0;
}

void memory_sink_reset(struct memory_sink *m) { m->sink = (struct sink){.pos = m->data, .end = m->data ? m->data + m->cap : NULL, .more = more}; }

void memory_sink_free(struct memory_sink *m)
{
    free(m->data);
    *m = (struct memory_sink){0};
}
