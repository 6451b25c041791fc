/* From an ordinary process to a jailed one with a locked engine. Runs in the worker. */
#pragma once
#include "core/layers.h"
#include "worker/probe.h"
#include "worker/worker.h"
#include "worker/writer.h"
#include <stdint.h>
#include <sys/types.h>

struct start_arguments {
    uint32_t id;
    pid_t parent;
    size_t request_bytes;
    const char *scratch_directory; /* "" for none */
    bool dedicated;                /* for a session, or with sources */
    bool probe;                    /* it tries its walls (probe.h) */
    const char *verify;            /* the extension's file that it only loads; NULL: it serves */
    const char *verified;          /* states of extensions' files whose signatures were checked (core/extensions.h) */
    enum writer_mode write;        /* WRITER_NONE: it serves readers */
    const char *const *read_paths; /* of a writer */
    uid_t uid;                     /* to become; 0: none */
    int64_t data_bytes;            /* RLIMIT_DATA; 0: none */
};

/* *ret_target is for a worker that tries its walls. *ret_again, with all it points at, is for a writer, which opens the database once more: it lives as long as the process. 0, or -1 with *err and
 * *ret_kind, the letter of the record for the supervisor (link/inherit.h): the process must end then. */
int worker_start(struct worker *w, const struct start_arguments *a, struct layers *l, struct engine_options *ret_again,
                 struct probe_target *ret_target, char *ret_kind, struct error *err);
