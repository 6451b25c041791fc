/* The lock of the write path (see the header). Runs in the supervisor, the publisher and the command line. */
#include "publish/lock.h"
#include "core/clock.h"
#include "core/fd.h"
#include "publish/holder.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define WAIT_NS (NS_PER_S / 2) /* for one who is just ending, or only looks (lock_is_held) */
#define RETRY_NS (10 * NS_PER_MS)
#define TEXT_BYTES 512

/* "pid=12 mode=copy since=1700000000 command=bulkhead import": one line, the command last. What stands there was written by anybody who
 * may write beside the database: it is shown and compared, nothing more. */
static void parse(const char *text, struct lock_holder *ret)
{
    const char *command = strstr(text, " command=");
    *ret = (struct lock_holder){0};
    if (strncmp(text, "pid=", 4) != 0 || !command)
        return;
    ret->pid = (int32_t)strtol(text + 4, NULL, 10);
    const char *mode = strstr(text, " mode=in-place");
    ret->mode = mode && mode < command ? LOCK_IN_PLACE : LOCK_COPY;
    holder_clean(command + strlen(" command="), ret->command, sizeof ret->command);
}

static void read_holder(int fd, struct lock_holder *ret)
{
    char text[TEXT_BYTES];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    text[strcspn(text, "\n")] = 0;
    parse(text, ret);
}

static int write_holder(int fd, enum lock_mode mode, const char *command)
{
    char text[TEXT_BYTES];
    int n = snprintf(text, sizeof text - 1, "pid=%d mode=%s since=%" PRId64 " command=%s", (int)getpid(), mode == LOCK_IN_PLACE ? "in-place" : "copy",
                     (int64_t)time(NULL), command);
    size_t len = (size_t)n < sizeof text - 1 ? (size_t)n : sizeof text - 2;
    text[len++] = '\n';
    if (pwrite(fd, text, len, 0) != (ssize_t)len || ftruncate(fd, (off_t)len) < 0)
        return -1;
    (void)futimens(fd, NULL); /* whoever watches the directory (supervisor/database_watch.c) hears of it now, not only when it is closed */
    return 0;
}

static int held(const struct place *p, int fd, struct error *err)
{
    struct lock_holder h;
    read_holder(fd, &h);
    if (h.pid <= 0)
        return error_set(err, ERR_CONFLICT, "another write to \"%s\" is under way; writes go one at a time", p->path);
    return error_set(err, ERR_CONFLICT, "another write to \"%s\" is under way, by process %d (%s); writes go one at a time", p->path, (int)h.pid,
                     h.command);
}

/* 0; -1 with errno. */
static int take(int fd)
{
    int64_t until = clock_now_ns() + WAIT_NS;
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return -1;
        if (clock_now_ns() > until) {
            errno = EWOULDBLOCK;
            return -1;
        }
        nanosleep(&(struct timespec){.tv_nsec = RETRY_NS}, NULL);
    }
    return 0;
}

int lock_take(const struct place *p, enum lock_mode mode, const char *command, int *ret_fd, struct error *err)
{
    char name[NAME_MAX + 1];
    place_beside(p, PLACE_LOCK, name);
    auto_close int fd = openat(p->dir_fd, name, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK, 0644);
    if (fd < 0)
        return error_set(err, ERR_UNAVAILABLE,
                         "cannot make the lock file %s in \"%s\": %s (writes go by a copy beside the database, so "
                         "this user must be able to write there)",
                         name, p->directory, strerror(errno));
    if (take(fd) < 0)
        return errno == EWOULDBLOCK ? held(p, fd, err)
                                    : error_set(err, ERR_UNAVAILABLE, "cannot lock \"%s/%s\": %s", p->directory, name, strerror(errno));
    if (write_holder(fd, mode, command) < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot write to \"%s/%s\": %s", p->directory, name, strerror(errno));
    *ret_fd = take_fd(&fd);
    return 0;
}

bool lock_is_held(const struct place *p, struct lock_holder *ret)
{
    char name[NAME_MAX + 1];
    place_beside(p, PLACE_LOCK, name);
    auto_close int fd = openat(p->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 || flock(fd, LOCK_SH | LOCK_NB) == 0 || errno != EWOULDBLOCK)
        return false;
    read_holder(fd, ret);
    return true;
}
