/* The loop around one query: what the worker says, the deadline and the kill ladder, signals, and the output, which may be slow, full or
 * gone. The worker is believed no more than the front believes it. Runs in the command line. */
#include "cli/query_run.h"
#include "cli/query_worker.h"
#include "core/clock.h"
#include "link/messages.h"
#include "supervisor/ladder.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/random.h>
#include <sys/signalfd.h>

#define JOB 1u
#define MESSAGES_PER_TURN 32
/* How often the ring is looked at without a doorbell, and how long first bytes wait for more (contract, section 4). */
#define TICK_MS 200
/* The clock of a query stands while the output is the slow side: then this much of the ring is full. */
#define FULL_BYTES (RING_BYTES - RING_BYTES / 4)

enum phase { RUNNING, ENDED, OVER };
enum stop_reason { STOP_FOR_NOTHING, STOP_FOR_TIMEOUT, STOP_FOR_CANCEL };

struct run {
    const struct query_plan *plan;
    struct error *err;
    struct query_worker worker;
    struct ring_reader reader;
    struct ladder ladder;
    enum stop_reason stop_reason;
    enum phase phase;
    enum query_result result; /* once OVER */
    struct link_end end;      /* once ENDED */
    int signal_fd;
    int64_t deadline_ns; /* 0: none */
    int64_t seen_ns;     /* when bytes were first seen in the ring */
    bool head_open;      /* bytes may go out */
    bool blocked;        /* the output takes nothing now */
    bool link_over;      /* end of file, or nonsense, on the link */
    bool filter_ended;
    size_t out_at; /* what of the filter's `out` has gone out */
};

/* ---- ends ---- */

static void fail(struct run *r)
{
    r->phase = OVER;
    r->result = QUERY_FAILED;
}

static void fail_bad_worker(struct run *r)
{
    error_set(r->err, ERR_INTERNAL, "the worker process broke the protocol and was killed");
    fail(r);
}

static void fail_output(struct run *r)
{
    r->phase = OVER;
    r->result = errno == EPIPE ? QUERY_READER_GONE : QUERY_FAILED;
    output_failed(r->plan->output, "write the result to", r->err);
}

static void fail_stopped(struct run *r, enum stop_stage stage)
{
    if (r->stop_reason == STOP_FOR_TIMEOUT) {
        error_set(r->err, ERR_TIMEOUT, "the query ran longer than its timeout of %lld ms; --timeout gives it more", (long long)r->plan->timeout_ms);
        r->err->limit_ms = r->plan->timeout_ms;
    } else {
        error_set(r->err, ERR_CANCELLED, "the query was cancelled");
    }
    r->err->stopped_by = stage;
    fail(r);
}

/* ---- stopping ---- */

static void climb(struct run *r)
{
    const struct config *c = r->plan->cfg;
    struct ladder_graces g = {c->limits.interrupt_grace_ms, c->limits.term_grace_ms};
    ladder_step(&r->ladder, &r->worker.ends.child, &g, clock_now_ns());
}

static void stop(struct run *r, enum stop_reason reason)
{
    if (r->stop_reason != STOP_FOR_NOTHING)
        return;
    r->stop_reason = reason;
    climb(r);
}

static void kill_now(struct run *r)
{
    if (r->stop_reason == STOP_FOR_NOTHING)
        r->stop_reason = STOP_FOR_CANCEL;
    (void)child_signal(&r->worker.ends.child, SIGKILL, 0);
    r->ladder.stage = STOP_KILL;
    r->ladder.next_ns = 0;
}

static void on_signal(struct run *r)
{
    struct signalfd_siginfo info;
    if (read(r->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (r->phase == ENDED) { /* nothing runs any more: the delivery ends */
        r->stop_reason = STOP_FOR_CANCEL;
        fail_stopped(r, STOP_NONE);
    } else if (info.ssi_signo == SIGINT && r->stop_reason != STOP_FOR_CANCEL) {
        bool on_its_way = r->stop_reason == STOP_FOR_TIMEOUT;
        r->stop_reason = STOP_FOR_CANCEL;
        if (!on_its_way)
            climb(r);
    } else {
        kill_now(r);
    }
}

/* ---- what the worker says ---- */

static void on_end(struct run *r, const struct link_end *m)
{
    if (!ring_reader_set_limit(&r->reader, m->produced)) {
        fail_bad_worker(r);
        return;
    }
    r->end = *m;
    r->head_open = true;
    r->phase = ENDED;
}

static void on_fail(struct run *r, const struct link_fail *m)
{
    if (m->error.code != ERR_CANCELLED) {
        *r->err = m->error;
        fail(r);
    } else if (r->stop_reason == STOP_FOR_NOTHING) {
        error_set(r->err, ERR_INTERNAL, "the query was interrupted, and nobody asked for it");
        fail(r);
    } else {
        fail_stopped(r, STOP_INTERRUPT);
    }
}

static void read_link(struct run *r, int most)
{
    for (int i = 0; i < most && r->phase == RUNNING && !r->link_over; i++) {
        union link_message m;
        int n = link_receive(r->worker.ends.link_fd, LINK_WORKER, LINK_BUSY, &m);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n > 0 && m.data.job != JOB) {
            n = -1;
            errno = EPROTO;
        }
        if (n < 0) {
            fail_bad_worker(r);
        } else if (n == 0) { /* it dies, or has to: how, its pidfd tells */
            r->link_over = true;
            (void)child_signal(&r->worker.ends.child, SIGKILL, 0);
        } else if (m.type == LINK_DATA) {
            r->head_open = true;
        } else if (m.type == LINK_END) {
            on_end(r, &m.end);
        } else if (m.type == LINK_FAIL) {
            on_fail(r, &m.fail);
        }
    }
}

static void on_death(struct run *r)
{
    read_link(r, INT32_MAX); /* its last words come before its death; the socket's queue is finite and nobody writes any more */
    if (!query_worker_reap(&r->worker) || r->phase != RUNNING)
        return;
    if (r->stop_reason != STOP_FOR_NOTHING) {
        fail_stopped(r, r->ladder.stage);
        return;
    }
    query_worker_crashed(&r->worker, "the worker process that ran this query", ERR_WORKER_CRASHED, r->err);
    fail(r);
}

/* ---- delivery ---- */

/* Gives n bytes of the ring back. */
static void consume(struct run *r, size_t n)
{
    if (!ring_reader_consume(&r->reader, n) || r->phase != RUNNING)
        return;
    struct link_space m = {.type = LINK_SPACE, .job = JOB};
    (void)link_send(r->worker.ends.link_fd, &m); /* a full queue holds a doorbell already */
}

/* Puts `len` bytes out: how many were taken; 0 with r->blocked or r->phase OVER. */
static size_t put(struct run *r, const void *data, size_t len)
{
    ssize_t n = output_write(r->plan->output, data, len);
    if (n < 0)
        fail_output(r);
    r->blocked = n == 0;
    return n > 0 ? (size_t)n : 0;
}

static bool put_filtered(struct run *r)
{
    struct buf *out = &r->plan->filter->out;
    for (;;) {
        while (r->out_at < out->len) {
            size_t n = put(r, out->data + r->out_at, out->len - r->out_at);
            if (n == 0)
                return false;
            r->out_at += n;
        }
        out->len = r->out_at = 0;
        r->plan->filter->more(r->plan->filter);
        if (out->len == 0)
            return true;
    }
}

/* Takes at most a piece of the ring, as it is or through the filter: whether anything moved. */
static bool take(struct run *r)
{
    struct filter *f = r->plan->filter;
    size_t ready = ring_reader_ready(&r->reader);
    const void *data = ring_reader_data(&r->reader);
    if (!f) {
        size_t n = ready ? put(r, data, ready) : 0;
        consume(r, n);
        return n > 0;
    }
    if (!put_filtered(r))
        return false;
    size_t len = ready < FILTER_PIECE_BYTES ? ready : FILTER_PIECE_BYTES;
    ssize_t n = len ? f->feed(f, data, len, r->phase == ENDED && len == ready) : 0;
    if (n > 0)
        consume(r, (size_t)n);
    bool whole = r->phase == ENDED && ring_reader_ready(&r->reader) == 0;
    if (n >= 0 && whole && !r->filter_ended) {
        r->filter_ended = true;
        n = f->end(f, r->end.rows, r->end.truncated) < 0 ? -1 : 1;
    }
    if (n < 0)
        fail_bad_worker(r);
    return n > 0;
}

static void deliver(struct run *r)
{
    if (r->phase == RUNNING && !ring_reader_refresh(&r->reader)) {
        fail_bad_worker(r);
        return;
    }
    if (!r->head_open) {
        int64_t now = clock_now_ns();
        if (ring_reader_ready(&r->reader) && !r->seen_ns)
            r->seen_ns = now;
        r->head_open = r->seen_ns && now - r->seen_ns >= TICK_MS * NS_PER_MS;
        if (!r->head_open)
            return;
    }
    r->blocked = false;
    for (size_t moved = 0; moved < RING_BYTES / FILTER_PIECE_BYTES && r->phase != OVER; moved++)
        if (!take(r))
            break;
    bool empty = ring_reader_ready(&r->reader) == 0 && (!r->plan->filter || (r->filter_ended && !r->plan->filter->out.len));
    if (r->phase == ENDED && empty && !r->blocked) {
        r->phase = OVER;
        r->result = QUERY_DONE;
    }
}

/* ---- the loop ---- */

/* The worker waits for the output, not the output for it: that is not the query's time. */
static bool is_paused(const struct run *r) { return r->blocked && ring_reader_ready(&r->reader) > FULL_BYTES; }

static int wait_ms(const struct run *r, int64_t now)
{
    bool ready = r->head_open && !r->blocked && (ring_reader_ready(&r->reader) || r->phase == ENDED);
    if (ready)
        return 0;
    if (r->phase != RUNNING)
        return -1;
    int watch_ms = query_worker_watch_ms(&r->worker);
    int64_t next = now + (watch_ms > 0 ? watch_ms : TICK_MS) * NS_PER_MS;
    if (r->ladder.next_ns && r->ladder.next_ns < next)
        next = r->ladder.next_ns;
    if (r->deadline_ns && r->stop_reason == STOP_FOR_NOTHING && !is_paused(r) && r->deadline_ns < next)
        next = r->deadline_ns;
    return next <= now ? 0 : (int)((next - now + NS_PER_MS - 1) / NS_PER_MS);
}

static void look_at_clock(struct run *r, int64_t before)
{
    int64_t now = clock_now_ns();
    if (r->deadline_ns && is_paused(r))
        r->deadline_ns += now - before;
    if (r->phase != RUNNING)
        return;
    query_worker_watch(&r->worker);
    if (r->stop_reason == STOP_FOR_NOTHING && r->deadline_ns && now >= r->deadline_ns)
        stop(r, STOP_FOR_TIMEOUT);
    else if (r->ladder.next_ns && now >= r->ladder.next_ns)
        climb(r);
}

static void turn(struct run *r)
{
    struct query_worker *w = &r->worker;
    bool running = r->phase == RUNNING;
    struct pollfd p[] = {{.fd = r->signal_fd, .events = POLLIN},
                         {.fd = running && !r->link_over ? w->ends.link_fd : -1, .events = POLLIN},
                         {.fd = running ? w->ends.child.pidfd : -1, .events = POLLIN},
                         {.fd = running ? w->ends.log_fd : -1, .events = POLLIN},
                         {.fd = output_poll_fd(r->plan->output), .events = r->blocked ? POLLOUT : 0}};
    int64_t before = clock_now_ns();
    if (poll(p, sizeof p / sizeof p[0], wait_ms(r, before)) < 0)
        CHECK(errno == EINTR);
    else {
        if (p[1].revents)
            read_link(r, MESSAGES_PER_TURN);
        if (p[3].revents)
            query_worker_listen(w);
        if (p[2].revents)
            on_death(r);
        if (p[0].revents && r->phase != OVER)
            on_signal(r);
        if (p[4].revents & (POLLERR | POLLHUP | POLLNVAL) && r->phase != OVER) {
            errno = EPIPE;
            fail_output(r);
        }
    }
    if (r->phase != OVER)
        look_at_clock(r, before);
}

static void make_id(char ret[QUERY_ID_BYTES])
{
    uint8_t b[16];
    CHECK(getrandom(b, sizeof b, 0) == (ssize_t)sizeof b);
    for (size_t i = 0, at = 0; i < sizeof b; i++)
        at += (size_t)sprintf(ret + at, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x", b[i]);
}

static int send_run(struct run *r)
{
    const struct query_plan *p = r->plan;
    CHECK(p->sql_len <= r->worker.ring.request_bytes);
    memcpy(r->worker.ring.request, p->sql, p->sql_len);
    struct link_run m = {.type = LINK_RUN,
                         .job = JOB,
                         .sql_bytes = (uint32_t)p->sql_len,
                         .format = p->format,
                         .max_bytes = (uint64_t)p->cfg->limits.max_result_bytes,
                         .inline_bytes = (uint32_t)p->cfg->limits.inline_bytes};
    make_id(m.query_id);
    if (p->timeout_ms)
        r->deadline_ns = clock_now_ns() + p->timeout_ms * NS_PER_MS;
    return link_send(r->worker.ends.link_fd, &m);
}

int query_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++)
        sigaddset(&set, signals[i]);
    if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
        return -1;
    return signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
}

enum query_result query_run(const struct query_plan *plan, int signal_fd, struct error *err)
{
    struct run r = {.plan = plan, .err = err, .signal_fd = signal_fd, .ladder = {.job = JOB}};
    if (query_worker_start(&r.worker, plan->cfg, signal_fd, err) < 0) {
        fail(&r);
    } else {
        r.reader.ring = &r.worker.ring;
        if (send_run(&r) < 0)
            r.link_over = true; /* it has just died: its pidfd tells how */
    }
    while (r.phase != OVER) {
        turn(&r);
        if (r.phase != OVER)
            deliver(&r);
    }
    query_worker_stop(&r.worker);
    return r.result;
}
