/* The kernel's caps on a worker: memory by its control group (groups.h), or by a watchdog where there is none; cores by its group, or by
 * affinity. Which of them holds here is found out by doing. Knows nothing of jobs. Runs in the supervisor and the command line. */
#pragma once
#include "core/config.h"
#include "core/layers.h"
#include "core/log.h"
#include "supervisor/child.h"
#include "supervisor/groups.h"
#include "supervisor/spawn.h"

/* How often the watchdog looks. */
#define CAP_LOOK_MS 10

enum cap_means {
    CAP_BY_NOTHING, /* a sanitizer's build */
    CAP_BY_GROUP,
    CAP_BY_WATCHDOG /* memory: RLIMIT_DATA, and a look at /proc every CAP_LOOK_MS */
};

struct caps {
    struct groups groups;
    enum cap_means memory;
    int cores; /* that we may run on */
};

/* One worker's. Zeroed but for CAP_NONE's descriptors it is none. */
struct worker_cap {
    int64_t memory_bytes, cpus; /* 0: no cap */
    struct group group;
    int statm_fd, status_fd; /* the watchdog's; -1 */
    unsigned looks;
};
#define WORKER_CAP_NONE ((struct worker_cap){.group = {.procs_fd = {-1, -1, -1}}, .statm_fd = -1, .status_fd = -1})

enum cap_death {
    CAP_NOT_THE_CAUSE,
    CAP_THE_CAUSE, /* the worker's own cap */
    CAP_OF_OTHERS  /* the container's or the machine's memory ran out, and the kernel chose this worker */
};

/* Chooses the means. `cfg` has no `auto` any more. *c is usable in any case. */
void caps_open(struct caps *c, const struct config *cfg, struct log *log);
/* No worker may live. */
void caps_close(struct caps *c);
/* What the layers memory_cap and cpu_cap are here, for a cap of so many cores. */
void caps_report(const struct caps *c, int64_t cpu_cap, struct layers *l);

struct cap_sizes {
    int64_t memory_bytes, cpus; /* 0: no cap */
    int64_t threads;            /* of the engine: their stacks count as data */
};

/* Before the worker is spawned: fills in what `plan` needs, which points into *ret. `id` is the worker's, never 0. 0; -1 with errno. */
int worker_cap_make(struct caps *c, uint32_t id, const struct cap_sizes *sizes, struct worker_cap *ret, struct worker_plan *plan);
/* It runs. False: it can't be watched, though it should be; RLIMIT_DATA alone holds then. */
bool worker_cap_started(struct caps *c, struct worker_cap *cap, const struct child *child);
/* The watchdog's look: true when the worker has more than it may, and is to be killed now. Always false where its group does that. */
bool worker_cap_passed(struct worker_cap *cap);
/* Was it for memory that this worker, reaped already, died? `words`: the last that it printed. */
enum cap_death worker_cap_death(const struct caps *c, const struct worker_cap *cap, const struct child_end *end, const char *words);
/* It is dead, or was never started. */
void worker_cap_end(struct caps *c, struct worker_cap *cap);
