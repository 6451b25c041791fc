/* Jobs in the pool: admission, the queue, dispatch. Runs in the front. */
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

void job_list_push_front(struct job_list *l, struct job *job)
{
    job->prev = NULL;
    job->next = l->head;
    if (l->head)
        l->head->prev = job;
    else
        l->tail = job;
    l->head = job;
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
    return p;
}

void pool_set_options(struct pool *p, const struct pool_options *opts) { p->opts = *opts; }

void pool_free(struct pool *p)
{
    if (!p)
        return;
    while (p->workers)
        pool_worker_free(p->workers);
    free(p);
}

static struct pool_worker *idle_worker(struct pool *p)
{
    for (struct pool_worker *w = p->workers; w; w = w->next)
        if (w->state == POOL_IDLE && !w->doomed)
            return w;
    return NULL;
}

static bool has_worker(const struct pool *p)
{
    for (const struct pool_worker *w = p->workers; w; w = w->next)
        if (!w->doomed && w->state != POOL_LOST)
            return true;
    return false;
}

/* The submitter has checked the sizes against the configuration; a worker of the time before a reload may have less room. */
static bool fits(const struct pool_worker *w, const struct job *job, struct error *err)
{
    if (job->sql_len + job->params_len <= w->ring.request_bytes)
        return true;
    error_set(err, ERR_PAYLOAD_TOO_LARGE, "statement and parameters have %zu bytes, the worker has room for %zu",
              job->sql_len + job->params_len, w->ring.request_bytes);
    err->limit_bytes = (int64_t)w->ring.request_bytes;
    return false;
}

/* Hands a job that fits to an idle worker. False: the worker turned out to be gone. */
static bool start(struct pool *p, struct pool_worker *w, struct job *job)
{
    memcpy(w->ring.request, job->sql, job->sql_len);
    if (job->params_len)
        memcpy(w->ring.request + job->sql_len, job->params, job->params_len);
    int64_t now = clock_now_ns();
    struct link_run m = {.type = LINK_RUN,
                         .job = job->id,
                         .sql_bytes = (uint32_t)job->sql_len,
                         .params_bytes = (uint32_t)job->params_len,
                         .max_rows = job->max_rows,
                         .queue_us = (now - job->submitted_ns) / 1000,
                         .format = job->format,
                         .big_numbers_as_text = job->big_numbers_as_text,
                         .inline_bytes = p->opts.inline_bytes};
    memcpy(m.query_id, job->query_id, sizeof m.query_id);
    m.session = w->kind == WORKER_KIND_SESSION;
    m.session_reset = job->session_reset |= p->announce_reset;
    pool_arm(p, w, job->id, now + job->timeout_ms * NS_PER_MS);
    if (link_send(w->link_fd, &m) < 0) {
        pool_disarm(p, w);
        return false;
    }
    p->announce_reset = false;
    job->started_ns = now;
    job->worker = w;
    job->slot = (int)w->slot;
    job->cpu_from_ns = pool_cpu_ns(w);
    job->tries++;
    w->job = job;
    w->state = POOL_BUSY;
    w->queries++;
    atomic_store_explicit(&p->page->cell[w->cell].queries, w->queries, memory_order_relaxed);
    job_set_state(job, JOB_RUNNING);
    job_list_push(&p->running, job);
    return true;
}

void pool_dispatch(struct pool *p)
{
    struct pool_worker *w;
    while (p->queue.head && (w = idle_worker(p))) {
        struct job *job = p->queue.head;
        struct error err;
        if (!fits(w, job, &err)) {
            pool_fail(p, job, &err);
            continue;
        }
        job_list_remove(&p->queue, job);
        if (!start(p, w, job)) {
            pool_worker_doom(w, DEATH_LINK);
            job_list_push_front(&p->queue, job);
        }
    }
}

/* When a place may be free, from what jobs took lately. Seconds, 1 to 60. */
static int retry_after_s(const struct pool *p)
{
    unsigned workers = 0;
    for (const struct pool_worker *w = p->workers; w; w = w->next)
        workers += !w->doomed;
    int64_t us = p->mean_exec_us * (int64_t)(p->queue.count + 1) / (workers ? workers : 1);
    int64_t s = us / 1000000 + 1;
    return s > 60 ? 60 : (int)s;
}

int pool_submit(struct pool *p, struct job *job, struct error *err)
{
    if (p->draining) {
        error_set(err, ERR_UNAVAILABLE, "the server is shutting down");
        err->retry_after_s = 5;
        return -1;
    }
    if (!has_worker(p) && p->trouble[0]) {
        error_set(err, ERR_UNAVAILABLE, "no worker can be started: %s", p->trouble);
        err->retry_after_s = 1;
        return -1;
    }
    if (++p->last_job == 0)
        p->last_job = 1;
    job->id = p->last_job;
    job->submitted_ns = clock_now_ns();
    struct pool_worker *w;
    while (!p->queue.head && (w = idle_worker(p))) {
        if (!fits(w, job, err))
            return -1;
        if (start(p, w, job))
            return 0;
        pool_worker_doom(w, DEATH_LINK);
    }
    if (p->queue.count >= p->opts.queue_length) {
        error_set(err, ERR_OVERLOADED, "all workers are busy and the queue of %u is full", p->queue.count);
        err->retry_after_s = retry_after_s(p);
        return -1;
    }
    job->queue_deadline_ns = job->submitted_ns + p->opts.queue_timeout_ms * NS_PER_MS;
    job_set_state(job, JOB_QUEUED);
    job_list_push(&p->queue, job);
    return 0;
}

void pool_set_trouble(struct pool *p, const char *text)
{
    snprintf(p->trouble, sizeof p->trouble, "%s", text);
    if (!text[0] || has_worker(p))
        return;
    while (p->queue.head) {
        struct error err;
        error_set(&err, ERR_UNAVAILABLE, "no worker can be started: %s", p->trouble);
        err.retry_after_s = 1;
        pool_fail(p, p->queue.head, &err);
    }
}

const char *pool_trouble(const struct pool *p) { return p->trouble; }
void pool_drain(struct pool *p) { p->draining = true; }
void pool_announce_reset(struct pool *p) { p->announce_reset = true; }

void pool_fail_queued(struct pool *p, const struct error *why)
{
    while (p->queue.head)
        pool_fail(p, p->queue.head, why);
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
    bool any = p->queue.head || p->running.head;
    for (const struct pool_worker *w = p->workers; w && !any; w = w->next)
        any = w->job != NULL;
    return any;
}

static void expire_queue(struct pool *p, int64_t now_ns)
{
    struct job *next;
    for (struct job *j = p->queue.head; j; j = next) {
        next = j->next;
        if (now_ns < j->queue_deadline_ns)
            continue;
        struct error err;
        error_set(&err, ERR_OVERLOADED, "no worker was free within the queue_timeout of %lld ms",
                  (long long)p->opts.queue_timeout_ms);
        err.retry_after_s = retry_after_s(p);
        pool_fail(p, j, &err);
    }
}

void pool_tick(struct pool *p, int64_t now_ns, int64_t first_row_ns)
{
    expire_queue(p, now_ns);
    struct job *next;
    for (struct job *j = p->running.head; j; j = next) {
        next = j->next;
        struct pool_worker *w = j->worker;
        if (j->head_of_result_seen || !w || w->state != POOL_BUSY)
            continue;
        if (!pool_refresh(w)) {
            pool_worker_doom(w, DEATH_LINK);
            continue;
        }
        if (j->spool.phase != SPOOL_ON && ring_reader_ready(&w->reader) == 0)
            continue;
        if (j->first_row_ns == 0)
            j->first_row_ns = now_ns;
        else if (now_ns - j->first_row_ns >= first_row_ns) {
            j->head_of_result_seen = true;
            j->events->data(j);
        }
    }
}

struct pool_counts pool_count(const struct pool *p)
{
    struct pool_counts c = {.queued = p->queue.count};
    for (const struct pool_worker *w = p->workers; w; w = w->next)
        switch (w->state) {
        case POOL_IDLE:
            c.idle++;
            break;
        case POOL_BUSY:
            c.busy++;
            break;
        case POOL_DRAINING:
            c.draining++;
            break;
        case POOL_LOST:
            c.lost++;
            break;
        }
    return c;
}

const struct pool_worker *pool_workers(const struct pool *p) { return p->workers; }

struct job *pool_find(struct pool *p, const char *query_id)
{
    const struct job_list *lists[] = {&p->running, &p->queue};
    for (int i = 0; i < 2; i++)
        for (struct job *j = lists[i]->head; j; j = j->next)
            if (strcmp(j->query_id, query_id) == 0)
                return j;
    return NULL;
}
