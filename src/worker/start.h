/* From an ordinary process to a jailed one with a locked engine. Runs in the worker. */
#pragma once
#include "core/layers.h"
#include "worker/worker.h"
#include <stdint.h>
#include <sys/types.h>

struct start_arguments {
    uint32_t id;
    pid_t parent;
    size_t request_bytes;
    const char *scratch_directory; /* "" for none */
    bool dedicated;                /* for a session, or with sources */
    uid_t uid;                     /* to become; 0: none */
    int64_t data_bytes;            /* RLIMIT_DATA; 0: none */
};

/* Why it failed is the letter of the record for the supervisor (link/inherit.h). 0, or -1 with *ret_kind and *err: the process must end then. */
int worker_start(struct worker *w, const struct start_arguments *a, struct layers *l, char *ret_kind, struct error *err);
