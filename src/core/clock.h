/* Time for deadlines, and time to be shown. Runs in every process. */
#pragma once
#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#define NS_PER_US INT64_C(1000)
#define NS_PER_MS INT64_C(1000000)
#define NS_PER_S INT64_C(1000000000)

/* CLOCK_MONOTONIC, the same in all processes of the machine; never jumps. */
static inline int64_t clock_now_ns(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}

/* Milliseconds since 1970, to be shown: may jump, also backwards. */
static inline int64_t clock_wall_ms(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return ts.tv_sec * 1000LL + ts.tv_nsec / NS_PER_MS;
}

/* What all threads of a process have run so far; 0: it is gone. */
static inline int64_t clock_process_cpu_ns(pid_t pid)
{
    /* What clock_getcpuclockid gives, without the system call by which it asks first whether there is such a process. */
    clockid_t clock = (clockid_t)(~(unsigned)pid << 3 | 2);
    struct timespec ts;
    if (clock_gettime(clock, &ts) < 0)
        return 0;
    return ts.tv_sec * NS_PER_S + ts.tv_nsec;
}
