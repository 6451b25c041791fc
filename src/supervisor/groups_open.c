/* The groups of a server: where they can be had, made at its start and removed at its end. Where trees are mounted: core/cgroup_paths.h. Source:
 * the kernel's Documentation/admin-guide/cgroup-v2.rst ("No Internal Process Constraint", "Delegation"). Runs in the supervisor and the
 * command line. */
#include "core/errors.h"
#include "core/fd.h"
#include "supervisor/groups.h"
#include "supervisor/groups_internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "bulkhead-"
#define MAIN "main" /* version 2: where the supervisor and the front are */
#define DEPTH_MAX 4 /* a command that ran inside of a server's group may have left its own there */
#define PROBE_ID 0  /* no worker has it */
#define PROBE_BYTES (INT64_C(64) << 20)
/* Weights while workers want every core. Version 2, where the server has a group of its own: the front well above each of the workers. Elsewhere
 * the workers' groups together are beside the front and whoever else is in the group we came from, and niceness weighs nothing between
 * groups: they get the third that it stands for (spawn.c; kernel/sched/core.c, sched_prio_to_weight). */
#define MAIN_WEIGHT 1000
#define WORKERS_WEIGHT 33  /* cpu.weight: of 100 */
#define WORKERS_SHARES 335 /* cpu.shares: of 1024 */

/* When a process started, in the kernel's ticks: with the pid it names a process for good. 0: there is none of that pid. */
static unsigned long long start_time(long pid)
{
    char directory[32], text[1024];
    unsigned long long ticks = 0;
    snprintf(directory, sizeof directory, "/proc/%ld", pid);
    group_get(directory, "stat", text, sizeof text);
    const char *p = strrchr(text, ')'); /* the command's name may hold anything */
    if (!p || sscanf(p + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &ticks) != 1)
        return 0;
    return ticks;
}

/* A server's directory and all below it: whatever has a process in it stays. True when all is gone. */
static bool remove_directory(const char *directory, int depth)
{
    DIR *d = opendir(directory);
    struct dirent *e;
    while (d && (e = readdir(d)))
        if (depth > 0 && e->d_type == DT_DIR && e->d_name[0] != '.')
            (void)remove_directory(group_path(directory, e->d_name).s, depth - 1);
    if (d)
        closedir(d);
    return rmdir(directory) == 0;
}

/* Looks, 100 ms apart, for what could not be removed at the start: a killed server's last processes may still be dying. */
#define STALE_LOOKS 3000

bool groups_remove_stale(const char *own, struct log *log)
{
    DIR *d = opendir(own);
    struct dirent *e;
    bool gone = true;
    while (d && (e = readdir(d))) {
        long pid;
        unsigned long long ticks;
        if (sscanf(e->d_name, PREFIX "%ld-%llu", &pid, &ticks) != 2 || start_time(pid) == ticks)
            continue;
        struct group_path p = group_path(own, e->d_name);
        if (remove_directory(p.s, DEPTH_MAX))
            log_event(log, LOG_INFO, "groups_removed", LOG_S("directory", p.s));
        else
            gone = false;
    }
    if (d)
        closedir(d);
    return gone;
}

static int make_base(struct group_tree *t, const char *own, struct log *log)
{
    t->stale_looks = groups_remove_stale(own, log) ? 0 : STALE_LOOKS;
    int n = snprintf(t->base, sizeof t->base, "%s/" PREFIX "%ld-%llu", own, (long)getpid(), start_time(getpid()));
    if (n > 0 && (size_t)n < sizeof t->base && (mkdir(t->base, 0755) == 0 || errno == EEXIST))
        return 0;
    t->base[0] = 0;
    return -1;
}

/* Gives up what was done to a tree. */
static void close_tree(struct group_tree *t)
{
    if (!t->base[0])
        return;
    char off[80] = "", *rest = t->enabled, *one;
    while ((one = strsep(&rest, " ")))
        if (*one)
            snprintf(off + strlen(off), sizeof off - strlen(off), "%s-%s", off[0] ? " " : "", one);
    (void)group_put(t->base, GROUPS_CONTROL, off);
    if (off[0])
        (void)group_put(t->own, GROUPS_CONTROL, off);
    if (t->moved)
        (void)group_put_number(t->own, GROUPS_PROCS, getpid());
    (void)remove_directory(t->base, DEPTH_MAX);
    *t = (struct group_tree){0};
}

/* Version 2: the controllers that a group's children are to have. Those that are on already stay the others' business. */
static int enable(const char *directory, const char *controller, char *note, size_t cap)
{
    char text[32];
    if (group_lists(directory, GROUPS_CONTROL, controller))
        return 0;
    snprintf(text, sizeof text, "+%s", controller);
    if (group_put(directory, GROUPS_CONTROL, text) < 0)
        return -1;
    snprintf(note + strlen(note), cap - strlen(note), "%s%s", note[0] ? " " : "", controller);
    return 0;
}

/* A group with processes can't have children with limits, unless it is the root: we go into a child ourselves. */
static int go_into_child(struct group_tree *t)
{
    if (!group_has_file(t->own, "cgroup.type"))
        return 0;
    struct group_path leaf = group_path(t->base, MAIN);
    if ((mkdir(leaf.s, 0755) < 0 && errno != EEXIST) || group_put_number(leaf.s, GROUPS_PROCS, getpid()) < 0)
        return -1;
    t->moved = true;
    return 0;
}

static bool enable_both(struct group_tree *t, const char *controller)
{
    char ignored[64] = "";
    return group_lists(t->own, "cgroup.controllers", controller) && enable(t->own, controller, t->enabled, sizeof t->enabled) == 0 &&
           enable(t->base, controller, ignored, sizeof ignored) == 0;
}

/* Beside our own group instead of below it. Only where that has no limit that a worker would escape. */
static bool may_go_beside(const char *own)
{
    char memory[64], cpu[64];
    group_get(own, "memory.max", memory, sizeof memory);
    group_get(own, "cpu.max", cpu, sizeof cpu);
    return strncmp(memory, "max", 3) == 0 && (!cpu[0] || strncmp(cpu, "max", 3) == 0);
}

/* Tries version 2 with workers' groups below `own`. False with *why. */
static bool open_v2_at(struct groups *g, const char *own, bool beside, bool cpu, struct log *log, char *why)
{
    struct group_tree *t = &g->tree[CGROUP_V2];
    snprintf(t->own, sizeof t->own, "%s", own);
    const char *step = "a group can't be made";
    bool ok = make_base(t, own, log) == 0;
    if (ok && !beside) {
        step = "the server can't be moved";
        ok = go_into_child(t) == 0;
    }
    if (ok) {
        step = "memory can't be limited: other processes are in the server's group, or it is not delegated";
        ok = enable_both(t, "memory");
    }
    if (!ok) {
        snprintf(why, GROUPS_WHY_BYTES, "version 2: %s (%s)", step, strerror(errno));
        close_tree(t);
        *t = (struct group_tree){0};
        return false;
    }
    g->memory = CGROUP_V2;
    g->tasks = enable_both(t, "pids");
    if (cpu && enable_both(t, "cpu")) {
        g->cpu = CGROUP_V2;
        struct group_path leaf = group_path(t->base, MAIN);
        if (t->moved)
            (void)group_put_number(leaf.s, "cpu.weight", MAIN_WEIGHT);
        else
            (void)group_put_number(t->base, "cpu.weight", WORKERS_WEIGHT);
    }
    return true;
}

static bool open_v2(struct groups *g, const char *own, bool cpu, struct log *log, char *why)
{
    char parent[PATH_MAX];
    if (!group_lists(own, "cgroup.controllers", "memory")) {
        snprintf(why, GROUPS_WHY_BYTES, "version 2 has no memory controller here");
        return false;
    }
    if (open_v2_at(g, own, false, cpu, log, why))
        return true;
    if (!may_go_beside(own) || !group_has_file(own, "cgroup.type"))
        return false;
    snprintf(parent, sizeof parent, "%s", own);
    *strrchr(parent, '/') = 0;
    if (!group_has_file(parent, GROUPS_PROCS))
        return false;
    char ignored[GROUPS_WHY_BYTES];
    return open_v2_at(g, parent, true, cpu, log, ignored);
}

static bool open_v1(struct groups *g, enum cgroup_tree tree, const char *own, struct log *log, char *why)
{
    struct group_tree *t = &g->tree[tree];
    snprintf(t->own, sizeof t->own, "%s", own);
    if (make_base(t, own, log) == 0)
        return true;
    snprintf(why, GROUPS_WHY_BYTES, "version 1: a group can't be made (%s)", strerror(errno));
    *t = (struct group_tree){0};
    return false;
}

/* What was opened is tried. False: it is closed again, with *why. */
static bool works(struct groups *g, const struct group_limits *l, enum cgroup_tree tree, char *why)
{
    struct group probe;
    bool ok = group_make(g, PROBE_ID, l, &probe) == 0;
    if (ok) {
        group_entered(&probe);
        (void)groups_remove_worker(g, PROBE_ID);
        return true;
    }
    snprintf(why, GROUPS_WHY_BYTES, "version %d: a limit can't be set (%s)", tree == CGROUP_V2 ? 2 : 1, strerror(errno));
    close_tree(&g->tree[tree]);
    return false;
}

static void open_memory(struct groups *g, char own[CGROUP_TREES][PATH_MAX], bool cpu, struct log *log)
{
    static const enum cgroup_tree order[] = {CGROUP_V2, CGROUP_V1_MEMORY};
    static const struct group_limits l = {.memory_bytes = PROBE_BYTES, .tasks = 100};
    for (int i = 0; i < 2; i++) {
        enum cgroup_tree t = order[i];
        if (!own[t][0] || !(t == CGROUP_V2 ? open_v2(g, own[t], cpu, log, g->why) : open_v1(g, t, own[t], log, g->why)))
            continue;
        g->memory = t;
        if (works(g, &l, t, g->why))
            return;
        g->memory = CGROUP_TREES;
        g->cpu = g->cpu == t ? CGROUP_TREES : g->cpu;
    }
    if (!g->why[0])
        snprintf(g->why, sizeof g->why, "no control groups are mounted");
}

static void open_cpu(struct groups *g, char own[CGROUP_TREES][PATH_MAX], struct log *log)
{
    static const struct group_limits l = {.cpus = 1};
    enum cgroup_tree t = CGROUP_V1_CPU;
    if (g->cpu == CGROUP_TREES && own[t][0] && open_v1(g, t, own[t], log, g->cpu_why)) {
        g->cpu = t;
        (void)group_put_number(g->tree[t].base, "cpu.shares", WORKERS_SHARES);
    }
    if (g->cpu != CGROUP_TREES && !works(g, &l, g->cpu, g->cpu_why))
        g->cpu = CGROUP_TREES;
    if (g->cpu == CGROUP_TREES && !g->cpu_why[0])
        snprintf(g->cpu_why, sizeof g->cpu_why, "no CPU controller to be had");
}

static char *read_proc(const char *path)
{
    char *text;
    size_t len;
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd >= 0 && fd_read_all(fd, (size_t)16 << 20, &text, &len) == 0 ? text : NULL;
}

/* The directory of our group in each tree; "": none. */
static void find_own(char own[CGROUP_TREES][PATH_MAX])
{
    char *groups = read_proc("/proc/self/cgroup"), *mounts = read_proc("/proc/self/mountinfo");
    struct cgroup_place place[CGROUP_TREES] = {0};
    if (groups && mounts)
        cgroup_places(groups, mounts, place);
    for (int t = 0; t < CGROUP_TREES; t++) {
        int n = place[t].mount_point ? snprintf(own[t], PATH_MAX, "%s%s", place[t].mount_point, strcmp(place[t].path, "/") ? place[t].path : "") : 0;
        if (n <= 0 || n >= PATH_MAX - 64 || !group_has_file(own[t], GROUPS_PROCS))
            own[t][0] = 0;
    }
    free(groups);
    free(mounts);
}

void groups_open(struct groups *g, bool cpu, struct log *log)
{
    char own[CGROUP_TREES][PATH_MAX];
    *g = (struct groups){.memory = CGROUP_TREES, .cpu = CGROUP_TREES};
    find_own(own);
    open_memory(g, own, cpu, log);
    if (cpu)
        open_cpu(g, own, log);
}

void groups_close(struct groups *g)
{
    groups_sweep(g, NULL);
    for (int t = 0; t < CGROUP_TREES; t++)
        close_tree(&g->tree[t]);
    *g = (struct groups){.memory = CGROUP_TREES, .cpu = CGROUP_TREES};
}
