/* The table of workers: born, ready, given to the front, doomed. One slot, one worker; spares stand by. How they die is deaths.c's. Runs in the supervisor. */
#include "core/clock.h"
#include "core/fd.h"
#include "link/inherit.h"
#include "link/grants.h"
#include "link/ring.h"
#include "supervisor/jail.h"
#include "supervisor/secrets.h"
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void set_state(struct worker *w, enum worker_state state)
{
    w->state = state;
    struct control_cell *c = &w->sup->page->cell[w->cell];
    atomic_store(&c->slot, (uint32_t)(w->slot < 0 ? 0 : w->slot));
    atomic_store(&c->kind, w->kind);
    atomic_store(&c->state, w->short_lane && state == WORKER_POOL ? WORKER_SPARE : state);
}

struct worker *workers_find(struct supervisor *s, uint32_t id)
{
    for (struct worker *w = s->workers; w; w = w->next)
        if (w->id == id)
            return w;
    return NULL;
}

unsigned workers_ready(const struct supervisor *s)
{
    unsigned n = 0;
    for (const struct worker *w = s->workers; w; w = w->next)
        n += w->kind == WORKER_KIND_POOL && (w->state == WORKER_SPARE || w->state == WORKER_POOL);
    return n;
}

void workers_start_failed(struct supervisor *s, const char *why)
{
    snprintf(s->start_error, sizeof s->start_error, "%s", why);
    log_event(&s->log, LOG_ERROR, "worker_start_failed", LOG_S("why", s->start_error), LOG_I("failures", s->spawn_backoff.failures + 1));
    front_tell_trouble(s);
}

static void give_up_place(struct worker *w)
{
    if (w->slot >= 0 && w->sup->slot[w->slot] == w)
        w->sup->slot[w->slot] = NULL;
    w->short_lane = false;
    set_state(w, w->state == WORKER_STARTING ? WORKER_STARTING : WORKER_DYING);
}

/* A signal ends it, it says, and the kernel will be at that for some milliseconds: its place is free. One that lives on is killed. */
static void is_dying(struct worker *w)
{
    struct supervisor *s = w->sup;
    if (w->doomed || w->state != WORKER_POOL)
        return;
    w->doomed = true;
    w->reason = DEATH_CRASH;
    w->ladder.stage = STOP_TERM;
    w->ladder.next_ns = clock_now_ns() + s->cfg->limits.term_grace_ms * NS_PER_MS;
    log_event(&s->log, LOG_DEBUG, "worker_dying", LOG_I("worker", w->id), LOG_I("pid", w->ends.child.pid), LOG_I("slot", w->slot));
    give_up_place(w);
    workers_fill(s);
}

static void on_status(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct worker *w = arg;
    struct supervisor *s = w->sup;
    char record[1 + LAYERS_TEXT_MAX];
    ssize_t n = read(fd, record, sizeof record - 1);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    bool writer = w->kind == WORKER_KIND_WRITER, has_one_more_word = writer || w->kind == WORKER_KIND_POOL;
    if (writer && n == 1 && record[0] == 'W' && w->state == WORKER_POOL) {
        w->written = true;
        return;
    }
    if (!has_one_more_word || n <= 0 || record[0] != 'R' || w->state != WORKER_STARTING) {
        event_drop(&w->status_event);
        fd_close_p(&w->ends.status_fd);
    }
    if (n == 1 && record[0] == 'D' && w->kind == WORKER_KIND_POOL)
        is_dying(w);
    if (n <= 0 || w->state != WORKER_STARTING)
        return; /* it died before a word: its pidfd tells */
    if (w->doomed)
        return; /* nobody needs it any more, and why it could not start is nobody's trouble */
    record[n] = 0;
    if (w->kind != WORKER_KIND_POOL && record[0] == 'R') {
        set_state(w, WORKER_SPARE);
        dedicated_ready(w);
        return;
    }
    if (w->kind != WORKER_KIND_POOL) {
        workers_doom(w, DEATH_START); /* before anybody else is given it */
        dedicated_refused(w, record);
        return;
    }
    if (record[0] != 'R') {
        w->reason = DEATH_START;
        if (record[0] == 'J' && jail_refuse(s, record + 1))
            return;
        workers_start_failed(s, record + 1);
        database_refused(w, record + 1);
        return;
    }
    s->spawn_backoff.failures = 0;
    jail_worker_ready(s, record + 1);
    set_state(w, WORKER_SPARE);
    if (!database_proved(w))
        return;
    log_event(&s->log, LOG_DEBUG, "worker_ready", LOG_I("worker", w->id), LOG_I("pid", w->ends.child.pid),
              LOG_I("start_ms", (clock_now_ns() - w->started_ns) / NS_PER_MS));
    if (s->start_error[0]) {
        s->start_error[0] = 0;
        log_event(&s->log, LOG_INFO, "worker_start_recovered");
        front_tell_trouble(s);
    }
    workers_fill(s);
}

void workers_look_at_status(struct worker *w)
{
    if (w->status_event)
        on_status(w->ends.status_fd, 0, w);
}

static void retry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct supervisor *s = arg;
    s->spawn_backoff.waiting = false;
    workers_fill(s);
}

void workers_try_later(struct supervisor *s) { backoff_start(s, &s->spawn_backoff, retry); }

void workers_start_timed_out(struct worker *w)
{
    struct supervisor *s = w->sup;
    char why[160];
    snprintf(why, sizeof why, "a worker was not ready within the start_timeout of %lld ms", (long long)s->cfg->pool.start_timeout_ms);
    workers_start_failed(s, why);
    workers_doom(w, DEATH_START);
    workers_try_later(s);
}

static struct event *watch_fd(struct supervisor *s, int fd, event_callback_fn fn, void *arg)
{
    struct event *ev = event_new(s->base, fd, EV_READ | EV_PERSIST, fn, arg);
    CHECK(ev && event_add(ev, NULL) == 0);
    return ev;
}

static int free_cell(const struct supervisor *s)
{
    for (int i = 0; i < CONTROL_CELLS; i++)
        if (atomic_load(&s->page->cell[i].worker) == 0)
            return i;
    return -1;
}

/* A write may have more memory than a query; its cap is then twice that, as a query's is. */
static int64_t memory_cap_of(const struct config *c, enum worker_kind kind)
{
    if (kind == WORKER_KIND_POOL)
        return c->pool.memory_cap_bytes;
    if (kind != WORKER_KIND_WRITER)
        return c->session.memory_cap_bytes;
    int64_t twice = c->admin.memory_limit_bytes == CONFIG_AUTO ? 0 : 2 * c->admin.memory_limit_bytes;
    return twice > c->pool.memory_cap_bytes ? twice : c->pool.memory_cap_bytes;
}

/* Fork, exec and all that a worker is given. False with *err. */
static bool start_process(struct worker *w, struct error *err)
{
    struct supervisor *s = w->sup;
    struct buf grants = BUF_INIT(GRANTS_MAX_BYTES);
    if (w->set[0] && secrets_for_set(s->cfg, w->set, &grants, err) < 0)
        return false;
    auto_close int broker_fd = -1;
    if (w->set[0] && broker_channel(s, w, &broker_fd, err) < 0) {
        secrets_wipe(&grants);
        return false;
    }
    struct worker_plan plan = {.executable = s->worker_path,
                               .config_fd = s->config_fd,
                               .request_bytes = ring_request_bytes(s->cfg->limits.max_sql_bytes),
                               .scratch_directory = w->scratch,
                               .broker_fd = broker_fd,
                               .dedicated = w->kind != WORKER_KIND_POOL,
                               .verified = s->verifier.passed,
                               .uid = users_of_worker(&s->users, w->cell),
                               .grants = grants.data,
                               .grants_bytes = grants.len};
    if (w->kind == WORKER_KIND_WRITER)
        write_path_plan(s, &plan);
    struct cap_sizes sizes = {.memory_bytes = memory_cap_of(s->cfg, w->kind), .cpus = s->cfg->pool.cpu_cap, .threads = s->cfg->pool.threads};
    if (w->kind == WORKER_KIND_WRITER && s->cfg->admin.threads > sizes.threads)
        sizes.threads = s->cfg->admin.threads;
    bool ok = scratch_make(&s->scratch, w->id, plan.uid, w->scratch, sizeof w->scratch) &&
              worker_cap_make(&s->caps, w->id, &sizes, &w->cap, &plan) == 0 && worker_spawn(&plan, w->id, &w->ends) == 0;
    if (ok && !worker_cap_started(&s->caps, &w->cap, &w->ends.child))
        log_event(&s->log, LOG_WARN, "memory_unwatched", LOG_I("worker", w->id), LOG_I("pid", w->ends.child.pid));
    if (!ok)
        error_set(err, ERR_UNAVAILABLE, "cannot start a worker process: %s", strerror(errno));
    secrets_wipe(&grants);
    return ok;
}

struct worker *workers_spawn(struct supervisor *s, enum worker_kind kind, const char *set, struct want *want, struct error *err)
{
    int cell = free_cell(s);
    if (cell < 0) {
        error_set(err, ERR_UNAVAILABLE, "there are %d workers already", CONTROL_CELLS);
        return NULL;
    }
    struct worker *w = calloc(1, sizeof *w);
    CHECK(w);
    w->sup = s;
    w->id = ++s->last_worker;
    w->cell = (uint32_t)cell;
    w->slot = -1;
    w->broker_fd = -1;
    w->cap = WORKER_CAP_NONE;
    w->kind = kind;
    snprintf(w->set, sizeof w->set, "%s", set);
    w->generation = s->generation;
    w->epoch = s->database.epoch;
    w->version = s->database.version;
    w->started_ns = clock_now_ns();
    if (!start_process(w, err)) {
        fd_close_p(&w->broker_fd);
        scratch_remove(w->scratch);
        worker_cap_end(&s->caps, &w->cap);
        free(w);
        return NULL;
    }
    w->want = want;
    if (want)
        want->worker = w;
    struct control_cell *c = &s->page->cell[cell];
    atomic_store(&c->queries, 0);
    atomic_store(&c->pid, w->ends.child.pid);
    atomic_store(&c->worker, w->id);
    w->next = s->workers;
    s->workers = w;
    set_state(w, WORKER_STARTING);
    atomic_fetch_add(&s->page->spawns, 1);
    w->pid_event = watch_fd(s, w->ends.child.pidfd, deaths_pid_ready, w);
    w->status_event = watch_fd(s, w->ends.status_fd, on_status, w);
    w->log_event = watch_fd(s, w->ends.log_fd, words_heard, w);
    log_event(&s->log, LOG_DEBUG, "worker_spawn", LOG_I("worker", w->id), LOG_I("pid", w->ends.child.pid), LOG_S("sources", w->set));
    return w;
}

static bool spawn(struct supervisor *s)
{
    struct error err;
    if (workers_spawn(s, WORKER_KIND_POOL, "", NULL, &err))
        return true;
    workers_start_failed(s, err.detail);
    workers_try_later(s);
    return false;
}

bool workers_assign(struct supervisor *s, struct worker *w, enum worker_kind kind, int slot, uint32_t want)
{
    struct control_assign m = {.type = CONTROL_ASSIGN,
                               .worker = w->id,
                               .cell = w->cell,
                               .slot = slot < 0 ? 0 : (uint32_t)slot,
                               .pid = w->ends.child.pid,
                               .kind = kind,
                               .request_bytes = w->ends.request_bytes,
                               .want = want,
                               .supersedes = slot >= 0 && s->slot[slot] ? s->slot[slot]->id : 0,
                               .version = w->version,
                               .short_lane = kind == WORKER_KIND_POOL && slot < 0};
    enum worker_kind before = w->kind;
    w->kind = kind;
    w->short_lane = m.short_lane;
    set_state(w, WORKER_POOL); /* before the front hears of it: what it then tells of it is in the page */
    if (!front_send(s, &m, (int[]){w->ends.link_fd, w->ends.region_fd}, 2)) {
        w->kind = before;
        w->short_lane = false;
        set_state(w, WORKER_SPARE);
        return false;
    }
    /* The front's end of the link lives in the front alone: if that dies, the worker sees end of file. */
    fd_close_p(&w->ends.link_fd);
    fd_close_p(&w->ends.region_fd);
    w->slot = slot;
    if (slot >= 0)
        s->slot[slot] = w;
    set_state(w, WORKER_POOL);
    return true;
}

void workers_take_slot(struct worker *w, int slot)
{
    w->short_lane = false;
    w->slot = slot;
    w->sup->slot[slot] = w;
    set_state(w, WORKER_POOL);
}

bool workers_supersede(struct supervisor *s, struct worker *old, struct worker *spare)
{
    int slot = old->slot;
    if (!workers_assign(s, spare, WORKER_KIND_POOL, slot, 0))
        return false;
    old->slot = -1;
    old->retiring = true;
    return true;
}

/* Of those that have the newest file. */
struct worker *workers_oldest_spare(const struct supervisor *s)
{
    struct worker *best = NULL;
    for (struct worker *w = s->workers; w; w = w->next) {
        if (w->kind != WORKER_KIND_POOL || w->state != WORKER_SPARE || w->doomed || w->generation != s->generation || !database_may_serve(w))
            continue;
        if (!best || w->epoch > best->epoch || (w->epoch == best->epoch && w->id < best->id))
            best = w;
    }
    return best;
}

void workers_fill(struct supervisor *s)
{
    if (s->killing || s->database.paused || (s->draining && s->front.child.pidfd < 0))
        return;
    int missing = 0;
    for (int i = 0; i < s->slots; i++) {
        if (s->slot[i])
            continue;
        struct worker *w = s->front.child.pidfd >= 0 ? workers_oldest_spare(s) : NULL;
        if ((!w || !workers_assign(s, w, WORKER_KIND_POOL, i, 0)) && !short_lane_promote(s, i))
            missing++;
    }
    if (s->announced) /* at the start the workers that are waited for have the machine to themselves */
        missing += database_spares(s) + short_lane_relief(s);
    for (const struct worker *w = s->workers; w; w = w->next)
        missing -= w->kind == WORKER_KIND_POOL && !w->doomed && w->generation == s->generation && database_is_current(w) &&
                   (w->state == WORKER_STARTING || w->state == WORKER_SPARE || short_lane_is_spare(w));
    /* While starts fail, one at a time tries whether they work again. */
    if (s->spawn_backoff.failures > 0 && missing > 1)
        missing = 1;
    bool any_starting = false;
    for (const struct worker *w = s->workers; w; w = w->next)
        any_starting |= w->kind == WORKER_KIND_POOL && w->state == WORKER_STARTING && !w->doomed;
    if (s->spawn_backoff.waiting || (s->spawn_backoff.failures > 0 && any_starting))
        missing = 0;
    while (missing-- > 0 && spawn(s))
        ;
    database_swap_step(s);
    short_lane_open(s);
    dedicated_fill(s);
    supervisor_announce(s);
}

static struct ladder_graces graces(const struct supervisor *s)
{
    return (struct ladder_graces){s->cfg->limits.interrupt_grace_ms, s->cfg->limits.term_grace_ms};
}

void workers_doom(struct worker *w, enum death_reason reason)
{
    struct supervisor *s = w->sup;
    if (!w->doomed) {
        w->doomed = true;
        w->reason = reason;
    }
    struct ladder_graces g = graces(s);
    ladder_terminate(&w->ladder, &w->ends.child, &g, clock_now_ns());
    give_up_place(w);
}

void workers_forget_front(struct supervisor *s)
{
    dedicated_forget_front(s);
    for (struct worker *w = s->workers; w; w = w->next) {
        struct control_cell *c = &s->page->cell[w->cell];
        atomic_store(&c->deadline_ns, 0);
        atomic_store(&c->job, 0);
        atomic_store(&c->cancel_job, 0);
        if (w->state != WORKER_POOL && w->state != WORKER_DYING)
            continue;
        if (!w->doomed)
            workers_doom(w, DEATH_RETIRED);
        /* Nobody waits for its answer: no grace. */
        (void)child_signal(&w->ends.child, SIGKILL, 0);
        w->ladder.stage = STOP_KILL;
        w->ladder.next_ns = 0;
    }
}

void workers_retire_spares(struct supervisor *s)
{
    for (struct worker *w = s->workers; w; w = w->next)
        if ((w->state == WORKER_SPARE || w->state == WORKER_STARTING) && w->generation != s->generation)
            workers_doom(w, DEATH_RETIRED);
}
