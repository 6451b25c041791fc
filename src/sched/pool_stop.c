/* How jobs end before their time: cancelled, out of time, failed; and the clock that stands while a client is slow. Runs in the front.
 * The front only asks: the ladder is the supervisor's. */
#include "core/clock.h"
#include "sched/pool_internal.h"
#include "sched/quarantine.h"

#include <sys/eventfd.h>

enum stop_stage pool_ladder_stage(const struct pool *p, const struct job *job)
{
    if (!job->worker)
        return STOP_NONE;
    uint64_t v = atomic_load(&p->page->cell[job->worker->cell].stopping);
    return v >> 8 == job->id && (v & 0xff) < STOP_COUNT ? (enum stop_stage)(v & 0xff) : STOP_NONE;
}

void pool_stopped_error(const struct job *job, enum stop_stage stage, struct error *ret)
{
    if (job->stop_reason == STOP_FOR_LIMIT) {
        *ret = job->error;
    } else if (job->stop_reason == STOP_FOR_CANCEL) {
        error_set(ret, ERR_CANCELLED, "the query was cancelled");
    } else {
        error_set(ret, ERR_TIMEOUT, "the query ran longer than its timeout of %lld ms", (long long)job->timeout_ms);
        ret->limit_ms = job->timeout_ms;
    }
    ret->stopped_by = stage;
}

/* Whatever ended it: it has computed for long, or for as long as it may. */
static bool took_long(const struct job *job, const struct error *err)
{
    return (job->stop_reason == STOP_FOR_NOTHING && err->code == ERR_TIMEOUT) || job->cpu_us > LENGTHS_LONG_US;
}

void pool_fail(struct pool *p, struct job *job, const struct error *err)
{
    struct pool_worker *w = job->worker;
    bool was_queued = job->state == JOB_QUEUED;
    if (was_queued && job->early_at)
        pool_early_give_up(p, job);
    job_list_remove(was_queued ? &p->queue[job->class] : &p->running, job);
    if (was_queued)
        fair_remove(p->fair, job);
    fair_left(p->fair, job);
    job->finished_ns = clock_now_ns();
    job->error = *err;
    pool_note_cpu(job);
    if (w) {
        pool_short_lane_over(p, job);
        if (took_long(job, err))
            fair_learn(p->fair, job, LENGTH_LONG);
        pool_disarm(p, w);
        pool_early_begin(p, w);
        pool_give_room(w, job->id, ring_reader_ready(&w->reader));
        w->job = NULL;
        job->worker = NULL;
        fair_ended(p->fair, job);
        if (w->state == POOL_BUSY && !pool_early_take_turn(w)) {
            w->state = POOL_IDLE;
            pool_worker_noted(w);
            pool_worker_is_free(w);
        }
    }
    job_set_state(job, err->code == ERR_CANCELLED ? JOB_CANCELLED : JOB_FAILED);
    job->events->failed(job);
    if (w)
        pool_dispatch(p);
}

void pool_cancel(struct pool *p, struct job *job, enum stop_reason reason)
{
    if (job->stop_reason == STOP_FOR_NOTHING)
        job->stop_reason = reason;
    if (job->state == JOB_QUEUED) {
        struct error err;
        if (job->early_at && !pool_early_recall_job(p, job))
            return; /* its worker has it: it is stopped as soon as that is heard of */
        pool_stopped_error(job, STOP_NONE, &err);
        pool_fail(p, job, &err);
    } else if (job->state == JOB_RUNNING) {
        atomic_store(&p->page->cell[job->worker->cell].cancel_job, job->id);
        eventfd_write(p->nudge_fd, 1);
    }
}

void pool_stop(struct pool *p, struct job *job, const struct error *err)
{
    if (job->stop_reason != STOP_FOR_NOTHING)
        return;
    job->error = *err;
    pool_cancel(p, job, STOP_FOR_LIMIT);
}

void pool_clock_goes_on(struct pool *p, struct job *job)
{
    if (job->deadline_left_ns == 0 || job->state != JOB_RUNNING)
        return;
    pool_arm(p, job->worker, job->id, clock_now_ns() + job->deadline_left_ns);
    job->deadline_left_ns = 0;
}

void pool_client_is_slow(struct pool *p, struct job *job)
{
    struct pool_worker *w = job->worker;
    if (job->state != JOB_RUNNING || !w || job->deadline_left_ns > 0)
        return;
    int64_t deadline = atomic_load(&p->page->cell[w->cell].deadline_ns);
    int64_t left = deadline - clock_now_ns();
    if (deadline == 0 || left <= 0)
        return;
    job->deadline_left_ns = left;
    pool_pause(p, w);
}

int pool_check_text(const struct pool *p, const struct job *job, struct error *err)
{
    if (!job->tenant || job->sql_len == 0)
        return 0;
    return quarantine_check(p->opts.quarantine, job->tenant->id, job->sql, job->sql_len, job->timeout_ms, clock_now_ns(), err);
}

void pool_note_strike(const struct pool *p, const struct job *job, enum death_reason reason, enum error_code code)
{
    static const char *const to[] = {[STRIKE_REFUSED_TO_ONE] = "this key", [STRIKE_REFUSED_TO_ALL] = "every key"};
    bool crashed = reason == DEATH_CRASH && code == ERR_WORKER_CRASHED;
    bool killed = reason == DEATH_TIMEOUT && code == ERR_TIMEOUT && !job->short_timeout;
    if (!p->opts.quarantine || !job->tenant || job->sql_len == 0 || (!crashed && !killed))
        return;
    char hash[QUARANTINE_HASH_BYTES];
    enum strike_result r = quarantine_strike(p->opts.quarantine, job->tenant->id, job->sql, job->sql_len, crashed ? STRIKE_CRASH : STRIKE_TIMEOUT,
                                             job->timeout_ms, clock_now_ns());
    if (r == STRIKE_NOTED)
        return;
    quarantine_hash_text(job->sql, job->sql_len, hash);
    log_event(p->log, LOG_WARN, "quarantined", LOG_S("query_id", job->query_id), LOG_S("key", job->tenant->name), LOG_S("text", hash),
              LOG_S("why", crashed ? "crash" : "timeout"), LOG_S("refused_to", to[r]));
}
