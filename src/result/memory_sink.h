/* A sink into memory that grows, for what must be whole before its length can be written. Knows no formats. Runs in the worker. */
#pragma once
#include "result/sink.h"

struct memory_sink {
    struct sink sink; /* first */
    uint8_t *data;
    size_t cap;
};

/* Empties it; the memory stays for the next use. A zeroed struct becomes an empty sink. */
void memory_sink_reset(struct memory_sink *m);
static inline size_t memory_sink_length(const struct memory_sink *m) { return m->data ? (size_t)(m->sink.pos - m->data) : 0; }
/* Frees the memory; the sink may be reset and used again. Out of memory, its writers get -1. */
void memory_sink_free(struct memory_sink *m);
