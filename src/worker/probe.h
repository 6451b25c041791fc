/* A worker that serves no query but tries its own walls, for `bulkhead doctor`: the same start, the same jail, and then what a taken-over worker
 * would do. Each attempt is asked for by its name as the statement of a RUN. Runs in the worker. */
#pragma once
#include "worker/worker.h"
#include <sys/types.h>

struct probe_target {
    pid_t parent;
    const char *database_path; /* absolute; "": none */
    unsigned threads;
    bool scratch;         /* its working directory is its scratch directory */
    const char *argument; /* behind a colon in the attempt's name; "": none */
};

/* Answers: END with rows = 1 it could, 0 there was nothing to try; FAIL `forbidden` it could not, and why; or it dies of it. The engine's refused objects
 * are answered as text in the ring. Returns the process's exit code. */
int probe_serve(struct worker *w, const struct probe_target *t);
