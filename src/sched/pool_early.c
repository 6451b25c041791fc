/* Jobs sent before their turn: while all workers are busy and the next job is a quick one, it is put into the memory of a worker that is busy with
 * another quick one (link/early.h), two at most. The worker takes it up when it has ended that, instead of sleeping until the front has heard of the end. Until
 * it does, the job waits as all others do, and can be had back: when it is cancelled, when another worker is free, when the job before it is slow after all.
 * Runs in the front. */
#include "core/clock.h"
#include "sched/pool_internal.h"

#include <string.h>

/* So long one waits behind a job that should have been over. */
#define PATIENCE_NS (5 * NS_PER_MS)

static bool is_quick_and_young(const struct pool *p, const struct job *job, int64_t now_ns)
{
    return fair_length(p->fair, job) == LENGTH_QUICK && !job->head_of_result_seen && now_ns - job->started_ns < LENGTHS_QUICK_US * 1000;
}

static bool may_get_one(const struct pool *p, const struct pool_worker *w, int64_t now_ns)
{
    bool last = p->opts.recycle_after && w->queries + w->early_count >= (uint64_t)p->opts.recycle_after;
    return w->state == POOL_BUSY && w->kind == WORKER_KIND_POOL && !w->doomed && !w->stale && !w->spooled && !w->short_lane && !last &&
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
    w->early[w->early_count++] = job;
    job->early_at = w;
    fair_sent_early(p->fair, job);
    early_put(&w->ring, w->early_put++, &m, job->sql, job->params, now_ns);
}

/* One for each worker that has so many. False: there is none to be sent. */
static bool dispatch_behind(struct pool *p, unsigned count, int64_t now_ns)
{
    struct job *job;
    struct error err;
    for (struct pool_worker *w = p->workers; w; w = w->next) {
        if (w->early_count != count || !may_get_one(p, w, now_ns))
            continue;
        if (!(job = fair_pop_if_quick(p->fair)))
            return false;
        if (!fits(p, w, job) || pool_check_text(p, job, &err) < 0) {
            fair_push_front(p->fair, job);
            return false;
        }
        send_early(p, w, job, now_ns);
    }
    return true;
}

void pool_early_dispatch(struct pool *p)
{
    if (p->idle || fair_waiting(p->fair) == fair_early(p->fair))
        return;
    int64_t now = clock_now_ns();
    for (unsigned count = 0; count < EARLY_MOST && dispatch_behind(p, count, now); count++)
        ;
}

static uint32_t number_of(const struct pool_worker *w, unsigned i) { return w->early_put - w->early_count + i; }

/* The last one waits again, whoever has it. */
static void wait_again(struct pool *p, struct pool_worker *w)
{
    struct job *job = w->early[--w->early_count];
    w->early_put--;
    job->early_at = NULL;
    fair_early_over(p->fair, job);
    fair_ended(p->fair, job);
    fair_push_front(p->fair, job);
}

static bool recall_last(struct pool *p, struct pool_worker *w)
{
    unsigned last = w->early_count - 1;
    const struct job *job = w->early[last];
    if (job->state != JOB_QUEUED || !early_recall(&w->ring, number_of(w, last), job->id))
        return false;
    wait_again(p, w);
    return true;
}

bool pool_early_recall(struct pool *p, struct pool_worker *w)
{
    while (w->early_count && recall_last(p, w))
        ;
    return w->early_count == 0;
}

bool pool_early_recall_job(struct pool *p, struct job *job)
{
    struct pool_worker *w = job->early_at;
    while (job->early_at && recall_last(p, w))
        ;
    return !job->early_at;
}

bool pool_early_recall_any(struct pool *p)
{
    for (struct pool_worker *w = fair_early(p->fair) ? p->workers : NULL; w; w = w->next)
        if (w->early_count && recall_last(p, w))
            return true;
    return false;
}

/* The first of them is the worker's. */
static bool first_is_taken(const struct pool_worker *w)
{
    return w->early[0]->state != JOB_QUEUED || !early_is_there(&w->ring, number_of(w, 0), w->early[0]->id);
}

bool pool_early_was_taken(const struct pool_worker *w) { return w->early_count && first_is_taken(w); }

void pool_early_give_up(struct pool *p, struct job *job)
{
    struct pool_worker *w = job->early_at;
    if (pool_early_recall_job(p, job))
        return;
    while (job->early_at)
        wait_again(p, w);
    pool_worker_doom(w, DEATH_LINK);
}

void pool_early_begin(struct pool *p, struct pool_worker *w)
{
    if (!w->early_count)
        return;
    struct job *job = w->early[0];
    if (!first_is_taken(w)) { /* nor will it be: the worker waits for a message */
        (void)pool_early_recall(p, w);
        return;
    }
    if (job->state != JOB_QUEUED)
        return;
    int64_t now = clock_now_ns();
    pool_arm(p, w, job->id, now + job->timeout_ms * NS_PER_MS);
    fair_early_over(p->fair, job);
    pool_begin(p, w, job, now);
    if (job->stop_reason != STOP_FOR_NOTHING)
        pool_cancel(p, job, job->stop_reason);
}

/* The first one leaves the row: it has begun. */
static struct job *shift(struct pool_worker *w)
{
    struct job *job = w->early[0];
    w->early_count--;
    memmove(w->early, w->early + 1, w->early_count * sizeof w->early[0]);
    job->early_at = NULL;
    return job;
}

bool pool_early_take_turn(struct pool_worker *w)
{
    if (!w->early_count || w->early[0]->state != JOB_RUNNING)
        return false;
    w->job = shift(w);
    w->state = POOL_BUSY;
    if (w->muted && event_add(w->event, NULL) == 0)
        w->muted = false;
    pool_worker_noted(w);
    return true;
}

struct job *pool_early_of_dead(struct pool *p, struct pool_worker *w)
{
    while (w->early_count && w->early[w->early_count - 1]->state == JOB_QUEUED)
        wait_again(p, w);
    if (!w->early_count)
        return NULL;
    struct job *job = shift(w);
    job->worker = NULL;
    fair_ended(p->fair, job);
    return job;
}

void pool_early_look(struct pool *p, int64_t now_ns)
{
    for (struct pool_worker *w = fair_early(p->fair) ? p->workers : NULL; w; w = w->next)
        if (w->early_count && w->state == POOL_BUSY && now_ns - w->job->started_ns > PATIENCE_NS)
            (void)pool_early_recall(p, w);
}
