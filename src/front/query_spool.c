/* Filling a query's file (see the header). Runs in the front. */
#include "front/query_spool.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

/* Disk space is set aside in steps that grow with the file: many small results must not take the quota of large ones. */
#define FIRST_BYTES ((int64_t)4 << 20)
#define STEP_MAX_BYTES ((int64_t)64 << 20)
#define STEP_LEAST_BYTES ((int64_t)1 << 20)
/* So much is copied from the ring before the worker is given the file: a worker that was given one is replaced afterwards, which costs more CPU time
 * than that (docs/decisions/0032-spool.md). */
#define COPIED_BYTES ((int64_t)16 << 20)

static int make_file(struct query *q, int64_t bytes, struct error *err)
{
    if (!q->file)
        q->file = spool_open(q->f->spool, q->job->tenant, bytes, err);
    return q->file ? 0 : -1;
}

/* At least `least` more, and more than that if it can be had. */
static bool extend(struct query *q, int64_t least)
{
    int64_t step = spool_room(q->file);
    step = step < FIRST_BYTES ? FIRST_BYTES : step > STEP_MAX_BYTES ? STEP_MAX_BYTES : step;
    return spool_extend(q->file, step > least ? step : least, least) > 0;
}

static int no_room(struct error *err) { return error_set(err, ERR_SPOOL_FULL, "the spool has no room for the rest of the result"); }

/* 0, also when it can't be told just now; -1 with *err. */
static int divert(struct query *q, struct error *err)
{
    if (make_file(q, FIRST_BYTES, err) < 0)
        return -1;
    if (spool_room(q->file) - q->file_end < FIRST_BYTES && !extend(q, FIRST_BYTES)) /* what the ring holds has to fit in any case */
        return no_room(err);
    int fd = spool_fd_for_writing(q->file);
    if (fd < 0)
        return error_set(err, ERR_UNAVAILABLE, "the spool can't be used: %s", strerror(errno));
    (void)pool_divert(q->pool, q->job, spool_fd(q->file), fd, q->file_end, spool_room(q->file), q->export != 0);
    close(fd);
    return 0;
}

int query_spool_take(struct query *q, struct error *err)
{
    struct job *job = q->job;
    struct ring_reader *ring = &job->worker->reader;
    size_t n = ring_reader_ready(ring);
    if (make_file(q, (int64_t)n, err) < 0)
        return -1;
    int64_t lacking = q->file_end + (int64_t)n - spool_room(q->file);
    if (lacking > 0 && !extend(q, lacking))
        return no_room(err);
    if (spool_write(spool_fd(q->file), ring_reader_data(ring), n, q->file_end) < 0)
        return error_set(err, spool_is_full(errno) ? ERR_SPOOL_FULL : ERR_INTERNAL, "the result can't be written to the spool: %s", strerror(errno));
    q->file_end += (int64_t)n;
    pool_consumed(q->pool, job, n);
    job->bytes -= n; /* nobody has them yet */
    return 0;
}

/* An export is brought to disk, which only the worker can wait for. */
static bool is_worth_a_worker(const struct query *q) { return q->export || q->file_end >= COPIED_BYTES; }

int query_spool_move(struct query *q, struct error *err)
{
    /* When there is little room, what is in the ring may still find some. */
    if (is_worth_a_worker(q) && pool_may_divert(q->job) && divert(q, err) == 0)
        return 0;
    return query_spool_take(q, err);
}

int query_spool_follow(struct query *q, struct error *err)
{
    if (!is_worth_a_worker(q) || !pool_may_divert(q->job))
        return query_spool_take(q, err);
    return pool_waits_for_room(q->job) ? query_spool_move(q, err) : 0;
}

bool query_spool_look(struct query *q)
{
    int64_t end = pool_spooled_bytes(q->job);
    if (end <= q->file_end)
        return false;
    q->file_end = end;
    return true;
}

bool query_spool_room_is_set_aside(const struct query *q)
{
    const struct spool_reader *r = &q->job->spool.reader;
    return spool_room(q->file) > spool_offset(r->base, r->limit);
}

bool query_spool_grow(struct query *q)
{
    bool set_aside = query_spool_room_is_set_aside(q) || extend(q, STEP_LEAST_BYTES);
    q->wants_room = !set_aside || !pool_grant(q->pool, q->job, spool_room(q->file));
    return !q->wants_room;
}

void query_spool_end(struct query *q)
{
    (void)query_spool_look(q);
    q->wants_room = false;
    spool_finish(q->file, q->file_end);
}
