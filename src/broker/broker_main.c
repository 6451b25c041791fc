/* The broker's loop: grants from the supervisor, asks from workers; each ask is served by a thread, since looking up a name blocks. All that a worker sends
 * is a number, and checked. Runs in the broker. */
#include "broker/broker.h"
#include "broker/broker_jail.h"
#include "broker/reach.h"
#include "core/buf.h"
#include "core/clock.h"
#include "core/errors.h"
#include "core/fd.h"
#include "core/log.h"
#include "link/inherit.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CHANNELS_MAX 512
/* Lookups and connects under way. More is a worker that has gone mad, or a name server that has. */
#define THREADS_MAX 64
/* Of one worker: so many at a time, and over time no more than one for each of its quick queries (MySQL's are never used again). So none can use up the
 * threads, or the source's connections. */
#define WORKER_THREADS_MAX 8
#define WORKER_BURST 64
#define WORKER_PER_S 32
#define THREAD_STACK_BYTES (256 * 1024) /* getaddrinfo wants some */

/* A worker's channel. Threads hold it as well as the loop; the last one frees it. */
struct channel {
    int fd;
    atomic_int holders, under_way;
    int64_t spent_ns; /* its asks, each worth the time in which one may come; this far ahead of the clock it is at its limit */
    bool limited;     /* it was, and the log says so */
    struct egress_grant grant;
};

struct request {
    struct channel *channel;
    struct egress_ask ask;
};

static struct log broker_log = {.level = LOG_INFO, .format = LOG_JSON, .role = "broker"};
static atomic_int threads;

static void release(struct channel *c)
{
    if (atomic_fetch_sub(&c->holders, 1) > 1)
        return;
    close(c->fd);
    free(c);
}

static void answer(const struct channel *c, uint32_t id, int error, int fd)
{
    struct egress_answer m = {.id = id, .error = error};
    (void)fd_send(c->fd, &m, sizeof m, &fd, fd >= 0 ? 1 : 0); /* a worker that is gone needs no answer */
}

static void *serve(void *arg)
{
    struct request *r = arg;
    const struct egress_endpoint *e = &r->channel->grant.endpoint[r->ask.endpoint];
    bool refused;
    char address[64];
    int error;
    auto_close int fd = reach_connect(e, EGRESS_CONNECT_MS, &error, &refused, address);
    if (refused)
        log_event(&broker_log, LOG_WARN, "egress_refused", LOG_I("worker", r->channel->grant.worker), LOG_S("source", e->source),
                  LOG_S("host", e->host), LOG_S("address", address),
                  LOG_S("why", "the name leads to an address that only a literal declaration may name"));
    atomic_fetch_sub(&r->channel->under_way, 1);
    answer(r->channel, r->ask.id, fd >= 0 ? 0 : error, fd);
    release(r->channel);
    free(r);
    atomic_fetch_sub(&threads, 1);
    return NULL;
}

/* An errno when it can't be served. */
static int start_thread(struct channel *c, const struct egress_ask *ask)
{
    pthread_attr_t attr;
    pthread_t thread;
    if (atomic_fetch_add(&threads, 1) >= THREADS_MAX) {
        atomic_fetch_sub(&threads, 1);
        return EAGAIN;
    }
    atomic_fetch_add(&c->under_way, 1);
    struct request *r = malloc(sizeof *r);
    CHECK(r);
    *r = (struct request){c, *ask};
    atomic_fetch_add(&c->holders, 1);
    pthread_attr_init(&attr);
    pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attr, THREAD_STACK_BYTES);
    int e = pthread_create(&thread, &attr, serve, r);
    pthread_attr_destroy(&attr);
    if (e) {
        atomic_fetch_sub(&threads, 1);
        atomic_fetch_sub(&c->under_way, 1);
        free(r);
        atomic_fetch_sub(&c->holders, 1); /* not the last one: the loop holds it */
    }
    return e;
}

static bool within_limits(struct channel *c)
{
    int64_t now = clock_now_ns(), each = NS_PER_S / WORKER_PER_S;
    if (c->spent_ns < now)
        c->spent_ns = now;
    if (atomic_load(&c->under_way) < WORKER_THREADS_MAX && c->spent_ns + each <= now + WORKER_BURST * each) {
        c->spent_ns += each;
        return true;
    }
    if (!c->limited)
        log_event(&broker_log, LOG_WARN, "egress_limited", LOG_I("worker", c->grant.worker));
    c->limited = true;
    return false;
}

/* One ask. False: the worker is gone, or says what it must not. */
static bool on_ask(struct channel *c)
{
    struct egress_ask ask;
    ssize_t n = fd_recv(c->fd, &ask, sizeof ask, NULL, 0, NULL);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return true;
    if (n != (ssize_t)sizeof ask)
        return false;
    if (ask.endpoint >= c->grant.count) {
        log_event(&broker_log, LOG_WARN, "egress_undeclared", LOG_I("worker", c->grant.worker), LOG_I("endpoint", ask.endpoint));
        answer(c, ask.id, EACCES, -1);
        return true;
    }
    int e = within_limits(c) ? start_thread(c, &ask) : EAGAIN;
    if (e)
        answer(c, ask.id, e, -1);
    return true;
}

static bool grant_is_sound(const struct egress_grant *g)
{
    bool ok = g->count <= SOURCES_PER_SET;
    for (uint32_t i = 0; ok && i < g->count; i++)
        ok = memchr(g->endpoint[i].host, 0, sizeof g->endpoint[i].host) && memchr(g->endpoint[i].source, 0, sizeof g->endpoint[i].source);
    return ok;
}

/* A grant from the supervisor. False: it is gone. */
static bool on_grant(int control, struct channel *channels[CHANNELS_MAX], size_t *count)
{
    struct channel *c = calloc(1, sizeof *c);
    int nfds = 0;
    CHECK(c);
    ssize_t n = fd_recv(control, &c->grant, sizeof c->grant, &c->fd, 1, &nfds);
    if (n == (ssize_t)sizeof c->grant && nfds == 1 && grant_is_sound(&c->grant) && *count < CHANNELS_MAX) {
        (void)fd_nonblock(c->fd);
        atomic_store(&c->holders, 1);
        channels[(*count)++] = c;
        return true;
    }
    bool more = n > 0 || (n < 0 && (errno == EAGAIN || errno == EINTR));
    if (nfds == 1)
        close(c->fd);
    free(c);
    return more;
}

static int loop(int control)
{
    struct channel *channels[CHANNELS_MAX];
    struct pollfd p[CHANNELS_MAX + 1];
    size_t count = 0;
    for (;;) {
        p[0] = (struct pollfd){.fd = control, .events = POLLIN};
        for (size_t i = 0; i < count; i++)
            p[i + 1] = (struct pollfd){.fd = channels[i]->fd, .events = POLLIN};
        if (poll(p, count + 1, -1) < 0 && errno != EINTR)
            return 1;
        for (size_t i = count; i > 0; i--) /* from the end: the last one fills a gap */
            if (p[i].revents && !on_ask(channels[i - 1])) {
                release(channels[i - 1]);
                channels[i - 1] = channels[--count];
            }
        if (p[0].revents && !on_grant(control, channels, &count))
            return 0;
    }
}

/* Before the first grant is read. The report is the one message that the broker sends to the supervisor. */
static bool enter_jail(uid_t uid, pid_t parent)
{
    struct layers layers = {0};
    struct error err;
    struct buf report = BUF_INIT(LAYERS_TEXT_MAX);
    if (broker_jail(uid, parent, &layers, &err) < 0) {
        log_event(&broker_log, LOG_ERROR, "broker_jail", LOG_S("why", err.detail));
        return false;
    }
    CHECK(layers_write(&layers, LAYER_OF_BROKER, &report));
    bool ok = fd_send(BROKER_FD_CONTROL, report.data, report.len, NULL, 0) == 0;
    buf_free(&report);
    return ok;
}

int broker_main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "bulkhead broker-process is started by `bulkhead serve`, not by hand\n");
        return 2;
    }
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    signal(SIGTTOU, SIG_IGN);
    if (!enter_jail((uid_t)strtoul(argv[3], NULL, 10), (pid_t)atoi(argv[2])))
        return 1;
    (void)fd_nonblock(BROKER_FD_CONTROL);
    return loop(BROKER_FD_CONTROL);
}
