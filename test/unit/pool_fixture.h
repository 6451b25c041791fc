/* A pool with workers that the test plays itself: it holds the other ends of their links and regions. */
#pragma once
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "core/clock.h"
#include "core/fd.h"
#include "sched/pool_internal.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define REQUEST_BYTES ((size_t)131072)
#define WORKERS_MAX 4

struct fake {
    int link_fd; /* the worker's end */
    struct ring ring;
};

struct world {
    struct event_base *base;
    struct control_page *page;
    int page_fd, nudge_fd;
    struct log log;
    struct pool *pool;
    struct fake worker[WORKERS_MAX + 1]; /* by id */
    unsigned data, end, failed;
    struct error last;
    uint32_t replaced[16];
    enum death_reason replaced_for[16];
    unsigned replaced_count;
};

static void on_data(struct job *job) { ((struct world *)job->owner)->data++; }
static void on_end(struct job *job) { ((struct world *)job->owner)->end++; }
static void on_failed(struct job *job)
{
    struct world *w = job->owner;
    w->failed++;
    w->last = job->error;
}
static const struct job_events events = {on_data, on_end, on_failed};

static void on_replace(void *ctx, uint32_t worker, enum death_reason reason)
{
    struct world *w = ctx;
    assert_true(w->replaced_count < 16);
    w->replaced[w->replaced_count] = worker;
    w->replaced_for[w->replaced_count++] = reason;
}

static int setup(void **state)
{
    struct world *w = calloc(1, sizeof *w);
    assert_non_null(w);
    w->log = (struct log){.level = LOG_ERROR, .role = "front"};
    w->base = event_base_new();
    w->page_fd = fd_memory("page", sizeof(struct control_page));
    w->page = control_map(w->page_fd);
    w->nudge_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    assert_true(w->base && w->page && w->nudge_fd >= 0);
    struct pool_options o = {.queue_length = 2, .queue_timeout_ms = 1000, .inline_bytes = 1000};
    w->pool = pool_new(w->base, w->page, w->nudge_fd, &o, on_replace, w, &w->log);
    *state = w;
    return 0;
}

static int teardown(void **state)
{
    struct world *w = *state;
    pool_free(w->pool);
    for (int i = 1; i <= WORKERS_MAX; i++)
        if (w->worker[i].ring.shared) {
            close(w->worker[i].link_fd);
            ring_unmap(&w->worker[i].ring);
        }
    event_base_free(w->base);
    close(w->page_fd);
    close(w->nudge_fd);
    free(w);
    return 0;
}

static void add_worker_as(struct world *w, uint32_t id, size_t request_bytes, bool short_lane)
{
    int pair[2], region = ring_create(request_bytes);
    struct fake *f = &w->worker[id];
    assert_true(region >= 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair), 0);
    assert_int_equal(ring_map(region, request_bytes, true, &f->ring), 0);
    f->link_fd = pair[1];
    struct control_assign m = {
        .type = CONTROL_ASSIGN, .worker = id, .cell = id, .pid = 1000 + (int)id, .request_bytes = request_bytes, .short_lane = short_lane};
    assert_int_equal(pool_add(w->pool, &m, pair[0], region), 0);
}

static inline void add_worker_with(struct world *w, uint32_t id, size_t request_bytes) { add_worker_as(w, id, request_bytes, false); }
static inline void add_worker(struct world *w, uint32_t id) { add_worker_with(w, id, REQUEST_BYTES); }

static struct job *job_with(struct world *w, size_t sql_len)
{
    struct job *j = job_new();
    j->sql = malloc(sql_len + 1);
    assert_non_null(j->sql);
    memset(j->sql, 'x', sql_len);
    j->sql_len = sql_len;
    j->timeout_ms = 30000;
    j->events = &events;
    j->owner = w;
    memcpy(j->query_id, "11111111-1111-4111-8111-111111111111", QUERY_ID_BYTES);
    return j;
}

static inline struct job *submit(struct world *w)
{
    struct job *j = job_with(w, 8);
    struct error err;
    assert_int_equal(pool_submit(w->pool, j, &err), 0);
    return j;
}

static inline int submit_fails(struct world *w, size_t sql_len, struct error *err)
{
    struct job *j = job_with(w, sql_len);
    int r = pool_submit(w->pool, j, err);
    job_free(j);
    return r;
}

/* The worker reads its order and takes it up. */
static inline uint32_t take(struct world *w, uint32_t id)
{
    union link_message m;
    assert_int_equal(link_receive(w->worker[id].link_fd, LINK_FRONT, LINK_IDLE, &m), 1);
    assert_int_equal(m.type, LINK_RUN);
    atomic_store(&w->worker[id].ring.shared->taken, m.run.job);
    return m.run.job;
}

static inline bool has_order(struct world *w, uint32_t id)
{
    char byte;
    return recv(w->worker[id].link_fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

static void say(struct world *w, uint32_t id, const void *message)
{
    assert_int_equal(link_send(w->worker[id].link_fd, message), 0);
    event_base_loop(w->base, EVLOOP_NONBLOCK);
}

static inline void say_end(struct world *w, uint32_t id, uint32_t job, uint64_t produced, int64_t exec_us)
{
    say(w, id, &(struct link_end){.type = LINK_END, .job = job, .produced = produced, .rows = 1, .exec_us = exec_us});
}

static inline void die(struct world *w, uint32_t id, enum death_reason reason, enum stop_stage stage, int signal)
{
    pool_died(w->pool, &(struct control_died){CONTROL_DIED, id, reason, stage, signal, 0});
}

static inline const struct pool_worker *worker_of(struct world *w, uint32_t id)
{
    const struct pool_worker *pw = pool_workers(w->pool);
    while (pw && pw->id != id)
        pw = pw->next;
    return pw;
}

static inline struct job *submit_text(struct world *w, struct tenant *t, char letter, size_t len, enum job_class class)
{
    struct job *j = job_with(w, len);
    struct error err;
    memset(j->sql, letter, len);
    j->tenant = t ? tenant_ref(t) : NULL;
    j->class = class;
    assert_int_equal(pool_submit(w->pool, j, &err), 0);
    return j;
}

static inline struct job *submit_letter(struct world *w, char letter) { return submit_text(w, NULL, letter, 8, JOB_INTERACTIVE); }

static inline bool runs_on(const struct job *j, uint32_t worker) { return j->state == JOB_RUNNING && j->worker->id == worker; }

/* It ends after that time, and its result is taken. */
static inline void finish_after(struct world *w, struct job *j, int64_t ms)
{
    uint32_t on = j->worker->id, id = take(w, on);
    j->started_ns = clock_now_ns() - ms * NS_PER_MS;
    j->cpu_from_ns = INT64_MAX; /* the clock of no process of ours */
    j->cpu_us = ms * 1000;
    say_end(w, on, id, atomic_load(&w->worker[on].ring.shared->produced), ms * 1000);
    job_set_state(j, JOB_DONE);
    pool_release(w->pool, j);
    job_free(j);
}
