/* A result as a Parquet file: the engine writes to a pipe in a thread of its own, the main thread brings what comes out into the sink. Runs in the worker. */
#pragma once
#include "engine/engine.h"
#include "result/sink.h"

struct engine;

/* `published` is called when bytes may be shown to the reader; it may say stop too. 0; 1: the sink said stop, and the query was stopped; -1 with *err. */
int parquet_run(struct engine *e, struct stream *s, uint64_t rows_max, struct sink *sink, int (*published)(void *ctx), void *ctx,
                struct parquet_copied *ret, struct error *err);
