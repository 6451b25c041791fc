/* The scheduler's slice (see the header). Runs in every process. */
#include "core/slice.h"
#include <sys/syscall.h>
#include <unistd.h>

struct scheduling { /* struct sched_attr of the kernel, first version (sched_setattr(2)) */
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime_ns, deadline, period;
};

void slice_set(int64_t ns, int niceness)
{
    struct scheduling s = {.size = sizeof s, .nice = niceness, .runtime_ns = (uint64_t)ns};
    (void)syscall(SYS_sched_setattr, 0, &s, 0);
}
