/* Asynchronous queries (see the header). A large result is in the end written into its file by the worker, which is replaced afterwards and has to be dead before
 * the result is shown to anybody: so what was read once stays as it was. A moderate one, and every one of a session, whose worker lives on, is
 * copied from the ring and never was in the worker's reach. Runs in the front. */
#include "front/async.h"
#include "core/clock.h"
#include "front/query_spool.h"
#include "front/export.h"
#include "front/results.h"

#include <stdio.h>
#include <string.h>

/* ---- what the pool tells ---- */

/* More than this is worth a turn; the rest is taken at the end. */
static bool is_large(const struct query *q) { return ring_reader_ready(&q->job->worker->reader) > RING_BYTES / 2; }

/* A worker that keeps to the rules reports a result that is too large itself. */
static void note_bytes(struct query *q)
{
    struct job *job = q->job;
    struct error err;
    (void)query_spool_look(q);
    if (!job->url)
        job->bytes = (uint64_t)q->file_end;
    if (job->max_bytes == 0 || job->bytes <= job->max_bytes)
        return;
    error_set(&err, ERR_RESULT_TOO_LARGE, "the result has more than the %lld bytes that limits.max_result_bytes allows", (long long)job->max_bytes);
    err.limit_bytes = (int64_t)job->max_bytes;
    pool_stop(q->pool, job, &err);
}

static void on_data(struct job *job)
{
    struct query *q = job->owner;
    struct error err;
    if (job->stop_reason != STOP_FOR_NOTHING)
        return; /* what it still writes goes with it */
    if (job->spool.phase == SPOOL_NONE && is_large(q) && query_spool_move(q, &err) < 0)
        pool_stop(q->pool, job, &err);
    else
        note_bytes(q);
}

static void on_spooled(struct job *job) { note_bytes(job->owner); }

static void on_want(struct job *job)
{
    struct query *q = job->owner;
    struct error err;
    note_bytes(q);
    if (query_spool_grow(q) || query_spool_room_is_set_aside(q))
        return;
    error_set(&err, ERR_SPOOL_FULL, "the spool has no room for more of the result than the %lld bytes that it has", (long long)q->file_end);
    pool_stop(q->pool, job, &err);
}

void async_exported(struct query *q, const struct error *err)
{
    q->export_state = EXPORT_NONE;
    if (err) {
        query_fail(q, err);
        return;
    }
    const struct record *rec = q->record;
    log_event(&q->f->log, LOG_INFO, "exported", LOG_S("query_id", rec->id), LOG_S("key", rec->owner), LOG_S("source", rec->destination),
              LOG_S("path", rec->destination + strlen(rec->destination) + 1), LOG_I("bytes", (int64_t)q->job->bytes));
    query_count(q, NULL);
    job_set_state(q->job, JOB_DONE);
    pool_release(q->pool, q->job);
    query_finish(q);
}

/* Nobody else can write to the file any more. */
static void complete(struct query *q)
{
    struct error err;
    q->job->bytes = (uint64_t)q->file_end;
    if ((q->export ? export_commit(q, &err) : results_keep(q, &err)) < 0) {
        query_fail(q, &err);
        return;
    }
    if (q->export) { /* its worker has done its part */
        pool_release(q->pool, q->job);
        query_leave_lane(q);
        return;
    }
    query_count(q, NULL);
    job_set_state(q->job, JOB_DONE);
    pool_release(q->pool, q->job);
    query_finish(q);
}

static void on_end(struct job *job)
{
    struct query *q = job->owner;
    struct error err;
    query_sample(q, clock_now_ns());
    if (job->url) {
        async_exported(q, NULL);
        return;
    }
    if (job->spool.phase != SPOOL_ON && query_spool_take(q, &err) < 0) {
        query_fail(q, &err);
        return;
    }
    query_spool_end(q);
    q->job->bytes = (uint64_t)q->file_end;
    if (!pool_was_handed_out(job))
        complete(q);
}

static void on_buried(struct job *job) { complete(job->owner); }

static void on_failed(struct job *job)
{
    struct query *q = job->owner;
    query_log_failure(q);
    query_count(q, &job->error);
    if (q->x) /* it has not even had its 202 */
        exchange_problem(q->x, &job->error, job->query_id);
    query_finish(q);
}

/* ---- the request ---- */

/* Its client went before it had the 202: nobody knows whether it wants the query, which has an id that it may have chosen. */
static void on_gone(struct asker *a) { ((struct query *)a)->x = NULL; }

void async_take(struct query *q)
{
    static const struct job_events events = {
        .data = on_data, .end = on_end, .failed = on_failed, .spooled = on_spooled, .want = on_want, .buried = on_buried};
    q->asker = (struct asker){.gone = on_gone, .sent = on_gone};
    q->job->events = &events;
}

void async_accepted(struct query *q)
{
    struct exchange *x = q->x;
    char location[64], body[128];
    const struct job *j = q->job;
    q->x = NULL;
    exchange_set_user(x, NULL);
    snprintf(location, sizeof location, "/v1/queries/%s", j->query_id);
    exchange_add_header(x, "Location", location);
    int n = snprintf(body, sizeof body, "{\"id\":\"%s\",\"state\":\"%s\"}\n", j->query_id, job_state_text(j->state));
    exchange_answer(x, 202, "application/json", body, (size_t)n);
}

void async_tick(struct front *f)
{
    for (struct query *q = f->queries; q; q = q->next) {
        if (!q->asynchronous || q->job->state != JOB_RUNNING)
            continue;
        if (q->wants_room)
            (void)query_spool_grow(q);
        note_bytes(q);
    }
}

void async_drain(struct front *f)
{
    for (struct query *q = f->queries, *next; q; q = next) {
        next = q->next;                                    /* cancelling one query never ends another */
        if (q->asynchronous && !q->export && !q->job->url) /* an export is of use to somebody all the same */
            query_cancel(q);
    }
}
