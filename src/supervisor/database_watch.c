/* Looking at the database file and what lies beside it: inotify on its directory (and on that of the symbolic link it may be reached by), and once a
 * second anyway, for file systems that tell nothing. Runs in the supervisor; opens the file for a moment, reads its headers, never waits. */
#include "core/clock.h"
#include "core/fd.h"
#include "publish/holder.h"
#include "publish/identity.h"
#include "publish/lock.h"
#include "publish/place.h"
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <time.h>
#include <unistd.h>

#define LOOK_MS 1000
#define LOOK_PAUSED_MS 50 /* while the file is given up: whoever waits for us should not have to wait long afterwards */
/* A file under the pen of somebody who writes into it in place (cp) is looked at when it has been left alone for so long. */
#define CALM_NS (300 * NS_PER_MS)

/* Not IN_MODIFY: that would tell of every write to every file of the directory. */
#define MASK (IN_MOVED_TO | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_CLOSE_WRITE | IN_ATTRIB)

static bool in_memory(const struct supervisor *s) { return !s->cfg->database.path[0]; }

/* ---- who else is at it ---- */

/* A lock that keeps readers out: a program that has it open for writing. */
static void look_for_writer(const char *path, struct file_holder *ret)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    *ret = (struct file_holder){0};
    if (fd >= 0 && (!holder_locked(fd, ret) || !ret->writes))
        *ret = (struct file_holder){0};
}

/* The write path's own lock: an import, or an admin write of ours. */
static bool look_for_import(const char *path, struct lock_holder *ret)
{
    struct place p;
    struct error ignored;
    if (place_open(&p, path, true, &ignored) < 0)
        return false;
    bool held = lock_is_held(&p, ret);
    place_close(&p);
    return held;
}

/* ---- what the front is told ---- */

static enum database_state state_of(const struct supervisor *s)
{
    const struct database *d = &s->database;
    if (d->paused)
        return DATABASE_PAUSED;
    if (d->refused[0])
        return DATABASE_REFUSED;
    return d->swapping ? DATABASE_SWAPPING : d->proven ? DATABASE_SERVED : DATABASE_STARTING;
}

static void fill_message(struct supervisor *s, struct control_database *m)
{
    struct database *d = &s->database;
    struct file_holder writer;
    struct lock_holder import;
    *m = (struct control_database){.type = CONTROL_DATABASE, .state = state_of(s), .version = d->proven_version, .wal_bytes = -1};
    snprintf(m->text, sizeof m->text, "%s", d->refused);
    if (in_memory(s))
        return;
    struct identity id;
    identity_read(s->cfg->database.path, &id);
    m->wal_bytes = id.wal_bytes;
    m->wal_mtime_s = id.wal_bytes >= 0 ? id.wal_mtime_s : 0;
    look_for_writer(s->cfg->database.path, &writer);
    if (writer.writes) {
        m->holder_pid = writer.pid;
        snprintf(m->holder, sizeof m->holder, "%s", writer.command[0] ? writer.command : "another program");
    } else if (look_for_import(s->cfg->database.path, &import)) {
        m->holder_pid = import.pid;
        snprintf(m->holder, sizeof m->holder, "%s", import.command[0] ? import.command : "another write");
        m->in_place = import.mode == LOCK_IN_PLACE;
    }
}

static void log_wal(struct supervisor *s, const struct control_database *m)
{
    int64_t before = s->database.told.wal_bytes;
    if (m->wal_bytes >= 0 && before < 0)
        log_event(&s->log, LOG_WARN, "wal_present", LOG_I("bytes", m->wal_bytes), LOG_I("age_s", (int64_t)time(NULL) - m->wal_mtime_s),
                  LOG_I("holder_pid", m->holder_pid), LOG_S("holder", m->holder));
    else if (m->wal_bytes < 0 && before >= 0)
        log_event(&s->log, LOG_INFO, "wal_gone");
}

void database_tell(struct supervisor *s, bool all)
{
    struct database *d = &s->database;
    struct control_database m;
    fill_message(s, &m);
    log_wal(s, &m);
    if (d->reload && (!d->swapping || d->refused[0]))
        m.reload = d->reload; /* it is done, or can't be */
    bool same = memcmp(&m, &d->told, sizeof m) == 0;
    d->told = m;
    if (same && !all)
        return;
    if (!front_send(s, &m, NULL, 0) || !m.reload)
        return;
    d->reload = 0;
    d->told.reload = 0;
}

/* ---- looking ---- */

void database_look(struct supervisor *s)
{
    struct database *d = &s->database;
    struct identity id;
    if (in_memory(s) || d->paused)
        return;
    identity_read(s->cfg->database.path, &id);
    if (id.version == d->version && d->epoch > 0)
        return;
    d->version = id.version;
    database_new_epoch(s);
}

/* Somebody writes into the file in place right now: it is looked at when it has been left alone for a moment. */
static bool is_restless(const struct supervisor *s)
{
    struct identity id;
    struct timespec now;
    identity_read(s->cfg->database.path, &id);
    clock_gettime(CLOCK_REALTIME, &now);
    int64_t age_ns = now.tv_sec * NS_PER_S + now.tv_nsec - id.mtime_ns;
    return id.version != s->database.version && age_ns >= 0 && age_ns < CALM_NS;
}

/* Pause and resume by the lock file's word; then the file itself. `whole`: it was renamed there, or closed by whoever wrote it. */
static void look(struct supervisor *s, bool whole)
{
    struct database *d = &s->database;
    if (s->draining || s->killing)
        return;
    unsigned before = d->epoch;
    database_tell(s, false);
    if (d->told.in_place && !d->paused)
        database_pause(s);
    else if (!d->told.in_place && d->paused)
        database_resume(s);
    if (whole || !is_restless(s))
        database_look(s);
    if (d->epoch != before || d->swapping)
        workers_fill(s);
    database_tell(s, false);
}

static void look_again(struct supervisor *s)
{
    struct database *d = &s->database;
    int64_t ms = d->paused ? LOOK_PAUSED_MS : LOOK_MS;
    struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};
    evtimer_add(d->look, &tv);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    (void)fd;
    (void)what;
    struct supervisor *s = arg;
    look(s, false);
    look_again(s);
}

/* Is it about the file, its log or its lock? */
static bool concerns(const struct database *d, const struct inotify_event *e)
{
    const char *const names[] = {e->wd == d->watch ? d->name : "", e->wd == d->real_watch ? d->real_name : ""};
    for (size_t i = 0; i < 2 && e->len > 0; i++) {
        size_t n = strlen(names[i]);
        if (n == 0 || strncmp(e->name, names[i], n) != 0)
            continue;
        const char *suffix = e->name + n;
        if (!suffix[0] || strcmp(suffix, PLACE_WAL) == 0 || strcmp(suffix, PLACE_LOCK) == 0)
            return true;
    }
    return false;
}

static void on_inotify(evutil_socket_t fd, short what, void *arg)
{
    (void)what;
    struct supervisor *s = arg;
    struct database *d = &s->database;
    _Alignas(struct inotify_event) char events[8192];
    ssize_t n = read(fd, events, sizeof events);
    bool ours = false, whole = false;
    for (ssize_t at = 0; n > 0 && at < n;) {
        const struct inotify_event *e = (const struct inotify_event *)(events + at);
        at += (ssize_t)sizeof *e + e->len;
        if (e->mask & IN_Q_OVERFLOW)
            ours = true;
        if (!concerns(d, e))
            continue;
        ours = true;
        whole |= (e->mask & (IN_MOVED_TO | IN_CLOSE_WRITE)) != 0;
    }
    if (!ours)
        return;
    look(s, whole);
    look_again(s);
}

/* ---- start and end ---- */

static void last_name(const char *path, char ret[256])
{
    const char *slash = strrchr(path, '/');
    snprintf(ret, 256, "%.255s", slash ? slash + 1 : path); /* no name is longer */
}

static int watch_directory_of(int fd, const char *path)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    size_t n = slash ? (size_t)(slash - path) : 0;
    snprintf(directory, sizeof directory, "%.*s", slash ? (int)(n ? n : 1) : 1, slash ? path : ".");
    return inotify_add_watch(fd, directory, MASK);
}

static void start_inotify(struct supervisor *s)
{
    struct database *d = &s->database;
    char real[PATH_MAX];
    const char *path = s->cfg->database.path;
    d->inotify_fd = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
    if (d->inotify_fd < 0) {
        log_event(&s->log, LOG_WARN, "inotify_failed", LOG_S("why", strerror(errno)), LOG_S("effect", "changes are seen once a second"));
        return;
    }
    last_name(path, d->name);
    d->watch = watch_directory_of(d->inotify_fd, path);
    if (realpath(path, real) && strcmp(real, path) != 0) {
        last_name(real, d->real_name);
        d->real_watch = watch_directory_of(d->inotify_fd, real);
    }
    d->inotify_event = event_new(s->base, d->inotify_fd, EV_READ | EV_PERSIST, on_inotify, s);
    CHECK(d->inotify_event && event_add(d->inotify_event, NULL) == 0);
}

void database_open(struct supervisor *s)
{
    struct database *d = &s->database;
    *d = (struct database){.inotify_fd = -1, .watch = -1, .real_watch = -1, .told.wal_bytes = -1};
    d->look = evtimer_new(s->base, on_timer, s);
    CHECK(d->look);
    if (in_memory(s)) {
        d->epoch = 1;
        return;
    }
    start_inotify(s);
    look(s, true);
    look_again(s);
}

void database_close(struct supervisor *s)
{
    struct database *d = &s->database;
    if (d->inotify_event)
        event_free(d->inotify_event);
    if (d->look)
        event_free(d->look);
    if (d->look)
        fd_close_p(&d->inotify_fd);
}
