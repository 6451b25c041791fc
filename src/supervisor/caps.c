/* The kernel's caps on a worker. Runs in the supervisor and the command line. */
#include "supervisor/caps.h"
#include "core/build.h"
#include "core/errors.h"
#include "core/fd.h"
#include "core/units.h"

#include <fcntl.h>
#include <inttypes.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Tasks of a worker in all, wherever it is counted in a group: those of the engine, of loading extensions, and some. */
#define TASKS_BESIDE 128
/* RLIMIT_DATA counts what is mapped, not what is used: stacks of threads, and what the allocator keeps. It is there for what fills memory faster
 * than the watchdog looks. */
#define DATA_BESIDE_BYTES (INT64_C(64) << 20)
#define STACK_BYTES (INT64_C(8) << 20)
/* Every so many looks swap is counted too, though what is resident may be little. */
#define LOOKS_PER_SWAP 16

static int own_cores(void)
{
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

/* Is that less than it could take anyway? */
static bool bites(const struct caps *c, int64_t cpus) { return cpus > 0 && cpus < c->cores; }

void caps_open(struct caps *c, const struct config *cfg, struct log *log)
{
    *c = (struct caps){.cores = own_cores(), .groups = {.memory = CGROUP_TREES, .cpu = CGROUP_TREES}};
    if (SANITIZED)
        return;
    if (cfg->sandbox.cgroups)
        groups_open(&c->groups, bites(c, cfg->pool.cpu_cap), log);
    else
        snprintf(c->groups.why, sizeof c->groups.why, "[sandbox] cgroups = no");
    c->memory = c->groups.memory == CGROUP_TREES ? CAP_BY_WATCHDOG : CAP_BY_GROUP;
}

void caps_close(struct caps *c) { groups_close(&c->groups); }

void caps_report(const struct caps *c, int64_t cpu_cap, struct layers *l)
{
    const struct groups *g = &c->groups;
    if (c->memory == CAP_BY_GROUP)
        layers_set(l, LAYER_MEMORY_CAP, LAYER_IN_FORCE, "control group, version %d%s", g->memory == CGROUP_V2 ? 2 : 1,
                   g->no_swap ? ", no swap" : "; swap is not limited");
    else if (c->memory == CAP_BY_WATCHDOG)
        layers_set(l, LAYER_MEMORY_CAP, LAYER_IN_FORCE, "watchdog: %.90s", g->why);
    else
        layers_set(l, LAYER_MEMORY_CAP, LAYER_OFF, "a sanitizer's build");
    if (cpu_cap == 0)
        layers_set(l, LAYER_CPU_CAP, LAYER_OFF, "[pool] cpu_cap = 0");
    else if (!bites(c, cpu_cap))
        layers_set(l, LAYER_CPU_CAP, LAYER_IN_FORCE, "there are %d cores, and no more", c->cores);
    else if (g->cpu != CGROUP_TREES)
        layers_set(l, LAYER_CPU_CAP, LAYER_IN_FORCE, "control group, version %d", g->cpu == CGROUP_V2 ? 2 : 1);
    else
        layers_set(l, LAYER_CPU_CAP, LAYER_IN_FORCE, "affinity: it is bound to so many cores");
}

static int64_t data_limit(const struct cap_sizes *s)
{
    int64_t bytes;
    bool too_large = __builtin_add_overflow(s->memory_bytes, s->memory_bytes / 10 + DATA_BESIDE_BYTES + s->threads * STACK_BYTES, &bytes);
    return too_large ? 0 : bytes;
}

int worker_cap_make(struct caps *c, uint32_t id, const struct cap_sizes *sizes, struct worker_cap *ret, struct worker_plan *plan)
{
    struct worker_cap cap = WORKER_CAP_NONE;
    cap.memory_bytes = c->memory == CAP_BY_NOTHING ? 0 : sizes->memory_bytes;
    cap.cpus = bites(c, sizes->cpus) && c->memory != CAP_BY_NOTHING ? sizes->cpus : 0;
    bool group_of_memory = c->memory == CAP_BY_GROUP, group_of_cpu = cap.cpus > 0 && c->groups.cpu != CGROUP_TREES;
    struct group_limits limits = {
        .memory_bytes = group_of_memory ? cap.memory_bytes : 0, .cpus = group_of_cpu ? cap.cpus : 0, .tasks = TASKS_BESIDE + c->cores};
    if ((group_of_memory || group_of_cpu) && group_make(&c->groups, id, &limits, &cap.group) < 0)
        return -1;
    *ret = cap;
    plan->group_fds = ret->group.procs_fd;
    plan->group_count = CGROUP_TREES;
    if (c->memory == CAP_BY_WATCHDOG && cap.memory_bytes > 0)
        plan->data_bytes = data_limit(sizes);
    if (cap.cpus > 0 && !group_of_cpu) { /* neighbours get different cores */
        plan->cores = (int)cap.cpus;
        plan->first_core = (int)((int64_t)(id - 1) * cap.cpus % c->cores);
    }
    return 0;
}

static int open_proc(pid_t pid, const char *name)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return open(path, O_RDONLY | O_CLOEXEC);
}

bool worker_cap_started(struct caps *c, struct worker_cap *cap, const struct child *child)
{
    group_entered(&cap->group);
    if (c->memory != CAP_BY_WATCHDOG || cap->memory_bytes == 0)
        return true;
    cap->statm_fd = open_proc(child->pid, "statm"); /* our unreaped child: it is no other's pid */
    cap->status_fd = open_proc(child->pid, "status");
    return cap->statm_fd >= 0 && cap->status_fd >= 0;
}

/* "RssAnon:	    1234 kB" */
static int64_t line_kib(const char *text, const char *name)
{
    const char *at = strstr(text, name);
    return at ? strtoll(at + strlen(name), NULL, 10) : 0;
}

/* What a group would count, but for the kernel's own: memory of the process, not of the files that it has mapped. */
static int64_t used_bytes(const struct worker_cap *cap)
{
    char text[4096];
    ssize_t n = pread(cap->status_fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    return (line_kib(text, "\nRssAnon:") + line_kib(text, "\nRssShmem:") + line_kib(text, "\nVmSwap:") + line_kib(text, "\nVmPTE:")) * 1024;
}

bool worker_cap_passed(struct worker_cap *cap)
{
    char text[128];
    int64_t size, resident;
    if (cap->statm_fd < 0 || cap->memory_bytes == 0)
        return false;
    ssize_t n = pread(cap->statm_fd, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = 0;
    if (sscanf(text, "%" SCNd64 " %" SCNd64, &size, &resident) != 2)
        return false;
    bool look_closer = resident * sysconf(_SC_PAGESIZE) > cap->memory_bytes || ++cap->looks % LOOKS_PER_SWAP == 0;
    return look_closer && used_bytes(cap) > cap->memory_bytes;
}

enum cap_death worker_cap_death(const struct caps *c, const struct worker_cap *cap, const struct child_end *end, const char *words)
{
    if (c->memory == CAP_BY_WATCHDOG) /* RLIMIT_DATA, where the engine does not catch what follows */
        return end->signal == SIGABRT && strstr(words, "bad_alloc") ? CAP_THE_CAUSE : CAP_NOT_THE_CAUSE;
    if (end->signal != SIGKILL)
        return CAP_NOT_THE_CAUSE;
    switch (group_death(&c->groups, &cap->group)) {
    case GROUP_OVER_ITS_LIMIT: return CAP_THE_CAUSE;
    case GROUP_OUT_OF_MEMORY: return CAP_OF_OTHERS;
    default: return CAP_NOT_THE_CAUSE;
    }
}

void worker_cap_end(struct caps *c, struct worker_cap *cap)
{
    fd_close_p(&cap->statm_fd);
    fd_close_p(&cap->status_fd);
    group_remove(&c->groups, &cap->group);
    *cap = WORKER_CAP_NONE;
}
