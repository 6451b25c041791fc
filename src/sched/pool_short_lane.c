/* The short lane: a spare worker that the front has, so that a quick query need not wait behind large results while all others are busy. A job
 * runs there when its text is known to be quick, or was never seen and is small, and no other job with it is here: a row of large queries with the
 * same text gets there once at most. Whose text nobody knew, and held it for long, does not get there again with such a one for ten times as long. It
 * remains a spare: when a worker dies it gets that slot, whatever it is doing (pool_give_slot). Runs in the front. */
#include "core/clock.h"
#include "sched/pool_internal.h"

/* Of a text that was never seen, with its parameters. */
#define SMALL_BYTES 16384
/* That was no quick query, with a text that nobody knew, with one that was known; and for so many times as long there is no other such of this
 * tenant. */
#define HELD_BY_UNKNOWN_NS (LENGTHS_LONG_US * 1000)
#define HELD_LONG_NS (100 * NS_PER_MS)
#define DISTRUST_TIMES 10
#define DISTRUST_MAX_NS (60 * NS_PER_S)

/* Every worker is busy, one of them at least with a result that is on its way, and none with a query that is over in a moment. Behind queries that only
 * compute everybody waits for his turn, within the queue's limits. */
static bool is_needed(const struct pool *p)
{
    int64_t now = clock_now_ns();
    bool large = false;
    if (p->idle)
        return false;
    for (const struct pool_worker *w = p->workers; w; w = w->next) {
        if (!w->counted || w->state != POOL_BUSY)
            continue;
        if (fair_length(p->fair, w->job) == LENGTH_QUICK && now - w->job->started_ns < LENGTHS_LONG_US * 1000)
            return false;
        large |= w->job->head_of_result_seen;
    }
    return large;
}

static bool is_promising(const struct pool *p, const struct job *job)
{
    if (job->class != JOB_INTERACTIVE || !fair_has_room(p->fair, job) || !fair_trusts(p->fair, job, clock_now_ns()))
        return false;
    enum length length = fair_length(p->fair, job);
    return length == LENGTH_QUICK ||
           (length == LENGTH_UNKNOWN && job->text_key && job->sql_len + job->params_len <= SMALL_BYTES && !fair_is_here(p->fair, job));
}

/* With isolation by key: one that has served somebody else is replaced, which the job does not wait for. */
static bool may_serve(struct pool *p, struct pool_worker *w, const struct job *job)
{
    if (!p->opts.isolation_by_key || !w->served || w->served_tenant == job_tenant_id(job))
        return true;
    pool_worker_doom(w, DEATH_RETIRED);
    return false;
}

static bool is_free(const struct pool_worker *w) { return w && w->state == POOL_IDLE && !w->stale; }

struct pool_worker *pool_short_lane_for(struct pool *p, const struct job *job)
{
    struct error ignored;
    if (!is_free(p->short_lane) || !is_needed(p) || !is_promising(p, job))
        return NULL;
    pool_short_lane_dispatch(p); /* who came before goes first */
    struct pool_worker *w = p->short_lane;
    return is_free(w) && pool_fits(w, job, &ignored) && may_serve(p, w, job) ? w : NULL;
}

void pool_short_lane_dispatch(struct pool *p)
{
    struct job *job;
    struct error err;
    while (is_free(p->short_lane) && fair_waiting(p->fair) && is_needed(p) && (job = fair_pop_quick(p->fair))) {
        struct pool_worker *w = p->short_lane;
        bool may_run = pool_check_text(p, job, &err) == 0; /* since it came here */
        if (may_run && pool_fits(w, job, &err) && may_serve(p, w, job)) {
            if (pool_start(p, w, job))
                continue;
            pool_worker_doom(w, DEATH_LINK);
        }
        fair_push_front(p->fair, job);
        if (may_run)
            return;
        pool_fail(p, job, &err);
    }
}

/* The newest: one before it may still be on its way out. */
void pool_short_lane_noted(struct pool *p)
{
    p->short_lane = p->workers;
    while (p->short_lane && (!p->short_lane->short_lane || p->short_lane->doomed || p->short_lane->state == POOL_LOST))
        p->short_lane = p->short_lane->next;
}

void pool_short_lane_over(struct pool *p, const struct job *job)
{
    int64_t held_ns = job->finished_ns - job->started_ns;
    enum length taken_for = (enum length)job->taken_for;
    if (!job->on_short_lane || held_ns < (taken_for == LENGTH_QUICK ? HELD_LONG_NS : HELD_BY_UNKNOWN_NS))
        return;
    int64_t for_ns = held_ns < DISTRUST_MAX_NS / DISTRUST_TIMES ? held_ns * DISTRUST_TIMES : DISTRUST_MAX_NS;
    fair_distrust(p->fair, job, taken_for, job->finished_ns + for_ns);
}

void pool_give_slot(struct pool *p, uint32_t worker, uint32_t slot)
{
    struct pool_worker *w = pool_find_worker(p, worker);
    if (!w || !w->short_lane)
        return;
    w->short_lane = false;
    pool_short_lane_noted(p);
    w->slot = slot;
    if (w->job)
        w->job->slot = (int)slot;
    p->replacing -= p->replacing > 0;
    pool_worker_noted(w);
    pool_dispatch(p);
}
