/* What happens by the clock: deadlines in the page, ladders under way, the front's heartbeat. Runs in the supervisor.
 * The page is the front's to write: every value is copied once and only leads to stopping a worker that the front has anyway. */
#include "core/clock.h"
#include "supervisor/look.h"
#include "supervisor/supervisor_internal.h"

#include <signal.h>
#include <sys/eventfd.h>

/* The front's loop turns at least four times a second; ten missed turns are no accident (ARCHITECTURE.md, invariant 3). */
#define HEARTBEAT_MAX_NS (2 * NS_PER_S)
/* The supervisor looks at least so often; what is due earlier nudges it. */
#define LOOK_NS (250 * NS_PER_MS)
/* A front that nudges more often than this is made to wait. */
#define NUDGE_MIN_NS (200 * 1000)

/* Before the signal goes: a worker may answer it, and the front read the answer, before this process runs again. */
static void publish_next_stage(struct worker *w)
{
    uint64_t next = w->ladder.stage < STOP_KILL ? w->ladder.stage + 1 : STOP_KILL;
    atomic_store(&w->sup->page->cell[w->cell].stopping, (uint64_t)w->ladder.job << 8 | next);
}

static void climb(struct worker *w, int64_t now)
{
    struct supervisor *s = w->sup;
    struct ladder_graces g = {s->cfg->limits.interrupt_grace_ms, s->cfg->limits.term_grace_ms};
    publish_next_stage(w);
    ladder_step(&w->ladder, &w->ends.child, &g, now);
    log_event(&s->log, LOG_INFO, "job_stop", LOG_I("worker", w->id), LOG_I("pid", w->ends.child.pid), LOG_I("job", w->ladder.job),
              LOG_S("by", stop_stage_text(w->ladder.stage)));
}

/* The job that runs there, and whether it is to be stopped now. */
static void look_at_cell(struct worker *w, int64_t now, int64_t *wake)
{
    struct supervisor *s = w->sup;
    struct control_cell *c = &s->page->cell[w->cell];
    uint32_t job = atomic_load(&c->job);
    int64_t deadline = atomic_load(&c->deadline_ns);
    bool cancelled = job != 0 && atomic_load(&c->cancel_job) == job;
    if (job == 0 || job != w->ladder.job) {
        w->ladder = (struct ladder){.job = job};
        w->job_seen_ns = now;
    }
    if (job == 0)
        return;
    /* However late the front says the deadline is: no job outlives the longest timeout and the longest delivery. */
    int64_t latest = w->job_seen_ns + (s->cfg->limits.timeout_max_ms + s->cfg->limits.delivery_timeout_ms) * NS_PER_MS;
    if (deadline <= 0 || deadline > latest)
        deadline = latest;
    if (w->ladder.stage == STOP_NONE) {
        if (!cancelled && now < deadline) {
            if (deadline < *wake)
                *wake = deadline;
            return;
        }
        w->reason = cancelled ? DEATH_CANCEL : DEATH_TIMEOUT;
        climb(w, now);
    }
    if (w->ladder.stage == STOP_INTERRUPT && now >= w->ladder.next_ns) {
        w->doomed = true; /* a worker that was sent SIGTERM serves no more: its slot is free for the spare */
        climb(w, now);
        workers_doom(w, w->reason);
    }
}

static void look_at_start(struct worker *w, int64_t now, int64_t *wake)
{
    int64_t latest = w->started_ns + w->sup->cfg->pool.start_timeout_ms * NS_PER_MS;
    if (now >= latest)
        workers_start_timed_out(w);
    else if (latest < *wake)
        *wake = latest;
}

static void look_at(struct worker *w, int64_t now, int64_t *wake)
{
    if (w->state == WORKER_POOL && !w->doomed)
        look_at_cell(w, now, wake);
    else if (w->state == WORKER_STARTING && !w->doomed)
        look_at_start(w, now, wake);
    else if (w->ladder.stage == STOP_TERM && now >= w->ladder.next_ns)
        climb(w, now);
    if (w->ladder.next_ns > 0 && w->ladder.stage >= STOP_INTERRUPT && w->ladder.stage < STOP_KILL && w->ladder.next_ns < *wake)
        *wake = w->ladder.next_ns;
}

static void check_heartbeat(struct supervisor *s, int64_t now)
{
    struct front_child *f = &s->front;
    if (f->child.pidfd < 0 || s->killing)
        return;
    int64_t beat = atomic_load(&s->page->heartbeat_ns);
    if (beat < f->started_ns)
        beat = f->started_ns;
    if (now - beat < HEARTBEAT_MAX_NS)
        return;
    log_event(&s->log, LOG_ERROR, "front_hung", LOG_I("pid", f->child.pid), LOG_I("silent_ms", (now - beat) / NS_PER_MS));
    (void)child_signal(&f->child, SIGKILL, 0);
    f->started_ns = now; /* not again before it had time to die */
}

void watch_now(struct supervisor *s)
{
    int64_t now = clock_now_ns(), wake = now + LOOK_NS;
    s->scanned_ns = now;
    /* Until the new time is published, whoever arms a deadline nudges (link/control.h): none falls between scan and sleep. */
    atomic_store(&s->page->wake_ns, INT64_MAX);
    bool lost_slot = false;
    for (struct worker *w = s->workers; w; w = w->next) {
        bool was_doomed = w->doomed;
        words_hear_again(w, now);
        look_at(w, now, &wake);
        lost_slot |= w->doomed && !was_doomed;
    }
    check_heartbeat(s, now);
    look_around(s, now);
    atomic_store(&s->page->wake_ns, wake);
    int64_t left = wake - clock_now_ns();
    if (left < 0)
        left = 0;
    struct timeval tv = {.tv_sec = left / NS_PER_S, .tv_usec = (left % NS_PER_S + 999) / 1000};
    evtimer_add(s->wake, &tv);
    if (lost_slot)
        workers_fill(s);
}

void watch_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    watch_now(arg);
}

void watch_nudged(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct supervisor *s = arg;
    eventfd_t count;
    (void)eventfd_read(fd, &count);
    if (clock_now_ns() - s->scanned_ns < NUDGE_MIN_NS) {
        struct timeval soon = {.tv_usec = 1000};
        evtimer_add(s->wake, &soon);
        return;
    }
    watch_now(s);
}
