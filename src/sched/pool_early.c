/* Jobs sent early of their turn: while all workers are busy and the next job is a quick one, it is put into the memory of a worker that is busy with
 * another quick one (link/early.h). The worker takes it up when it has ended that, instead of sleeping until the front has heard of the end. Until it
 * does, the job waits as all others do, and can be had back: when it is cancelled, when another worker is free, when the job before it is slow after all.
 * Runs in the front. */
#include "core/clock.h"
#include "link/early.h"
#include "sched/pool_internal.h"

/* So long it waits behind a job that should have been over. */
#define PATIENCE_NS (5 * NS_PER_MS)

static bool is_quick_and_young(const struct pool *p, const struct job *job, int64_t now_ns)
{
    return fair_length(p->fair, job) == LENGTH_QUICK && !job->head_of_result_seen && now_ns - job->started_ns < LENGTHS_QUICK_US * 1000;
}

static bool may_get_one(const struct pool *p, const struct pool_worker *w, int64_t now_ns)
{
    bool last = p->opts.recycle_after && w->queries >= (uint64_t)p->opts.recycle_after;
    return w->state == POOL_BUSY && w->kind == WORKER_KIND_POOL && !w->early && !w->doomed && !w->stale && !w->spooled && !w->short_lane && !last &&
           is_quick_and_young(p, w->job, now_ns);
}

static bool fits(const struct pool *p, const struct pool_worker *w, const struct job *job)
{
    if (p->opts.isolation_by_key && w->served_tenant != job_tenant_id(job))
        return false;
    return !job->url && job->sql_len + job->params_len <= EARLY_TEXT_BYTES;
}

static void send_early(struct pool *p, struct pool_worker *w, struct job *job, int64_t now_ns)
{
    struct link_run m = pool_order(p, job, now_ns);
    w->early_slot = w->job_slot ^ 1;
    w->early_ns = now_ns;
    w->early = job;
    job->early_at = w;
    fair_sent_early(p->fair, job);
    early_put(&w->ring, w->early_slot, &m, job->sql, job->params, now_ns);
}

void pool_early_dispatch(struct pool *p)
{
    struct job *job;
    struct error err;
    if (p->idle || fair_waiting(p->fair) == fair_early(p->fair))
        return;
    int64_t now = clock_now_ns();
    for (struct pool_worker *w = p->workers; w; w = w->next) {
        if (!may_get_one(p, w, now))
            continue;
        if (!(job = fair_pop_if_quick(p->fair)))
            return;
        if (!fits(p, w, job) || pool_check_text(p, job, &err) < 0) {
            fair_push_front(p->fair, job);
            return;
        }
        send_early(p, w, job, now);
    }
}

/* It waits no more at its worker. */
static void detach(struct pool_worker *w)
{
    w->early->early_at = NULL;
    w->early = NULL;
}

static void wait_again(struct pool *p, struct pool_worker *w)
{
    struct job *job = w->early;
    detach(w);
    fair_early_over(p->fair, job);
    fair_ended(p->fair, job);
    fair_push_front(p->fair, job);
}

bool pool_early_recall(struct pool *p, struct pool_worker *w)
{
    if (!w->early)
        return true;
    if (w->early->state != JOB_QUEUED || !early_recall(&w->ring, w->early_slot, w->early->id))
        return false;
    wait_again(p, w);
    return true;
}

bool pool_early_recall_any(struct pool *p)
{
    for (struct pool_worker *w = fair_early(p->fair) ? p->workers : NULL; w; w = w->next)
        if (w->early && pool_early_recall(p, w))
            return true;
    return false;
}

bool pool_early_was_taken(const struct pool_worker *w)
{
    return w->early && (w->early->state != JOB_QUEUED || !early_is_there(&w->ring, w->early_slot, w->early->id));
}

void pool_early_give_up(struct pool *p, struct job *job)
{
    struct pool_worker *w = job->early_at;
    if (pool_early_recall(p, w))
        return;
    wait_again(p, w);
    pool_worker_doom(w, DEATH_LINK);
}

void pool_early_begin(struct pool *p, struct pool_worker *w)
{
    struct job *job = w->early;
    if (pool_early_recall(p, w) || job->state != JOB_QUEUED)
        return;
    int64_t now = clock_now_ns();
    pool_arm(p, w, job->id, now + job->timeout_ms * NS_PER_MS);
    fair_early_over(p->fair, job);
    w->job_slot = w->early_slot;
    pool_begin(p, w, job, now);
    if (job->stop_reason != STOP_FOR_NOTHING)
        pool_cancel(p, job, job->stop_reason);
}

bool pool_early_take_turn(struct pool_worker *w)
{
    struct job *job = w->early;
    if (!job || job->state != JOB_RUNNING)
        return false;
    detach(w);
    w->job = job;
    w->state = POOL_BUSY;
    if (w->muted && event_add(w->event, NULL) == 0)
        w->muted = false;
    pool_worker_noted(w);
    return true;
}

struct job *pool_early_of_dead(struct pool *p, struct pool_worker *w)
{
    struct job *job = w->early;
    if (!job)
        return NULL;
    if (job->state == JOB_QUEUED) {
        wait_again(p, w);
        return NULL;
    }
    detach(w);
    job->worker = NULL;
    fair_ended(p->fair, job);
    return job;
}

void pool_early_look(struct pool *p, int64_t now_ns)
{
    for (struct pool_worker *w = fair_early(p->fair) ? p->workers : NULL; w; w = w->next)
        if (w->early && now_ns - w->early_ns > PATIENCE_NS)
            (void)pool_early_recall(p, w);
}
