/* Changing a key file. Runs in the command line. */
#include "cli/key_store.h"
#include "core/clock.h"
#include "core/errors.h"
#include "core/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK_WAIT_NS (20 * NS_PER_S) /* several at once, each with an fsync of a busy disk */
#define LOCK_PAUSE_US 20000

static int failed(struct error *err, const char *path, const char *what)
{
    return error_set(err, ERR_UNAVAILABLE, "%s: %s: %s", path, what, strerror(errno));
}

/* The file itself when the path is a link: the link stays, its target is replaced. */
static int resolve(const char *path, char out[PATH_MAX], struct error *err)
{
    if (realpath(path, out))
        return 0;
    struct stat st;
    if (errno != ENOENT || lstat(path, &st) == 0) /* a link to nowhere, a directory that is closed to us, ... */
        return failed(err, path, "the key file can't be reached");
    if (strlen(path) >= PATH_MAX)
        return error_set(err, ERR_BAD_REQUEST, "%.60s...: the path is too long", path);
    strcpy(out, path);
    return 0;
}

/* The directory is locked, not the file: that one is replaced, and a lock file would be left behind. */
static int lock_directory(const char *path, struct error *err)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(path, '/');
    snprintf(dir, sizeof dir, "%.*s", slash ? (int)(slash - path) + (slash == path) : 1, slash ? path : ".");
    auto_close int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return failed(err, dir, "the key file's directory can't be opened");
    int64_t until = clock_now_ns() + LOCK_WAIT_NS;
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return failed(err, dir, "the key file's directory can't be locked");
        if (clock_now_ns() > until)
            return error_set(err, ERR_UNAVAILABLE, "%s: another program holds the lock of the key file's directory", dir);
        usleep(LOCK_PAUSE_US);
    }
    return take_fd(&fd);
}

static int write_whole(int fd, const struct buf *text)
{
    for (size_t at = 0; at < text->len;) {
        ssize_t n = write(fd, text->data + at, text->len - at);
        if (n < 0 && errno != EINTR)
            return -1;
        at += n > 0 ? (size_t)n : 0;
    }
    return fsync(fd);
}

/* old: NULL when there was no file. */
static int replace(const char *path, const struct buf *text, const struct stat *old, int dir_fd, struct error *err)
{
    char temporary[PATH_MAX + 16];
    snprintf(temporary, sizeof temporary, "%s.XXXXXX", path);
    auto_close int fd = mkostemp(temporary, O_CLOEXEC); /* mode 0600 */
    if (fd < 0)
        return failed(err, temporary, "can't be written");
    int r = 0;
    if (old && (old->st_uid != geteuid() || old->st_gid != getegid()))
        r = fchown(fd, old->st_uid, old->st_gid);
    if (r == 0 && old)
        r = fchmod(fd, old->st_mode & 0777);
    if (r == 0)
        r = write_whole(fd, text);
    if (r == 0)
        r = rename(temporary, path);
    if (r < 0) {
        failed(err, path, "the new key file can't be put in place");
        unlink(temporary);
        return -1;
    }
    (void)fsync(dir_fd); /* the file is in place; whether its name survives a power cut is the file system's matter */
    return 0;
}

static int read_old(const char *path, bool may_create, struct keyfile **keys, char **text, size_t *len, struct stat *st, struct error *err)
{
    if (may_create && access(path, F_OK) < 0 && errno == ENOENT)
        return 0;
    if (keyfile_read(path, text, len, st, err) < 0)
        return -1;
    return keyfile_parse(keys, *text, *len, path, err);
}

int key_store_edit(const char *path, bool may_create, key_store_edit_fn *edit, void *ctx, struct error *err)
{
    char real[PATH_MAX];
    if (resolve(path, real, err) < 0)
        return -1;
    auto_close int dir_fd = lock_directory(real, err);
    if (dir_fd < 0)
        return -1;
    struct keyfile *keys = NULL, *check = NULL;
    struct buf out = BUF_INIT(KEYFILE_TEXT_MAX);
    struct stat st;
    char *text = NULL;
    size_t len = 0;
    int r = read_old(real, may_create, &keys, &text, &len, &st, err);
    if (r == 0)
        r = edit(ctx, keys, text, len, &out, err);
    if (r == 0)
        r = keyfile_parse(&check, out.data ? out.data : "", out.len, path, err);
    if (r == 0)
        r = replace(real, &out, text ? &st : NULL, dir_fd, err);
    keyfile_free(check);
    keyfile_free(keys);
    buf_free(&out);
    free(text);
    return r;
}

int key_store_load(const char *path, struct keyfile **ret, struct error *err)
{
    char *text;
    size_t len;
    struct stat st;
    if (keyfile_read(path, &text, &len, &st, err) < 0)
        return -1;
    int r = keyfile_parse(ret, text, len, path, err);
    free(text);
    return r;
}
