/* Admin writes (POST /v1/admin/sql), one at a time. First a worker looks at the statements on the database itself, read-only; when they only read,
 * that was all. Else a publisher process locks and copies the database, a writer worker changes the copy, and the publisher puts it into the
 * database's place. The front asks for each step; that a file is fit to be published, the writer says to us and not to the front. What
 * blocks on the disk is the publisher's. Runs in the supervisor. */
#include "core/clock.h"
#include "core/fd.h"
#include "link/inherit.h"
#include "link/publisher.h"
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* How long an answer waits for the pool's workers to go over to what it published, so that whoever gets it reads what it wrote. */
#define SETTLE_MS 2000
/* A publisher that was told to end and does not is killed; what it leaves, the next write removes. */
#define TIDY_MS 5000
/* A writer may die when its work is done. The front, if it has heard its END, asks for the publication within a moment. */
#define CLAIM_MS 1000
/* For those who are told that it can't be just now, when nobody knows better. */
#define RETRY_S 5

static void on_timer(evutil_socket_t fd, short what, void *arg);

void write_path_init(struct supervisor *s) { s->write = (struct write_path){.publisher = CHILD_NONE, .control_fd = -1, .config_fd = -1}; }

bool write_path_is_over(const struct supervisor *s) { return s->write.publisher.pidfd < 0; }

static void arm(struct supervisor *s, int64_t ms)
{
    struct write_path *p = &s->write;
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    if (!p->timer)
        p->timer = evtimer_new(s->base, on_timer, s);
    CHECK(p->timer);
    evtimer_add(p->timer, &tv);
}

static void disarm(struct supervisor *s)
{
    if (s->write.timer)
        evtimer_del(s->write.timer);
}

static void progress(struct supervisor *s, uint32_t want, int64_t done_bytes, int64_t total_bytes)
{
    atomic_store(&s->page->copy_done_bytes, done_bytes);
    atomic_store(&s->page->copy_total_bytes, total_bytes);
    atomic_store(&s->page->copy_want, want);
}

static struct want *want_of(const struct supervisor *s)
{
    struct want *x = s->wants;
    while (x && (x->id != s->write.want || x->kind != WORKER_KIND_WRITER))
        x = x->next;
    return x;
}

/* The publisher closes its locks and removes its copy when its channel ends. */
static void let_publisher_end(struct supervisor *s)
{
    struct write_path *p = &s->write;
    if (p->control_event)
        event_free(p->control_event);
    p->control_event = NULL;
    fd_close_p(&p->control_fd);
    fd_close_p(&p->config_fd);
    progress(s, 0, 0, 0);
    disarm(s);
    p->want = p->worker = 0;
    p->written = false;
    p->state = write_path_is_over(s) ? WRITE_NONE : WRITE_ENDING;
    if (p->state == WRITE_ENDING)
        arm(s, TIDY_MS);
}

/* Nothing was published: whoever waits is told why. */
static void fail(struct supervisor *s, const struct error *why)
{
    struct write_path *p = &s->write;
    struct error told = *why, *err = &told;
    if (err->code == ERR_UNAVAILABLE && err->retry_after_s == 0)
        err->retry_after_s = RETRY_S;
    struct want *x = p->want ? want_of(s) : NULL;
    if (p->state == WRITE_COMMITTING) {
        struct control_write_over m = {.type = CONTROL_WRITE_OVER, .worker = p->worker, .error = *err};
        log_event(&s->log, LOG_WARN, "write_failed", LOG_I("worker", p->worker), LOG_S("code", error_text(err->code)), LOG_S("why", err->detail));
        (void)front_send(s, &m, NULL, 0);
    }
    let_publisher_end(s);
    if (x)
        dedicated_fail(s, x, err);
}

static void answer_published(struct supervisor *s)
{
    struct control_write_over m = s->write.over;
    let_publisher_end(s);
    (void)front_send(s, &m, NULL, 0);
    dedicated_fill(s);
}

/* The configuration for a write: its own sizes, and perhaps another file. A sealed file, the caller's; -1. */
static int sized_config(const struct supervisor *s, const char *path)
{
    struct config c = *s->cfg; /* its texts stay *s->cfg's */
    c.database.path = (char *)(uintptr_t)path;
    if (c.admin.memory_limit_bytes != CONFIG_AUTO)
        c.pool.memory_limit_bytes = c.admin.memory_limit_bytes;
    if (c.pool.memory_cap_bytes < 2 * c.pool.memory_limit_bytes)
        c.pool.memory_cap_bytes = 2 * c.pool.memory_limit_bytes;
    if (c.admin.threads != CONFIG_AUTO)
        c.pool.threads = c.admin.threads;
    return config_to_fd(&c);
}

/* ---- the publisher ---- */

static void on_copied(struct supervisor *s, const char *path)
{
    struct write_path *p = &s->write;
    struct want *x = want_of(s);
    struct error err;
    disarm(s);
    progress(s, 0, 0, 0);
    log_event(&s->log, LOG_INFO, "write_copied", LOG_I("ms", (clock_now_ns() - p->copied_ns) / NS_PER_MS));
    p->config_fd = sized_config(s, path);
    p->state = WRITE_RUNNING;
    struct worker *w = p->config_fd >= 0 && x ? workers_spawn(s, WORKER_KIND_WRITER, "", x, &err) : NULL;
    if (w)
        p->worker = w->id;
    else if (x && p->config_fd >= 0)
        fail(s, &err);
    else
        let_publisher_end(s);
}

static void on_done(struct supervisor *s, const struct publisher_message *m)
{
    struct write_path *p = &s->write;
    database_look(s);
    p->over = (struct control_write_over){.type = CONTROL_WRITE_OVER, .worker = p->worker, .version = s->database.version, .kept = m->kept};
    memcpy(p->over.note, m->note, sizeof m->note);
    p->over.note[sizeof p->over.note - 1] = 0;
    log_event(&s->log, LOG_INFO, "write_published", LOG_I("worker", p->worker), LOG_I("kept_version", m->kept), LOG_S("note", p->over.note));
    p->state = WRITE_SETTLING;
    arm(s, SETTLE_MS);
    workers_fill(s);
    write_path_settled(s);
}

static void on_publisher(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct supervisor *s = arg;
    struct write_path *p = &s->write;
    struct publisher_message m;
    ssize_t n = -1;
    while (p->control_fd >= 0 && (n = fd_recv(fd, &m, sizeof m, NULL, 0, NULL)) == (ssize_t)sizeof m) {
        m.path[sizeof m.path - 1] = 0;
        if (m.type == PUBLISHER_PROGRESS && p->state == WRITE_COPYING)
            progress(s, p->want, m.done_bytes, m.total_bytes);
        else if (m.type == PUBLISHER_COPIED && p->state == WRITE_COPYING)
            on_copied(s, m.path);
        else if (m.type == PUBLISHER_DONE && p->state == WRITE_COMMITTING)
            on_done(s, &m);
        else if (m.type == PUBLISHER_FAILED)
            fail(s, &m.error);
    }
    if (p->control_event && n == 0)
        event_del(p->control_event); /* it is dying: its pidfd tells */
}

static void on_publisher_death(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct supervisor *s = arg;
    struct write_path *p = &s->write;
    struct child_end end;
    pid_t pid = p->publisher.pid;
    if (p->control_fd >= 0)
        on_publisher(p->control_fd, 0, s); /* its last words come before its death */
    if (!child_reap(&p->publisher, &end))
        return;
    event_free(p->pid_event);
    p->pid_event = NULL;
    if (end.signal || end.exit_code)
        log_event(&s->log, LOG_WARN, "publisher_death", LOG_I("pid", pid), LOG_S("signal", signal_text(end.signal)),
                  LOG_I("exit_code", end.exit_code));
    if (p->state == WRITE_ENDING) {
        disarm(s);
        p->state = WRITE_NONE;
    } else if (p->state != WRITE_SETTLING && p->state != WRITE_NONE) {
        struct error err;
        error_set(&err, ERR_UNAVAILABLE, "the process that copies and publishes the database died; %s",
                  p->state == WRITE_COMMITTING ? "whether it had published, the database's version tells" : "nothing was published");
        struct worker *w = workers_find(s, p->worker);
        fail(s, &err);
        if (w && !w->doomed)
            workers_doom(w, DEATH_RETIRED);
    }
    supervisor_maybe_end(s);
    dedicated_fill(s);
}

static int start_publisher(struct supervisor *s, struct error *err)
{
    struct write_path *p = &s->write;
    char parent[16], keep[24];
    int pair[2] = {-1, -1}, r = -1;
    auto_close int config_fd = sized_config(s, s->cfg->database.path);
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    snprintf(keep, sizeof keep, "%" PRId64, s->cfg->admin.keep);
    const char *argv[] = {"bulkhead", "publisher-process", parent, keep, NULL};
    if (config_fd >= 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair) == 0) {
        struct child_spec spec = {.path = "/proc/self/exe", .argv = argv, .fds = (int[]){pair[1], config_fd}, .fd_count = 2, .output_fd = -1};
        r = child_spawn(&spec, &p->publisher);
    }
    p->control_fd = pair[0];
    int saved = errno;
    fd_close_p(&pair[1]);
    if (r < 0) {
        p->publisher = CHILD_NONE; /* the channel goes with whatever follows the failure */
        return error_set(err, ERR_UNAVAILABLE, "cannot start a publisher: %s", strerror(saved));
    }
    p->control_event = event_new(s->base, p->control_fd, EV_READ | EV_PERSIST, on_publisher, s);
    p->pid_event = event_new(s->base, p->publisher.pidfd, EV_READ | EV_PERSIST, on_publisher_death, s);
    CHECK(p->control_event && p->pid_event && event_add(p->control_event, NULL) == 0 && event_add(p->pid_event, NULL) == 0);
    return 0;
}

/* ---- by the clock ---- */

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct supervisor *s = arg;
    struct write_path *p = &s->write;
    struct error err;
    if (p->state == WRITE_SETTLING) {
        answer_published(s);
        return;
    }
    if (p->state == WRITE_COPYING || p->state == WRITE_COMMITTING) {
        bool copying = p->state == WRITE_COPYING;
        error_set(&err, copying ? ERR_TIMEOUT : ERR_UNAVAILABLE, "%s the database took longer than [admin] copy_timeout (%" PRId64 " ms)%s",
                  copying ? "copying" : "publishing", s->cfg->admin.copy_timeout_ms,
                  copying ? "" : "; whether it was published, the database's version tells");
        if (copying)
            err.limit_ms = s->cfg->admin.copy_timeout_ms;
        if (!copying)
            (void)child_signal(&p->publisher, SIGKILL, 0);
        fail(s, &err);
        return;
    }
    if (p->state == WRITE_RUNNING) /* its worker is dead, and nobody has asked for what it wrote */
        let_publisher_end(s);
    else if (p->publisher.pidfd >= 0)
        (void)child_signal(&p->publisher, SIGKILL, 0);
}

/* ---- what others ask for ---- */

void write_path_plan(const struct supervisor *s, struct worker_plan *plan)
{
    static const char *const nothing[] = {NULL};
    const struct write_path *p = &s->write;
    plan->read_paths = nothing;
    plan->write_mode = p->state == WRITE_RUNNING ? "copy" : "look";
    if (p->state != WRITE_RUNNING)
        return; /* it reads, like any other */
    plan->config_fd = p->config_fd;
    plan->uid = 0; /* the file belongs to whom the server's is */
}

static bool refuse_early(const struct supervisor *s, const struct want *x, struct error *err)
{
    if (!s->cfg->server.keys_file[0] && !s->cfg->server.keyless_admin) /* the front has checked it, if it is sane */
        return error_set(err, ERR_FORBIDDEN, "there are no admins here: neither API keys nor server.keyless_admin") < 0;
    if (x->writes && !s->cfg->database.path[0])
        return error_set(err, ERR_BAD_REQUEST, "the database is in memory, one in each worker: there is no file to write to") < 0;
    if (s->database.paused) {
        error_set(err, ERR_CONFLICT, "the database is given up to a write in place just now");
        err->retry_after_s = 1;
        return true;
    }
    return false;
}

void write_path_serve(struct supervisor *s, struct want *x)
{
    struct write_path *p = &s->write;
    struct error err;
    if (p->state != WRITE_NONE)
        return;
    if (refuse_early(s, x, &err)) {
        dedicated_fail(s, x, &err);
        return;
    }
    p->want = x->id;
    if (x->writes) {
        p->state = WRITE_COPYING;
        p->copied_ns = clock_now_ns();
        if (start_publisher(s, &err) < 0)
            fail(s, &err);
        else
            arm(s, s->cfg->admin.copy_timeout_ms);
        return;
    }
    p->state = WRITE_LOOKING;
    struct worker *w = workers_spawn(s, WORKER_KIND_WRITER, "", x, &err);
    if (w)
        p->worker = w->id;
    else
        fail(s, &err);
}

bool write_path_serves(const struct supervisor *s, const struct want *x)
{
    return x->kind == WORKER_KIND_WRITER && s->write.state != WRITE_NONE && s->write.want == x->id;
}

void write_path_unwanted(struct supervisor *s, uint32_t want)
{
    if (s->write.want == want && s->write.state == WRITE_COPYING)
        let_publisher_end(s);
}

void write_path_worker_dead(struct worker *w)
{
    struct supervisor *s = w->sup;
    struct write_path *p = &s->write;
    if (p->worker != w->id)
        return;
    workers_look_at_status(w);
    p->written = w->written;
    if (p->state == WRITE_RUNNING && p->written)
        arm(s, CLAIM_MS); /* its work is done: the front has END, and asks for the publication */
    else if (p->state == WRITE_LOOKING || p->state == WRITE_RUNNING)
        let_publisher_end(s);
}

void write_path_commit(struct supervisor *s, uint32_t worker)
{
    struct write_path *p = &s->write;
    struct worker *w = workers_find(s, worker);
    struct publisher_message m = {.type = PUBLISHER_COMMIT};
    struct error err;
    if (w && w->id == p->worker)
        workers_look_at_status(w);
    bool fit = worker != 0 && worker == p->worker && p->state == WRITE_RUNNING && (w ? w->written : p->written);
    if (fit)
        p->state = WRITE_COMMITTING;
    if (fit && w && !w->doomed) /* it has said all that it had to: before the next one starts */
        workers_doom(w, DEATH_RETIRED);
    if (fit && fd_send(p->control_fd, &m, sizeof m, NULL, 0) == 0) {
        arm(s, s->cfg->admin.copy_timeout_ms);
        return;
    }
    error_set(&err, ERR_UNAVAILABLE, "the writer is gone, or has not said that its file is whole; nothing was published");
    err.retry_after_s = RETRY_S;
    if (fit) {
        fail(s, &err);
        return;
    }
    struct control_write_over over = {.type = CONTROL_WRITE_OVER, .worker = worker, .error = err};
    (void)front_send(s, &over, NULL, 0);
}

void write_path_settled(struct supervisor *s)
{
    const struct database *d = &s->database;
    if (s->write.state == WRITE_SETTLING && (!d->swapping || d->refused[0]))
        answer_published(s);
}

void write_path_forget_front(struct supervisor *s)
{
    struct write_path *p = &s->write;
    struct worker *w = workers_find(s, p->worker);
    if (p->state == WRITE_COPYING || p->state == WRITE_RUNNING)
        let_publisher_end(s);                       /* the front's workers are killed by others */
    if (w && w->state != WORKER_POOL && !w->doomed) /* it only starts: nobody will ever ask for it */
        workers_doom(w, DEATH_RETIRED);
}

void write_path_kill(struct supervisor *s)
{
    if (s->write.publisher.pidfd >= 0)
        (void)child_signal(&s->write.publisher, SIGKILL, 0); /* at any instant: the old file, or the new one */
}

void write_path_forget(struct supervisor *s)
{
    struct write_path *p = &s->write;
    if (p->control_event)
        event_free(p->control_event);
    if (p->pid_event)
        event_free(p->pid_event);
    if (p->timer)
        event_free(p->timer);
    fd_close_p(&p->control_fd);
    fd_close_p(&p->config_fd);
}
