/* Parquet by the engine's own writer, in a second, empty engine of this process. Only for files of src/engine: shows duckdb.h. Runs in the worker. */
#pragma once
#include "engine/engine.h"
#include <duckdb.h>

struct engine;

struct parquet_writer {
    duckdb_database db;         /* NULL: not yet opened */
    duckdb_connection con;      /* set under the engine's lock: engine_interrupt looks at it from another thread */
    int64_t memory_limit_bytes; /* 0: none */
    /* What the running COPY reads from; NULL: none runs. */
    struct stream *stream;
    uint64_t rows_max, rows;
    bool at_end, truncated, failed;
    struct error error; /* of the stream, once failed */
};

void parquet_close(struct parquet_writer *p);
