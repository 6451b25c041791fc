/* One script on one writer worker, from its start to its answer. Knows no arguments, no copies. Runs in the command line. */
#pragma once
#include "core/buf.h"
#include "core/config.h"
#include "core/errors.h"

struct write_plan {
    const struct config *cfg;      /* without `auto`; database.path is what is written to */
    const char *mode;              /* "copy" or "in-place" (link/inherit.h) */
    const char *const *read_paths; /* NULL-terminated; NULL: none */
    const char *sql;               /* valid UTF-8 */
    size_t sql_len;
    uint32_t format;    /* enum result_format's value: of the last statement's result; FORMAT_RAW: a report of what changed */
    int64_t timeout_ms; /* 0: none */
};

/* Starts the worker, runs the script, takes the answer (appended to *ret_body), waits until the process is gone. A signal on signal_fd stops
 * it by the kill ladder. 0; -1 with *err. Only 0 says that the file is written, checkpointed, closed and verified. */
int write_run(const struct write_plan *plan, int signal_fd, struct buf *ret_body, struct error *err);
