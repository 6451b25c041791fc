/* The pool's workers: what they say on their links, and when they are given up. Runs in the front.
 * All that a worker says is checked before it is believed; one that cheats is replaced. */
#include "core/clock.h"
#include "sched/pool_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

/* Messages of one link handled in one turn of the loop, and bytes of its ring sent or copied: a chatty worker must not starve the others. */
#define MESSAGES_PER_TURN 32
#define BYTES_PER_TURN RING_BYTES
/* A worker that dies before it takes its job up costs the job nothing but another try; a second such death is no accident. */
#define TRIES_MAX 2

int pool_add(struct pool *p, const struct control_assign *m, int link_fd, int region_fd)
{
    struct pool_worker *w = calloc(1, sizeof *w);
    CHECK(w);
    if (m->cell >= CONTROL_CELLS || ring_map(region_fd, m->request_bytes, false, &w->ring) < 0) {
        close(link_fd);
        close(region_fd);
        free(w);
        return -1;
    }
    close(region_fd);
    w->id = m->worker;
    w->cell = m->cell;
    w->slot = m->slot;
    w->kind = (enum worker_kind)m->kind;
    w->pid = m->pid;
    w->version = m->version;
    w->short_lane = m->short_lane;
    w->link_fd = link_fd;
    w->reader.ring = &w->ring;
    w->pool = p;
    w->next = p->workers;
    p->workers = w;
    p->replacing -= p->replacing > 0 && !w->short_lane;
    pool_worker_noted(w);
    w->event = event_new(p->base, link_fd, EV_READ | EV_PERSIST, pool_worker_readable, w);
    CHECK(w->event && event_add(w->event, NULL) == 0);
    if (m->supersedes)
        pool_retire(p, m->supersedes);
    pool_dispatch(p);
    return 0;
}

void pool_worker_noted(struct pool_worker *w)
{
    struct pool *p = w->pool;
    bool serves = !w->doomed && w->state != POOL_LOST && !w->short_lane, idle = serves && w->state == POOL_IDLE;
    if (w->short_lane)
        pool_short_lane_noted(p);
    if (serves != w->counted) {
        w->counted = serves;
        p->serving += serves ? 1 : -1u;
        fair_set_places(p->fair, p->serving);
    }
    if (idle == w->is_idle)
        return;
    w->is_idle = idle;
    if (idle) {
        w->prev_idle = NULL;
        w->next_idle = p->idle;
        if (p->idle)
            p->idle->prev_idle = w;
        p->idle = w;
        return;
    }
    *(w->prev_idle ? &w->prev_idle->next_idle : &p->idle) = w->next_idle;
    if (w->next_idle)
        w->next_idle->prev_idle = w->prev_idle;
}

void pool_worker_free(struct pool_worker *w)
{
    w->doomed = true;
    pool_worker_noted(w);
    struct pool_worker **at = &w->pool->workers;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    event_free(w->event);
    close(w->link_fd);
    ring_unmap(&w->ring);
    free(w);
}

void pool_arm(struct pool *p, const struct pool_worker *w, uint32_t job, int64_t deadline_ns)
{
    struct control_cell *c = &p->page->cell[w->cell];
    atomic_store_explicit(&c->deadline_ns, 0, memory_order_release);
    atomic_store_explicit(&c->job, job, memory_order_release);
    atomic_store(&c->deadline_ns, deadline_ns);
    /* The supervisor publishes its next look before it sleeps; ours is earlier: wake it. */
    if (deadline_ns < atomic_load(&p->page->wake_ns))
        eventfd_write(p->nudge_fd, 1);
}

void pool_pause(struct pool *p, const struct pool_worker *w) { atomic_store_explicit(&p->page->cell[w->cell].deadline_ns, 0, memory_order_release); }

void pool_disarm(struct pool *p, const struct pool_worker *w)
{
    pool_pause(p, w);
    atomic_store_explicit(&p->page->cell[w->cell].job, 0, memory_order_release);
}

void pool_worker_doom(struct pool_worker *w, enum death_reason reason)
{
    if (w->doomed)
        return;
    w->doomed = true;
    (void)pool_early_recall(w->pool, w);
    if (reason == DEATH_LINK && w->state != POOL_LOST) {
        w->state = POOL_LOST;
        event_del(w->event);
    }
    pool_worker_noted(w);
    w->pool->replace(w->pool->ctx, w->id, reason);
}

static void on_data(struct pool_worker *w, uint32_t job_id)
{
    struct job *job = w->job;
    if (job->id != job_id || !pool_refresh(w)) {
        pool_worker_doom(w, DEATH_LINK);
        return;
    }
    bool first = !job->head_of_result_seen;
    struct pool *p = w->pool;
    job->head_of_result_seen = true;
    job->events->data(job);
    if (first) /* from now on it is a result that others wait behind */
        pool_short_lane_dispatch(p);
}

void pool_note_cpu(struct job *job)
{
    struct pool_worker *w = job->worker;
    int64_t ns = w ? (w->cpu_ns = clock_process_cpu_ns(w->pid)) - job->cpu_from_ns : 0;
    if (ns / 1000 > job->cpu_us)
        job->cpu_us = ns / 1000;
}

/* The job has left the worker; the ring may still hold its bytes. */
static void leave_running(struct pool *p, struct job *job)
{
    job_list_remove(&p->running, job);
    fair_left(p->fair, job);
    job->finished_ns = clock_now_ns();
    pool_note_cpu(job);
    pool_short_lane_over(p, job);
    if (job->worker)
        pool_disarm(p, job->worker);
}

static void on_end(struct pool_worker *w, const struct link_end *m)
{
    struct pool *p = w->pool;
    struct job *job = w->job;
    if (job->id != m->job || !pool_take_end(w, m->produced)) {
        pool_worker_doom(w, DEATH_LINK);
        return;
    }
    leave_running(p, job);
    job->rows = m->rows;
    if (job->url)
        job->bytes = m->url_bytes;
    /* Never longer than since it was given the job: the worker's word goes into averages. */
    int64_t most_us = (job->finished_ns - job->started_ns) / 1000;
    job->exec_us = m->exec_us < most_us ? m->exec_us : most_us;
    job->truncated = m->truncated;
    job->profiled = m->profiled;
    job->rows_scanned = m->rows_scanned;
    job->spill_bytes = m->spill_bytes;
    job->peak_memory_bytes = m->peak_memory_bytes;
    job->cache = m->cache;
    p->mean_exec_us += (job->exec_us - p->mean_exec_us) / 8;
    fair_learn(p->fair, job, lengths_judge(job->exec_us, most_us, job->cpu_us, w->queries == 1));
    w->state = POOL_DRAINING;
    pool_early_begin(p, w);
    job_set_state(job, JOB_DELIVERING);
    if (m->spent)
        fair_penalize(p->fair, job, job->finished_ns);
    if (m->spent || w->spooled)
        pool_worker_doom(w, m->spent ? DEATH_SPENT : DEATH_RETIRED);
    job->events->end(job);
    if (w->early_count && w->state == POOL_DRAINING && !w->muted) {
        w->muted = true;
        event_del(w->event);
    }
}

static void on_fail(struct pool_worker *w, const struct link_fail *m)
{
    struct pool *p = w->pool;
    struct job *job = w->job;
    bool conflict = m->error.code == ERR_CONFLICT && !job->url; /* there is nothing that it could have met */
    if (job->id != m->job || conflict || (job->spool.phase != SPOOL_ON && !pool_take_end(w, m->produced))) {
        pool_worker_doom(w, DEATH_LINK);
        return;
    }
    struct error err = m->error;
    if (err.code == ERR_CANCELLED) {
        enum stop_stage stage = pool_ladder_stage(p, job);
        if (stage == STOP_NONE && job->stop_reason == STOP_FOR_NOTHING)
            error_set(&err, ERR_INTERNAL, "the query was interrupted, and nobody asked for it");
        else
            pool_stopped_error(job, STOP_INTERRUPT, &err);
        atomic_fetch_add_explicit(&p->page->stops_by_interrupt, 1, memory_order_relaxed);
    } else if (err.code == ERR_OUT_OF_MEMORY && err.stopped_by == STOP_NONE) {
        err.limit_bytes = m->error.limit_bytes;
    }
    if (m->spent) {
        fair_penalize(p->fair, job, clock_now_ns());
        pool_worker_doom(w, DEATH_SPENT);
    }
    pool_fail(p, job, &err);
}

void pool_worker_read(struct pool_worker *w)
{
    uint64_t from = w->reader.consumed;
    for (int i = 0; i < MESSAGES_PER_TURN && w->state != POOL_LOST && w->reader.consumed - from < BYTES_PER_TURN; i++) {
        union link_message m;
        int n = link_receive(w->link_fd, LINK_WORKER, w->state == POOL_BUSY ? LINK_BUSY : LINK_IDLE, &m);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) {
            /* Gone or out of its mind. Which of the two, and how it died, the supervisor tells (pool_died). */
            w->state = POOL_LOST;
            event_del(w->event);
            pool_worker_noted(w);
            pool_worker_doom(w, DEATH_LINK);
            return;
        }
        switch ((enum link_type)m.type) {
        case LINK_DATA: on_data(w, m.data.job); break;
        case LINK_END:
            on_end(w, &m.end); /* the last word for now: what comes all the same makes the link readable again */
            return;
        case LINK_FAIL: on_fail(w, &m.fail); return;
        case LINK_SPOOLED: pool_on_spooled(w, &m.spooled); break;
        case LINK_WANT: pool_on_want(w, &m.want); break;
        default: break;
        }
    }
}

void pool_worker_readable(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    pool_worker_read(arg);
}

struct pool_worker *pool_find_worker(struct pool *p, uint32_t id)
{
    for (struct pool_worker *w = p->workers; w; w = w->next)
        if (w->id == id)
            return w;
    return NULL;
}

static void crashed_error(const struct control_died *m, struct error *ret)
{
    if (m->signal)
        error_set(ret, ERR_WORKER_CRASHED, "the worker process that ran this query was ended by signal %d", m->signal);
    else
        error_set(ret, ERR_WORKER_CRASHED, "the worker process that ran this query exited with code %d", m->exit_code);
    ret->signal = m->signal;
}

/* Its kernel's cap, not the engine's limit. */
static void exhausted_error(const struct control_died *m, struct error *ret)
{
    if (m->reason == DEATH_SCRATCH)
        error_set(ret, ERR_OUT_OF_MEMORY, "the query spilled more than its worker's scratch limit of %" PRId64 " bytes", m->limit_bytes);
    else if (m->limit_bytes > 0)
        error_set(ret, ERR_OUT_OF_MEMORY, "the query needed more than its worker's memory cap of %" PRId64 " bytes, and was killed", m->limit_bytes);
    else
        error_set(ret, ERR_OUT_OF_MEMORY, "the memory of the machine or its container ran out, and this query was killed");
    ret->limit_bytes = m->limit_bytes > 0 ? m->limit_bytes : 0;
    ret->stopped_by = STOP_KILL;
}

/* The worker's own word, and only ever about its own job. */
static bool has_taken(const struct pool_worker *w, const struct job *job) { return atomic_load(&w->ring.shared->taken) == job->id; }

double pool_progress(const struct job *job)
{
    const struct pool_worker *w = job->worker;
    uint32_t said = job->state == JOB_RUNNING && w && has_taken(w, job) ? atomic_load(&w->ring.shared->progress) : 0;
    return said == 0 || said > 1000001 ? -1 : (said - 1) / 1e6;
}

const struct job *pool_worker_job(const struct pool_worker *w) { return w->job && has_taken(w, w->job) ? w->job : NULL; }

/* What becomes of a job whose worker has died. */
static void died_with(struct pool *p, struct pool_worker *w, struct job *job, const struct control_died *m)
{
    bool taken = has_taken(w, job);
    struct error err;
    /* The supervisor says whether it was the ladder. A worker that crashes under an interrupt has crashed, though its job was to
     * end anyway; only who asked for the end gets what was asked for. */
    if (m->reason == DEATH_TIMEOUT || m->reason == DEATH_CANCEL || job->stop_reason == STOP_FOR_CANCEL || job->stop_reason == STOP_FOR_LIMIT)
        pool_stopped_error(job, m->stage, &err);
    else if (m->reason == DEATH_MEMORY || m->reason == DEATH_SCRATCH)
        exhausted_error(m, &err);
    else
        crashed_error(m, &err);
    bool fresh = !taken && !job->head_of_result_seen && job->spool.phase == SPOOL_NONE; /* whatever it says of itself */
    bool died_by_itself = err.code == ERR_WORKER_CRASHED || err.code == ERR_OUT_OF_MEMORY;
    if (fresh && died_by_itself && job->tries < TRIES_MAX) {
        job_list_remove(&p->running, job);
        job->worker = NULL;
        if (w->job == job)
            w->job = NULL;
        fair_ended(p->fair, job);
        pool_enqueue(p, job, true);
        return;
    }
    if (taken) {
        fair_penalize(p->fair, job, clock_now_ns());
        pool_note_strike(p, job, (enum death_reason)m->reason, err.code);
    }
    pool_fail(p, job, &err);
}

void pool_died(struct pool *p, const struct control_died *m)
{
    struct pool_worker *w = pool_find_worker(p, m->worker);
    if (!w || m->reason >= DEATH_REASONS || m->stage >= STOP_COUNT)
        return;
    for (int i = 0; i < CONTROL_CELLS && w->state == POOL_BUSY; i++) /* its last words come before its death */
        pool_worker_read(w);
    struct job *job = w->job;
    bool delivering = job && job->state == JOB_DELIVERING;
    w->state = delivering ? POOL_DRAINING : POOL_LOST;
    w->doomed = true;
    pool_worker_noted(w);
    struct job *next = pool_early_of_dead(p, w);
    if (next)
        died_with(p, w, next, m);
    if (delivering) {
        event_del(w->event);
        w->id = 0; /* no more than a ring that somebody still reads */
        if (w->spooled && job->events->buried)
            job->events->buried(job);
        if (next)
            pool_dispatch(p);
        return;
    }
    if (job)
        died_with(p, w, job, m);
    pool_worker_free(w);
    pool_dispatch(p);
}

void pool_give_room(struct pool_worker *w, uint32_t job, size_t n)
{
    bool writes = w->state == POOL_BUSY || w->early_count;
    if (n && ring_reader_consume(&w->reader, n) && writes) {
        struct link_space m = {.type = LINK_SPACE, .job = job};
        /* A full queue holds a doorbell already; a broken link is found by its event. */
        (void)link_send(w->link_fd, &m);
    }
}

void pool_consumed(struct pool *p, struct job *job, size_t n)
{
    struct pool_worker *w = job->worker;
    job->bytes += n;
    job->head_of_result_seen = true;
    pool_clock_goes_on(p, job);
    pool_give_room(w, job->id, n);
}

void pool_release(struct pool *p, struct job *job)
{
    struct pool_worker *w = job->worker;
    job->worker = NULL;
    if (!w)
        return;
    w->job = NULL;
    fair_ended(p->fair, job);
    pool_give_room(w, job->id, ring_reader_ready(&w->reader));
    if (w->id == 0) {
        pool_worker_free(w);
        return;
    }
    if (w->state != POOL_DRAINING || !pool_early_take_turn(w)) {
        if (w->state == POOL_DRAINING)
            w->state = POOL_IDLE;
        pool_worker_noted(w);
        pool_worker_is_free(w);
    }
    pool_dispatch(p);
}

void pool_worker_is_free(struct pool_worker *w)
{
    int64_t recycle_after = w->pool->opts.recycle_after;
    if (w->stale || w->spooled || (recycle_after && w->queries >= (uint64_t)recycle_after))
        pool_worker_doom(w, DEATH_RETIRED);
}

void pool_retire(struct pool *p, uint32_t worker)
{
    struct pool_worker *w = pool_find_worker(p, worker);
    if (!w)
        return;
    w->stale = true;
    (void)pool_early_recall(p, w);
    if (w->state == POOL_IDLE)
        pool_worker_doom(w, DEATH_RETIRED);
}

void pool_replace_all(struct pool *p)
{
    for (struct pool_worker *w = p->workers; w; w = w->next) {
        w->stale = true;
        (void)pool_early_recall(p, w);
        if (w->state == POOL_IDLE)
            pool_worker_doom(w, DEATH_RETIRED);
    }
}
