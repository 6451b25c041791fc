/* Jobs on their way to a worker: admission, the queue, dispatch. In which order they go is fair.c's matter. Runs in the front. */
#include "core/clock.h"
#include "sched/pool_internal.h"

#include <stdio.h>
#include <string.h>

/* An idle worker that may serve this job; the one that worked last first: its memory is warm. With isolation by key: one that served nobody
 * else; those are looked for among the idle ones. NULL: none. */
static struct pool_worker *pick(const struct pool *p, const struct job *job)
{
    if (!p->opts.isolation_by_key)
        return p->idle;
    struct pool_worker *fresh = NULL;
    for (struct pool_worker *w = p->idle; w; w = w->next_idle) {
        if (w->served && w->served_tenant == job_tenant_id(job))
            return w;
        if (!w->served && !fresh)
            fresh = w;
    }
    return fresh;
}

static size_t url_bytes(const struct job *job) { return job->url ? strlen(job->url) + 1 : 0; }
static size_t request_bytes(const struct job *job) { return job->sql_len + job->params_len + url_bytes(job); }

/* The submitter has checked the sizes against the configuration; a worker of the time before a reload may have less room. */
bool pool_fits(const struct pool_worker *w, const struct job *job, struct error *err)
{
    if (request_bytes(job) <= w->ring.request_bytes)
        return true;
    error_set(err, ERR_PAYLOAD_TOO_LARGE, "statement and parameters have %zu bytes, the worker has room for %zu", request_bytes(job),
              w->ring.request_bytes);
    err->limit_bytes = (int64_t)w->ring.request_bytes;
    return false;
}

struct link_run pool_order(const struct pool *p, const struct job *job, int64_t now_ns)
{
    struct link_run m = {.type = LINK_RUN,
                         .job = job->id,
                         .sql_bytes = (uint32_t)job->sql_len,
                         .params_bytes = (uint32_t)job->params_len,
                         .url_bytes = (uint32_t)url_bytes(job),
                         .max_rows = job->max_rows,
                         .queue_us = (now_ns - job->submitted_ns) / 1000,
                         .max_bytes = job->max_bytes,
                         .format = job->format,
                         .coding = job->coding,
                         .ipc_coding = job->ipc_coding,
                         .big_numbers_as_text = job->big_numbers_as_text,
                         .progress = job->class == JOB_BACKGROUND,
                         .profile = job->profile,
                         .inline_bytes = p->opts.inline_bytes};
    memcpy(m.query_id, job->query_id, sizeof m.query_id);
    return m;
}

void pool_begin(struct pool *p, struct pool_worker *w, struct job *job, int64_t now_ns)
{
    job->started_ns = now_ns;
    job->worker = w;
    job->slot = w->short_lane ? -1 : (int)w->slot;
    job->on_short_lane = w->short_lane;
    if (w->short_lane)
        job->taken_for = (uint8_t)fair_length(p->fair, job);
    job->version = w->version;
    job->cpu_from_ns = job->early_at ? w->cpu_ns : clock_process_cpu_ns(w->pid);
    pool_memory_begin(job);
    job->tries++;
    w->served = true;
    w->served_tenant = job_tenant_id(job);
    w->queries++;
    atomic_store_explicit(&p->page->cell[w->cell].queries, w->queries, memory_order_relaxed);
    if (job->state == JOB_QUEUED)
        job_list_remove(&p->queue[job->class], job);
    job_set_state(job, JOB_RUNNING);
    job_list_push(&p->running, job);
}

bool pool_start(struct pool *p, struct pool_worker *w, struct job *job)
{
    memcpy(w->ring.request, job->sql, job->sql_len);
    if (job->params_len)
        memcpy(w->ring.request + job->sql_len, job->params, job->params_len);
    if (job->url)
        memcpy(w->ring.request + job->sql_len + job->params_len, job->url, url_bytes(job));
    int64_t now = clock_now_ns();
    struct link_run m = pool_order(p, job, now);
    m.session = w->kind == WORKER_KIND_SESSION;
    m.session_reset = job->session_reset |= p->announce_reset;
    pool_arm(p, w, job->id, now + job->timeout_ms * NS_PER_MS);
    if (link_send(w->link_fd, &m) < 0) {
        pool_disarm(p, w);
        return false;
    }
    p->announce_reset = false;
    w->job = job;
    w->state = POOL_BUSY;
    pool_worker_noted(w);
    fair_started(p->fair, job);
    fair_entered(p->fair, job);
    pool_begin(p, w, job, now);
    return true;
}

/* Idle workers are there, but they served others (isolation by key): one of them makes room for a new one, and the tenant waits for that. */
static void put_aside(struct pool *p, struct job *job)
{
    fair_park(p->fair, job);
    if (!p->idle || p->replacing >= fair_parked(p->fair))
        return;
    struct pool_worker *longest = p->idle;
    while (longest->next_idle)
        longest = longest->next_idle;
    p->replacing++;
    pool_worker_doom(longest, DEATH_RETIRED);
}

/* The next one: of those that wait, or that were sent early to a worker that is not so far. */
static struct job *next_job(struct pool *p)
{
    struct job *job = fair_pop(p->fair);
    while (!job && pool_early_recall_any(p))
        job = fair_pop(p->fair);
    return job;
}

void pool_dispatch(struct pool *p)
{
    struct job *job;
    struct error err;
    if (fair_parked(p->fair))
        fair_unpark(p->fair);
    while (p->idle && (job = next_job(p))) {
        if (pool_check_text(p, job, &err) < 0) { /* since it came here */
            fair_push_front(p->fair, job);
            pool_fail(p, job, &err);
            continue;
        }
        struct pool_worker *w = pick(p, job);
        if (w && pool_fits(w, job, &err) && pool_start(p, w, job))
            continue;
        fair_push_front(p->fair, job); /* it did not start after all */
        if (!w)
            put_aside(p, job);
        else if (request_bytes(job) > w->ring.request_bytes)
            pool_fail(p, job, &err);
        else
            pool_worker_doom(w, DEATH_LINK);
    }
    pool_short_lane_dispatch(p);
    pool_early_dispatch(p);
}

/* When a place may be free: from what jobs took lately, or from how long those that run are at it already. Seconds, 1 to 60. */
static int retry_after_s(const struct pool *p, unsigned before, unsigned places)
{
    int64_t now = clock_now_ns(), age_us = 0;
    for (const struct job *j = p->running.head; j; j = j->next)
        age_us += (now - j->started_ns) / 1000;
    if (p->running.count)
        age_us /= p->running.count;
    int64_t each_us = p->mean_exec_us > age_us ? p->mean_exec_us : age_us;
    int64_t s = each_us * (int64_t)(before + 1) / (places ? places : 1) / 1000000 + 1;
    return s > 60 ? 60 : (int)s;
}

static const char *name_of(const struct job *job) { return job->tenant ? job->tenant->name : ""; }

/* Its tenant's own limit, or nobody's place can be had. */
static int admit(struct pool *p, struct job *job, struct error *err)
{
    unsigned mine = fair_waiting_of(p->fair, job);
    const struct tenant_limits *l = job->tenant ? &job->tenant->limits : NULL;
    if (l && l->queue > 0 && mine >= l->queue) {
        unsigned places = l->concurrency > 0 && l->concurrency < p->serving ? (unsigned)l->concurrency : p->serving;
        error_set(err, ERR_RATE_LIMITED, "the key %s has %u queries waiting, as many as it may", name_of(job), mine);
        err->retry_after_s = retry_after_s(p, mine, places);
        return -1;
    }
    if (fair_waiting(p->fair) < p->opts.queue_length)
        return 0;
    struct job *victim = fair_victim(p->fair, job);
    struct error full;
    error_set(&full, ERR_OVERLOADED,
              victim ? "the queue of %u is full, most of it with this key's: a query of another key took the place"
                     : "all workers are busy and the queue of %u is full",
              fair_waiting(p->fair));
    full.retry_after_s = retry_after_s(p, fair_waiting(p->fair), p->serving);
    if (victim) {
        pool_fail(p, victim, &full);
        return 0;
    }
    *err = full;
    return -1;
}

int pool_submit(struct pool *p, struct job *job, struct error *err)
{
    if (p->draining) {
        error_set(err, ERR_UNAVAILABLE, "the server is shutting down");
        err->retry_after_s = 5;
        return -1;
    }
    if (!p->serving && p->trouble[0]) {
        error_set(err, ERR_UNAVAILABLE, "no worker can be started: %s", p->trouble);
        err->retry_after_s = 1;
        return -1;
    }
    if (pool_check_text(p, job, err) < 0)
        return -1;
    if (++p->last_job == 0)
        p->last_job = 1;
    job->id = p->last_job;
    job->submitted_ns = clock_now_ns();
    fair_identify(p->fair, job);
    struct pool_worker *w;
    bool may_pass;
    while ((may_pass = fair_may_pass(p->fair, job)) && (w = pick(p, job))) {
        if (!pool_fits(w, job, err))
            return -1;
        if (pool_start(p, w, job))
            return 0;
        pool_worker_doom(w, DEATH_LINK);
    }
    while ((w = pool_short_lane_for(p, job))) {
        if (pool_start(p, w, job))
            return 0;
        pool_worker_doom(w, DEATH_LINK);
    }
    if (admit(p, job, err) < 0)
        return -1;
    pool_enqueue(p, job, false);
    if (may_pass && p->idle)
        put_aside(p, job);
    pool_early_dispatch(p);
    return 0;
}

void pool_enqueue(struct pool *p, struct job *job, bool first)
{
    job->queue_deadline_ns = clock_now_ns() + p->opts.queue_timeout_ms * NS_PER_MS;
    job_set_state(job, JOB_QUEUED);
    job_list_push(&p->queue[job->class], job);
    fair_entered(p->fair, job);
    if (first)
        fair_push_front(p->fair, job);
    else
        fair_push(p->fair, job);
}

/* Nobody waits at the other end of a background job: it waits as long as it has to. */
void pool_expire_queue(struct pool *p, int64_t now_ns)
{
    struct job *job;
    while ((job = p->queue[JOB_INTERACTIVE].head) && now_ns >= job->queue_deadline_ns) {
        if (job->early_at && !pool_early_recall_job(p, job))
            return; /* its worker has it */
        struct error err;
        bool own = fair_at_its_limit(p->fair, job);
        long long ms = (long long)p->opts.queue_timeout_ms;
        if (own)
            error_set(&err, ERR_RATE_LIMITED, "the key %s had as many queries running as it may for the whole queue_timeout of %lld ms", name_of(job),
                      ms);
        else
            error_set(&err, ERR_OVERLOADED, "no worker was free within the queue_timeout of %lld ms", ms);
        err.retry_after_s = retry_after_s(p, fair_waiting(p->fair), p->serving);
        pool_fail(p, job, &err);
    }
}
