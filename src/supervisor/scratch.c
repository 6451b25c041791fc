/* Scratch directories for spilling: one root per server, one directory per worker, wiped when the worker dies, and all that a killed
 * server left behind wiped by the next one; and the directory of the spool in the same way. A root belongs to a living server (or command) as long as its lock is held. Runs in the
 * supervisor and the command line. */
#include "supervisor/scratch.h"
#include "core/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define SCRATCH_PREFIX "bulkhead-scratch-"
#define SPOOL_PREFIX "bulkhead-spool-"
/* Somebody who starts at the same moment may take a new root, not yet locked, for a dead one's. */
#define OPEN_TRIES 10
/* More files than a spilling engine makes: a thousandth of a second to count each time. */
#define ENTRIES_MAX 4096

static int remove_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    (void)remove(path);
    return 0;
}

void scratch_remove(const char *path)
{
    if (path[0])
        (void)nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* The root's lock, taken; -1 with errno: EWOULDBLOCK a living server holds it, ENOENT it was removed meanwhile. */
static int take_lock(const char *root)
{
    char path[2200];
    struct stat st;
    snprintf(path, sizeof path, "%s/lock", root);
    auto_close int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0 || fstat(fd, &st) < 0)
        return -1;
    if (st.st_nlink == 0) {
        errno = ENOENT;
        return -1;
    }
    return take_fd(&fd);
}

static void remove_stale(struct log *log, const char *parent, const char *prefix)
{
    DIR *d = opendir(parent);
    if (!d)
        return;
    struct dirent *e;
    while ((e = readdir(d))) {
        if (strncmp(e->d_name, prefix, strlen(prefix)) != 0)
            continue;
        char root[2048];
        struct stat st;
        snprintf(root, sizeof root, "%s/%s", parent, e->d_name);
        if (lstat(root, &st) < 0 || !S_ISDIR(st.st_mode) || st.st_uid != geteuid())
            continue;
        auto_close int lock = take_lock(root);
        if (lock < 0)
            continue;
        log_event(log, LOG_INFO, "scratch_wiped", LOG_S("directory", root));
        scratch_remove(root);
    }
    closedir(d);
}

/* On disk: a tmpfs would count as memory. */
static const char *parent_of(const char *configured) { return configured[0] ? configured : "/var/tmp"; }

/* A new root of that kind, locked. 0; -1 with errno. */
static int open_root(struct scratch *s, const char *parent, const char *prefix, struct log *log)
{
    remove_stale(log, parent, prefix);
    for (int i = 0; i < OPEN_TRIES; i++) {
        snprintf(s->root, sizeof s->root, "%s/%sXXXXXX", parent, prefix);
        if (!mkdtemp(s->root))
            break;
        s->lock = take_lock(s->root);
        if (s->lock >= 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != ENOENT)
            break;
    }
    *s = SCRATCH_NONE;
    return -1;
}

int scratch_open(struct scratch *s, const char *parent, int64_t limit_bytes, struct log *log, struct error *err)
{
    *s = SCRATCH_NONE;
    if (limit_bytes == 0 || open_root(s, parent_of(parent), SCRATCH_PREFIX, log) == 0)
        return 0;
    return error_set(err, ERR_UNAVAILABLE, "cannot make a scratch directory below %s: %s (set pool.scratch_directory, or pool.scratch_limit=0)",
                     parent_of(parent), strerror(errno));
}

/* The root itself stays ours, whoever owns what is below it: the next server wipes only what it made itself. False with errno. */
static bool make_below(const struct scratch *s, const char *name, uid_t uid, char *ret, size_t cap)
{
    snprintf(ret, cap, "%s/%s", s->root, name);
    if (mkdir(ret, 0700) == 0) {
        if (uid == 0 || lchown(ret, uid, uid) == 0)
            return true;
        int e = errno;
        (void)rmdir(ret);
        errno = e;
    }
    ret[0] = 0;
    return false;
}

int scratch_open_spool(struct scratch *s, const char *parent, int64_t max_bytes, uid_t uid, int *ret_fd, struct log *log, struct error *err)
{
    *s = SCRATCH_NONE;
    bool wanted = max_bytes > 0;
    /* Without a spool the front still gets a descriptor in its place: one below which no file can be made. */
    char files[2200] = "/dev/null";
    if (!wanted || (open_root(s, parent_of(parent), SPOOL_PREFIX, log) == 0 && make_below(s, "files", uid, files, sizeof files))) {
        int fd = open(files, O_RDONLY | O_CLOEXEC);
        if (fd >= 0) {
            *ret_fd = fd;
            return 0;
        }
    }
    int e = errno;
    scratch_close(s);
    errno = e;
    return error_set(err, ERR_UNAVAILABLE, "cannot make a spool directory below %s: %s (set spool.directory, or spool.max_bytes=0)",
                     parent_of(parent), strerror(errno));
}

bool scratch_make(const struct scratch *s, uint32_t worker, uid_t uid, char *ret, size_t cap)
{
    char name[16];
    ret[0] = 0;
    snprintf(name, sizeof name, "w%u", worker);
    return !s->root[0] || make_below(s, name, uid, ret, cap);
}

/* The blocks of all plain files below a directory; those of one owner without a name where `uid` is not 0. */
static int64_t count_blocks(DIR *d, uid_t uid)
{
    int64_t bytes = 0;
    int entries = 0;
    const struct dirent *e;
    struct stat st;
    while ((e = readdir(d))) {
        if (++entries > ENTRIES_MAX)
            return INT64_MAX;
        if (fstatat(dirfd(d), e->d_name, &st, uid ? 0 : AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(st.st_mode))
            continue;
        if (!uid || (st.st_nlink == 0 && st.st_uid == uid))
            bytes += (int64_t)st.st_blocks * 512;
    }
    return bytes;
}

int64_t scratch_used_bytes(const char *path, pid_t pid, uid_t uid)
{
    char fds[64];
    int64_t named = 0, removed = 0;
    DIR *d = path[0] ? opendir(path) : NULL;
    if (d) {
        named = count_blocks(d, 0);
        closedir(d);
    }
    snprintf(fds, sizeof fds, "/proc/%d/fd", (int)pid);
    d = uid ? opendir(fds) : NULL;
    if (d) {
        removed = count_blocks(d, uid);
        closedir(d);
    }
    return named > INT64_MAX - removed ? INT64_MAX : named + removed;
}

void scratch_close(struct scratch *s)
{
    scratch_remove(s->root);
    fd_close_p(&s->lock);
    *s = SCRATCH_NONE;
}
