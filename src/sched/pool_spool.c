/* A job's result that goes on in a file (link/spool.h): the order to the worker, its answer, and what both say afterwards. Whose file it is, and
 * how long it may become, is the submitter's business. Runs in the front.
 *
 * A worker that was sent a descriptor gets no further job, whatever it does with it: so no later query can change an earlier result. */
#include "sched/pool_internal.h"

#include <errno.h>
#include <string.h>

bool pool_divert(struct pool *p, struct job *job, int fd, int worker_fd, int64_t written, int64_t bytes, bool sync)
{
    struct pool_worker *w = job->worker;
    if (job->state != JOB_RUNNING || !w || w->state != POOL_BUSY || job->spool.phase != SPOOL_NONE || !pool_may_divert(job))
        return false;
    if (!pool_early_recall(p, w)) /* it has ended this one, and that may not get the descriptor */
        return false;
    CHECK(written >= 0 && (uint64_t)written <= w->reader.consumed && written <= bytes);
    uint64_t base = w->reader.consumed - (uint64_t)written;
    struct link_spool m = {.type = LINK_SPOOL, .job = job->id, .base = base, .limit = base + (uint64_t)bytes, .sync = sync};
    if (link_send_fd(w->link_fd, &m, worker_fd) < 0)
        return false; /* full, or broken: the latter is found by its event */
    w->spooled = true;
    if (p->opts.leaves)
        p->opts.leaves(p->ctx, w->id);
    job->spool = (struct job_spool){.phase = SPOOL_ASKED, .fd = fd, .reader = {.base = base, .limit = m.limit}};
    pool_clock_goes_on(p, job); /* it has room now, or does not answer */
    return true;
}

/* A session's worker has to live on with what the session keeps there, and a writer's until its database is published. */
bool pool_may_divert(const struct job *job)
{
    return job->worker && job->worker->kind != WORKER_KIND_SESSION && job->worker->kind != WORKER_KIND_WRITER;
}

bool pool_waits_for_room(const struct job *job)
{
    const struct pool_worker *w = job->worker;
    return job->state == JOB_RUNNING && w && ring_reader_ready(&w->reader) > RING_BYTES / 2 && atomic_load(&w->ring.shared->waiting) != 0;
}

int64_t pool_spooled_bytes(struct job *job)
{
    if (job->spool.phase != SPOOL_ON)
        return 0;
    if (job->state == JOB_RUNNING && job->worker && job->worker->state == POOL_BUSY && !pool_refresh(job->worker))
        pool_worker_doom(job->worker, DEATH_LINK);
    return spool_offset(job->spool.reader.base, job->spool.reader.produced);
}

bool pool_was_handed_out(const struct job *job) { return job->worker && job->worker->spooled; }

bool pool_grant(struct pool *p, struct job *job, int64_t bytes)
{
    (void)p;
    struct spool_reader *r = &job->spool.reader;
    struct link_grant m = {.type = LINK_GRANT, .job = job->id, .limit = r->base + (uint64_t)bytes};
    CHECK(m.limit >= r->limit);
    if (job->state != JOB_RUNNING || job->spool.phase == SPOOL_NONE || link_send(job->worker->link_fd, &m) < 0)
        return false;
    r->limit = m.limit;
    pool_clock_goes_on(p, job);
    return true;
}

bool pool_refresh(struct pool_worker *w)
{
    struct job *job = w->job;
    uint64_t produced = atomic_load_explicit(&w->ring.shared->produced, memory_order_acquire);
    switch (job->spool.phase) {
    case SPOOL_NONE: /* first how much, then whose */ return pool_early_was_taken(w) || ring_reader_set_limit(&w->reader, produced);
    case SPOOL_ASKED: /* its counter may be the ring's or the file's: its answer tells which */ return true;
    case SPOOL_ON: break;
    }
    return spool_reader_refresh(&job->spool.reader, produced, job->spool.fd);
}

bool pool_take_end(struct pool_worker *w, uint64_t produced)
{
    struct job *job = w->job;
    if (job->spool.phase != SPOOL_ON)
        return ring_reader_set_limit(&w->reader, produced);
    return spool_reader_refresh(&job->spool.reader, produced, job->spool.fd);
}

/* The ring's rest belongs in front of what the worker writes. */
static int copy_rest(struct pool_worker *w)
{
    size_t rest = ring_reader_ready(&w->reader);
    int64_t at = spool_offset(w->job->spool.reader.base, w->reader.consumed);
    int r = spool_write(w->job->spool.fd, ring_reader_data(&w->reader), rest, at);
    int e = errno;
    (void)ring_reader_consume(&w->reader, rest);
    errno = e;
    return r;
}

void pool_on_spooled(struct pool_worker *w, const struct link_spooled *m)
{
    struct job *job = w->job;
    if (job->id != m->job || job->spool.phase != SPOOL_ASKED || !spool_reader_start(&job->spool.reader, &w->reader, m->at) ||
        !ring_reader_set_limit(&w->reader, m->at)) {
        pool_worker_doom(w, DEATH_LINK);
        return;
    }
    job->spool.phase = SPOOL_ON;
    if (copy_rest(w) < 0) {
        struct error err;
        error_set(&err, spool_is_full(errno) ? ERR_SPOOL_FULL : ERR_INTERNAL, "the result can't be written to the spool: %s", strerror(errno));
        pool_stop(w->pool, job, &err);
        return;
    }
    pool_clock_goes_on(w->pool, job);
    job->events->spooled(job);
}

void pool_on_want(struct pool_worker *w, const struct link_want *m)
{
    struct job *job = w->job;
    if (job->id != m->job || job->spool.phase != SPOOL_ON)
        pool_worker_doom(w, DEATH_LINK);
    else
        job->events->want(job);
}
