/* What one query may make its worker grow by, where its tenant has such a limit. Looked at with every tick: who grows faster than that meets the
 * worker's own limit and cap. Runs in the front. */
#include "core/resident.h"
#include "sched/pool_internal.h"

#include <inttypes.h>

static bool is_limited(const struct job *job) { return job->tenant && job->tenant->limits.memory_bytes > 0; }

void pool_memory_begin(struct job *job) { job->memory_from_bytes = is_limited(job) ? resident_bytes(job->worker->pid) : 0; }

static void look(struct pool *p, struct job *job)
{
    int64_t limit = job->tenant->limits.memory_bytes, now = resident_bytes(job->worker->pid);
    if (now > job->memory_bytes)
        job->memory_bytes = now;
    if (job->memory_from_bytes == 0 || now - job->memory_from_bytes <= limit)
        return;
    struct error err;
    error_set(&err, ERR_OUT_OF_MEMORY, "the query needed more memory than the %" PRId64 " bytes that a query of this key may have", limit);
    err.limit_bytes = limit;
    pool_stop(p, job, &err);
}

void pool_memory_look(struct pool *p)
{
    for (struct job *job = p->running.head; job; job = job->next)
        if (is_limited(job) && job->worker && job->stop_reason == STOP_FOR_NOTHING)
            look(p, job);
}
