/* What form a result takes: by the request's `format`, or by Accept. Pure functions on text. Runs in the front. */
#pragma once
#include "core/errors.h"
#include "core/formats.h"

struct negotiated {
    enum result_format format;
};

/* `asked`: the request's own word, which counts more than the header (many clients send that by themselves); FORMAT_COUNT: none.
 * `accept`: the header; NULL: absent. 0, or -1 with *err (not_acceptable, with what there is). */
int negotiate(enum result_format asked, const char *accept, struct negotiated *ret, struct error *err);

/* The value of Content-Type, with parameters. */
const char *negotiated_content_type(const struct negotiated *n);
