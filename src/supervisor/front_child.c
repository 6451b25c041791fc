/* The front as a child: started on the listening sockets, heard on its control channel, started again when it dies. Runs in the supervisor. */
#include "core/clock.h"
#include "core/fd.h"
#include "core/slice.h"
#include "link/inherit.h"
#include "supervisor/jail.h"
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A front that lived this long died of something else than its start. */
#define SETTLED_NS NS_PER_S
#define MESSAGES_PER_TURN 64

static void front_restart(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct supervisor *s = arg;
    s->front.backoff.waiting = false;
    front_start(s);
    workers_fill(s);
}

bool front_send(struct supervisor *s, const void *message, const int *fds, int nfds)
{
    struct front_child *f = &s->front;
    if (f->control_fd < 0)
        return false;
    if (control_send(f->control_fd, message, fds, nfds) == 0)
        return true;
    if (s->draining && errno == EPIPE) /* it had nothing left to do, and has ended */
        return false;
    /* A front that does not read its orders is as good as dead; its pidfd brings the rest. */
    log_event(&s->log, LOG_ERROR, "front_unreachable", LOG_I("pid", f->child.pid), LOG_S("why", strerror(errno)));
    (void)child_signal(&f->child, SIGKILL, 0);
    return false;
}

void front_tell_trouble(struct supervisor *s)
{
    struct control_start_failed m = {.type = CONTROL_START_FAILED};
    snprintf(m.text, sizeof m.text, "%s", s->start_error);
    (void)front_send(s, &m, NULL, 0);
}

/* More than these, in one second, no working front asks for: each needs a worker that was started before. */
static unsigned replaces_max(const struct supervisor *s) { return 64 + 32 * (unsigned)s->slots; }

/* Whether one more replacement is within bounds. */
static bool may_replace(struct supervisor *s)
{
    struct front_child *f = &s->front;
    int64_t now = clock_now_ns();
    if (now - f->replaces_since_ns >= NS_PER_S) {
        f->replaces_since_ns = now;
        f->replaces = 0;
    }
    return ++f->replaces <= replaces_max(s);
}

/* A front that breaks the rules is out of its mind, or somebody else's. */
static void front_misbehaved(struct supervisor *s, const char *why)
{
    struct front_child *f = &s->front;
    if (f->control_event)
        event_del(f->control_event);
    log_event(&s->log, LOG_ERROR, "front_protocol", LOG_I("pid", f->child.pid), LOG_S("why", why));
    (void)child_signal(&f->child, SIGKILL, 0);
}

bool front_count_replace(struct supervisor *s)
{
    if (s->front.child.pidfd < 0 || may_replace(s))
        return true;
    front_misbehaved(s, "too many workers to be replaced");
    return false;
}

static void on_replace(struct supervisor *s, const struct control_replace *m)
{
    struct worker *w = workers_find(s, m->worker);
    bool known_reason = m->reason == DEATH_SPENT || m->reason == DEATH_LINK || m->reason == DEATH_RETIRED;
    if (!w || !known_reason || w->state != WORKER_POOL)
        return;
    workers_doom(w, (enum death_reason)m->reason);
    workers_fill(s);
    watch_now(s);
}

static void on_control(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct supervisor *s = arg;
    for (int i = 0; i < MESSAGES_PER_TURN; i++) {
        union control_message m;
        int fds[2], nfds, n = control_receive(fd, true, &m, fds, &nfds);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n == 0) { /* it is dying, or has closed the channel: without it it is no front any more */
            event_del(s->front.control_event);
            (void)child_signal(&s->front.child, SIGKILL, 0);
            return;
        }
        if (n < 0) {
            front_misbehaved(s, strerror(errno));
            return;
        }
        switch ((enum control_type)m.type) {
        case CONTROL_FENCED: jail_front_up(s, m.layers.text); break;
        case CONTROL_UP:
            s->front.up = true;
            database_tell(s, true);
            supervisor_announce(s);
            break;
        case CONTROL_REPLACE:
            if (!front_count_replace(s))
                return;
            on_replace(s, &m.replace);
            break;
        case CONTROL_LEAVES: short_lane_worker_leaves(s, m.replace.worker); break;
        case CONTROL_RELOAD: database_reload(s, m.plain.flags); break;
        case CONTROL_WANT: dedicated_want(s, &m.want); break;
        case CONTROL_UNWANT: dedicated_unwant(s, m.unwant.want); break;
        case CONTROL_COMMIT: write_path_commit(s, m.plain.flags); break;
        case CONTROL_EXPORT: exports_open(s, &m.export); break;
        case CONTROL_EXPORT_COMMIT: exports_commit(s, m.plain.flags); break;
        case CONTROL_EXPORT_DROP: exports_drop(s, m.plain.flags); break;
        case CONTROL_DRAINED:
            if (s->draining)
                supervisor_kill_all(s);
            else
                front_misbehaved(s, "drained, though not asked to");
            return;
        default: break;
        }
    }
}

static void close_front(struct front_child *f)
{
    if (f->pid_event)
        event_free(f->pid_event);
    if (f->control_event)
        event_free(f->control_event);
    f->pid_event = f->control_event = NULL;
    fd_close_p(&f->control_fd);
    f->up = false;
}

static void on_front_death(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct supervisor *s = arg;
    struct front_child *f = &s->front;
    struct child_end end;
    pid_t pid = f->child.pid;
    if (!child_reap(&f->child, &end))
        return;
    bool wanted = s->draining || s->killing;
    log_event(&s->log, wanted ? LOG_INFO : LOG_ERROR, "front_death", LOG_I("pid", pid), LOG_S("signal", signal_text(end.signal)),
              LOG_I("signal_number", end.signal), LOG_I("exit_code", end.exit_code));
    close_front(f);
    exports_forget_front(s);
    workers_forget_front(s);
    if (wanted) {
        supervisor_kill_all(s);
        return;
    }
    if (clock_now_ns() - f->started_ns > SETTLED_NS)
        f->backoff.failures = 0;
    if (f->backoff.failures == 0) {
        f->backoff.failures = 1; /* the first time at once */
        front_start(s);
        workers_fill(s);
    } else {
        backoff_start(s, &f->backoff, front_restart);
    }
}

static int exec_front(struct supervisor *s, int control_fd)
{
    char parent[16], listeners[16], uid[16];
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    snprintf(listeners, sizeof listeners, "%d", s->listen_count);
    snprintf(uid, sizeof uid, "%u", (unsigned)users_of_front(&s->users));
    const char *argv[] = {"bulkhead", "front-process", parent, listeners, uid, NULL};
    int fds[FRONT_FD_LISTEN - FRONT_FD_CONTROL + LISTENERS_MAX] = {control_fd, s->page_fd, s->nudge_fd, s->config_fd,
                                                                   s->keys.fd, s->tls_fd,  s->spool_fd};
    int n = FRONT_FD_LISTEN - FRONT_FD_CONTROL;
    for (int i = 0; i < s->listen_count; i++)
        fds[n++] = s->listen_fds[i];
    struct child_spec spec = {.path = "/proc/self/exe", .argv = argv, .fds = fds, .fd_count = n, .output_fd = -1, .slice_ns = SLICE_SHORT_NS};
    return child_spawn(&spec, &s->front.child);
}

void front_start(struct supervisor *s)
{
    struct front_child *f = &s->front;
    int pair[2];
    f->started_ns = clock_now_ns();
    atomic_store(&s->page->heartbeat_ns, f->started_ns);
    bool ok = socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0;
    if (ok) {
        ok = exec_front(s, pair[1]) == 0;
        close(pair[1]);
        if (!ok)
            close(pair[0]);
    }
    if (!ok) {
        log_event(&s->log, LOG_ERROR, "front_start_failed", LOG_S("why", strerror(errno)));
        f->child = CHILD_NONE;
        backoff_start(s, &f->backoff, front_restart);
        return;
    }
    f->control_fd = pair[0];
    f->pid_event = event_new(s->base, f->child.pidfd, EV_READ | EV_PERSIST, on_front_death, s);
    f->control_event = event_new(s->base, f->control_fd, EV_READ | EV_PERSIST, on_control, s);
    CHECK(f->pid_event && f->control_event && event_add(f->pid_event, NULL) == 0 && event_add(f->control_event, NULL) == 0);
    atomic_fetch_add(&s->page->front_starts, 1);
    log_event(&s->log, LOG_INFO, "front_start", LOG_I("pid", f->child.pid));
    if (s->start_error[0])
        front_tell_trouble(s);
    jail_tell_front(s);
}
