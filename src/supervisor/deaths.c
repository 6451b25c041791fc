/* Why a worker died, who is told, and what it leaves behind. Runs in the supervisor. */
#include "core/clock.h"
#include "core/fd.h"
#include "link/inherit.h"
#include "supervisor/supervisor_internal.h"

#include <signal.h>
#include <stdlib.h>

/* A worker that dies by itself so soon after its start, without a job, counts as one that could not start. */
#define INFANT_NS NS_PER_S

static void bury(struct worker *w)
{
    struct supervisor *s = w->sup;
    struct worker **at = &s->workers;
    while (*at != w)
        at = &(*at)->next;
    *at = w->next;
    event_drop(&w->pid_event);
    event_drop(&w->status_event);
    event_drop(&w->log_event);
    worker_ends_close(&w->ends);
    fd_close_p(&w->broker_fd);
    scratch_remove(w->scratch);
    worker_cap_end(&s->caps, &w->cap);
    struct control_cell *c = &s->page->cell[w->cell];
    atomic_store(&c->deadline_ns, 0);
    atomic_store(&c->job, 0);
    atomic_store(&c->cancel_job, 0);
    atomic_store(&c->stopping, 0);
    atomic_store(&c->state, WORKER_NONE);
    atomic_store(&c->worker, 0);
    free(w);
}

/* Was this death a failed start? Then the next try waits. */
static bool died_as_infant(const struct worker *w, enum death_reason reason)
{
    bool exhausted = reason == DEATH_MEMORY || reason == DEATH_SCRATCH, by_itself = exhausted || reason == DEATH_CRASH || reason == DEATH_EXIT;
    if (w->state == WORKER_STARTING && (!w->doomed || exhausted))
        return true;
    /* The job is in the cell before the worker hears of it, the count maybe only after it has died of it. */
    const struct control_cell *c = &w->sup->page->cell[w->cell];
    bool had_a_job = atomic_load(&c->job) != 0 || atomic_load(&c->queries) != 0;
    return by_itself && !had_a_job && clock_now_ns() - w->started_ns < INFANT_NS;
}

/* *ret_limit_bytes: the limit that a death for memory or scratch was about. */
static enum death_reason reason_of(const struct worker *w, const struct child_end *end, int64_t *ret_limit_bytes)
{
    *ret_limit_bytes = 0;
    if (w->reason == DEATH_START)
        return DEATH_START;
    if (w->kind == WORKER_KIND_WRITER && end->signal == 0 && end->exit_code == WORKER_EXIT_WRITES)
        return DEATH_RETIRED; /* it has looked, and leaves the rest to another one */
    if (w->doomed && (w->reason == DEATH_MEMORY || w->reason == DEATH_SCRATCH)) {
        *ret_limit_bytes = w->reason == DEATH_MEMORY ? w->cap.memory_bytes : cap_watch_scratch_bytes(w);
        return w->reason;
    }
    bool ours = w->doomed && ((end->signal == SIGTERM && w->ladder.stage >= STOP_TERM) || (end->signal == SIGKILL && w->ladder.stage == STOP_KILL) ||
                              (end->signal == 0 && w->reason != DEATH_LINK));
    /* The front has a worker killed whose link has ended: also one that the kernel killed for memory, when we hear of its death only after that. */
    if (ours && w->reason != DEATH_LINK)
        return w->reason;
    enum cap_death cap = worker_cap_death(&w->sup->caps, &w->cap, end, w->words);
    if (cap == CAP_NOT_THE_CAUSE && ours)
        return w->reason;
    if (cap != CAP_NOT_THE_CAUSE) {
        *ret_limit_bytes = cap == CAP_THE_CAUSE ? w->cap.memory_bytes : 0;
        return DEATH_MEMORY;
    }
    return end->signal ? DEATH_CRASH : DEATH_EXIT;
}

/* The rung that ended it. A worker that ended by itself may have one left from an earlier job, or from us who were a moment late. */
static enum stop_stage ended_by(const struct worker *w, enum death_reason reason)
{
    bool by_itself = reason == DEATH_CRASH || reason == DEATH_EXIT || reason == DEATH_MEMORY || reason == DEATH_SCRATCH;
    return by_itself ? STOP_NONE : w->ladder.stage;
}

static void obituary(struct worker *w, enum death_reason reason, int64_t limit_bytes, const struct child_end *end)
{
    struct supervisor *s = w->sup;
    bool expected = reason == DEATH_RETIRED;
    log_event(&s->log, expected ? LOG_DEBUG : LOG_WARN, "worker_death", LOG_I("worker", w->id), LOG_I("pid", w->ends.child.pid),
              LOG_I("slot", w->slot), LOG_S("reason", death_reason_text(reason)), LOG_S("signal", signal_text(end->signal)),
              LOG_I("signal_number", end->signal), LOG_I("exit_code", end->exit_code), LOG_S("stopped_by", stop_stage_text(ended_by(w, reason))),
              LOG_I("limit_bytes", limit_bytes), LOG_S("last_words", w->words));
    atomic_fetch_add(&s->page->deaths[reason], 1);
    if (reason == DEATH_TIMEOUT || reason == DEATH_CANCEL)
        atomic_fetch_add(&s->page->stops[w->ladder.stage], 1);
}

void deaths_pid_ready(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct worker *w = arg;
    struct supervisor *s = w->sup;
    struct child_end end;
    pid_t pid = w->ends.child.pid;
    if (!child_reap(&w->ends.child, &end))
        return;
    w->ends.child.pid = pid; /* for the log */
    if (w->log_event)
        words_heard(w->ends.log_fd, 0, w);
    if (w->state == WORKER_STARTING)
        workers_look_at_status(w);
    int64_t limit_bytes;
    enum death_reason reason = reason_of(w, &end, &limit_bytes);
    bool told = w->state == WORKER_POOL || w->state == WORKER_DYING;
    /* Its link has ended: the front has gone, or has let go of it. That is no failed start. */
    bool let_go = told && !w->doomed && end.signal == 0 && end.exit_code == WORKER_EXIT_DONE;
    bool infant = w->kind == WORKER_KIND_POOL && !let_go && died_as_infant(w, reason);
    obituary(w, reason, limit_bytes, &end);
    if (w->slot >= 0 && s->slot[w->slot] == w)
        s->slot[w->slot] = NULL;
    if (told) {
        struct control_died m = {.type = CONTROL_DIED,
                                 .worker = w->id,
                                 .reason = reason,
                                 .stage = ended_by(w, reason),
                                 .signal = end.signal,
                                 .exit_code = end.exit_code,
                                 .limit_bytes = limit_bytes};
        (void)front_send(s, &m, NULL, 0);
    }
    if (let_go)
        front_count_replace(s);
    if (infant) {
        if (!s->start_error[0])
            workers_start_failed(s, w->words[0] ? w->words : "a worker died while it started");
        workers_try_later(s);
    }
    if (w->kind != WORKER_KIND_POOL)
        dedicated_dead(w, reason);
    bury(w);
    workers_fill(s);
    supervisor_announce(s);
    supervisor_maybe_end(s);
}
