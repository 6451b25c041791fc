/* Steps of an export (see the header). Runs in the supervisor, and in the processes that it forks for this. */
#include "supervisor/export_step.h"
#include "core/fault.h"
#include "core/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define NO_DIRECTORY "destination.path: the directory can't be used: %s"
#define KEPT_MAX 3 /* descriptors that a step's process keeps: its reply's, and those it works on */

/* ---- in the step's process ---- */

/* The directory of the path, below the source's own. -1 with errno. */
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

static int no_directory(struct error *err, int error)
{
    if (error == ENOENT || error == ENOTDIR)
        return error_set(err, ERR_NOT_FOUND, NO_DIRECTORY, strerror(error));
    return error_forbid(err, "export", NO_DIRECTORY, strerror(error));
}

static int open_in(const struct source *src, const char *path, int fds[EXPORT_FDS], struct error *err)
{
    const char *slash = strrchr(path, '/');
    struct stat st;
    char self[40];
    fds[EXPORT_DIRECTORY] = open_directory(src, path, slash ? (size_t)(slash - path) : 0);
    if (fds[EXPORT_DIRECTORY] < 0)
        return no_directory(err, errno);
    if (fstatat(fds[EXPORT_DIRECTORY], slash ? slash + 1 : path, &st, AT_SYMLINK_NOFOLLOW) == 0)
        return error_set(err, ERR_CONFLICT, "destination.path: the file is there already, and is not overwritten");
    fds[EXPORT_FILE] = make_file(fds[EXPORT_DIRECTORY]);
    snprintf(self, sizeof self, "/proc/self/fd/%d", fds[EXPORT_FILE]);
    fds[EXPORT_FOR_WORKER] = fds[EXPORT_FILE] < 0 ? -1 : open(self, O_WRONLY | O_CLOEXEC);
    if (fds[EXPORT_FOR_WORKER] < 0)
        return error_set(err, ERR_UNAVAILABLE, "no file can be made there: %s", strerror(errno));
    return 0;
}

static int name_in(int file, int directory, const char *name, struct error *err)
{
    char self[40];
    if (fdatasync(file) < 0) /* what the front wrote; a worker has done so itself (link_spool.sync) */
        return error_set(err, ERR_UNAVAILABLE, "the export can't be brought to disk: %s", strerror(errno));
    snprintf(self, sizeof self, "/proc/self/fd/%d", file);
    if (linkat(AT_FDCWD, self, directory, name, AT_SYMLINK_FOLLOW) < 0)
        return errno == EEXIST ? error_set(err, ERR_CONFLICT, "destination.path: meanwhile somebody else made a file there")
                               : error_set(err, ERR_UNAVAILABLE, "the export can't get its name: %s", strerror(errno));
    auto_close int opened = openat(directory, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened >= 0)
        (void)fsync(opened);
    return 0;
}

/* ---- between the two ---- */

/* Keeps `count` descriptors, as 3, 4, ..., and closes all others: the server's sockets end with the server. */
static void keep_only(int *kept[], int count)
{
    int high[KEPT_MAX];
    for (int i = 0; i < count; i++)
        high[i] = fcntl(*kept[i], F_DUPFD_CLOEXEC, 3 + KEPT_MAX);
    for (int i = 0; i < count; i++)
        if (high[i] < 0 || (*kept[i] = dup3(high[i], 3 + i, O_CLOEXEC)) < 0)
            _exit(1);
    (void)syscall(SYS_close_range, 3 + (unsigned)count, ~0u, 0);
}

/* fork() with a socket between: 0 in the new process, where *reply is its end; its pid in the supervisor, -1 with errno. */
static pid_t fork_step(struct export_step *ret, int *reply)
{
    int pair[2];
    pid_t supervisor = getpid();
    *ret = EXPORT_STEP_NONE;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return -1;
    pid_t pid = child_fork();
    if (pid == 0) {
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != supervisor)
            _exit(1);
        *reply = pair[1];
        return 0;
    }
    fd_close_p(&pair[1]);
    ret->reply_fd = pair[0];
    if (pid > 0 && child_take(pid, &ret->child) == 0)
        return pid;
    fd_close_p(&ret->reply_fd);
    return -1;
}

static void answer(int reply, const struct error *err, const int *fds, int count) __attribute__((noreturn));
static void answer(int reply, const struct error *err, const int *fds, int count) { _exit(fd_send(reply, err, sizeof *err, fds, count) < 0); }

int export_step_open(const struct source *src, const char *path, struct export_step *ret)
{
    int reply, fds[EXPORT_FDS] = {-1, -1, -1};
    struct error err = {.code = ERR_OK};
    pid_t pid = fork_step(ret, &reply);
    if (pid != 0)
        return pid < 0 ? -1 : 0;
    keep_only((int *[]){&reply}, 1);
    fault_point("export_open");
    answer(reply, &err, fds, open_in(src, path, fds, &err) == 0 ? EXPORT_FDS : 0);
}

int export_step_name(int file, int directory, const char *name, struct export_step *ret)
{
    int reply;
    struct error err = {.code = ERR_OK};
    pid_t pid = fork_step(ret, &reply);
    if (pid != 0)
        return pid < 0 ? -1 : 0;
    keep_only((int *[]){&reply, &file, &directory}, 3);
    fault_point("export_name");
    (void)name_in(file, directory, name, &err);
    answer(reply, &err, NULL, 0);
}

/* ---- in the supervisor ---- */

bool export_step_end(struct export_step *step, int *fds, struct error *err)
{
    struct child_end end;
    int got[EXPORT_FDS], count = 0;
    if (!child_reap(&step->child, &end))
        return false;
    for (int i = 0; i < EXPORT_FDS; i++)
        fds[i] = -1;
    fd_nonblock(step->reply_fd);
    ssize_t n = fd_recv(step->reply_fd, err, sizeof *err, got, EXPORT_FDS, &count);
    fd_close_p(&step->reply_fd);
    if (n != sizeof *err && end.signal)
        error_set(err, ERR_UNAVAILABLE, "the process that wrote into the destination's directory was ended by %s", signal_text(end.signal));
    else if (n != sizeof *err)
        error_set(err, ERR_INTERNAL, "the process that wrote into the destination's directory ended with exit code %d", end.exit_code);
    for (int i = 0; i < count; i++)
        fds[i] = got[i];
    return true;
}

void export_step_kill(struct export_step *step) { (void)child_signal(&step->child, SIGKILL, 0); }
