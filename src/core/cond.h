/* Waiting for a condition, or until some time has passed. Runs in every process. */
#pragma once
#include "core/clock.h"
#include <pthread.h>

/* With the lock held. Whether it was the condition, and which, the caller has to look. */
static inline void cond_wait_for(pthread_cond_t *cond, pthread_mutex_t *lock, int64_t ns)
{
    int64_t at = clock_now_ns() + ns;
    struct timespec until = {.tv_sec = at / NS_PER_S, .tv_nsec = at % NS_PER_S};
    (void)pthread_cond_clockwait(cond, lock, CLOCK_MONOTONIC, &until);
}
