/* Control groups for workers, version 2 or 1, one below the other: our own group, one of this server's in it, one for each worker in that. Knows
 * limits and directories; what they are for is caps.h's. Runs in the supervisor and the command line. */
#pragma once
#include "core/cgroup_paths.h"
#include "core/log.h"
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#define GROUPS_WHY_BYTES 112
#define GROUPS_LINGERING 64

struct group_tree {
    char own[PATH_MAX];   /* the directory of the group that we were started in; "": this tree is not used */
    char base[PATH_MAX];  /* this server's directory */
    bool moved;           /* version 2: we went into base/main, so that our own group may have children with limits */
    char enabled[64];     /* version 2: what we switched on for them in our own group: "memory pids" */
    unsigned stale_looks; /* how often groups_sweep looks for what a killed server left and could not be removed yet */
};

struct groups {
    struct group_tree tree[CGROUP_TREES];
    enum cgroup_tree memory, cpu; /* where that is limited; CGROUP_TREES: nowhere */
    bool tasks;                   /* version 2 counts tasks too */
    bool no_swap;                 /* swap is limited as well */
    char why[GROUPS_WHY_BYTES];   /* memory is limited nowhere: why */
    char cpu_why[GROUPS_WHY_BYTES];
    uint32_t lingering[GROUPS_LINGERING]; /* dead workers' groups that could not be removed yet; 0: none */
};

/* One worker's. */
struct group {
    uint32_t id;                /* 0: it has none */
    int procs_fd[CGROUP_TREES]; /* open while the worker is started: a process that writes 0 goes in; -1: none */
};
#define GROUP_NONE ((struct group){.procs_fd = {-1, -1, -1}})

struct group_limits {
    int64_t memory_bytes; /* 0: no limit */
    int64_t cpus;         /* cores; 0: no limit */
    int64_t tasks;
};

enum group_death {
    GROUP_NOT_FOR_MEMORY,
    GROUP_OVER_ITS_LIMIT, /* the kernel killed it for memory, after it had run into its own limit */
    GROUP_OUT_OF_MEMORY   /* the kernel killed it for memory: a group's around it, or the machine's, ran out */
};

/* Looks for trees that can be used and tries each: a group is made, limited, and the limit read back. What killed servers left is removed.
 * `cpu`: CPU limits will be asked for. *g is usable afterwards in any case; g->memory says what came of it. */
void groups_open(struct groups *g, bool cpu, struct log *log);
/* Removes all that this server made; no worker may live. */
void groups_close(struct groups *g);
/* Makes a worker's group and limits it; every limit is read back. 0; -1 with errno, and nothing is left. */
int group_make(struct groups *g, uint32_t id, const struct group_limits *limits, struct group *ret);
/* The worker is in: its descriptors are closed. */
void group_entered(struct group *group);
/* What the kernel counted. After the worker's death, before group_remove. */
enum group_death group_death(const struct groups *g, const struct group *group);
/* Removes a dead worker's group, now or a moment later. Accepts GROUP_NONE and leaves it behind. */
void group_remove(struct groups *g, struct group *group);
/* Tries again to remove what could not be removed at once. */
void groups_sweep(struct groups *g, struct log *log);
