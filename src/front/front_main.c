/* The front process: everything it has was inherited (link/inherit.h). Its loop serves clients, its pool talks with workers, its
 * control channel with the supervisor. Links no engine. */
#include "core/buf.h"
#include "core/clock.h"
#include "core/fd.h"
#include "front/admin.h"
#include "front/async.h"
#include "front/database.h"
#include "front/delivery.h"
#include "front/export.h"
#include "front/front.h"
#include "front/front_jail.h"
#include "front/inherited.h"
#include "front/pool_setup.h"
#include "front/public_text.h"
#include "front/query.h"
#include "front/results.h"
#include "front/sessions_http.h"
#include "front/sql_hash.h"
#include "front/tickets.h"
#include "front/waiter.h"
#include "link/inherit.h"
#include "sched/quarantine.h"
#include "session/sessions.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* How often the loop looks by itself: heartbeat, queue timeouts, results that wait for their head. Quicker while something runs. */
#define TICK_BUSY_MS 25
#define TICK_IDLE_MS 500 /* the heartbeat may be 2 s old */
/* Contract section 4: the head of a response is held until 200 ms after the first row, at most. */
#define FIRST_ROW_NS (200 * NS_PER_MS)
#define MAX_HEAD_BYTES 32768
#define MESSAGES_PER_TURN 64
#define FILES_MAX 65536 /* of the spool */

static void tell_of_worker(struct front *f, enum control_type type, uint32_t worker, enum death_reason reason)
{
    struct control_replace m = {.type = type, .worker = worker, .reason = reason};
    if (control_send(f->control_fd, &m, NULL, 0) < 0)
        log_event(&f->log, LOG_ERROR, "supervisor_unreachable", LOG_S("why", strerror(errno)));
}

void front_replace_worker(void *ctx, uint32_t worker, enum death_reason reason) { tell_of_worker(ctx, CONTROL_REPLACE, worker, reason); }
static void worker_leaves(void *ctx, uint32_t worker) { tell_of_worker(ctx, CONTROL_LEAVES, worker, DEATH_RETIRED); }

static char *join(const struct text_list *l)
{
    size_t n = 1;
    for (size_t i = 0; i < l->count; i++)
        n += strlen(l->items[i]) + 1;
    char *text = calloc(1, n);
    CHECK(text);
    for (size_t i = 0; i < l->count; i++) {
        strcat(text, i ? "," : "");
        strcat(text, l->items[i]);
    }
    return text;
}

static void set_http_options(struct front *f, const struct http_handler *handler, const int *fds, int n)
{
    const struct config *c = f->cfg;
    char *hosts = join(&c->server.allowed_hosts), *origins = join(&c->server.cors_origins);
    struct http_options o = {.header_timeout_ms = c->server.header_timeout_ms,
                             .body_timeout_ms = c->server.body_timeout_ms,
                             .idle_timeout_ms = c->server.idle_timeout_ms,
                             .delivery_timeout_ms = c->limits.delivery_timeout_ms,
                             .max_head_bytes = MAX_HEAD_BYTES,
                             /* JSON escapes make a statement longer; what it is unescaped is checked by itself. */
                             .max_body_bytes = (size_t)c->limits.max_sql_bytes * 2,
                             .body_memory_bytes = (size_t)c->server.body_memory_bytes,
                             .max_connections = (unsigned)c->server.max_connections,
                             .allowed_hosts = hosts,
                             .cors_origins = origins};
    if (f->http)
        http_server_set_options(f->http, &o);
    else
        f->http = http_server_new(f->base, fds, n, &o, handler, f, &f->log);
    free(hosts);
    free(origins);
}

struct pool_options front_pool_options(const struct front *f)
{
    const struct config *c = f->cfg;
    return (struct pool_options){.queue_length = c->limits.queue_length,
                                 .queue_timeout_ms = c->limits.queue_timeout_ms,
                                 .inline_bytes = (uint32_t)c->limits.inline_bytes,
                                 .recycle_after = c->pool.recycle_after,
                                 .isolation_by_key = c->pool.isolation == ISOLATION_KEY,
                                 .leaves = worker_leaves,
                                 .quarantine = f->quarantine};
}

/* A file is a descriptor: beside those of the connections a share of them. */
static struct spool_options spool_options_of(const struct front *f)
{
    struct rlimit l;
    CHECK(getrlimit(RLIMIT_NOFILE, &l) == 0);
    rlim_t files = l.rlim_cur / 3;
    return (struct spool_options){.max_bytes = f->cfg->spool.max_bytes,
                                  .per_key_bytes = f->cfg->spool.per_key_bytes,
                                  .max_files = files < FILES_MAX ? (unsigned)files : FILES_MAX};
}

static struct config *read_config(int fd, struct error *err)
{
    char *text;
    size_t len;
    struct config *cfg = NULL;
    if (fd_read_all(fd, CONFIG_TEXT_MAX, &text, &len) < 0) {
        error_set(err, ERR_INTERNAL, "cannot read the inherited configuration: %s", strerror(errno));
        return NULL;
    }
    if (config_load_text(&cfg, text, len, "inherited configuration", err) < 0)
        cfg = NULL;
    free(text);
    return cfg;
}

static void set_log(struct front *f)
{
    f->log.level = (enum log_level)f->cfg->log.level;
    f->log.format = (enum log_format)f->cfg->log.format;
    f->log.role = "front";
    log_hold(&f->log);
}

static void on_config(struct front *f, int fd, uint32_t flags)
{
    struct error err;
    struct config *cfg = read_config(fd, &err);
    close(fd);
    if (!cfg) {
        log_event(&f->log, LOG_ERROR, "config_refused", LOG_S("why", err.detail));
        return;
    }
    config_free(f->cfg);
    f->cfg = cfg;
    auth_configure(&f->auth, cfg);
    set_log(f);
    set_http_options(f, NULL, NULL, 0);
    struct pool_options po = front_pool_options(f);
    quarantine_set(f->quarantine, cfg->limits.quarantine_ms);
    pool_set_options(f->pool, &po);
    registry_set_history(f->registry, cfg->limits.history);
    struct spool_options so = spool_options_of(f);
    spool_set_options(f->spool, &so);
    sessions_new_config(f);
    if (flags & CONTROL_REPLACE_WORKERS)
        pool_replace_all(f->pool);
}

static void maybe_drained(struct front *f)
{
    if (!f->draining || f->query_count > 0 || http_server_busy(f->http) > 0)
        return;
    log_flush(&f->log); /* the answer to what follows is a signal */
    struct control_plain m = {.type = CONTROL_DRAINED};
    (void)control_send(f->control_fd, &m, NULL, 0);
    event_base_loopbreak(f->base);
}

/* The supervisor's log has the text in full; what callers see of it is without paths. */
static void set_trouble(struct front *f, const char *text)
{
    char shown[CONTROL_TEXT_BYTES];
    public_text(f->cfg, text, shown, sizeof shown);
    pool_set_trouble(f->pool, shown);
}

static void on_message(struct front *f, const union control_message *m, const int fds[2])
{
    if (sessions_message(f, m, fds) || export_message(f, m, fds))
        return;
    switch ((enum control_type)m->type) {
    case CONTROL_ASSIGN:
        if (pool_add(f->pool, &m->assign, fds[0], fds[1]) < 0)
            log_event(&f->log, LOG_ERROR, "worker_unusable", LOG_I("worker", m->assign.worker), LOG_S("why", strerror(errno)));
        break;
    case CONTROL_SLOT: pool_give_slot(f->pool, m->slot.worker, m->slot.slot); break;
    case CONTROL_DIED: pool_died(f->pool, &m->died); break;
    case CONTROL_START_FAILED: set_trouble(f, m->start_failed.text); break;
    case CONTROL_CONFIG: on_config(f, fds[0], m->plain.flags); break;
    case CONTROL_LAYERS:
        for (int role = LAYER_OF_WORKER; role < LAYER_ROLES; role++)
            layers_read(&f->layers, (enum layer_role)role, m->layers.text);
        break;
    case CONTROL_KEYS:
        inherited_new_keys(f, fds[0]);
        sessions_check_rights(f);
        break;
    case CONTROL_TLS: inherited_new_tls(f, fds[0]); break;
    case CONTROL_DATABASE: database_told(f, &m->database); break;
    case CONTROL_WRITE_OVER: admin_write_over(f, &m->write_over); break;
    case CONTROL_RETIRE: pool_retire(f->pool, m->replace.worker); break;
    case CONTROL_DRAIN:
        f->draining = true;
        front_wake(f);
        admin_drain(f);
        http_server_drain(f->http);
        pool_drain(f->pool);
        async_drain(f);
        waiters_tell_all(f);
        maybe_drained(f);
        break;
    case CONTROL_DRAIN_OVER:
        queries_shut_down(f);
        maybe_drained(f);
        break;
    default: break;
    }
}

static void on_control(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct front *f = arg;
    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        union control_message m;
        int fds[2], nfds, n = control_receive(fd, false, &m, fds, &nfds);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0) { /* no supervisor, no server */
            event_base_loopbreak(f->base);
            return;
        }
        on_message(f, &m, fds);
    }
}

static void on_tick(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct front *f = arg;
    int64_t now = clock_now_ns();
    atomic_store_explicit(&f->page->heartbeat_ns, now, memory_order_relaxed);
    pool_tick(f->pool, now, FIRST_ROW_NS);
    lanes_tick(f->lanes, now, FIRST_ROW_NS);
    sessions_tick(f->sessions, f->cfg, now);
    log_flush(&f->log);
    keys_expire(f->auth.keys, (int64_t)time(NULL));
    delivery_tick(f, now);
    async_tick(f);
    results_expire(f->results, now);
    query_sample_all(f, now);
    maybe_drained(f);
    f->idle = f->query_count == 0 && !f->draining;
    struct timeval tv = {.tv_usec = (f->idle ? TICK_IDLE_MS : TICK_BUSY_MS) * 1000};
    evtimer_add(f->tick, &tv);
}

void front_wake(struct front *f)
{
    if (!f->idle)
        return;
    struct timeval tv = {.tv_usec = TICK_BUSY_MS * 1000};
    f->idle = false;
    evtimer_add(f->tick, &tv);
}

/* Gives up what it does not need, and tells the supervisor what came of it. */
static int enter_jail(struct front *f, uid_t uid, pid_t parent, struct error *err)
{
    if (front_jail(uid, parent, &f->layers, err) < 0)
        return -1;
    struct control_layers m = {.type = CONTROL_FENCED};
    struct buf b = {.data = m.text, .cap = sizeof m.text - 1, .max = sizeof m.text - 1};
    CHECK(layers_write(&f->layers, LAYER_OF_FRONT, &b));
    return control_send(f->control_fd, &m, NULL, 0);
}

/* Connections and results are descriptors: as many as the system lets us have. */
static void raise_files(void)
{
    struct rlimit l;
    if (getrlimit(RLIMIT_NOFILE, &l) == 0 && l.rlim_cur < l.rlim_max) {
        l.rlim_cur = l.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &l);
    }
}

static int start(struct front *f, int listeners, uid_t uid, pid_t parent, struct error *err)
{
    static const struct http_handler handler = {
        .head = routes_head, .request = routes_request, .gone = routes_gone, .sent = routes_sent, .refused = routes_refused};
    int fds[LISTENERS_MAX];
    for (int i = 0; i < listeners; i++)
        fds[i] = FRONT_FD_LISTEN + i;
    raise_files();
    f->control_fd = FRONT_FD_CONTROL;
    f->nudge_fd = FRONT_FD_NUDGE;
    f->page = control_map(FRONT_FD_PAGE);
    f->cfg = read_config(FRONT_FD_CONFIG, err);
    if (!f->cfg)
        return -1;
    close(FRONT_FD_CONFIG);
    set_log(f);
    database_init(f);
    auth_init(&f->auth);
    keys_on_revoked(f->auth.keys, queries_revoked, f);
    auth_configure(&f->auth, f->cfg);
    if (inherited_keys(f, FRONT_FD_KEYS, err) < 0)
        return -1;
    struct tls *tls;
    if (inherited_tls(f, FRONT_FD_TLS, &tls, err) < 0)
        return -1;
    f->base = event_base_new();
    if (!f->page || !f->base)
        return error_set(err, ERR_INTERNAL, "cannot start the front: %s", strerror(errno));
    f->quarantine = quarantine_new(f->cfg->limits.quarantine_ms);
    struct pool_options po = front_pool_options(f);
    f->pool = pool_new(f->base, f->page, f->nudge_fd, &po, front_replace_worker, f, &f->log);
    sessions_start(f);
    f->registry = registry_new(f->cfg->limits.history);
    f->sql_hashes = sql_hashes_new();
    struct spool_options spo = spool_options_of(f);
    f->spool = spool_new(FRONT_FD_SPOOL, &spo, &f->log);
    f->tickets = tickets_new();
    f->results = results_new(f->registry, f->tickets);
    set_http_options(f, &handler, fds, listeners);
    http_server_set_tls(f->http, tls);
    f->control_event = event_new(f->base, f->control_fd, EV_READ | EV_PERSIST, on_control, f);
    f->tick = evtimer_new(f->base, on_tick, f);
    CHECK(f->http && f->control_event && f->tick && event_add(f->control_event, NULL) == 0);
    on_tick(-1, 0, f);
    if (enter_jail(f, uid, parent, err) < 0)
        return -1;
    struct control_plain up = {.type = CONTROL_UP};
    return control_send(f->control_fd, &up, NULL, 0);
}

static void stop(struct front *f)
{
    http_server_free(f->http);
    sessions_stop(f);
    pool_free(f->pool);
    results_free(f->results);
    tickets_free(f->tickets);
    quarantine_free(f->quarantine);
    auth_free(&f->auth);
    registry_free(f->registry);
    sql_hashes_free(f->sql_hashes);
    for (struct query *q = f->queries; q; q = q->next) { /* what still lives ends with the process */
        spool_unref(q->file);
        q->file = NULL;
    }
    spool_free(f->spool);
    event_free(f->control_event);
    event_free(f->tick);
    log_flush(&f->log);
    event_base_free(f->base);
    config_free(f->cfg);
}

int front_main(int argc, char **argv)
{
    struct front f = {0};
    struct error err = {0};
    int listeners = argc == 5 ? atoi(argv[3]) : 0;
    if (listeners < 1 || listeners > LISTENERS_MAX) {
        fprintf(stderr, "bulkhead front-process is started by `bulkhead serve`, not by hand\n");
        return 2;
    }
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != (pid_t)atoi(argv[2]))
        return 1;
    prctl(PR_SET_NAME, "bulkhead-front"); /* exec by /proc/self/exe leaves "exe" */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN); /* the supervisor decides */
    signal(SIGHUP, SIG_IGN);
    signal(SIGTTOU, SIG_IGN); /* it logs to the terminal from a process group that is not in the foreground */
    if (start(&f, listeners, (uid_t)strtoul(argv[4], NULL, 10), (pid_t)atoi(argv[2]), &err) < 0) {
        fprintf(stderr, "bulkhead front: %s\n", err.detail);
        return 1;
    }
    event_base_dispatch(f.base);
    stop(&f);
    return 0;
}
