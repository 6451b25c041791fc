/* The output of a query. Standard output is never switched to non-blocking (others share it): it is opened again where that is possible.
 * A file is written without a name where the file system can do that, else under a temporary one. Runs in the command line. */
#include "cli/query_output.h"
#include "core/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_PIECE_BYTES ((size_t)1 << 20)
/* What a pipe that polls as writable takes without blocking. */
#define PIPE_PIECE_BYTES ((size_t)4096)
#define COLUMNS_DEFAULT 80
#define COLUMNS_MAX 10000

int output_failed(const struct output *o, const char *what, struct error *err)
{
    return error_set(err, ERR_UNAVAILABLE, "cannot %s %s: %s", what, o->path ? o->path : "standard output", strerror(errno));
}

static void look_at_fd(struct output *o)
{
    struct stat st;
    if (fstat(o->fd, &st) < 0)
        return;
    o->is_file = S_ISREG(st.st_mode);
    o->is_socket = S_ISSOCK(st.st_mode);
    o->is_terminal = isatty(o->fd);
}

static int open_stdout(struct output *o, struct error *err)
{
    o->fd = STDOUT_FILENO;
    int flags = fcntl(o->fd, F_GETFL);
    if (flags < 0 || (flags & O_ACCMODE) == O_RDONLY)
        return error_set(err, ERR_UNAVAILABLE, "standard output is closed; give it a place to go, or use -o FILE");
    look_at_fd(o);
    if (o->is_file || o->is_socket)
        return 0;
    int again = open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    o->may_block = again < 0;
    o->own_fd = again >= 0;
    if (again >= 0)
        o->fd = again;
    return 0;
}

static int open_special(struct output *o, struct error *err)
{
    o->fd = open(o->path, O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC);
    if (o->fd < 0)
        return output_failed(o, "write to", err);
    o->own_fd = true;
    look_at_fd(o);
    return 0;
}

int output_open(struct output *o, const char *path, const char *database, struct error *err)
{
    *o = OUTPUT_NONE;
    if (!path || strcmp(path, "-") == 0 || strcmp(path, "/dev/stdout") == 0)
        return open_stdout(o, err);
    struct stat st, db;
    bool there = stat(path, &st) == 0;
    int e = there ? S_ISDIR(st.st_mode) ? EISDIR : 0 : errno == ENOENT ? 0 : errno;
    bool ordinary = !there || S_ISREG(st.st_mode);
    o->path = ordinary ? realpath(path, NULL) : NULL;
    if (!o->path)
        o->path = strdup(path);
    CHECK(o->path);
    if (e) {
        errno = e;
        return output_failed(o, "write to", err);
    }
    if (there && stat(database, &db) == 0 && st.st_dev == db.st_dev && st.st_ino == db.st_ino)
        return error_set(err, ERR_BAD_REQUEST, "-o %s is the database itself; name another file", path);
    if (!ordinary)
        return open_special(o, err);
    char *copy = strdup(o->path);
    CHECK(copy);
    o->directory = strdup(dirname(copy));
    CHECK(o->directory);
    free(copy);
    o->atomic = o->is_file = true;
    return 0;
}

static int make_name(struct output *o)
{
    uint64_t number;
    if (getrandom(&number, sizeof number, 0) != sizeof number)
        return -1;
    CHECK(asprintf(&o->temporary, "%s/.bulkhead-%016llx", o->directory, (unsigned long long)number) > 0);
    return 0;
}

static void drop_name(struct output *o)
{
    free(o->temporary);
    o->temporary = NULL;
}

int output_prepare(struct output *o, struct error *err)
{
    if (!o->atomic)
        return 0;
    o->fd = open(o->directory, O_TMPFILE | O_WRONLY | O_CLOEXEC, 0666);
    if (o->fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR || errno == EINVAL)) {
        if (make_name(o) < 0)
            return output_failed(o, "make a temporary file beside", err);
        o->fd = open(o->temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
        if (o->fd < 0)
            drop_name(o);
    }
    if (o->fd < 0)
        return output_failed(o, "make a temporary file beside", err);
    o->own_fd = true;
    struct stat st;
    if (stat(o->path, &st) == 0 && fchmod(o->fd, st.st_mode & 07777) < 0)
        return output_failed(o, "set the mode of", err);
    return 0;
}

unsigned output_columns(const struct output *o)
{
    struct winsize size = {0};
    if (!o->is_terminal)
        return 0;
    if (ioctl(o->fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 0)
        return size.ws_col;
    const char *text = getenv("COLUMNS");
    long n = text ? strtol(text, NULL, 10) : 0;
    return n > 0 && n <= COLUMNS_MAX ? (unsigned)n : COLUMNS_DEFAULT;
}

int output_poll_fd(const struct output *o) { return o->is_file ? -1 : o->fd; }

ssize_t output_write(struct output *o, const void *data, size_t len)
{
    if (o->is_file && len > FILE_PIECE_BYTES)
        len = FILE_PIECE_BYTES;
    if (o->may_block) {
        struct pollfd p = {.fd = o->fd, .events = POLLOUT};
        if (poll(&p, 1, 0) == 0)
            return 0;
        if (len > PIPE_PIECE_BYTES)
            len = PIPE_PIECE_BYTES;
    }
    ssize_t n;
    do
        n = o->is_socket ? send(o->fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL) : write(o->fd, data, len);
    while (n < 0 && errno == EINTR);
    if (n < 0 && errno == EAGAIN)
        return 0;
    if (n < 0 && errno == ECONNRESET)
        errno = EPIPE;
    return n;
}

/* The file's name appears, or changes its owner, in one step. */
static int publish(struct output *o)
{
    if (!o->temporary) {
        char self[64];
        snprintf(self, sizeof self, "/proc/self/fd/%d", o->fd);
        if (make_name(o) < 0)
            return -1;
        if (linkat(AT_FDCWD, self, AT_FDCWD, o->temporary, AT_SYMLINK_FOLLOW) < 0) {
            drop_name(o);
            return -1;
        }
    }
    if (rename(o->temporary, o->path) < 0)
        return -1;
    drop_name(o);
    return 0;
}

int output_commit(struct output *o, struct error *err)
{
    if (!o->atomic)
        return 0;
    if (fsync(o->fd) < 0 || publish(o) < 0)
        return output_failed(o, "write", err);
    o->atomic = false;
    auto_close int directory = open(o->directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (directory >= 0)
        (void)fsync(directory); /* the data is safe; not every file system can do this */
    return 0;
}

void output_close(struct output *o)
{
    if (o->temporary)
        (void)unlink(o->temporary);
    if (o->own_fd)
        fd_close_p(&o->fd);
    free(o->path);
    free(o->directory);
    free(o->temporary);
    *o = OUTPUT_NONE;
}
