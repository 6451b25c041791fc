/* Scratch directories for spilling: one root per server, one directory per worker, wiped when the worker dies, and all that a killed
 * server left behind wiped by the next one. A root belongs to a living server (or command) as long as its lock is held. Runs in the
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

#define PREFIX "bulkhead-scratch-"
/* Somebody who starts at the same moment may take a new root, not yet locked, for a dead one's. */
#define OPEN_TRIES 10

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

static void remove_stale(struct log *log, const char *parent)
{
    DIR *d = opendir(parent);
    if (!d)
        return;
    struct dirent *e;
    while ((e = readdir(d))) {
        if (strncmp(e->d_name, PREFIX, strlen(PREFIX)) != 0)
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

int scratch_open(struct scratch *s, const char *parent, int64_t limit_bytes, struct log *log, struct error *err)
{
    *s = SCRATCH_NONE;
    if (limit_bytes == 0)
        return 0;
    if (!parent[0])
        parent = "/var/tmp"; /* on disk: a tmpfs would count as memory */
    remove_stale(log, parent);
    for (int i = 0; i < OPEN_TRIES; i++) {
        snprintf(s->root, sizeof s->root, "%s/" PREFIX "XXXXXX", parent);
        if (!mkdtemp(s->root))
            break;
        s->lock = take_lock(s->root);
        if (s->lock >= 0)
            return 0;
        if (errno != EWOULDBLOCK && errno != ENOENT)
            break;
    }
    error_set(err, ERR_UNAVAILABLE, "cannot make a scratch directory below %s: %s (set pool.scratch_directory, or pool.scratch_limit=0)",
              parent, strerror(errno));
    *s = SCRATCH_NONE;
    return -1;
}

bool scratch_make(const struct scratch *s, uint32_t worker, uid_t uid, char *ret, size_t cap)
{
    ret[0] = 0;
    if (!s->root[0])
        return true;
    snprintf(ret, cap, "%s/w%u", s->root, worker);
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

void scratch_close(struct scratch *s)
{
    scratch_remove(s->root);
    fd_close_p(&s->lock);
    *s = SCRATCH_NONE;
}
