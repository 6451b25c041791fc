/* One query on one worker, from RUN to the last byte delivered. Knows no arguments. Runs in the command line. */
#pragma once
#include "cli/filter.h"
#include "cli/query_output.h"
#include "core/config.h"
#include "core/errors.h"

struct query_plan {
    const struct config *cfg; /* without `auto` */
    const char *sql;          /* valid UTF-8, at most limits.max_sql_bytes */
    size_t sql_len;
    uint32_t format;       /* enum result_format's value */
    int64_t timeout_ms;    /* 0: none */
    struct output *output; /* opened and prepared */
    struct filter *filter; /* NULL: the bytes go out as they are */
};

enum query_result { QUERY_DONE, QUERY_FAILED, QUERY_READER_GONE };

/* Blocks the signals that end a query: from here on they are query_run's to take. The signalfd, the caller's; -1 with errno. */
int query_signals(void);
/* Starts a worker, runs the query, delivers, and leaves nothing behind. *err is set with QUERY_FAILED. */
enum query_result query_run(const struct query_plan *plan, int signal_fd, struct error *err);
