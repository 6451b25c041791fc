/* What the machine or the container lets this process use. Sources: proc_meminfo(5), sched_getaffinity(2), the kernel's
 * Documentation/admin-guide/cgroup-v2.rst (memory.max, memory.high, cpu.max) and cgroup-v1/memory.rst, scheduler/sched-bwc.rst
 * (memory.limit_in_bytes, cpu.cfs_quota_us). Where the groups are mounted is cgroup_paths.h's; how the result is divided is sizing.h's.
 * Runs in the supervisor. */
#include "core/limits_probe.h"
#include "core/cgroup_paths.h"
#include "core/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PROC_FILE_MAX (16 << 20) /* a mountinfo with tens of thousands of mounts */
#define VALUE_FILE_MAX 4096
#define AFFINITY_CPUS_MAX (1 << 20)

struct probe {
    const char *root;
    struct machine m;
};

/* The file's text, the caller's to free; NULL with errno. */
static char *read_text(const char *path, size_t max)
{
    auto_close int fd = open(path, O_RDONLY | O_CLOEXEC);
    char *text;
    size_t len;
    if (fd < 0 || fd_read_all(fd, max, &text, &len) < 0)
        return NULL;
    return text;
}

static char *read_proc(const char *root, const char *name)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s", root, name);
    if (n < 0 || (size_t)n >= sizeof path) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    return read_text(path, PROC_FILE_MAX);
}

/* A whole number at the text's start, not negative, with its end; false for "max", "-1" and what passes int64_t. */
static bool parse_number(const char *text, int64_t *ret, const char **ret_end)
{
    if (text[0] < '0' || text[0] > '9')
        return false;
    char *end;
    errno = 0;
    intmax_t v = strtoimax(text, &end, 10);
    if (errno || v > INT64_MAX)
        return false;
    *ret = v;
    *ret_end = end;
    return true;
}

static bool at_end(const char *text) { return text[0] == 0 || !strcmp(text, "\n"); }

/* One of a group's files; the caller's to free. NULL: no such file, no such limit. */
static char *read_value(const struct probe *p, const struct cgroup_place *at, const char *group, const char *file)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s%s%s/%s", p->root, at->mount_point, strcmp(group, "/") ? group : "", file);
    return n < 0 || (size_t)n >= sizeof path ? NULL : read_text(path, VALUE_FILE_MAX);
}

/* "cgroup v2 /a/b memory.max"; of a long path the end, which names the container. */
static void set_from(char from[MACHINE_FROM_BYTES], int version, const char *group, const char *file)
{
    size_t room = MACHINE_FROM_BYTES - sizeof "cgroup v2 ... " - strlen(file), len = strlen(group);
    bool cut = len > room;
    snprintf(from, MACHINE_FROM_BYTES, "cgroup v%d %s%s %s", version, cut ? "..." : "", cut ? group + len - room : group, file);
}

/* A file's number; -1: there is none, and no such limit. */
static int64_t read_number(const struct probe *p, const struct cgroup_place *at, const char *group, const char *file)
{
    char *text = read_value(p, at, group, file);
    const char *end;
    int64_t n;
    bool good = text && parse_number(text, &n, &end) && at_end(end);
    free(text);
    return good ? n : -1;
}

static void limit_memory(struct probe *p, int version, const struct cgroup_place *at, const char *group, const char *file)
{
    int64_t bytes = read_number(p, at, group, file);
    if (bytes >= 0 && bytes < p->m.memory_bytes) {
        p->m.memory_bytes = bytes;
        set_from(p->m.memory_from, version, group, file);
    }
}

static void limit_swap(struct probe *p, int version, const char *group, const char *file, int64_t bytes)
{
    if (bytes >= 0 && bytes < p->m.swap_bytes) {
        p->m.swap_bytes = bytes;
        set_from(p->m.swap_from, version, group, file);
    }
}

/* Version 1 limits memory and swap together. */
static void limit_swap_v1(struct probe *p, const struct cgroup_place *at, const char *group)
{
    static const char both_name[] = "memory.memsw.limit_in_bytes";
    int64_t both = read_number(p, at, group, both_name), memory = read_number(p, at, group, "memory.limit_in_bytes");
    if (both >= 0 && memory >= 0)
        limit_swap(p, 1, group, both_name, both > memory ? both - memory : both < p->m.memory_bytes ? 0 : -1);
}

/* Part of a core counts as a whole one: a worker more that waits now and then is cheaper than a core that nobody uses. */
static void limit_cpus(struct probe *p, int version, const char *group, const char *file, int64_t quota_us, int64_t period_us)
{
    if (quota_us <= 0 || period_us <= 0)
        return;
    int64_t cpus = quota_us / period_us + (quota_us % period_us != 0);
    if (cpus < p->m.cpus) {
        p->m.cpus = cpus;
        set_from(p->m.cpus_from, version, group, file);
    }
}

static void limit_cpus_v2(struct probe *p, const struct cgroup_place *at, const char *group)
{
    char *text = read_value(p, at, group, "cpu.max");
    const char *end;
    int64_t quota_us, period_us;
    if (text && parse_number(text, &quota_us, &end) && *end == ' ' && parse_number(end + 1, &period_us, &end) && at_end(end))
        limit_cpus(p, 2, group, "cpu.max", quota_us, period_us);
    free(text);
}

static void limit_cpus_v1(struct probe *p, const struct cgroup_place *at, const char *group)
{
    static const char quota[] = "cpu.cfs_quota_us"; /* -1: no limit */
    char *quota_text = read_value(p, at, group, quota), *period_text = read_value(p, at, group, "cpu.cfs_period_us");
    const char *end;
    int64_t quota_us, period_us;
    if (quota_text && period_text && parse_number(quota_text, &quota_us, &end) && at_end(end) && parse_number(period_text, &period_us, &end) &&
        at_end(end))
        limit_cpus(p, 1, group, quota, quota_us, period_us);
    free(quota_text);
    free(period_text);
}

static void limit_group(struct probe *p, enum cgroup_tree tree, const struct cgroup_place *at, const char *group)
{
    switch (tree) {
    case CGROUP_V2:
        limit_memory(p, 2, at, group, "memory.max");
        /* Above it the kernel does not kill but throttles and reclaims without end, which queries take for a hang. */
        limit_memory(p, 2, at, group, "memory.high");
        limit_swap(p, 2, group, "memory.swap.max", read_number(p, at, group, "memory.swap.max"));
        limit_cpus_v2(p, at, group);
        break;
    case CGROUP_V1_MEMORY:
        limit_memory(p, 1, at, group, "memory.limit_in_bytes");
        limit_swap_v1(p, at, group);
        break;
    case CGROUP_V1_CPU: limit_cpus_v1(p, at, group); break;
    case CGROUP_TREES: break;
    }
}

/* From our group up to the mount's top: each group's limits hold for all below it. */
static void limit_tree(struct probe *p, enum cgroup_tree tree, const struct cgroup_place *at)
{
    char group[PATH_MAX];
    if (!at->mount_point)
        return;
    int n = snprintf(group, sizeof group, "%s", at->path);
    if (n < 0 || (size_t)n >= sizeof group)
        return;
    while (strcmp(group, "/") != 0) {
        limit_group(p, tree, at, group);
        char *slash = strrchr(group, '/');
        slash[slash == group] = 0; /* the first one stays: "/a" becomes "/" */
    }
    limit_group(p, tree, at, "/");
}

static void limit_cgroups(struct probe *p)
{
    char *groups = read_proc(p->root, "/proc/self/cgroup"), *mounts = read_proc(p->root, "/proc/self/mountinfo");
    if (groups && mounts) {
        struct cgroup_place places[CGROUP_TREES];
        cgroup_places(groups, mounts, places);
        for (int t = 0; t < CGROUP_TREES; t++)
            limit_tree(p, t, &places[t]);
    }
    free(groups);
    free(mounts);
}

/* The cores this process may run on: a cpuset, taskset or the machine. */
static int64_t affinity(void)
{
    for (int cpus = 1024; cpus <= AFFINITY_CPUS_MAX; cpus *= 2) {
        cpu_set_t *set = CPU_ALLOC((size_t)cpus);
        size_t bytes = CPU_ALLOC_SIZE((size_t)cpus);
        CHECK(set);
        int r = sched_getaffinity(0, bytes, set), count = r < 0 ? 0 : CPU_COUNT_S(bytes, set);
        CPU_FREE(set);
        if (count > 0)
            return count;
        if (errno != EINVAL) /* EINVAL: the kernel's set is larger than ours */
            break;
    }
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    return online > 0 ? online : 1;
}

/* "MemTotal:       16000000 kB", behind the key. */
static bool parse_kib(const char *text, const char *key, int64_t *ret_bytes)
{
    const char *at = strstr(text, key), *end;
    int64_t kib;
    if (!at || !parse_number(at + strlen(key) + strspn(at + strlen(key), " \t"), &kib, &end) || strncmp(end, " kB", 3) != 0 || kib > INT64_MAX / 1024)
        return false;
    *ret_bytes = kib * 1024;
    return true;
}

static int machine_memory(const char *root, int64_t *ret_bytes, int64_t *ret_swap_bytes, struct error *err)
{
    static const char name[] = "/proc/meminfo", key[] = "MemTotal:";
    char *text = read_proc(root, name);
    int failed = errno;
    if (!text)
        return error_set(err, ERR_UNAVAILABLE, "%s%s: the machine's memory can't be read: %s", root, name, strerror(failed));
    int64_t bytes;
    bool good = parse_kib(text, key, &bytes) && bytes > 0;
    *ret_swap_bytes = 0;
    (void)parse_kib(text, "SwapTotal:", ret_swap_bytes);
    free(text);
    if (!good)
        return error_set(err, ERR_UNAVAILABLE, "%s%s: the machine's memory can't be read: no %s", root, name, key);
    *ret_bytes = bytes;
    return 0;
}

int limits_probe(struct machine *ret, const char *root, int64_t affinity_cpus, struct error *err)
{
    struct probe p = {.root = root, .m = {.cpus_from = "affinity", .memory_from = "machine", .swap_from = "machine"}};
    if (machine_memory(root, &p.m.memory_bytes, &p.m.swap_bytes, err) < 0)
        return -1;
    p.m.cpus = affinity_cpus > 0 ? affinity_cpus : affinity();
    limit_cgroups(&p);
    *ret = p.m;
    return 0;
}
