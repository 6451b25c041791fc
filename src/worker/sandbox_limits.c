/* The worker's resource limits. Runs in the worker. */
#include "worker/sandbox_limits.h"
#include "core/build.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/utsname.h>

/* The database, spilled files (one per size class and block), the link, and a few to spare. */
#define OPEN_FILES 256
/* Beside the engine's: the main thread, the one that waits for interrupts, and encoders' helpers. */
#define TASKS_BESIDE 16
/* The engine checks an extension's signature with a thread for each megabyte of it, all at once; the largest has 22 MB (httpfs). */
#define TASKS_LOADING 64

static unsigned most_tasks(const struct sandbox_plan *p)
{
    bool loads = (p->extensions && p->extensions[0]) || p->extension_directory[0];
    return p->threads + TASKS_BESIDE + (loads ? TASKS_LOADING : 0);
}

/* Both values, where they are not lower already, and reads it back. */
static bool limit(int resource, rlim_t value, const char *name, char *ret_failed, size_t cap)
{
    struct rlimit l;
    if (getrlimit((__rlimit_resource_t)resource, &l) == 0) {
        struct rlimit want = {l.rlim_cur < value ? l.rlim_cur : value, l.rlim_max < value ? l.rlim_max : value};
        if (setrlimit((__rlimit_resource_t)resource, &want) == 0 && getrlimit((__rlimit_resource_t)resource, &l) == 0 && l.rlim_max <= value)
            return true;
    }
    snprintf(ret_failed + strlen(ret_failed), cap - strlen(ret_failed), " %s", name);
    return false;
}

/* Tasks are counted per user, and since Linux 5.14 per user and user namespace: with neither of its own, others' would count. */
static bool counts_own_tasks(const struct sandbox_plan *p, const struct layers *l)
{
    struct utsname u;
    int major = 0, minor = 0;
    if (p->uid != 0)
        return true;
    if (l->of[LAYER_USER_NAMESPACE].state != LAYER_IN_FORCE || uname(&u) < 0 || sscanf(u.release, "%d.%d", &major, &minor) != 2)
        return false;
    return major > 5 || (major == 5 && minor >= 14);
}

void sandbox_limits(const struct sandbox_plan *p, struct layers *l)
{
    char failed[64] = "", tasks[24] = "not limited";
    /* A write past the limit must fail, not kill. */
    signal(SIGXFSZ, SIG_IGN);
    (void)limit(RLIMIT_CORE, 0, "core", failed, sizeof failed);
    (void)limit(RLIMIT_NOFILE, OPEN_FILES, "files", failed, sizeof failed);
    (void)limit(RLIMIT_FSIZE, (rlim_t)p->file_bytes, "file size", failed, sizeof failed);
    (void)limit(RLIMIT_MEMLOCK, 0, "locked memory", failed, sizeof failed);
    (void)limit(RLIMIT_MSGQUEUE, 0, "message queues", failed, sizeof failed);
    (void)limit(RLIMIT_RTPRIO, 0, "real-time priority", failed, sizeof failed);
    (void)limit(RLIMIT_NICE, 0, "niceness", failed, sizeof failed);
    if (p->data_bytes > 0 && !SANITIZED)
        (void)limit(RLIMIT_DATA, (rlim_t)p->data_bytes, "memory", failed, sizeof failed);
    if (counts_own_tasks(p, l) && limit(RLIMIT_NPROC, most_tasks(p), "tasks", failed, sizeof failed))
        snprintf(tasks, sizeof tasks, "%u", most_tasks(p));
    if (failed[0])
        layers_set(l, LAYER_RLIMITS, LAYER_MISSING, "could not be set:%s", failed);
    else
        layers_set(l, LAYER_RLIMITS, LAYER_IN_FORCE, "%d files of %" PRId64 " bytes, tasks: %s", OPEN_FILES, p->file_bytes, tasks);
}
