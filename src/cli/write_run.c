/* The loop around one script: what the worker says, the deadline and the kill ladder, signals. The worker is believed no more than the
 * front believes it. Runs in the command line. */
#include "cli/write_run.h"
#include "cli/query_worker.h"
#include "core/clock.h"
#include "link/messages.h"
#include "supervisor/ladder.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <unistd.h>

#define JOB 1u
#define NOBODYS_ID "00000000-0000-0000-0000-000000000000" /* shown to nobody */

struct run {
    const struct write_plan *plan;
    struct query_worker worker;
    struct ring_reader reader;
    struct ladder ladder;
    struct buf *body;
    struct error *err;
    int signal_fd;
    int64_t deadline_ns; /* 0: none */
    bool timed_out, link_over, done;
    int rc; /* once done */
};

static void end(struct run *r, int rc)
{
    r->done = true;
    r->rc = rc;
}

static void climb(struct run *r)
{
    const struct config *c = r->plan->cfg;
    struct ladder_graces g = {c->limits.interrupt_grace_ms, c->limits.term_grace_ms};
    ladder_step(&r->ladder, &r->worker.ends.child, &g, clock_now_ns());
}

static void stopped(struct run *r, enum stop_stage stage)
{
    if (r->timed_out) {
        error_set(r->err, ERR_TIMEOUT, "the script ran longer than its timeout of %lld ms", (long long)r->plan->timeout_ms);
        r->err->limit_ms = r->plan->timeout_ms;
    } else {
        error_set(r->err, ERR_CANCELLED, "stopped by a signal");
    }
    r->err->stopped_by = stage;
    end(r, -1);
}

static void broke_protocol(struct run *r)
{
    error_set(r->err, ERR_INTERNAL, "the worker process broke the protocol and was killed");
    end(r, -1);
}

static void on_message(struct run *r, const union link_message *m)
{
    if (m->data.job != JOB) {
        broke_protocol(r);
    } else if (m->type == LINK_FAIL) {
        *r->err = m->fail.error;
        if (r->err->code == ERR_CANCELLED)
            stopped(r, STOP_INTERRUPT);
        else
            end(r, -1);
    } else if (m->type == LINK_END) {
        if (!ring_reader_set_limit(&r->reader, m->end.produced)) {
            broke_protocol(r);
            return;
        }
        if (!buf_append(r->body, ring_reader_data(&r->reader), ring_reader_ready(&r->reader)))
            broke_protocol(r);
        else
            end(r, 0);
    }
}

static void read_link(struct run *r)
{
    while (!r->done && !r->link_over) {
        union link_message m;
        int n = link_receive(r->worker.ends.link_fd, LINK_WORKER, LINK_BUSY, &m);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n > 0)
            on_message(r, &m);
        else if (n == 0) /* it dies, or has to: how, its pidfd tells */
            r->link_over = true, (void)child_signal(&r->worker.ends.child, SIGKILL, 0);
        else
            broke_protocol(r);
    }
}

static void on_death(struct run *r)
{
    read_link(r); /* its last words come before its death */
    if (r->done || !query_worker_reap(&r->worker))
        return;
    if (r->ladder.stage != STOP_NONE) {
        stopped(r, r->ladder.stage);
        return;
    }
    query_worker_crashed(&r->worker, "the worker process that ran the script", ERR_WORKER_CRASHED, r->err);
    end(r, -1);
}

/* Any signal stops the script; a second one does not wait. */
static void on_signal(struct run *r)
{
    struct signalfd_siginfo info;
    if (read(r->signal_fd, &info, sizeof info) != (ssize_t)sizeof info)
        return;
    if (r->ladder.stage == STOP_NONE) {
        climb(r);
    } else {
        (void)child_signal(&r->worker.ends.child, SIGKILL, 0);
        r->ladder.stage = STOP_KILL;
        r->ladder.next_ns = 0;
    }
}

static int wait_ms(const struct run *r, int64_t now)
{
    int64_t next = r->ladder.next_ns;
    if (r->ladder.stage == STOP_NONE && r->deadline_ns)
        next = r->deadline_ns;
    int watch_ms = query_worker_watch_ms(&r->worker);
    if (watch_ms > 0 && (!next || next > now + watch_ms * NS_PER_MS))
        return watch_ms;
    if (!next)
        return -1;
    return next <= now ? 0 : (int)((next - now + NS_PER_MS - 1) / NS_PER_MS);
}

static void turn(struct run *r)
{
    struct query_worker *w = &r->worker;
    struct pollfd p[] = {{.fd = r->signal_fd, .events = POLLIN},
                         {.fd = r->link_over ? -1 : w->ends.link_fd, .events = POLLIN},
                         {.fd = w->ends.child.pidfd, .events = POLLIN},
                         {.fd = w->ends.log_fd, .events = POLLIN}};
    if (poll(p, sizeof p / sizeof p[0], wait_ms(r, clock_now_ns())) < 0) {
        CHECK(errno == EINTR);
        return;
    }
    if (p[1].revents)
        read_link(r);
    if (p[3].revents)
        query_worker_listen(w);
    if (p[2].revents && !r->done)
        on_death(r);
    if (p[0].revents && !r->done)
        on_signal(r);
    int64_t now = clock_now_ns();
    if (r->done)
        return;
    query_worker_watch(w);
    if (r->ladder.stage == STOP_NONE && r->deadline_ns && now >= r->deadline_ns) {
        r->timed_out = true;
        climb(r);
    } else if (r->ladder.next_ns && now >= r->ladder.next_ns) {
        climb(r);
    }
}

static int send_run(struct run *r)
{
    const struct write_plan *p = r->plan;
    CHECK(p->sql_len <= r->worker.ring.request_bytes && p->sql_len <= UINT32_MAX);
    memcpy(r->worker.ring.request, p->sql, p->sql_len);
    struct link_run m = {.type = LINK_RUN, .job = JOB, .sql_bytes = (uint32_t)p->sql_len, .format = p->format, .query_id = NOBODYS_ID};
    if (p->timeout_ms)
        r->deadline_ns = clock_now_ns() + p->timeout_ms * NS_PER_MS;
    return link_send(r->worker.ends.link_fd, &m);
}

int write_run(const struct write_plan *plan, int signal_fd, struct buf *ret_body, struct error *err)
{
    struct run r = {.plan = plan, .body = ret_body, .err = err, .signal_fd = signal_fd, .ladder = {.job = JOB}};
    struct query_worker_write write = {.mode = plan->mode, .read_paths = plan->read_paths, .script_bytes = plan->sql_len};
    if (query_worker_start_writer(&r.worker, plan->cfg, &write, signal_fd, err) < 0) {
        end(&r, -1);
    } else {
        r.reader.ring = &r.worker.ring;
        if (send_run(&r) < 0)
            r.link_over = true; /* it has just died: its pidfd tells how */
    }
    while (!r.done)
        turn(&r);
    query_worker_stop(&r.worker);
    return r.rc;
}
