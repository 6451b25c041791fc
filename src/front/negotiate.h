/* What form a result takes: by the request's `format`, or by Accept. Pure functions on text. Runs in the front. */
#pragma once
#include "core/errors.h"
#include "core/formats.h"

struct negotiated {
    enum result_format format;
    enum result_coding coding;     /* Content-Encoding */
    enum result_coding ipc_coding; /* of the buffers inside an Arrow stream */
};

/* What the request says. Headers: NULL when absent. */
struct wishes {
    enum result_format format; /* the request's own word; FORMAT_COUNT: none */
    const char *accept, *accept_encoding;
};

/* The request's own word counts more than Accept, which many clients send by themselves. Arrow and Parquet are compressed as a whole only for who
 * refuses anything else: their readers ask for it inside. 0, or -1 with *err (not_acceptable, with what there is). */
int negotiate(const struct wishes *w, struct negotiated *ret, struct error *err);

/* The value of Content-Type, with parameters. */
const char *negotiated_content_type(const struct negotiated *n);
