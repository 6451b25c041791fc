/* Control groups of workers. Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst (memory.max, memory.events, cpu.max, pids.max) and
 * cgroup-v1/memory.rst (memory.limit_in_bytes, memory.memsw.limit_in_bytes, memory.oom_control). Runs in the supervisor and the command line. */
#include "supervisor/groups.h"
#include "core/fd.h"
#include "supervisor/groups_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#define PERIOD_US 100000     /* of CPU limits */
#define NEAR_BYTES (1 << 20) /* a charge that fails may be for several pages */

struct group_path groups_worker_directory(const struct group_tree *t, uint32_t id)
{
    char name[16];
    snprintf(name, sizeof name, "w%" PRIu32, id);
    return group_path(t->base, name);
}

/* Writes a limit of memory and reads it back: the kernel rounds down to pages. */
static int limit_memory(const char *directory, const char *name, int64_t bytes)
{
    if (group_put_number(directory, name, bytes) < 0)
        return -1;
    int64_t back = group_get_number(directory, name, NULL);
    if (back >= 0 && back <= bytes && back > bytes - 65536)
        return 0;
    errno = EPROTO;
    return -1;
}

static int limit_memory_v2(struct groups *g, const char *directory, int64_t bytes)
{
    if (limit_memory(directory, "memory.max", bytes) < 0)
        return -1;
    g->no_swap = group_put(directory, "memory.swap.max", "0") == 0;
    (void)group_put(directory, "memory.oom.group", "1"); /* one process only: whatever it may have become */
    return 0;
}

static int limit_memory_v1(struct groups *g, const char *directory, int64_t bytes)
{
    if (limit_memory(directory, "memory.limit_in_bytes", bytes) < 0)
        return -1;
    g->no_swap = limit_memory(directory, "memory.memsw.limit_in_bytes", bytes) == 0;
    (void)group_put(directory, "memory.swappiness", "0");
    return 0;
}

static int limit_cpus(enum cgroup_tree tree, const char *directory, int64_t cpus)
{
    char text[64];
    if (tree == CGROUP_V2) {
        snprintf(text, sizeof text, "%" PRId64 " %d", cpus * PERIOD_US, PERIOD_US);
        if (group_put(directory, "cpu.max", text) < 0)
            return -1;
    } else if (group_put_number(directory, "cpu.cfs_period_us", PERIOD_US) < 0 ||
               group_put_number(directory, "cpu.cfs_quota_us", cpus * PERIOD_US) < 0) {
        return -1;
    }
    if (group_get_number(directory, tree == CGROUP_V2 ? "cpu.max" : "cpu.cfs_quota_us", NULL) == cpus * PERIOD_US)
        return 0;
    errno = EPROTO;
    return -1;
}

static int limit_tree(struct groups *g, enum cgroup_tree tree, const char *directory, const struct group_limits *l)
{
    if (g->memory == tree && l->memory_bytes > 0 &&
        (tree == CGROUP_V2 ? limit_memory_v2(g, directory, l->memory_bytes) : limit_memory_v1(g, directory, l->memory_bytes)) < 0)
        return -1;
    if (g->cpu == tree && l->cpus > 0 && limit_cpus(tree, directory, l->cpus) < 0)
        return -1;
    return tree == CGROUP_V2 && g->tasks && l->tasks > 0 ? group_put_number(directory, "pids.max", l->tasks) : 0;
}

static bool is_used(const struct groups *g, enum cgroup_tree tree, const struct group_limits *l)
{
    return g->tree[tree].base[0] && ((g->memory == tree && l->memory_bytes > 0) || (g->cpu == tree && l->cpus > 0));
}

static int make_in(struct groups *g, enum cgroup_tree tree, uint32_t id, const struct group_limits *l, int *ret_procs)
{
    const struct group_tree *t = &g->tree[tree];
    struct group_path at = groups_worker_directory(t, id);
    if (mkdir(at.s, 0755) < 0 && errno == ENOENT) /* somebody took the server's empty one for a dead server's */
        (void)(mkdir(t->base, 0755) == 0 && mkdir(at.s, 0755) == 0);
    if (limit_tree(g, tree, at.s, l) == 0) {
        struct group_path procs = group_path(at.s, GROUPS_PROCS);
        *ret_procs = open(procs.s, O_WRONLY | O_CLOEXEC);
    }
    if (*ret_procs >= 0)
        return 0;
    int e = errno;
    (void)rmdir(at.s);
    errno = e;
    return -1;
}

int group_make(struct groups *g, uint32_t id, const struct group_limits *limits, struct group *ret)
{
    struct group made = GROUP_NONE;
    for (int t = 0; t < CGROUP_TREES; t++) {
        if (!is_used(g, (enum cgroup_tree)t, limits) || make_in(g, (enum cgroup_tree)t, id, limits, &made.procs_fd[t]) == 0)
            continue;
        int e = errno;
        made.id = id;
        group_remove(g, &made);
        errno = e;
        return -1;
    }
    made.id = id;
    *ret = made;
    return 0;
}

void group_entered(struct group *group)
{
    for (int t = 0; t < CGROUP_TREES; t++)
        fd_close_p(&group->procs_fd[t]);
}

enum group_death group_death(const struct groups *g, const struct group *group)
{
    if (group->id == 0 || g->memory == CGROUP_TREES)
        return GROUP_NOT_FOR_MEMORY;
    bool v2 = g->memory == CGROUP_V2;
    struct group_path at = groups_worker_directory(&g->tree[g->memory], group->id);
    if (group_get_number(at.s, v2 ? "memory.events" : "memory.oom_control", "oom_kill") <= 0)
        return GROUP_NOT_FOR_MEMORY;
    /* Newer kernels count no failures in version 1; the most it ever had tells as well. */
    bool hit = v2 ? group_get_number(at.s, "memory.events", "max") > 0
                  : group_get_number(at.s, "memory.max_usage_in_bytes", NULL) + NEAR_BYTES > group_get_number(at.s, "memory.limit_in_bytes", NULL);
    return hit ? GROUP_OVER_ITS_LIMIT : GROUP_OUT_OF_MEMORY;
}

bool groups_remove_worker(const struct groups *g, uint32_t id)
{
    bool gone = true;
    for (int t = 0; t < CGROUP_TREES; t++) {
        if (!g->tree[t].base[0])
            continue;
        struct group_path at = groups_worker_directory(&g->tree[t], id);
        gone &= rmdir(at.s) == 0 || errno == ENOENT;
    }
    return gone;
}

void group_remove(struct groups *g, struct group *group)
{
    group_entered(group);
    if (group->id > 0 && !groups_remove_worker(g, group->id)) /* the kernel has not yet taken the last thread off its books */
        for (int i = 0; i < GROUPS_LINGERING; i++)
            if (g->lingering[i] == 0) {
                g->lingering[i] = group->id;
                break;
            }
    *group = GROUP_NONE;
}

void groups_sweep(struct groups *g, struct log *log)
{
    for (int t = 0; log && t < CGROUP_TREES; t++)
        if (g->tree[t].stale_looks > 0)
            g->tree[t].stale_looks = groups_remove_stale(g->tree[t].own, log) ? 0 : g->tree[t].stale_looks - 1;
    for (int i = 0; i < GROUPS_LINGERING; i++)
        if (g->lingering[i] && groups_remove_worker(g, g->lingering[i]))
            g->lingering[i] = 0;
}
