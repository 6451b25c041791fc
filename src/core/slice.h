/* How long the scheduler lets a thread run before it looks for another one. Since Linux 6.12 that is honoured for ordinary threads, from 0.1 to 100 ms;
 * older kernels ignore or refuse it. Not a share of the cores, which niceness is: a short slice comes soon and often, a long one late and for longer.
 * Who wakes goes before whoever runs in a longer slice than his own, and waits for the scheduler's next tick (4 ms, often) behind a shorter one.
 * Runs in every process. */
#pragma once
#include <stdint.h>

#define SLICE_SHORT_NS INT64_C(100000)
#define SLICE_LONG_NS INT64_C(100000000)

/* For the calling thread and those that it makes from now on; stays over an exec. Needs no rights; niceness is the one that it has, which the call
 * sets as well. */
void slice_set(int64_t ns, int niceness);
