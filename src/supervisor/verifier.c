/* Has the engine check the signatures of the extensions' files that the configuration needs, one at a time and each once: in a worker of its own, behind
 * the same jail, that sees no database, no secret and no client. Workers are then given the states of the files that passed (core/extensions.h): whoever
 * finds a file still in that state loads it without a check of its own, which would take longer than all else of its start. A file that did not pass, or is
 * not yet looked at, or was changed, is checked by each worker. Runs in the supervisor. */
#include "core/clock.h"
#include "core/extensions.h"
#include "core/fd.h"
#include "link/inherit.h"
#include "link/ring.h"
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Who dies without a word, killed for a slow start or by a lack of memory, may have more luck later. */
#define TRIES_MAX 3

/* A full list starts afresh: files are looked at again. */
static void add_state(char list[VERIFIED_BYTES], const char *state)
{
    size_t len = strlen(list);
    if (len + 1 + strlen(state) >= VERIFIED_BYTES)
        len = 0;
    snprintf(list + len, VERIFIED_BYTES - len, "%s%s", len ? "," : "", state);
}

static bool must_look_at(struct verifier *v, const char *directory, const char *name)
{
    struct error ignored;
    bool settled;
    return extension_path(directory, name, v->path, &ignored) == 0 && extension_state(v->path, v->state, &settled) && settled &&
           !extension_is_in(v->passed, v->path) && !extension_is_in(v->failed, v->path);
}

/* The next file that a worker would have to check. False: none. */
static bool find_next(struct supervisor *s)
{
    char directory[EXTENSION_PATH_BYTES];
    struct error ignored;
    const struct text_list *l = &s->cfg->database.extensions;
    if ((l->count == 0 && s->cfg->source_count == 0) || extensions_directory(s->cfg, directory, &ignored) < 0)
        return false;
    for (size_t i = 0; i < l->count; i++)
        if (must_look_at(&s->verifier, directory, l->items[i]))
            return true;
    for (size_t i = 0; i < s->cfg->source_count; i++) {
        struct source source;
        const char *name = source_read(&s->cfg->sources[i], &source, &ignored) == 0 ? source_extension(source.type) : NULL;
        if (name && must_look_at(&s->verifier, directory, name))
            return true;
    }
    return false;
}

static void on_status(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct supervisor *s = arg;
    struct verifier *v = &s->verifier;
    char record[1 + LAYERS_TEXT_MAX];
    ssize_t n = read(fd, record, sizeof record - 1);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    event_drop(&v->status_event);
    record[n > 0 ? n : 0] = 0;
    if (record[0] == 'R')
        v->ready = true;
    else if (record[0])
        snprintf(v->why, sizeof v->why, "%.900s", record + 1);
}

static void on_death(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct supervisor *s = arg;
    struct verifier *v = &s->verifier;
    struct child_end end;
    bool settled;
    char state[EXTENSION_STATE_BYTES] = "";
    if (!child_reap(&v->ends.child, &end))
        return;
    if (v->status_event)
        on_status(v->ends.status_fd, 0, s);
    verifier_forget(s);
    /* What was looked at is what was found before: else it was changed meanwhile, and is looked at again. */
    bool same = extension_state(v->path, state, &settled) && strcmp(state, v->state) == 0;
    bool passed = v->ready && end.signal == 0 && end.exit_code == 0, told = passed || end.exit_code == WORKER_EXIT_START;
    bool over = told || ++v->tries >= TRIES_MAX;
    if (over)
        v->tries = 0;
    if (over && same)
        add_state(passed ? v->passed : v->failed, v->state);
    if (passed)
        log_event(&s->log, LOG_INFO, "extension_verified", LOG_S("file", v->path), LOG_I("ms", (clock_now_ns() - v->started_ns) / NS_PER_MS));
    else if (!s->killing)
        log_event(&s->log, LOG_WARN, "extension_not_verified", LOG_S("file", v->path), LOG_S("why", v->why[0] ? v->why : "it died without a word"),
                  LOG_S("signal", signal_text(end.signal)));
    if (s->killing)
        supervisor_maybe_end(s);
    else if (over) /* else the next look comes in a while */
        verifier_look(s);
}

static void too_late(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    verifier_end(arg);
}

static bool start(struct supervisor *s)
{
    struct verifier *v = &s->verifier;
    struct worker_plan plan = {.executable = s->worker_path,
                               .config_fd = s->config_fd,
                               .request_bytes = ring_request_bytes(s->cfg->limits.max_sql_bytes),
                               .scratch_directory = "",
                               .broker_fd = -1,
                               .verify = v->path,
                               .uid = users_of_verifier(&s->users)};
    struct cap_sizes sizes = {.memory_bytes = s->cfg->pool.memory_cap_bytes, .cpus = s->cfg->pool.cpu_cap, .threads = s->cfg->pool.threads};
    uint32_t id = ++s->last_worker;
    if (worker_cap_make(&s->caps, id, &sizes, &v->cap, &plan) < 0)
        return false;
    if (worker_spawn(&plan, id, &v->ends) < 0) {
        int e = errno;
        worker_cap_end(&s->caps, &v->cap);
        errno = e;
        return false;
    }
    (void)worker_cap_started(&s->caps, &v->cap, &v->ends.child);
    fd_close_p(&v->ends.log_fd); /* what it prints is nobody's business */
    return true;
}

void verifier_look(struct supervisor *s)
{
    struct verifier *v = &s->verifier;
    if (!s->announced || s->killing || s->draining || v->ends.child.pidfd >= 0 || !find_next(s))
        return;
    v->ready = false;
    v->why[0] = 0;
    v->started_ns = clock_now_ns();
    if (!start(s)) {
        add_state(v->failed, v->state);
        log_event(&s->log, LOG_WARN, "extension_not_verified", LOG_S("file", v->path), LOG_S("why", strerror(errno)));
        return;
    }
    struct timeval latest = {.tv_sec = s->cfg->pool.start_timeout_ms / 1000, .tv_usec = s->cfg->pool.start_timeout_ms % 1000 * 1000};
    v->pid_event = event_new(s->base, v->ends.child.pidfd, EV_READ | EV_PERSIST, on_death, s);
    v->status_event = event_new(s->base, v->ends.status_fd, EV_READ | EV_PERSIST, on_status, s);
    v->timer = evtimer_new(s->base, too_late, s);
    CHECK(v->pid_event && v->status_event && v->timer && event_add(v->pid_event, NULL) == 0 && event_add(v->status_event, NULL) == 0 &&
          evtimer_add(v->timer, &latest) == 0);
}

void verifier_end(struct supervisor *s)
{
    if (s->verifier.ends.child.pidfd >= 0)
        (void)child_signal(&s->verifier.ends.child, SIGKILL, 0);
}

void verifier_forget(struct supervisor *s)
{
    struct verifier *v = &s->verifier;
    event_drop(&v->pid_event);
    event_drop(&v->status_event);
    event_drop(&v->timer);
    worker_ends_close(&v->ends);
    worker_cap_end(&s->caps, &v->cap);
}
