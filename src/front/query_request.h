/* The body of POST /v1/query as a checked value. Pure functions on bytes; knows JSON, not sockets. Runs in the front. */
#pragma once
#include "core/errors.h"
#include "core/formats.h"
#include <stddef.h>
#include <stdint.h>

struct query_limits {
    int64_t max_sql_bytes;
    int64_t timeout_ms; /* when the request names none */
    int64_t timeout_max_ms;
    const char *timeout_max_name; /* in messages: "the server's timeout_max" */
    bool destination;             /* the request may name one */
};

struct query_request {
    char *sql; /* malloc'd, valid UTF-8, NUL-terminated besides */
    size_t sql_len;
    char *params; /* malloc'd JSON text of an array or object; NULL: none */
    size_t params_len;
    int64_t timeout_ms;
    uint64_t max_rows;         /* 0: no limit */
    enum result_format format; /* FORMAT_COUNT: not named, Accept decides */
    bool big_numbers_as_text;
    char *session;                               /* malloc'd; NULL: none */
    char *sources;                               /* malloc'd, a set (core/source.h); NULL: none */
    char *destination_source, *destination_path; /* malloc'd; NULL: none */
    bool wait;                                   /* for the session's turn */
    bool profile;
};

/* What statement and parameters may have together: a worker has room for so much (link/ring.h). */
int64_t query_request_bytes(const struct query_limits *limits);

/* Both: 0; or -1 with *err (bad_request, payload_too_large, not_acceptable) and nothing to free. */
int query_request_from_json(const char *body, size_t len, const struct query_limits *limits, struct query_request *ret, struct error *err);
/* Values of the query string; NULL: absent. */
struct query_texts {
    const char *timeout, *format, *max_rows, *big_numbers, *session, *profile;
};
int query_request_from_text(const char *body, size_t len, const struct query_texts *texts, const struct query_limits *limits,
                            struct query_request *ret, struct error *err);
void query_request_clear(struct query_request *r);

/* Integers that don't fit 64 bits would lose digits in the JSON parser: rewrites them, outside strings, to
 * {"type":"HUGEINT","value":"..."}, or with DOUBLE when they don't fit 128 bits either. Other bytes stay as they are.
 * Returns malloc'd text, *ret_len its length; NULL when nothing had to be rewritten. */
char *query_request_wide_integers(const char *json, size_t len, size_t *ret_len);
