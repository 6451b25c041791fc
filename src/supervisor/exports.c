/* Exports to sources of type files. The supervisor, which may write where the administrator allowed it, has a file without a name made on the
 * destination's file system (export_step.c) and hands it to the front, whose worker fills it; when it is whole, it gets its name, which must not exist. So an
 * export is there as a whole or not at all, the worker sees one descriptor and no directory, and the front can't write anywhere else. What it asks
 * for is checked as hostile. Runs in the supervisor. */
#include "core/fd.h"
#include "supervisor/export_step.h"
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define EXPORTS_MAX 64
/* How long a directory may take to answer, in seconds: naming includes that the directory is brought to disk. */
#define OPEN_S 10
#define NAME_S 30
#define RETRY_S 5

struct export
{
    struct supervisor *s;
    uint32_t id;             /* 0: nobody wants it any more */
    bool naming;             /* else, with a step: opening */
    struct export_step step; /* under way where it has events */
    struct event *end_event, *timer;
    int file, directory;
    char name[256];
    struct export *next;
};

static struct export *find(const struct supervisor *s, uint32_t id)
{
    struct export *e = s->exports;
    while (e && e->id != id)
        e = e->next;
    return e;
}

static void export_free(struct export *e)
{
    struct export **at = &e->s->exports;
    while (*at && *at != e)
        at = &(*at)->next;
    if (*at) {
        *at = e->next;
        e->s->export_count--;
    }
    event_drop(&e->end_event);
    event_drop(&e->timer);
    fd_close_p(&e->file);
    fd_close_p(&e->directory);
    free(e);
}

/* The export is over: err NULL: it has its name. */
static void tell(struct supervisor *s, uint32_t id, const struct error *err)
{
    struct control_export_over m = {.type = CONTROL_EXPORT_OVER, .export = id};
    if (err)
        m.error = *err;
    if (m.error.code == ERR_UNAVAILABLE)
        m.error.retry_after_s = RETRY_S;
    (void)front_send(s, &m, NULL, 0);
}

/* With *err, or well. */
static void end(struct export *e, const struct error *err)
{
    if (e->id)
        tell(e->s, e->id, err);
    export_free(e);
}

static void opened(struct export *e, int fds[EXPORT_FDS])
{
    struct control_plain m = {.type = CONTROL_EXPORT_OPENED, .flags = e->id};
    e->file = take_fd(&fds[EXPORT_FILE]);
    e->directory = take_fd(&fds[EXPORT_DIRECTORY]);
    if (e->id)
        (void)front_send(e->s, &m, (const int[2]){e->file, fds[EXPORT_FOR_WORKER]}, 2);
    else
        export_free(e);
}

static void on_step_end(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct export *e = arg;
    struct error err;
    int fds[EXPORT_FDS];
    if (!export_step_end(&e->step, fds, &err))
        return;
    event_drop(&e->end_event);
    event_drop(&e->timer);
    if (err.code != ERR_OK) {
        end(e, &err);
    } else if (!e->naming) {
        opened(e, fds);
    } else {
        log_event(&e->s->log, LOG_INFO, "export_named", LOG_I("export", e->id), LOG_S("file", e->name));
        end(e, NULL);
    }
    for (int i = 0; i < EXPORT_FDS; i++)
        fd_close_p(&fds[i]);
}

static void too_late(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct export *e = arg;
    log_event(&e->s->log, LOG_WARN, "export_stuck", LOG_I("export", e->id), LOG_S("step", e->naming ? "name" : "open"),
              LOG_I("after_s", e->naming ? NAME_S : OPEN_S));
    export_step_kill(&e->step);
    /* A process that waits for a disk may not be killed at once, or ever: the client hears of it now. */
    if (e->id) {
        struct error err;
        error_set(&err, ERR_UNAVAILABLE,
                  e->naming ? "the destination's directory does not answer; whether the export got its name there is not known"
                            : "the destination's directory does not answer");
        tell(e->s, e->id, &err);
        e->id = 0;
    }
}

/* A step has begun, or not (`begun` < 0 with errno). */
static void await(struct export *e, int begun)
{
    struct timeval latest = {.tv_sec = e->naming ? NAME_S : OPEN_S};
    if (begun < 0) {
        struct error err;
        error_set(&err, ERR_UNAVAILABLE, "there can't be a process for the export: %s", strerror(errno));
        end(e, &err);
        return;
    }
    e->end_event = event_new(e->s->base, e->step.child.pidfd, EV_READ | EV_PERSIST, on_step_end, e);
    e->timer = evtimer_new(e->s->base, too_late, e);
    CHECK(e->end_event && e->timer && event_add(e->end_event, NULL) == 0 && evtimer_add(e->timer, &latest) == 0);
}

static int find_source(const struct supervisor *s, const struct control_export *m, struct source *ret, struct error *err)
{
    const struct config_source *c = sources_find(s->cfg, m->source);
    if (!c || source_read(c, ret, err) < 0)
        return error_set(err, ERR_NOT_FOUND, "there is no source '%s' any more", m->source);
    if (ret->type != SOURCE_IS_files)
        return error_forbid(err, "export", "the source '%s' is no directory", m->source);
    return source_check_export(ret, m->path, err);
}

static int admit(const struct supervisor *s, const struct control_export *m, struct source *ret, struct error *err)
{
    if (m->export == 0 || find(s, m->export) || s->export_count >= EXPORTS_MAX) {
        error_set(err, ERR_OVERLOADED, "%u exports are under way, as many as there may be", s->export_count);
        err->retry_after_s = RETRY_S;
        return -1;
    }
    return find_source(s, m, ret, err);
}

void exports_open(struct supervisor *s, const struct control_export *m)
{
    struct error err;
    struct source src;
    if (admit(s, m, &src, &err) < 0) {
        tell(s, m->export, &err);
        return;
    }
    struct export *e = calloc(1, sizeof *e);
    CHECK(e);
    const char *slash = strrchr(m->path, '/'), *name = slash ? slash + 1 : m->path;
    CHECK(strlen(name) < sizeof e->name); /* source_check_export */
    *e = (struct export){.s = s, .id = m->export, .step = EXPORT_STEP_NONE, .file = -1, .directory = -1, .next = s->exports};
    memcpy(e->name, name, strlen(name) + 1);
    s->exports = e;
    s->export_count++;
    await(e, export_step_open(&src, m->path, &e->step));
}

void exports_commit(struct supervisor *s, uint32_t id)
{
    struct export *e = id ? find(s, id) : NULL;
    struct error err;
    if (!e || e->end_event) { /* none, or none that is open */
        error_set(&err, ERR_INTERNAL, "there is no such export");
        tell(s, id, &err);
        return;
    }
    e->naming = true;
    await(e, export_step_name(e->file, e->directory, e->name, &e->step));
}

/* What is being named is named. */
static void drop(struct export *e)
{
    e->id = 0;
    if (!e->end_event)
        export_free(e);
    else if (!e->naming)
        export_step_kill(&e->step);
}

void exports_drop(struct supervisor *s, uint32_t id)
{
    struct export *e = id ? find(s, id) : NULL;
    if (e)
        drop(e);
}

void exports_forget_front(struct supervisor *s)
{
    for (struct export *e = s->exports, *next; e; e = next) {
        next = e->next;
        drop(e);
    }
}
