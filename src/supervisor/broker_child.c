/* The broker as a child: started when a source needs it, told what each worker may reach, started again when it dies. The supervisor keeps the broker's
 * end of every channel, so that a new broker serves the workers of the old one. Runs in the supervisor. */
#include "core/clock.h"
#include "core/fd.h"
#include "link/egress.h"
#include "supervisor/jail.h"
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static void broker_start(struct supervisor *s);

static void broker_retry(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct supervisor *s = arg;
    s->broker.backoff.waiting = false;
    broker_start(s);
}

static void close_broker(struct supervisor *s)
{
    if (s->broker.pid_event)
        event_free(s->broker.pid_event);
    if (s->broker.report_event)
        event_free(s->broker.report_event);
    s->broker.pid_event = s->broker.report_event = NULL;
    fd_close_p(&s->broker.control_fd);
}

static void on_death(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct supervisor *s = arg;
    struct child_end end;
    pid_t pid = s->broker.child.pid;
    if (!child_reap(&s->broker.child, &end))
        return;
    log_event(&s->log, s->killing ? LOG_INFO : LOG_ERROR, "broker_death", LOG_I("pid", pid), LOG_S("signal", signal_text(end.signal)),
              LOG_I("exit_code", end.exit_code));
    close_broker(s);
    if (s->killing) {
        supervisor_maybe_end(s);
        return;
    }
    if (s->broker.refused)
        return;
    if (clock_now_ns() - s->broker.started_ns > NS_PER_S)
        s->broker.backoff.failures = 0;
    if (s->broker.backoff.failures == 0) {
        s->broker.backoff.failures = 1; /* the first time at once */
        broker_start(s);
    } else {
        backoff_start(s, &s->broker.backoff, broker_retry);
    }
}

/* Its layers. What else it might send is never read. */
static void on_report(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct supervisor *s = arg;
    char text[LAYERS_TEXT_MAX + 1];
    ssize_t n = recv(fd, text, sizeof text - 1, MSG_DONTWAIT);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    event_del(s->broker.report_event);
    if (n <= 0)
        return; /* its pidfd tells */
    text[n] = 0;
    s->broker.refused = !jail_broker_up(s, text);
    if (!s->broker.refused)
        return;
    (void)child_signal(&s->broker.child, SIGKILL, 0);
    for (struct worker *w = s->workers; w; w = w->next)
        fd_close_p(&w->broker_fd); /* whoever waits learns that nobody will answer */
}

static bool send_grant(struct supervisor *s, const struct worker *w)
{
    struct egress_grant g = {.worker = w->id};
    g.count = (uint32_t)egress_endpoints(s->cfg, w->set, g.endpoint);
    return fd_send(s->broker.control_fd, &g, sizeof g, &w->broker_fd, 1) == 0;
}

static void broker_start(struct supervisor *s)
{
    char parent[16], uid[16];
    int pair[2];
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    snprintf(uid, sizeof uid, "%u", (unsigned)users_of_broker(&s->users));
    const char *argv[] = {"bulkhead", "broker-process", parent, uid, NULL};
    s->broker.started_ns = clock_now_ns();
    bool ok = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0;
    if (ok) {
        struct child_spec spec = {.path = "/proc/self/exe", .argv = argv, .fds = &pair[1], .fd_count = 1, .output_fd = -1};
        ok = child_spawn(&spec, &s->broker.child) == 0;
        close(pair[1]);
        if (!ok)
            close(pair[0]);
    }
    if (!ok) {
        log_event(&s->log, LOG_ERROR, "broker_start_failed", LOG_S("why", strerror(errno)));
        s->broker.child = CHILD_NONE;
        backoff_start(s, &s->broker.backoff, broker_retry);
        return;
    }
    s->broker.control_fd = pair[0];
    s->broker.pid_event = event_new(s->base, s->broker.child.pidfd, EV_READ | EV_PERSIST, on_death, s);
    s->broker.report_event = event_new(s->base, pair[0], EV_READ | EV_PERSIST, on_report, s);
    CHECK(s->broker.pid_event && event_add(s->broker.pid_event, NULL) == 0 && s->broker.report_event && event_add(s->broker.report_event, NULL) == 0);
    log_event(&s->log, LOG_INFO, "broker_start", LOG_I("pid", s->broker.child.pid));
    for (const struct worker *w = s->workers; w; w = w->next)
        if (w->broker_fd >= 0 && !send_grant(s, w))
            log_event(&s->log, LOG_ERROR, "broker_unreachable", LOG_S("why", strerror(errno)));
}

int broker_channel(struct supervisor *s, struct worker *w, int *ret_fd, struct error *err)
{
    struct egress_endpoint ignored[SOURCES_PER_SET];
    int pair[2];
    *ret_fd = -1;
    if (egress_endpoints(s->cfg, w->set, ignored) == 0)
        return 0;
    if (s->broker.refused)
        return error_set(err, ERR_UNAVAILABLE, "no source can be reached: the broker lacks a layer that sandbox.require lists");
    if (s->broker.child.pidfd < 0 && !s->broker.backoff.waiting)
        broker_start(s);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot make a channel to the broker: %s", strerror(errno));
    w->broker_fd = pair[0];
    /* Without a broker now, the next one is told when it starts; the worker waits, for as long as a connection may take. */
    if (s->broker.child.pidfd >= 0 && !send_grant(s, w))
        log_event(&s->log, LOG_ERROR, "broker_unreachable", LOG_S("why", strerror(errno)));
    *ret_fd = pair[1];
    return 0;
}

void broker_end(struct supervisor *s)
{
    if (s->broker.child.pidfd >= 0)
        (void)child_signal(&s->broker.child, SIGKILL, 0);
}

void broker_forget(struct supervisor *s)
{
    close_broker(s);
    if (s->broker.backoff.timer)
        event_free(s->broker.backoff.timer);
}
