/* Copies before recovery (see the header). Runs in the command line. */
#include "publish/backup.h"
#include "core/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

static const char *const beside[] = {PLACE_WAL, PLACE_WAL_CHECKPOINT, PLACE_WAL_RECOVERY};
#define BESIDE (sizeof beside / sizeof beside[0])

/* The name of a copy: the engine's files keep their endings, so that the copies belong together. */
static void name_of(const struct place *p, const char *what, const char *stamp, const char *ending, char ret[NAME_MAX + 1])
{
    char suffix[PLACE_SUFFIX_MAX];
    snprintf(suffix, sizeof suffix, ".bulkhead-%s-%s%s", what, stamp, ending);
    place_beside(p, suffix, ret);
}

void backup_stamp(const struct place *p, char ret[BACKUP_STAMP_BYTES])
{
    time_t now = time(NULL);
    struct tm tm;
    char name[NAME_MAX + 1];
    struct stat st;
    gmtime_r(&now, &tm);
    size_t n = strftime(ret, BACKUP_STAMP_BYTES, "%Y%m%dT%H%M%SZ", &tm);
    for (int i = 2; i < 100; i++) {
        name_of(p, "backup", ret, "", name);
        if (fstatat(p->dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            return;
        snprintf(ret + n, BACKUP_STAMP_BYTES - n, "-%d", i);
    }
}

static int copy_one(const struct place *p, int from, const char *stamp, const char *ending, const struct copy_progress *progress, struct error *err)
{
    char name[NAME_MAX + 1], what[NAME_MAX + 8];
    bool shared;
    struct stat st;
    name_of(p, "backup", stamp, ending, name);
    snprintf(what, sizeof what, "\"%s%s\"", p->name, ending);
    auto_close int to = openat(p->dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (to < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot make \"%s/%s\": %s", p->directory, name, strerror(errno));
    if (copy_file(from, to, what, progress, &shared, err) < 0)
        return -1;
    if (fstat(from, &st) == 0)
        (void)fchmod(to, st.st_mode & 07777);
    return fsync(to) == 0 ? 0 : error_set(err, ERR_UNAVAILABLE, "cannot write \"%s\" to the disk: %s", name, strerror(errno));
}

static void remove_all(const struct place *p, const char *stamp)
{
    char name[NAME_MAX + 1];
    name_of(p, "backup", stamp, "", name);
    (void)unlinkat(p->dir_fd, name, 0);
    for (size_t i = 0; i < BESIDE; i++) {
        name_of(p, "backup", stamp, beside[i], name);
        (void)unlinkat(p->dir_fd, name, 0);
    }
}

int backup_make(const struct place *p, int database_fd, const char *stamp, const struct copy_progress *progress, char ret_path[PATH_MAX],
                struct error *err)
{
    char name[NAME_MAX + 1];
    int rc = copy_one(p, database_fd, stamp, "", progress, err);
    for (size_t i = 0; rc == 0 && i < BESIDE; i++) {
        place_beside(p, beside[i], name);
        auto_close int from = openat(p->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        if (from < 0 && errno == ENOENT)
            continue;
        rc = from < 0 ? error_set(err, ERR_UNAVAILABLE, "cannot read \"%s/%s\": %s", p->directory, name, strerror(errno))
                      : copy_one(p, from, stamp, beside[i], NULL, err);
    }
    if (rc < 0) {
        remove_all(p, stamp);
        return -1;
    }
    (void)fsync(p->dir_fd);
    name_of(p, "backup", stamp, "", name);
    return snprintf(ret_path, PATH_MAX, "%s/%s", p->directory, name) < PATH_MAX ? 0 : error_set(err, ERR_INTERNAL, "a path is too long");
}

/* A second name beside the first where the file system has such, or else another name. */
static int put_aside(const struct place *p, const char *from, const char *to, bool stays)
{
    if (stays && linkat(p->dir_fd, from, p->dir_fd, to, 0) == 0)
        return 0;
    return renameat(p->dir_fd, from, p->dir_fd, to);
}

int backup_put_log_aside(const struct place *p, const char *stamp, bool stays, char ret_path[PATH_MAX], struct error *err)
{
    char from[NAME_MAX + 1], to[NAME_MAX + 1];
    for (size_t i = 0; i < BESIDE; i++) {
        place_beside(p, beside[i], from);
        name_of(p, "discarded", stamp, beside[i], to);
        if (put_aside(p, from, to, stays) < 0 && errno != ENOENT)
            return error_set(err, ERR_UNAVAILABLE, "cannot rename \"%s/%s\" to \"%s\": %s", p->directory, from, to, strerror(errno));
    }
    (void)fsync(p->dir_fd);
    name_of(p, "discarded", stamp, PLACE_WAL, to);
    if (snprintf(ret_path, PATH_MAX, "%s/%s", p->directory, to) >= PATH_MAX)
        ret_path[0] = 0;
    return 0;
}

int backup_log_prefix(const struct place *p, const char *stamp, int64_t bytes, struct error *err)
{
    char aside[NAME_MAX + 1], name[NAME_MAX + 1], wal[NAME_MAX + 1];
    bool shared;
    name_of(p, "discarded", stamp, PLACE_WAL, aside);
    place_beside(p, PLACE_COPY PLACE_WAL, name);
    place_beside(p, PLACE_WAL, wal);
    (void)unlinkat(p->dir_fd, name, 0); /* of a run that was killed here */
    auto_close int from = openat(p->dir_fd, aside, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    auto_close int to = from < 0 ? -1 : openat(p->dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (to < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot make \"%s/%s\": %s", p->directory, name, strerror(errno));
    if (copy_file(from, to, "the log", NULL, &shared, err) < 0)
        return -1;
    if (ftruncate(to, (off_t)bytes) < 0 || fsync(to) < 0 || renameat(p->dir_fd, name, p->dir_fd, wal) < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot write \"%s/%s\": %s", p->directory, name, strerror(errno));
    (void)fsync(p->dir_fd);
    return 0;
}
