/* Content codings: a sink that compresses on the way to another one. Knows no formats and no rings. Runs in the worker.
 *
 * Levels are the fastest ones: the wire is rarely slower than the processor here. What was written can be read by the client after a flush; flushes
 * cost ratio, so they come by amount and by time (coding_flush_if_due). */
#pragma once
#include "core/formats.h"
#include "result/sink.h"
#include <stdbool.h>

struct coding;

/* A compressor of that kind (not CODING_NONE), to be used for many results, one after the other. NULL: out of memory. */
struct coding *coding_new(enum result_coding kind);
void coding_free(struct coding *c);

/* Begins a result that goes to `out`. The sink to write to is valid until the next begin. */
struct sink *coding_begin(struct coding *c, struct sink *out, int64_t now_ns);
/* Passes on what a reader waits for, if enough has come or enough time has gone by. 0, or -1: out said stop. */
int coding_flush_if_due(struct coding *c, int64_t now_ns);
/* The end of the result. 0, or -1: out said stop. */
int coding_end(struct coding *c);
