/* Control groups for workers. Where they are mounted: core/cgroup_paths.h. Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst ("No
 * Internal Process Constraint", "Delegation", memory.max, memory.events, cpu.max, pids.max) and cgroup-v1/memory.rst (memory.limit_in_bytes,
 * memory.memsw.limit_in_bytes, memory.oom_control). Runs in the supervisor and the command line. */
#include "supervisor/groups.h"
#include "core/errors.h"
#include "core/fd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PREFIX "bulkhead-"
#define MAIN "main"          /* version 2: where the supervisor and the front are */
#define FILE_MAX_BYTES 65536
#define PERIOD_US 100000     /* of CPU limits */
#define NEAR_BYTES (1 << 20) /* a charge that fails may be for several pages */
#define PROBE_ID 0           /* no worker has it */
#define PROBE_BYTES (INT64_C(64) << 20)
/* Weights while workers want every core: all of them together as much as one of several that are nice, the front well above each. */
#define MAIN_WEIGHT 1000

static const char procs_name[] = "cgroup.procs", control_name[] = "cgroup.subtree_control";

/* ---- files ---- */

struct path {
    char s[PATH_MAX + 64];
};

static struct path below(const char *directory, const char *name)
{
    struct path p;
    int n = snprintf(p.s, sizeof p.s, "%s/%s", directory, name);
    if (n < 0 || (size_t)n >= sizeof p.s)
        p.s[0] = 0; /* there is no such file */
    return p;
}

static struct path worker_directory(const struct group_tree *t, uint32_t id)
{
    char name[16];
    snprintf(name, sizeof name, "w%" PRIu32, id);
    return below(t->base, name);
}

/* 0; -1 with errno. */
static int put(const char *directory, const char *name, const char *text)
{
    struct path p = below(directory, name);
    auto_close int fd = open(p.s, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return -1;
    return write(fd, text, strlen(text)) == (ssize_t)strlen(text) ? 0 : -1;
}

/* The file's text; "" when it can't be read. False then. */
static bool get(const char *directory, const char *name, char *ret, size_t cap)
{
    struct path p = below(directory, name);
    auto_close int fd = open(p.s, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, ret, cap - 1);
    ret[n > 0 ? n : 0] = 0;
    return n >= 0;
}

static bool has_file(const char *directory, const char *name)
{
    struct path p = below(directory, name);
    return access(p.s, F_OK) == 0;
}

static int put_number(const char *directory, const char *name, int64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, n);
    return put(directory, name, text);
}

/* The number behind a word at a line's start ("oom_kill 3"), or, without a word, the file's first. -1: none. */
static int64_t get_number(const char *directory, const char *name, const char *word)
{
    char text[4096];
    if (!get(directory, name, text, sizeof text))
        return -1;
    const char *at = text;
    size_t len = word ? strlen(word) : 0;
    while (word && at && !(strncmp(at, word, len) == 0 && at[len] == ' '))
        at = (at = strchr(at, '\n')) ? at + 1 : NULL;
    return at && sscanf(at + len, "%" SCNd64, &(int64_t){0}) == 1 ? strtoll(at + len, NULL, 10) : -1;
}

/* Is it one of the words of the file, which blanks separate? */
static bool lists(const char *directory, const char *name, const char *word)
{
    char text[512], *rest = text, *one;
    get(directory, name, text, sizeof text);
    while ((one = strsep(&rest, " \n")))
        if (strcmp(one, word) == 0)
            return true;
    return false;
}

/* ---- limits ---- */

/* Writes a limit of memory and reads it back: the kernel rounds down to pages. */
static int limit_memory(const char *directory, const char *name, int64_t bytes)
{
    if (put_number(directory, name, bytes) < 0)
        return -1;
    int64_t back = get_number(directory, name, NULL);
    if (back >= 0 && back <= bytes && back > bytes - 65536)
        return 0;
    errno = EPROTO;
    return -1;
}

static int limit_memory_v2(struct groups *g, const char *directory, int64_t bytes)
{
    if (limit_memory(directory, "memory.max", bytes) < 0)
        return -1;
    g->no_swap = put(directory, "memory.swap.max", "0") == 0;
    (void)put(directory, "memory.oom.group", "1"); /* one process only: whatever it may have become */
    return 0;
}

static int limit_memory_v1(struct groups *g, const char *directory, int64_t bytes)
{
    if (limit_memory(directory, "memory.limit_in_bytes", bytes) < 0)
        return -1;
    g->no_swap = limit_memory(directory, "memory.memsw.limit_in_bytes", bytes) == 0;
    (void)put(directory, "memory.swappiness", "0");
    return 0;
}

static int limit_cpus(enum cgroup_tree tree, const char *directory, int64_t cpus)
{
    char text[64];
    if (tree == CGROUP_V2) {
        snprintf(text, sizeof text, "%" PRId64 " %d", cpus * PERIOD_US, PERIOD_US);
        if (put(directory, "cpu.max", text) < 0)
            return -1;
    } else if (put_number(directory, "cpu.cfs_period_us", PERIOD_US) < 0 || put_number(directory, "cpu.cfs_quota_us", cpus * PERIOD_US) < 0) {
        return -1;
    }
    if (get_number(directory, tree == CGROUP_V2 ? "cpu.max" : "cpu.cfs_quota_us", NULL) == cpus * PERIOD_US)
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
    return tree == CGROUP_V2 && g->tasks && l->tasks > 0 ? put_number(directory, "pids.max", l->tasks) : 0;
}

/* ---- one worker's ---- */

static bool is_used(const struct groups *g, enum cgroup_tree tree, const struct group_limits *l)
{
    return g->tree[tree].base[0] && ((g->memory == tree && l->memory_bytes > 0) || (g->cpu == tree && l->cpus > 0));
}

static int make_in(struct groups *g, enum cgroup_tree tree, uint32_t id, const struct group_limits *l, int *ret_procs)
{
    const struct group_tree *t = &g->tree[tree];
    struct path at = worker_directory(t, id);
    if (mkdir(at.s, 0755) < 0 && errno == ENOENT) /* somebody took the server's empty one for a dead server's */
        (void)(mkdir(t->base, 0755) == 0 && mkdir(at.s, 0755) == 0);
    if (limit_tree(g, tree, at.s, l) == 0) {
        struct path procs = below(at.s, procs_name);
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
    struct path at = worker_directory(&g->tree[g->memory], group->id);
    if (get_number(at.s, v2 ? "memory.events" : "memory.oom_control", "oom_kill") <= 0)
        return GROUP_NOT_FOR_MEMORY;
    /* Newer kernels count no failures in version 1; the most it ever had tells as well. */
    bool hit = v2 ? get_number(at.s, "memory.events", "max") > 0
                  : get_number(at.s, "memory.max_usage_in_bytes", NULL) + NEAR_BYTES > get_number(at.s, "memory.limit_in_bytes", NULL);
    return hit ? GROUP_OVER_ITS_LIMIT : GROUP_OUT_OF_MEMORY;
}

/* True when it is gone from every tree. */
static bool remove_worker(const struct groups *g, uint32_t id)
{
    bool gone = true;
    for (int t = 0; t < CGROUP_TREES; t++) {
        if (!g->tree[t].base[0])
            continue;
        struct path at = worker_directory(&g->tree[t], id);
        gone &= rmdir(at.s) == 0 || errno == ENOENT;
    }
    return gone;
}

void group_remove(struct groups *g, struct group *group)
{
    group_entered(group);
    if (group->id > 0 && !remove_worker(g, group->id)) /* the kernel has not yet taken the last thread off its books */
        for (int i = 0; i < GROUPS_LINGERING; i++)
            if (g->lingering[i] == 0) {
                g->lingering[i] = group->id;
                break;
            }
    *group = GROUP_NONE;
}

void groups_sweep(struct groups *g)
{
    for (int i = 0; i < GROUPS_LINGERING; i++)
        if (g->lingering[i] && remove_worker(g, g->lingering[i]))
            g->lingering[i] = 0;
}

/* ---- a server's ---- */

/* When a process started, in the kernel's ticks: with the pid it names a process for good. 0: there is none of that pid. */
static unsigned long long start_time(long pid)
{
    char directory[32], text[1024];
    unsigned long long ticks = 0;
    snprintf(directory, sizeof directory, "/proc/%ld", pid);
    get(directory, "stat", text, sizeof text);
    const char *p = strrchr(text, ')'); /* the command's name may hold anything */
    if (!p || sscanf(p + 2, "%*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &ticks) != 1)
        return 0;
    return ticks;
}

/* A server's directory and the workers' below it: whatever has a process in it stays. True when all is gone. */
static bool remove_directory(const char *directory)
{
    DIR *d = opendir(directory);
    struct dirent *e;
    while (d && (e = readdir(d)))
        if (e->d_type == DT_DIR && e->d_name[0] != '.') {
            struct path p = below(directory, e->d_name);
            (void)rmdir(p.s);
        }
    if (d)
        closedir(d);
    return rmdir(directory) == 0;
}

/* What servers left that were killed: their name says who they were. */
static void remove_stale(const char *own, struct log *log)
{
    DIR *d = opendir(own);
    struct dirent *e;
    while (d && (e = readdir(d))) {
        long pid;
        unsigned long long ticks;
        if (sscanf(e->d_name, PREFIX "%ld-%llu", &pid, &ticks) != 2 || start_time(pid) == ticks)
            continue;
        struct path p = below(own, e->d_name);
        if (remove_directory(p.s))
            log_event(log, LOG_INFO, "groups_removed", LOG_S("directory", p.s));
    }
    if (d)
        closedir(d);
}

static int make_base(struct group_tree *t, const char *own, struct log *log)
{
    remove_stale(own, log);
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
    (void)put(t->base, control_name, off);
    if (off[0])
        (void)put(t->own, control_name, off);
    if (t->moved)
        (void)put_number(t->own, procs_name, getpid());
    (void)remove_directory(t->base);
    *t = (struct group_tree){0};
}

/* Version 2: the controllers that a group's children are to have. Those that are on already stay the others' business. */
static int enable(const char *directory, const char *controller, char *note, size_t cap)
{
    char text[32];
    if (lists(directory, control_name, controller))
        return 0;
    snprintf(text, sizeof text, "+%s", controller);
    if (put(directory, control_name, text) < 0)
        return -1;
    snprintf(note + strlen(note), cap - strlen(note), "%s%s", note[0] ? " " : "", controller);
    return 0;
}

/* A group with processes can't have children with limits, unless it is the root: we go into a child ourselves. */
static int go_into_child(struct group_tree *t)
{
    if (!has_file(t->own, "cgroup.type"))
        return 0;
    struct path leaf = below(t->base, MAIN);
    if ((mkdir(leaf.s, 0755) < 0 && errno != EEXIST) || put_number(leaf.s, procs_name, getpid()) < 0)
        return -1;
    t->moved = true;
    return 0;
}

static bool enable_both(struct group_tree *t, const char *controller)
{
    char ignored[64] = "";
    return lists(t->own, "cgroup.controllers", controller) && enable(t->own, controller, t->enabled, sizeof t->enabled) == 0 &&
           enable(t->base, controller, ignored, sizeof ignored) == 0;
}

/* Beside our own group instead of below it. Only where that has no limit that a worker would escape. */
static bool may_go_beside(const char *own)
{
    char memory[64], cpu[64];
    get(own, "memory.max", memory, sizeof memory);
    get(own, "cpu.max", cpu, sizeof cpu);
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
        struct path leaf = below(t->base, MAIN);
        if (t->moved)
            (void)put_number(leaf.s, "cpu.weight", MAIN_WEIGHT);
    }
    return true;
}

static bool open_v2(struct groups *g, const char *own, bool cpu, struct log *log, char *why)
{
    char parent[PATH_MAX];
    if (!lists(own, "cgroup.controllers", "memory")) {
        snprintf(why, GROUPS_WHY_BYTES, "version 2 has no memory controller here");
        return false;
    }
    if (open_v2_at(g, own, false, cpu, log, why))
        return true;
    if (!may_go_beside(own) || !has_file(own, "cgroup.type"))
        return false;
    snprintf(parent, sizeof parent, "%s", own);
    *strrchr(parent, '/') = 0;
    if (!has_file(parent, procs_name))
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
        (void)remove_worker(g, PROBE_ID);
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
    if (g->cpu == CGROUP_TREES && own[t][0] && open_v1(g, t, own[t], log, g->cpu_why))
        g->cpu = t;
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
        if (n <= 0 || n >= PATH_MAX - 64 || !has_file(own[t], procs_name))
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
    groups_sweep(g);
    for (int t = 0; t < CGROUP_TREES; t++)
        close_tree(&g->tree[t]);
    *g = (struct groups){.memory = CGROUP_TREES, .cpu = CGROUP_TREES};
}
