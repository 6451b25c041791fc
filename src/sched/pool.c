/* The pool as a whole: its life, what happens by the clock, its figures. Runs in the front. */
#include "core/clock.h"
#include "sched/pool_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void job_list_push(struct job_list *l, struct job *job)
{
    job->next = NULL;
    job->prev = l->tail;
    if (l->tail)
        l->tail->next = job;
    else
        l->head = job;
    l->tail = job;
    l->count++;
}

void job_list_remove(struct job_list *l, struct job *job)
{
    if (job->prev)
        job->prev->next = job->next;
    else
        l->head = job->next;
    if (job->next)
        job->next->prev = job->prev;
    else
        l->tail = job->prev;
    job->next = job->prev = NULL;
    l->count--;
}

struct pool *pool_new(struct event_base *base, struct control_page *page, int nudge_fd, const struct pool_options *opts,
                      void (*replace)(void *ctx, uint32_t worker, enum death_reason reason), void *ctx, struct log *log)
{
    struct pool *p = calloc(1, sizeof *p);
    CHECK(p);
    p->base = base;
    p->page = page;
    p->nudge_fd = nudge_fd;
    p->opts = *opts;
    p->replace = replace;
    p->ctx = ctx;
    p->log = log;
    p->fair = fair_new(opts->one_account);
    return p;
}

void pool_set_options(struct pool *p, const struct pool_options *opts) { p->opts = *opts; }

void pool_limits_changed(struct pool *p)
{
    fair_limits_changed(p->fair);
    pool_dispatch(p);
}

void pool_free(struct pool *p)
{
    if (!p)
        return;
    while (p->workers)
        pool_worker_free(p->workers);
    fair_free(p->fair);
    free(p);
}

void pool_set_trouble(struct pool *p, const char *text)
{
    snprintf(p->trouble, sizeof p->trouble, "%s", text);
    if (!text[0] || p->serving > 0)
        return;
    struct job *job;
    while ((job = p->queue[JOB_INTERACTIVE].head) || (job = p->queue[JOB_BACKGROUND].head)) {
        struct error err;
        error_set(&err, ERR_UNAVAILABLE, "no worker can be started: %s", p->trouble);
        err.retry_after_s = 1;
        pool_fail(p, job, &err);
    }
}

const char *pool_trouble(const struct pool *p) { return p->trouble; }
void pool_drain(struct pool *p) { p->draining = true; }
void pool_announce_reset(struct pool *p) { p->announce_reset = true; }

void pool_fail_queued(struct pool *p, const struct error *why)
{
    for (int class = 0; class < JOB_CLASSES; class ++)
        while (p->queue[class].head)
            pool_fail(p, p->queue[class].head, why);
}

void pool_end(struct pool *p, const struct error *why)
{
    p->draining = true;
    for (struct job *j = p->running.head; j; j = j->next)
        if (j->stop_reason == STOP_FOR_NOTHING)
            j->stop_reason = STOP_FOR_CANCEL;
    for (struct pool_worker *w = p->workers; w; w = w->next)
        pool_worker_doom(w, DEATH_RETIRED);
    pool_fail_queued(p, why);
}

bool pool_has_jobs(const struct pool *p)
{
    bool any = fair_waiting(p->fair) > 0 || p->running.head;
    for (const struct pool_worker *w = p->workers; w && !any; w = w->next)
        any = w->job != NULL;
    return any;
}

/* What no doorbell has told of yet. The first rows are told of when they have waited long enough for more; what comes behind them, at once: the next
 * doorbell may be long in coming. */
static void look_at_ring(struct job *j, int64_t now_ns, int64_t first_row_ns)
{
    struct pool_worker *w = j->worker;
    if (!w || w->state != POOL_BUSY)
        return;
    size_t before = ring_reader_ready(&w->reader);
    if (!pool_refresh(w)) {
        pool_worker_doom(w, DEATH_LINK);
        return;
    }
    size_t ready = j->spool.phase == SPOOL_ON ? 0 : ring_reader_ready(&w->reader);
    if (ready == 0 || (j->head_of_result_seen && ready == before))
        return;
    if (!j->head_of_result_seen && j->first_row_ns == 0) {
        j->first_row_ns = now_ns;
    } else if (j->head_of_result_seen || now_ns - j->first_row_ns >= first_row_ns) {
        j->head_of_result_seen = true;
        j->events->data(j);
    }
}

void pool_tick(struct pool *p, int64_t now_ns, int64_t first_row_ns)
{
    fair_tick(p->fair, now_ns);
    pool_expire_queue(p, now_ns);
    pool_memory_look(p);
    pool_early_look(p, now_ns);
    pool_short_lane_dispatch(p);
    struct job *next;
    for (struct job *j = p->running.head; j; j = next) {
        next = j->next;
        look_at_ring(j, now_ns, first_row_ns);
    }
}

static void count(const struct pool_worker *w, struct pool_counts *c)
{
    unsigned *const by_state[] = {[POOL_IDLE] = &c->idle, [POOL_BUSY] = &c->busy, [POOL_DRAINING] = &c->draining, [POOL_LOST] = &c->lost};
    if (w->short_lane && w->state == POOL_IDLE)
        return;
    ++*by_state[w->state];
    c->working_spares += w->short_lane && (w->state == POOL_BUSY || w->state == POOL_DRAINING);
}

struct pool_counts pool_count(const struct pool *p)
{
    struct pool_counts c = {.queued = fair_waiting(p->fair), .background = p->queue[JOB_BACKGROUND].count};
    for (const struct pool_worker *w = p->workers; w; w = w->next)
        count(w, &c);
    return c;
}

uint64_t pool_penalties(const struct pool *p) { return fair_penalties(p->fair); }

void pool_forgive(struct pool *p) { fair_forgive(p->fair, clock_now_ns()); }

void pool_each_tenant(const struct pool *p, void (*fn)(void *ctx, const struct fair_figures *figures), void *ctx) { fair_each(p->fair, fn, ctx); }

const struct pool_worker *pool_workers(const struct pool *p) { return p->workers; }

struct job *pool_find(struct pool *p, const char *query_id)
{
    const struct job_list *lists[] = {&p->running, &p->queue[JOB_INTERACTIVE], &p->queue[JOB_BACKGROUND]};
    for (int i = 0; i < 3; i++)
        for (struct job *j = lists[i]->head; j; j = j->next)
            if (strcmp(j->query_id, query_id) == 0)
                return j;
    return NULL;
}
