/* Making, signalling and reaping children. Runs in the supervisor and the command line. */
#include "supervisor/child.h"
#include "core/errors.h"
#include "core/fd.h"
#include "core/slice.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHILD_FDS_MAX 40
/* The environment variables a child keeps: those of test builds, and where the machine's trusted certificates are. */
static const char *const kept_environment[] = {"SSL_CERT_FILE", "BULKHEAD_FAULT", "ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS"};

static void set_weight(const struct child_spec *spec)
{
    if (spec->nice)
        (void)setpriority(PRIO_PROCESS, 0, getpriority(PRIO_PROCESS, 0) + spec->nice);
    if (spec->slice_ns)
        slice_set(spec->slice_ns, getpriority(PRIO_PROCESS, 0));
}

/* Fewer cores than we have ourselves. */
static bool set_cores(const struct child_spec *spec)
{
    cpu_set_t ours, its;
    CPU_ZERO(&its);
    if (spec->cores == 0)
        return true;
    if (sched_getaffinity(0, sizeof ours, &ours) < 0)
        return false;
    int count = CPU_COUNT(&ours), n = 0;
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
        if (CPU_ISSET(cpu, &ours) && (n++ - spec->first_core % count + count) % count < spec->cores)
            CPU_SET(cpu, &its);
    return sched_setaffinity(0, sizeof its, &its) == 0;
}

static bool enter_groups(const struct child_spec *spec)
{
    for (int i = 0; i < spec->group_count; i++)
        if (spec->group_fds[i] >= 0 && write(spec->group_fds[i], "0", 1) != 1)
            return false;
    return true;
}

static bool set_descriptors(const struct child_spec *spec)
{
    int copies[CHILD_FDS_MAX];
    /* First out of the way of the numbers to fill, then into them. */
    for (int i = 0; i < spec->fd_count; i++)
        if ((copies[i] = fcntl(spec->fds[i], F_DUPFD_CLOEXEC, 3 + CHILD_FDS_MAX)) < 0)
            return false;
    int out = spec->output_fd >= 0 ? fcntl(spec->output_fd, F_DUPFD_CLOEXEC, 3 + CHILD_FDS_MAX) : -1;
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(out >= 0 ? out : null_fd, 1) < 0 || (out >= 0 && dup2(out, 2) < 0))
        return false;
    for (int i = 0; i < spec->fd_count; i++)
        if (dup2(copies[i], 3 + i) < 0)
            return false;
    return true;
}

static void reset_signals(void)
{
    struct sigaction sa = {.sa_handler = SIG_DFL};
    for (int sig = 1; sig < NSIG; sig++)
        if (sig != SIGKILL && sig != SIGSTOP)
            (void)sigaction(sig, &sa, NULL);
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Says why there is no exec. */
static void give_up(const struct child_spec *spec, int report_fd) __attribute__((noreturn));
static void give_up(const struct child_spec *spec, int report_fd)
{
    int e = errno;
    char text[128];
    if (spec->failure_fd)
        (void)!write(report_fd, text, (size_t)snprintf(text, sizeof text, "Fcannot start a worker process: %s", strerror(e)));
    else
        (void)!write(report_fd, &e, sizeof e);
    _exit(127);
}

static void run_child(const struct child_spec *spec, int report_fd) __attribute__((noreturn));
static void run_child(const struct child_spec *spec, int report_fd)
{
    char *env[sizeof kept_environment / sizeof kept_environment[0] + 1] = {0};
    size_t kept = 0;
    for (size_t i = 0; i < sizeof kept_environment / sizeof kept_environment[0]; i++) {
        const char *value = getenv(kept_environment[i]);
        if (value && asprintf(&env[kept], "%s=%s", kept_environment[i], value) > 0)
            kept++;
    }
    set_weight(spec);
    int report = fcntl(report_fd, F_DUPFD_CLOEXEC, 3 + 2 * CHILD_FDS_MAX);
    if (!enter_groups(spec) || !set_cores(spec) || !set_descriptors(spec)) /* without its limits it does not start */
        give_up(spec, report);
    /* What is left open above the inherited numbers ends with the exec: every descriptor is CLOEXEC at birth; this is the second lock. */
    (void)syscall(SYS_close_range, 3 + (unsigned)spec->fd_count, ~0u, 4 /* CLOSE_RANGE_CLOEXEC */);
    execve(spec->path, (char *const *)spec->argv, env);
    give_up(spec, report);
}

/* A signal that arrives before the child has reset the handlers would be taken by the parent's, which tell the parent's loop: so none does. */
pid_t child_fork(void)
{
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    pid_t pid = fork();
    if (pid == 0) {
        reset_signals();
        /* A group of its own: a signal to the server's whole group (a terminal, timeout(1), foreman) is the supervisor's alone to answer, by a drain. */
        (void)setpgid(0, 0);
        return 0;
    }
    int e = errno;
    sigprocmask(SIG_SETMASK, &before, NULL);
    errno = e;
    return pid;
}

/* Our own unreaped child: the pid can't be another's. Keeps errno. */
static void discard(pid_t pid)
{
    int e = errno;
    (void)kill(pid, SIGKILL);
    (void)waitpid(pid, NULL, 0);
    errno = e;
}

int child_take(pid_t pid, struct child *ret)
{
    int pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        discard(pid);
        return -1;
    }
    fcntl(pidfd, F_SETFD, FD_CLOEXEC);
    *ret = (struct child){.pid = pid, .pidfd = pidfd};
    return 0;
}

int child_spawn(const struct child_spec *spec, struct child *ret)
{
    CHECK(spec->fd_count <= CHILD_FDS_MAX);
    int report[2] = {-1, -1};
    if (!spec->failure_fd && pipe2(report, O_CLOEXEC) < 0)
        return -1;
    pid_t pid = child_fork();
    if (pid == 0)
        run_child(spec, spec->failure_fd ? *spec->failure_fd : report[1]);
    fd_close_p(&report[1]);
    if (pid < 0) {
        fd_close_p(&report[0]);
        return -1;
    }
    int child_errno = 0;
    ssize_t n = spec->failure_fd ? 0 : read(report[0], &child_errno, sizeof child_errno); /* end of file at the exec: some 100 us */
    fd_close_p(&report[0]);
    if (n == 0)
        return child_take(pid, ret);
    errno = n > 0 ? child_errno : errno;
    discard(pid);
    return -1;
}

int child_signal(const struct child *c, int sig, int value)
{
    if (c->pidfd < 0) {
        errno = ESRCH;
        return -1;
    }
    siginfo_t info = {.si_signo = sig, .si_code = SI_QUEUE};
    info.si_pid = getpid();
    info.si_uid = getuid();
    info.si_value.sival_int = value;
    return (int)syscall(SYS_pidfd_send_signal, c->pidfd, sig, &info, 0);
}

bool child_reap(struct child *c, struct child_end *ret)
{
    siginfo_t info = {0};
    if (c->pidfd < 0 || waitid(P_PIDFD, (id_t)c->pidfd, &info, WEXITED | WNOHANG) < 0 || info.si_pid == 0)
        return false;
    *ret = (struct child_end){0};
    if (info.si_code == CLD_EXITED)
        ret->exit_code = info.si_status;
    else
        ret->signal = info.si_status;
    close(c->pidfd);
    *c = CHILD_NONE;
    return true;
}

const char *signal_text(int sig)
{
    switch (sig) {
    case SIGSEGV: return "SIGSEGV";
    case SIGABRT: return "SIGABRT";
    case SIGBUS: return "SIGBUS";
    case SIGFPE: return "SIGFPE";
    case SIGILL: return "SIGILL";
    case SIGKILL: return "SIGKILL";
    case SIGTERM: return "SIGTERM";
    case SIGSYS: return "SIGSYS";
    case SIGXCPU: return "SIGXCPU";
    case SIGXFSZ: return "SIGXFSZ";
    case 0: return "";
    default: return "signal";
    }
}
