/* A result as bytes of a wire format. Knows columns (result/column.h) and sinks; must not know DuckDB, links or HTTP.
 * Runs in the worker. */
#pragma once
#include "core/errors.h"
#include "core/formats.h"
#include "result/column.h"
#include "result/sink.h"
#include <stdbool.h>

/* The formats (core/formats.h): JSON is the contract's object: query_id, columns, data, rows, truncated, stats. NDJSON is one object per row
 * and line, with the column names as keys. CSV is RFC 4180 with a header line; NULL is an empty field, an empty string is "". */

struct encoder_options {
    enum result_format format;
    bool big_numbers_as_text;      /* JSON, NDJSON: integers beyond +-(2^53 - 1), and all HUGEINT, UHUGEINT, BIGNUM and DECIMAL, as strings */
    enum result_coding ipc_coding; /* Arrow: of the buffers inside; only CODING_ZSTD means something */
};

struct ArrowSchema;

struct result_head {
    const char *query_id; /* NUL-terminated; only JSON uses it */
    bool session_reset;   /* likewise: the session lost what it had */
};

/* What the engine counted of a query that asked for it. */
struct result_profile {
    bool known;
    uint64_t rows_scanned;      /* from tables and files */
    uint64_t spill_bytes;       /* the most on disk at a time */
    uint64_t peak_memory_bytes; /* of the engine's buffers */
    int64_t cpu_us;             /* all its threads, in operators */
};

struct result_tail {
    uint64_t rows;
    bool truncated;
    int64_t queue_us;
    int64_t exec_us;
    struct result_profile profile;
};

struct encoder;

/* Makes an encoder for these columns, whose types stay as they are while it lives (data pointers change per batch).
 * NULL when out of memory, or when this build does not write that format (encoder_can). All allocation happens here, none per row. Free with encoder_free (accepts NULL). */
struct encoder *encoder_new(const struct encoder_options *options, const struct column *columns, uint32_t column_count);
bool encoder_can(enum result_format format);
void encoder_free(struct encoder *e);

/* Where the schema of the engine's own Arrow export has to be put before encoder_begin; the encoder releases it. NULL: this format needs none. */
struct ArrowSchema *encoder_arrow_schema(struct encoder *e);

/* Called once, then rows any number of times (also none), then end once.
 * 0, or -1: the sink said stop, or the format can't hold the result: then encoder_failure says why. */
int encoder_begin(struct encoder *e, struct sink *sink, const struct result_head *head);
/* Rows 0..count-1 of the columns' present data. */
int encoder_rows(struct encoder *e, struct sink *sink, const struct column *columns, uint64_t count);
int encoder_end(struct encoder *e, struct sink *sink, const struct result_tail *tail);
/* After a -1: NULL when it was the sink. */
const struct error *encoder_failure(const struct encoder *e);
