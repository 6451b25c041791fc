/* A child process as pid and pidfd in one value, and how children are made. Runs in the supervisor and the command line.
 * Signals go through the pidfd only: a pid may be somebody else's by the time it is used. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct child {
    pid_t pid;
    int pidfd; /* -1: no child */
};
#define CHILD_NONE ((struct child){.pid = 0, .pidfd = -1})

/* How a child ended. */
struct child_end {
    int signal; /* 0: it exited */
    int exit_code;
};

struct child_spec {
    const char *path;        /* executable; it gets the descriptors, an (almost) empty environment, default signals */
    const char *const *argv; /* NULL-terminated */
    const int *fds;          /* become 3, 4, ... in the child; all others above are closed */
    int fd_count;
    int output_fd;        /* becomes 1 and 2; -1: 1 is /dev/null, 2 is kept. 0 is always /dev/null */
    int nice;             /* added to the niceness */
    const int *group_fds; /* cgroup.procs of control groups that it goes into before the exec; -1: none */
    int group_count;
    int first_core, cores; /* of those we may run on, it may use so many from the first one on, round; cores 0: all */
    const int *
        failure_fd; /* a pipe: what fails in the child before the exec is written there, as "F" and why, and nobody waits for it (going into a control group
                                takes 10 ms, when the kernel has to wait for all cores); NULL: child_spawn waits for the exec */
    int64_t slice_ns; /* core/slice.h; 0: the scheduler's own */
};

/* fork() for a child that execs, or soon ends by itself: there with signals of its own, at their default actions, and in a process group of its own.
 * 0 there; else its pid, for child_take, or -1 with errno. */
pid_t child_fork(void);
/* A child that was just forked, as a value. 0; -1 with errno: then it was killed and reaped. */
int child_take(pid_t pid, struct child *ret);
/* Forks and execs. 0; -1 with errno (also of what fails in the child, unless that goes to failure_fd). */
int child_spawn(const struct child_spec *spec, struct child *ret);
/* Sends a signal; value goes along as siginfo's si_value. -1 with errno ESRCH when it is gone. */
int child_signal(const struct child *c, int sig, int value);
/* Reaps it if it has ended: true and *ret. Closes the pidfd then. */
bool child_reap(struct child *c, struct child_end *ret);
const char *signal_text(int sig); /* "SIGSEGV"; "signal" for others */
