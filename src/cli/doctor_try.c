/* One attempt in a worker that tries its walls: asked, watched and ended as the server would watch and end a query. Runs in the command line. */
#include "cli/doctor.h"
#include "cli/query_worker.h"
#include "core/clock.h"
#include "core/fd.h"
#include "link/messages.h"
#include "supervisor/ladder.h"

#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define JOB 1u
#define NOBODYS_ID "00000000-0000-0000-0000-000000000000"
#define LOOK_MS 10
/* An attempt that takes longer has not been ended by what should have ended it. */
#define ATTEMPT_MAX_MS 60000
/* As the supervisor's (cap_watch.c). */
#define SCRATCH_BESIDE_BYTES (INT64_C(16) << 20)

struct run {
    struct doctor *d;
    struct query_worker *w;
    struct ladder ladder;
    struct attempt *a;
    int64_t began_ns, deadline_ns, cpu_ns;
    bool over, scratch_passed;
};

static void on_message(struct run *r, const union link_message *m)
{
    r->over = true;
    if (m->type == LINK_FAIL) {
        r->a->result = ATTEMPT_COULD_NOT;
        check_text(r->a->why, "%.200s", m->fail.error.detail);
        return;
    }
    r->a->result = m->type != LINK_END ? ATTEMPT_BROKEN : m->end.rows ? ATTEMPT_COULD : ATTEMPT_NOTHING;
    struct ring_reader reader = {.ring = &r->w->ring};
    if (m->type == LINK_END && ring_reader_set_limit(&reader, m->end.produced) && ring_reader_ready(&reader) > 0)
        r->a->text = strndup((const char *)ring_reader_data(&reader), ring_reader_ready(&reader));
}

static void on_death(struct run *r)
{
    struct error err;
    if (!query_worker_reap(r->w))
        return;
    r->over = true;
    (void)query_worker_crashed(r->w, "the worker", ERR_WORKER_CRASHED, &err);
    r->a->signal = r->w->end.signal;
    r->a->for_memory = err.code == ERR_OUT_OF_MEMORY;
    bool stopped = r->ladder.stage != STOP_NONE || r->scratch_passed;
    r->a->result = stopped ? ATTEMPT_STOPPED : r->w->end.signal ? ATTEMPT_KILLED : ATTEMPT_BROKEN;
    if (!stopped && r->w->end.signal == 0 && r->w->end.exit_code == 0)
        r->a->result = ATTEMPT_COULD; /* it became another program, which has ended */
    check_text(r->a->why, "%s", err.detail);
}

static void look(struct run *r)
{
    int64_t now = clock_now_ns();
    struct ladder_graces g = {r->d->cfg->limits.interrupt_grace_ms, r->d->cfg->limits.term_grace_ms};
    int64_t cpu = clock_process_cpu_ns(r->w->ends.child.pid);
    if (cpu > 0 && now - r->began_ns > NS_PER_S / 2)
        r->a->cores = (double)(cpu - r->cpu_ns) / (double)(now - r->began_ns);
    query_worker_watch(r->w);
    int64_t disk = scratch_used_bytes(r->w->scratch_directory, r->w->ends.child.pid, 0), limit = r->d->probe->pool.scratch_limit_bytes;
    if (disk > r->a->disk_bytes)
        r->a->disk_bytes = disk;
    if (limit > 0 && disk - SCRATCH_BESIDE_BYTES > limit && !r->scratch_passed) {
        r->scratch_passed = true;
        (void)child_signal(&r->w->ends.child, SIGKILL, 0);
    }
    bool due = r->deadline_ns && now >= r->deadline_ns;
    if (r->ladder.stage == STOP_NONE ? due : r->ladder.next_ns && now >= r->ladder.next_ns)
        ladder_step(&r->ladder, &r->w->ends.child, &g, now);
    if (now - r->began_ns > ATTEMPT_MAX_MS * NS_PER_MS) {
        r->over = true;
        check_text(r->a->why, "nothing ended it within %d s", ATTEMPT_MAX_MS / 1000);
    }
}

static void turn(struct run *r)
{
    union link_message m;
    struct pollfd p[] = {
        {.fd = r->w->ends.link_fd, .events = POLLIN}, {.fd = r->w->ends.child.pidfd, .events = POLLIN}, {.fd = r->d->signal_fd, .events = POLLIN}};
    (void)poll(p, 3, LOOK_MS);
    if (p[0].revents & POLLIN && link_receive(r->w->ends.link_fd, LINK_WORKER, LINK_BUSY, &m) > 0)
        on_message(r, &m);
    else if (p[1].revents)
        on_death(r);
    if (p[2].revents) {
        r->d->stopped = r->over = true;
        check_text(r->a->why, "stopped by a signal");
    }
    if (!r->over)
        look(r);
}

void doctor_try(struct doctor *d, struct query_worker *w, bool *is_there, const char *name, int64_t deadline_ms, struct attempt *ret)
{
    struct error err;
    *ret = (struct attempt){.result = ATTEMPT_BROKEN};
    if (!*is_there) {
        *is_there = query_worker_start_probe(w, d->probe, d->signal_fd, &err) == 0;
        if (!*is_there) {
            check_text(ret->why, "%s", err.detail);
            d->stopped |= err.code == ERR_CANCELLED;
            query_worker_stop(w);
            return;
        }
    }
    memcpy(w->ring.request, name, strlen(name));
    struct link_run m = {.type = LINK_RUN, .job = JOB, .sql_bytes = (uint32_t)strlen(name), .query_id = NOBODYS_ID};
    struct run r = {.d = d, .w = w, .a = ret, .ladder = {.job = JOB}, .began_ns = clock_now_ns(), .cpu_ns = clock_process_cpu_ns(w->ends.child.pid)};
    r.deadline_ns = deadline_ms ? r.began_ns + deadline_ms * NS_PER_MS : 0;
    (void)link_send(w->ends.link_fd, &m);
    while (!r.over)
        turn(&r);
    ret->ms = (clock_now_ns() - r.began_ns) / NS_PER_MS;
    if (ret->result != ATTEMPT_COULD && ret->result != ATTEMPT_COULD_NOT && ret->result != ATTEMPT_NOTHING) {
        query_worker_stop(w);
        *is_there = false;
    }
}
