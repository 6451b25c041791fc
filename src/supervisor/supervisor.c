/* The supervisor's start, signals and end. Runs in the supervisor. */
#include "supervisor/supervisor.h"
#include "core/clock.h"
#include "core/fd.h"
#include "core/sizing.h"
#include "supervisor/secrets.h"
#include "supervisor/jail.h"
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 5000
#define LAST_WORDS_MS 500 /* for the answers to queries that the end of the drain has stopped */

void backoff_start(struct supervisor *s, struct backoff *b, event_callback_fn fn)
{
    if (b->waiting)
        return;
    int64_t ms = BACKOFF_FIRST_MS;
    for (unsigned i = 0; i < b->failures && ms < BACKOFF_MAX_MS; i++)
        ms *= 2;
    if (ms > BACKOFF_MAX_MS)
        ms = BACKOFF_MAX_MS;
    b->failures++;
    b->waiting = true;
    if (!b->timer)
        b->timer = evtimer_new(s->base, fn, s);
    CHECK(b->timer);
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(b->timer, &tv);
    log_event(&s->log, LOG_INFO, "backoff", LOG_I("ms", ms), LOG_I("failures", b->failures));
}

void supervisor_announce(struct supervisor *s)
{
    if (s->announced || !s->front.up)
        return;
    unsigned ready = workers_ready(s);
    if (ready < (unsigned)s->slots && s->spawn_backoff.failures == 0)
        return;
    if (ready > (unsigned)s->slots)
        ready = (unsigned)s->slots;
    s->announced = true;
    workers_fill(s); /* now for the spares, and the warm ones */
    verifier_look(s);
    printf("bulkhead ready http=%s workers=%u database=%s\n", s->address, ready, s->cfg->database.path[0] ? s->cfg->database.path : ":memory:");
    fflush(stdout);
    log_event(&s->log, LOG_INFO, "ready", LOG_S("http", s->address), LOG_I("workers", ready), LOG_S("database", s->cfg->database.path));
}

void supervisor_maybe_end(struct supervisor *s)
{
    if (s->killing && !s->workers && s->front.child.pidfd < 0 && s->broker.child.pidfd < 0 && s->verifier.ends.child.pidfd < 0 &&
        write_path_is_over(s))
        event_base_loopbreak(s->base);
}

void supervisor_kill_all(struct supervisor *s)
{
    s->draining = s->killing = true;
    if (s->front.child.pidfd >= 0)
        (void)child_signal(&s->front.child, SIGKILL, 0);
    broker_end(s);
    verifier_end(s);
    write_path_kill(s);
    for (struct worker *w = s->workers; w; w = w->next) {
        workers_doom(w, DEATH_RETIRED);
        (void)child_signal(&w->ends.child, SIGKILL, 0);
        w->ladder.stage = STOP_KILL;
    }
    supervisor_maybe_end(s);
}

static void wait_again(struct supervisor *s, int64_t ms)
{
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(s->grace, &tv);
}

/* What still runs goes by the ladder, and its clients are told. What is left when that must be over is killed. */
static void grace_over(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct supervisor *s = arg;
    if (s->stopping) {
        supervisor_kill_all(s);
        return;
    }
    s->stopping = true;
    log_event(&s->log, LOG_WARN, "shutdown_grace_over");
    struct control_plain m = {.type = CONTROL_DRAIN_OVER};
    (void)front_send(s, &m, NULL, 0);
    wait_again(s, s->cfg->limits.interrupt_grace_ms + s->cfg->limits.term_grace_ms + LAST_WORDS_MS);
}

void supervisor_drain(struct supervisor *s)
{
    if (s->draining || !s->front.up) { /* told twice, or nothing to wait for */
        supervisor_kill_all(s);
        return;
    }
    s->draining = true;
    log_event(&s->log, LOG_INFO, "draining", LOG_I("grace_ms", s->cfg->server.shutdown_grace_ms));
    struct control_plain m = {.type = CONTROL_DRAIN};
    (void)front_send(s, &m, NULL, 0);
    listen_end(s);
    dedicated_drain(s);
    s->grace = evtimer_new(s->base, grace_over, s);
    CHECK(s->grace);
    wait_again(s, s->cfg->server.shutdown_grace_ms);
}

static void on_signal(evutil_socket_t sig, short what, void *arg)
{
    (void)what;
    struct supervisor *s = arg;
    if (sig == SIGHUP)
        reload(s);
    else if (sig == SIGTERM || sig == SIGINT)
        supervisor_drain(s);
    else if (sig == SIGQUIT)
        supervisor_kill_all(s);
}

static int make_shared(struct supervisor *s, struct error *err)
{
    s->page_fd = fd_memory("bulkhead-control", sizeof(struct control_page));
    s->nudge_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    s->config_fd = config_to_fd(s->cfg);
    if (s->page_fd < 0 || s->nudge_fd < 0 || s->config_fd < 0 || !(s->page = control_map(s->page_fd)))
        return error_set(err, ERR_UNAVAILABLE, "cannot make shared memory: %s", strerror(errno));
    atomic_store(&s->page->supervisor_pid, (int32_t)getpid());
    atomic_store(&s->page->started_ns, clock_now_ns());
    s->worker_path = worker_executable();
    if (!s->worker_path)
        return error_set(err, ERR_UNAVAILABLE, "bulkhead-worker, which belongs beside this program, can't be executed: %s", strerror(errno));
    return 0;
}

static int make_loop(struct supervisor *s, struct error *err)
{
    struct event_config *ec = event_config_new();
    CHECK(ec);
    event_config_set_flag(ec, EVENT_BASE_FLAG_PRECISE_TIMER);
    s->base = event_base_new_with_config(ec);
    event_config_free(ec);
    if (!s->base)
        return error_set(err, ERR_UNAVAILABLE, "cannot make an event loop");
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGQUIT};
    for (size_t i = 0; i < sizeof signals / sizeof signals[0]; i++) {
        s->signals[i] = evsignal_new(s->base, signals[i], on_signal, s);
        CHECK(s->signals[i] && event_add(s->signals[i], NULL) == 0);
    }
    signal(SIGPIPE, SIG_IGN);
    s->wake = evtimer_new(s->base, watch_timer, s);
    s->nudge_event = event_new(s->base, s->nudge_fd, EV_READ | EV_PERSIST, watch_nudged, s);
    CHECK(s->wake && s->nudge_event && event_add(s->nudge_event, NULL) == 0);
    return 0;
}

/* What an operator has opened should be seen by whoever reads the log, at each start. */
void supervisor_warn_of_policy(struct supervisor *s)
{
    const struct text_list *l = &s->cfg->policy.allow_functions;
    char names[1024];
    size_t n = 0;
    for (size_t i = 0; i < l->count && n < sizeof names; i++)
        n += (size_t)snprintf(names + n, sizeof names - n, "%s%s", i ? ", " : "", l->items[i]);
    if (l->count)
        log_event(&s->log, LOG_WARN, "policy_widened", LOG_S("functions", names),
                  LOG_S("why", "[policy] allow_functions: clients may call what the built-in table refuses"));
}

static int resolve_sizes(struct supervisor *s, struct error *err)
{
    struct machine m;
    struct sizing z;
    if (limits_probe(&m, "", 0, err) < 0 || sizing_resolve(&z, s->cfg, &m, sizing_auto_sessions(&m, s->cfg), err) < 0)
        return -1;
    log_event(&s->log, LOG_INFO, "sizing", LOG_S("arithmetic", z.text), LOG_I("cpus", m.cpus), LOG_S("cpus_from", m.cpus_from));
    supervisor_warn_of_policy(s);
    sizing_apply(&z, s->cfg);
    s->slots = (int)z.workers;
    s->spares = (int)z.spares;
    s->dedicated_max = (int)z.sessions;
    if ((s->slots + s->spares + s->dedicated_max) * 2 > CONTROL_CELLS)
        return error_set(err, ERR_BAD_REQUEST, "pool.workers + pool.spares + session.max must be at most %d", CONTROL_CELLS / 2);
    s->slot = calloc((size_t)s->slots, sizeof *s->slot);
    CHECK(s->slot);
    return 0;
}

/* What this build can't protect yet is refused, not ignored. */
int supervisor_refuse_unprotected(const struct config *c, struct error *err) { return layers_check_names(&c->sandbox.require, err); }

static int check_sources(const struct supervisor *s, struct error *err)
{
    return sources_check(s->cfg, err) < 0 || secrets_check(s->cfg, err) < 0 ? -1 : 0;
}

static int open_scratch(struct supervisor *s, struct error *err)
{
    const struct config *c = s->cfg;
    return scratch_open(&s->scratch, c->pool.scratch_directory, c->pool.scratch_limit_bytes, &s->log, err) < 0
               ? -1
               : scratch_open_spool(&s->spool, c->spool.directory, c->spool.max_bytes, users_of_front(&s->users), &s->spool_fd, &s->log, err);
}

static void clean_up(struct supervisor *s)
{
    database_close(s);
    cap_watch_close(s);
    key_source_close(s);
    fd_close_p(&s->tls_fd);
    scratch_close(&s->scratch);
    scratch_close(&s->spool);
    fd_close_p(&s->spool_fd);
    listen_end(s);
    for (size_t i = 0; i < sizeof s->signals / sizeof s->signals[0]; i++)
        if (s->signals[i])
            event_free(s->signals[i]);
    struct event *const events[] = {s->wake, s->nudge_event, s->grace, s->spawn_backoff.timer, s->warm_backoff.timer, s->front.backoff.timer};
    for (size_t i = 0; i < sizeof events / sizeof events[0]; i++)
        if (events[i])
            event_free(events[i]);
    if (s->base)
        event_base_free(s->base);
    fd_close_p(&s->page_fd);
    fd_close_p(&s->nudge_fd);
    fd_close_p(&s->config_fd);
    dedicated_forget_front(s);
    broker_forget(s);
    verifier_forget(s);
    write_path_forget(s);
    if (s->secrets_look)
        event_free(s->secrets_look);
    free(s->prints);
    free(s->slot);
    free(s->worker_path);
    config_free(s->cfg);
}

int supervisor_run(const struct supervisor_options *opts)
{
    struct supervisor s = {.cfg = opts->config,
                           .opts = opts,
                           .page_fd = -1,
                           .nudge_fd = -1,
                           .config_fd = -1,
                           .scratch = SCRATCH_NONE,
                           .spool = SCRATCH_NONE,
                           .spool_fd = -1,
                           .caps = {.groups = {.memory = CGROUP_TREES, .cpu = CGROUP_TREES}}};
    s.keys.fd = s.tls_fd = -1;
    s.front.child = s.broker.child = CHILD_NONE;
    s.broker.control_fd = -1;
    s.verifier.ends = (struct worker_ends){CHILD_NONE, -1, -1, -1, -1, 0};
    s.verifier.cap = WORKER_CAP_NONE;
    write_path_init(&s);
    s.users = users_choose();
    s.front.control_fd = -1;
    s.log = (struct log){.level = (enum log_level)s.cfg->log.level, .format = (enum log_format)s.cfg->log.format, .role = "supervisor"};
    struct error err;
    jail_begin(&s);
    int refused = supervisor_refuse_unprotected(s.cfg, &err) < 0 || check_sources(&s, &err) < 0 || resolve_sizes(&s, &err) < 0 ||
                  key_source_open(&s, &err) < 0 || tls_source_open(&s, &err) < 0 || cap_watch_open(&s, &err) < 0;
    if (refused || make_shared(&s, &err) < 0 || listen_open(&s, &err) < 0 || open_scratch(&s, &err) < 0 || make_loop(&s, &err) < 0) {
        fprintf(stderr, "bulkhead serve: %s\n", err.detail);
        clean_up(&s);
        return refused || err.code == ERR_BAD_REQUEST ? 2 : 1;
    }
    key_source_watch(&s);
    database_open(&s);
    cap_watch_start(&s);
    front_start(&s);
    dedicated_sources_changed(&s);
    dedicated_watch(&s);
    workers_fill(&s);
    watch_now(&s);
    event_base_dispatch(s.base);
    log_event(&s.log, LOG_INFO, "ended");
    clean_up(&s);
    return s.exit_code;
}
