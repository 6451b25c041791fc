/* Exports to sources of type files. The supervisor, which may write where the administrator allowed it, makes a file without a name on the
 * destination's file system and hands it to the front, whose worker fills it; when it is whole, it gets its name, which must not exist. So an export is
 * there as a whole or not at all, the worker sees one descriptor and no directory, and the front can't write anywhere else. What it asks for
 * is checked as hostile. Runs in the supervisor. */
#include "core/fd.h"
#include "supervisor/supervisor_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define EXPORTS_MAX 64

struct export {
    uint32_t id;
    int file, directory; /* open until it is over */
    char name[256];
    struct export *next;
};

static void export_free(struct export *e)
{
    if (!e)
        return;
    fd_close_p(&e->file);
    fd_close_p(&e->directory);
    free(e);
}

static struct export *take(struct supervisor *s, uint32_t id)
{
    for (struct export **at = &s->exports; *at; at = &(*at)->next) {
        struct export *e = *at;
        if (e->id != id)
            continue;
        *at = e->next;
        s->export_count--;
        return e;
    }
    return NULL;
}

static bool is_known(const struct supervisor *s, uint32_t id)
{
    const struct export *e = s->exports;
    while (e && e->id != id)
        e = e->next;
    return e != NULL;
}

static void tell(struct supervisor *s, uint32_t id, const struct error *err)
{
    struct control_export_over m = {.type = CONTROL_EXPORT_OVER, .export = id};
    if (err)
        m.error = *err;
    (void)front_send(s, &m, NULL, 0);
}

/* The directory of the path, below the source's own and over no symbolic link. -1 with errno. */
static int open_directory(const struct source *src, const char *path, size_t len)
{
    struct open_how how = {.flags = O_PATH | O_DIRECTORY | O_CLOEXEC, .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
    char below[EXPORT_PATH_BYTES];
    auto_close int root = open(src->path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || len == 0)
        return root < 0 ? -1 : take_fd(&root);
    snprintf(below, sizeof below, "%.*s", (int)len, path);
    return (int)syscall(SYS_openat2, root, below, &how, sizeof how);
}

/* Whom the directory belongs to, the export belongs to. */
static int make_file(int directory)
{
    struct stat st;
    auto_close int fd = openat(directory, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0640);
    if (fd < 0 || fstat(directory, &st) < 0 || (geteuid() == 0 && fchown(fd, st.st_uid, st.st_gid) < 0))
        return -1;
    return take_fd(&fd);
}

#define NO_DIRECTORY "destination.path: the directory can't be used: %s"

static int no_directory(struct error *err, int error)
{
    if (error == ENOENT || error == ENOTDIR)
        return error_set(err, ERR_NOT_FOUND, NO_DIRECTORY, strerror(error));
    return error_forbid(err, "export", NO_DIRECTORY, strerror(error));
}

static int open_export(const struct source *src, const char *path, struct export *e, int *ret_worker_fd, struct error *err)
{
    const char *slash = strrchr(path, '/');
    struct stat st;
    char self[40];
    const char *name = slash ? slash + 1 : path;
    CHECK(strlen(name) < sizeof e->name); /* source_check_export */
    memcpy(e->name, name, strlen(name) + 1);
    e->directory = open_directory(src, path, slash ? (size_t)(slash - path) : 0);
    if (e->directory < 0)
        return no_directory(err, errno);
    if (fstatat(e->directory, e->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return error_set(err, ERR_CONFLICT, "destination.path: the file is there already, and is not overwritten");
    e->file = make_file(e->directory);
    snprintf(self, sizeof self, "/proc/self/fd/%d", e->file);
    *ret_worker_fd = e->file < 0 ? -1 : open(self, O_WRONLY | O_CLOEXEC);
    if (*ret_worker_fd < 0)
        return error_set(err, ERR_UNAVAILABLE, "no file can be made there: %s", strerror(errno));
    return 0;
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

void exports_open(struct supervisor *s, const struct control_export *m)
{
    struct error err;
    struct source src;
    auto_close int worker_fd = -1;
    struct export *e = calloc(1, sizeof *e);
    CHECK(e);
    e->id = m->export;
    e->file = e->directory = -1;
    int r = 0;
    if (is_known(s, m->export) || s->export_count >= EXPORTS_MAX) {
        r = error_set(&err, ERR_OVERLOADED, "%u exports are under way, as many as there may be", s->export_count);
        err.retry_after_s = 5;
    }
    if (r < 0 || find_source(s, m, &src, &err) < 0 || open_export(&src, m->path, e, &worker_fd, &err) < 0) {
        export_free(e);
        tell(s, m->export, &err);
        return;
    }
    e->next = s->exports;
    s->exports = e;
    s->export_count++;
    struct control_plain opened = {.type = CONTROL_EXPORT_OPENED, .flags = e->id};
    (void)front_send(s, &opened, (const int[2]){e->file, worker_fd}, 2);
}

void exports_commit(struct supervisor *s, uint32_t id)
{
    struct export *e = take(s, id);
    struct error err;
    char self[40];
    if (!e) {
        error_set(&err, ERR_INTERNAL, "there is no such export");
        tell(s, id, &err);
        return;
    }
    snprintf(self, sizeof self, "/proc/self/fd/%d", e->file);
    if (linkat(AT_FDCWD, self, e->directory, e->name, AT_SYMLINK_FOLLOW) == 0) {
        int directory = openat(e->directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (directory >= 0) {
            (void)fsync(directory); /* the bytes are there already (link_spool.sync) */
            close(directory);
        }
        log_event(&s->log, LOG_INFO, "export_named", LOG_I("export", e->id), LOG_S("file", e->name));
        tell(s, id, NULL);
    } else {
        if (errno == EEXIST)
            error_set(&err, ERR_CONFLICT, "destination.path: meanwhile somebody else made a file there");
        else
            error_set(&err, ERR_UNAVAILABLE, "the export can't get its name: %s", strerror(errno));
        tell(s, id, &err);
    }
    export_free(e);
}

void exports_drop(struct supervisor *s, uint32_t id) { export_free(take(s, id)); }

void exports_forget_front(struct supervisor *s)
{
    while (s->exports)
        exports_drop(s, s->exports->id);
}
