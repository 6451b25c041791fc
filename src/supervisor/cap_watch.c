/* What workers use, looked at by the clock: memory where no control group counts it, and their scratch directories. Runs in the supervisor. */
#include "core/clock.h"
#include "supervisor/supervisor_internal.h"

#include <signal.h>

/* A look at a directory costs some 10 us for each worker; a disk takes 1 GB/s. */
#define SCRATCH_LOOK_MS 100
/* What the engine counts otherwise than the disk does: so much more than its own limit, before it is killed. */
#define SCRATCH_BESIDE_BYTES (INT64_C(16) << 20)

/* Now, whatever it does: what it has is more than there is for it. */
static void kill_worker(struct worker *w, enum death_reason reason, int64_t limit_bytes)
{
    struct supervisor *s = w->sup;
    log_event(&s->log, LOG_WARN, reason == DEATH_MEMORY ? "memory_cap_passed" : "scratch_limit_passed", LOG_I("worker", w->id),
              LOG_I("pid", w->ends.child.pid), LOG_I("limit_bytes", limit_bytes));
    workers_doom(w, reason);
    (void)child_signal(&w->ends.child, SIGKILL, 0);
    w->ladder.stage = STOP_KILL;
    w->ladder.next_ns = 0;
}

static bool is_killed(const struct worker *w) { return w->doomed && w->ladder.stage == STOP_KILL; }

static void look_at_memory(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct supervisor *s = arg;
    bool any = false;
    for (struct worker *w = s->workers; w; w = w->next)
        if (!is_killed(w) && worker_cap_passed(&w->cap)) {
            kill_worker(w, DEATH_MEMORY, w->cap.memory_bytes);
            any = true;
        }
    if (any) /* a spare takes the slot at once */
        workers_fill(s);
}

int64_t cap_watch_scratch_bytes(const struct worker *w)
{
    const struct config *c = w->sup->cfg;
    bool sized_as_pool = w->kind == WORKER_KIND_POOL || w->kind == WORKER_KIND_WRITER;
    return sized_as_pool ? c->pool.scratch_limit_bytes : c->session.scratch_limit_bytes;
}

/* Whether it has run, any thread of it, since before it was looked at last: one that has not has written nothing. A look at an idle worker costs one system
 * call instead of twenty. */
static bool has_run(struct worker *w)
{
    int64_t ns = clock_process_cpu_ns(w->ends.child.pid), before = w->ran_ns;
    w->ran_ns = ns;
    return ns == 0 || ns != before;
}

static void look_at_scratch(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct supervisor *s = arg;
    bool any = false;
    for (struct worker *w = s->workers; w; w = w->next) {
        int64_t limit = cap_watch_scratch_bytes(w), used;
        if (is_killed(w) || !w->scratch[0] || !has_run(w))
            continue;
        used = scratch_used_bytes(w->scratch, w->ends.child.pid, users_of_worker(&s->users, w->cell));
        if (used - SCRATCH_BESIDE_BYTES <= limit)
            continue;
        kill_worker(w, DEATH_SCRATCH, limit);
        any = true;
    }
    groups_sweep(&s->caps.groups, &s->log);
    if (any)
        workers_fill(s);
}

int cap_watch_open(struct supervisor *s, struct error *err)
{
    caps_open(&s->caps, s->cfg, &s->log);
    caps_report(&s->caps, s->cfg->pool.cpu_cap, &s->layers);
    if (s->cfg->pool.scratch_limit_bytes > 0)
        layers_set(&s->layers, LAYER_SCRATCH_QUOTA, LAYER_IN_FORCE, "looked at every %d ms%s", SCRATCH_LOOK_MS,
                   s->users.base ? "" : "; removed files that are still open are not seen");
    else
        layers_set(&s->layers, LAYER_SCRATCH_QUOTA, LAYER_OFF, "[pool] scratch_limit = 0");
    return layers_require(&s->layers, LAYER_OF_SUPERVISOR, &s->cfg->sandbox.require, err);
}

static struct event *every(struct supervisor *s, int ms, event_callback_fn fn)
{
    struct timeval tv = {.tv_usec = ms * 1000};
    struct event *ev = event_new(s->base, -1, EV_PERSIST, fn, s);
    CHECK(ev && event_add(ev, &tv) == 0);
    return ev;
}

void cap_watch_start(struct supervisor *s)
{
    if (s->caps.memory == CAP_BY_WATCHDOG)
        s->memory_look = every(s, CAP_LOOK_MS, look_at_memory);
    s->scratch_look = every(s, SCRATCH_LOOK_MS, look_at_scratch);
}

void cap_watch_close(struct supervisor *s)
{
    if (s->memory_look)
        event_free(s->memory_look);
    if (s->scratch_look)
        event_free(s->scratch_look);
    caps_close(&s->caps);
}
