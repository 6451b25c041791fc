/* Parquet by the engine's own writer, in a second, empty engine of this process. Only for files of src/engine: shows duckdb.h. Runs in the worker. */
#pragma once
#include "engine/engine.h"
#include <duckdb.h>

struct engine;

struct parquet_writer {
    duckdb_database db;
    duckdb_connection con;
    int64_t memory_limit_bytes;
    /* What the running COPY reads from; NULL: none runs. */
    struct stream *stream;
    uint64_t rows_max, rows;
    bool at_end, truncated, failed;
    struct error error; /* of the stream, once failed */
};

/* Opens the second engine and locks it: one thread, no files but the process's own open descriptors. 0, or -1 with *err. */
int parquet_open(struct parquet_writer *p, int64_t memory_limit_bytes, struct error *err);
void parquet_close(struct parquet_writer *p);
