/* One worker for one query: its scratch directory, its start, its end. Knows no SQL and no formats. Runs in the command line. */
#pragma once
#include "core/config.h"
#include "core/errors.h"
#include "core/layers.h"
#include "link/ring.h"
#include "supervisor/caps.h"
#include "supervisor/scratch.h"
#include "supervisor/spawn.h"

#define QUERY_WORKER_WORDS 4096

struct query_worker {
    struct worker_ends ends;
    struct scratch scratch;
    char scratch_directory[4096]; /* its own; "": none */
    struct caps caps;
    struct worker_cap cap;
    bool passed_cap; /* it was killed for its memory, by us */
    struct ring ring;
    char words[QUERY_WORKER_WORDS]; /* the first of what it printed; for the report of a crash */
    size_t words_len;
    struct layers layers; /* of its sandbox, as it reported them when it was ready, and of its caps */
    bool has_ended;
    struct child_end end; /* how, once has_ended */
};

/* How a worker that writes differs from one that answers a query. */
struct query_worker_write {
    const char *mode;              /* "copy" or "in-place" */
    const char *const *read_paths; /* what the script may read besides; NULL-terminated; NULL: nothing */
    size_t script_bytes;           /* as long as its script is */
};

/* Starts it and waits until it is ready. `cfg` has no `auto` any more. A signal on signal_fd ends the wait. 0; -1 with *err: ERR_UNAVAILABLE
 * (with the worker's own words), ERR_CANCELLED. query_worker_stop must follow in either case. */
int query_worker_start(struct query_worker *w, const struct config *cfg, int signal_fd, struct error *err);
/* The same for a worker that opens cfg's database for writing. */
int query_worker_start_writer(struct query_worker *w, const struct config *cfg, const struct query_worker_write *write, int signal_fd,
                              struct error *err);
/* The same for one that tries its walls (worker/probe.h), with the pool's settings. */
int query_worker_start_probe(struct query_worker *w, const struct config *cfg, int signal_fd, struct error *err);
/* Keeps what it printed; nothing of that is shown while all goes well. */
void query_worker_listen(struct query_worker *w);
/* How often query_worker_watch is to be called while it works, in ms; -1: never. */
int query_worker_watch_ms(const struct query_worker *w);
/* Kills it when it has more memory than it may. */
void query_worker_watch(struct query_worker *w);
/* True once the process has ended; reaps it. */
bool query_worker_reap(struct query_worker *w);
/* Its end, which nobody here asked for, in words, with what it printed; ERR_OUT_OF_MEMORY instead of `code` when it was its memory cap. Always -1. */
int query_worker_crashed(struct query_worker *w, const char *what, enum error_code code, struct error *err);
/* Kills it if it still runs, waits for its end, removes what it had. */
void query_worker_stop(struct query_worker *w);
