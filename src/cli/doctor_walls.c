/* The walls around a worker, run into one by one. Runs in the command line. */
#include "cli/cli.h"
#include "cli/doctor.h"
#include "cli/query_worker.h"
#include "core/clock.h"
#include "core/units.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What a deaf worker is given before the ladder begins. */
#define DEADLINE_MS 200
#define CORES_SLACK 0.35
#define OBJECTS_MAX 200

/* Each is to be refused. `by`: the layer that refuses it, whose absence explains a success. */
static const struct wall {
    const char *attempt, *name, *configured, *tried;
    enum layer_id by;
} walls[] = {
    {"read", "read other files", "no file but its own", "open /etc/passwd", LAYER_LANDLOCK},
    {"list", "list directories", "no directory but its own", "open the database's directory", LAYER_LANDLOCK},
    {"write-database", "write to the database", "the database is read-only", "open it for writing", LAYER_LANDLOCK},
    {"make-file", "make files", "no file outside of its scratch directory", "make files in /tmp, /var/tmp, /dev/shm and beside the database",
     LAYER_LANDLOCK},
    {"tcp", "connect by TCP", "no network", "make a socket and connect", LAYER_SECCOMP},
    {"unix", "connect to a unix socket", "no network", "make a socket and connect", LAYER_SECCOMP},
    {"exec", "run a program", "no programs", "execute /bin/true", LAYER_SECCOMP},
    {"fork", "make processes", "no processes", "fork", LAYER_SECCOMP},
    {"trace", "read other processes", "no other process's memory", "process_vm_readv and ptrace of its parent", LAYER_SECCOMP},
    {"signal", "signal other processes", "no signals to others", "send its parent signal 0", LAYER_SECCOMP},
    {"unshare", "make namespaces", "no new namespaces", "unshare(CLONE_NEWUSER)", LAYER_SECCOMP},
    {"root", "become root", "no rights to be had", "setresuid(0, 0, 0)", LAYER_USER},
    {"code", "make memory executable", "no new machine code", "map a page writable and executable", LAYER_NO_EXEC_MEMORY},
    {"limits", "raise its limits", "limits stay", "setrlimit(RLIMIT_FSIZE, unlimited)", LAYER_SECCOMP},
    {"kernel", "reach more of the kernel", "only the system calls it needs", "io_uring_setup", LAYER_SECCOMP},
};

struct probe {
    struct doctor *d;
    struct query_worker w;
    bool is_there;
};

static void try(struct probe *p, const char *name, int64_t deadline_ms, struct attempt *ret)
{
    doctor_try(p->d, &p->w, &p->is_there, name, deadline_ms, ret);
}

static const char *signal_word(const struct attempt *a) { return signal_text(a->signal); }

static void check_wall(struct probe *p, const struct wall *wall)
{
    struct attempt a;
    const struct layer *by = &p->w.layers.of[wall->by];
    try(p, wall->attempt, 0, &a);
    if (a.result == ATTEMPT_NOTHING)
        return;
    bool held = a.result == ATTEMPT_COULD_NOT || (a.result == ATTEMPT_KILLED && !a.for_memory);
    bool explained = a.result == ATTEMPT_COULD && by->state != LAYER_IN_FORCE;
    struct check *c = report_add(&p->d->report, held ? VERDICT_PASS : explained ? VERDICT_WARN : VERDICT_FAIL, wall->name);
    check_text(c->configured, "%s", wall->configured);
    check_text(c->how, "a worker tried: %s", wall->tried);
    if (a.result == ATTEMPT_COULD_NOT)
        check_text(c->in_force, "refused: %s", a.why);
    else if (a.result == ATTEMPT_KILLED)
        check_text(c->in_force, "killed for it: %s", signal_word(&a));
    else if (a.result == ATTEMPT_COULD)
        check_text(c->in_force, "it could");
    else
        check_text(c->in_force, "it can't be told: %s", a.why);
    if (explained)
        check_text(c->hint, "the layer %s is %s here: %s", layer_name(wall->by), layer_state_text(by->state), by->detail);
    else if (!held)
        check_text(c->hint, "the layer %s says that it is in force, and does not hold: do not serve people whom you do not trust, and report this",
                   layer_name(wall->by));
}

/* Its way out of its memory cap: into our own group. */
static void check_group(struct probe *p)
{
    const struct groups *g = &p->w.caps.groups;
    char attempt[PATH_MAX + 64];
    if (!p->is_there || g->memory == CGROUP_TREES)
        return;
    snprintf(attempt, sizeof attempt, "group:%s/cgroup.procs", g->tree[g->memory].own);
    const struct wall wall = {attempt, "leave its control group", "its caps stay", "open cgroup.procs of the server's own group for writing",
                              LAYER_LANDLOCK};
    check_wall(p, &wall);
}

/* ---- what must be ended ---- */

static void check_memory(struct probe *p)
{
    struct doctor *d = p->d;
    char configured[UNITS_TEXT_MAX], tried[UNITS_TEXT_MAX];
    struct attempt a;
    char attempt[48];
    snprintf(attempt, sizeof attempt, "memory:%" PRId64, 2 * d->probe->pool.memory_cap_bytes);
    try(p, attempt, 0, &a);
    struct layer by = p->w.layers.of[LAYER_MEMORY_CAP];
    bool held = a.result == ATTEMPT_KILLED && a.for_memory, watched = p->w.caps.memory == CAP_BY_WATCHDOG;
    units_human_size(d->cfg->pool.memory_cap_bytes, configured);
    units_human_size(d->probe->pool.memory_cap_bytes, tried);
    struct check *c = report_add(&d->report,
                                 !held     ? (by.state == LAYER_OFF ? VERDICT_WARN : VERDICT_FAIL)
                                 : watched ? VERDICT_WARN
                                           : VERDICT_PASS,
                                 "memory cap");
    check_text(c->configured, "%s for each worker (pool.memory_cap)", configured);
    check_text(c->in_force, "%s", by.detail);
    if (held)
        check_text(c->how, "a worker with %s took more, and was killed after %" PRId64 " ms", tried, a.ms);
    else
        check_text(c->how, "a worker with %s took more, and was not killed for that%s%s", tried, a.why[0] ? ": " : "", a.why);
    if (!held)
        check_text(c->hint, "do not rely on pool.memory_cap here%s", by.state == LAYER_IN_FORCE ? "; report this" : "");
    else if (watched)
        check_text(c->hint, "give the server a control group (sandbox.cgroups = yes): start it as root, as a service with Delegate=yes, or in a "
                            "container whose /sys/fs/cgroup is writable");
}

static void check_cores(struct probe *p)
{
    struct doctor *d = p->d;
    int64_t cap = d->cfg->pool.cpu_cap;
    struct attempt a;
    try(p, "cores", 0, &a);
    const struct layer *by = &p->w.layers.of[LAYER_CPU_CAP];
    bool measured = a.result == ATTEMPT_COULD, held = measured && (cap == 0 || a.cores <= (double)cap + CORES_SLACK);
    struct check *c = report_add(&d->report, held ? VERDICT_PASS : VERDICT_FAIL, "cores");
    check_text(c->configured, cap ? "%" PRId64 " for each worker (pool.cpu_cap)" : "no cap (pool.cpu_cap = %" PRId64 ")", cap);
    check_text(c->in_force, "%s", by->detail);
    check_text(c->how, "a worker with more threads than that computed for %" PRId64 " ms: it used %.2f cores", a.ms, a.cores);
    if (!measured)
        check_text(c->how, "a worker with more threads than that computed: %s", a.why);
    if (!held)
        check_text(c->hint, "the cap does not hold: is another program moving processes between control groups?");
}

static void check_deadline(struct probe *p)
{
    struct doctor *d = p->d;
    int64_t graces = d->cfg->limits.interrupt_grace_ms + d->cfg->limits.term_grace_ms;
    struct attempt a;
    try(p, "deadline", DEADLINE_MS, &a);
    bool held = a.result == ATTEMPT_STOPPED;
    struct check *c = report_add(&d->report, held ? VERDICT_PASS : VERDICT_FAIL, "deadline");
    check_text(c->configured, "%" PRId64 " ms after it at the latest (interrupt_grace + term_grace)", graces);
    check_text(c->in_force, held ? "interrupt, SIGTERM, SIGKILL, by pidfd" : "it was not ended: %s", a.why);
    check_text(c->how, "a worker that blocks every signal was given %d ms: dead by %s after %" PRId64 " ms", DEADLINE_MS, signal_word(&a), a.ms);
    if (!held)
        check_text(c->hint, "report this");
}

static void check_scratch(struct probe *p)
{
    struct doctor *d = p->d;
    char configured[UNITS_TEXT_MAX], tried[UNITS_TEXT_MAX], seen[UNITS_TEXT_MAX];
    struct attempt a;
    units_human_size(d->cfg->pool.scratch_limit_bytes, configured);
    units_human_size(d->probe->pool.scratch_limit_bytes, tried);
    if (d->cfg->pool.scratch_limit_bytes == 0) {
        struct check *c = report_add(&d->report, VERDICT_PASS, "scratch");
        check_text(c->configured, "no spilling (pool.scratch_limit = 0)");
        check_text(c->in_force, "workers have no directory");
        return;
    }
    try(p, "scratch", 0, &a);
    struct check *c = report_add(&d->report, a.result == ATTEMPT_COULD ? VERDICT_PASS : VERDICT_FAIL, "scratch directory");
    check_text(c->configured, "below %s", d->cfg->pool.scratch_directory[0] ? d->cfg->pool.scratch_directory : "/var/tmp");
    check_text(c->in_force, a.result == ATTEMPT_COULD ? "it can be written" : "it can't be written: %s", a.why);
    check_text(c->how, "a worker made a file in it");
    if (a.result != ATTEMPT_COULD)
        check_text(c->hint, "set pool.scratch_directory to a directory on disk that the server's user may write, or pool.scratch_limit = 0");
    try(p, "disk", 0, &a);
    units_human_size(a.disk_bytes, seen);
    bool held = a.result == ATTEMPT_STOPPED;
    c = report_add(&d->report, held ? VERDICT_PASS : VERDICT_FAIL, "scratch limit");
    check_text(c->configured, "%s for each worker (pool.scratch_limit)", configured);
    check_text(c->in_force, "the largest file, and the directory's total");
    check_text(c->how, held ? "a worker with %s wrote on, and was killed at %s" : "a worker with %s wrote on, and was not killed at %s", tried, seen);
    if (!held)
        check_text(c->hint, "%s", a.why);
}

/* ---- the layers' own reports ---- */

static bool is_required(const struct config *cfg, const char *name)
{
    const struct text_list *l = &cfg->sandbox.require;
    for (size_t i = 0; i < l->count; i++)
        if (strcmp(l->items[i], name) == 0)
            return true;
    return false;
}

static void check_layers(struct probe *p)
{
    struct doctor *d = p->d;
    for (int i = 0; i < LAYER_COUNT; i++) {
        const struct layer *x = &p->w.layers.of[i];
        enum layer_id id = (enum layer_id)i;
        if (layer_role(id) != LAYER_OF_WORKER)
            continue;
        bool required = is_required(d->cfg, layer_name(id)), good = x->state == LAYER_IN_FORCE || (x->state == LAYER_OFF && !required);
        char name[48];
        snprintf(name, sizeof name, "layer %s", layer_name(id));
        struct check *c = report_add(&d->report, good ? VERDICT_PASS : required ? VERDICT_FAIL : VERDICT_WARN, name);
        check_text(c->configured, "%s%s", layer_help(id), required ? " (required)" : "");
        check_text(c->in_force, "%s%s%s", x->state == LAYER_IN_FORCE && x->detail[0] ? "" : layer_state_text(x->state),
                   x->state != LAYER_IN_FORCE && x->detail[0] ? ": " : "", x->detail);
        check_text(c->how, "the worker put it in force and read it back");
        if (!good)
            check_text(c->hint, "%s",
                       id == LAYER_USER ? "start the server as root: it gives each process a user of its own, and keeps no rights"
                                        : "a newer kernel, or less restrictive rules of the container around it; see THREAT-MODEL.md");
    }
}

/* "view main.v: why", one a line. */
static unsigned list_objects(struct doctor *d, char *text)
{
    unsigned n = 0;
    char *line, *rest = text;
    while ((line = strsep(&rest, "\n")) && *line) {
        char *why = strstr(line, ": ");
        if (!why || n++ >= OBJECTS_MAX)
            continue;
        *why = 0;
        struct check *c = report_add(&d->report, VERDICT_WARN, line);
        check_text(c->configured, "what it does, clients may not do");
        check_text(c->in_force, "refused: %s", why + 2);
        check_text(c->how, "a worker opened the database and judged it");
        check_text(c->hint, "queries that use it get `forbidden`: drop it, or widen [policy] allow_functions");
    }
    return n;
}

static void check_objects(struct probe *p)
{
    struct attempt a;
    try(p, "objects", 0, &a);
    bool told = a.result == ATTEMPT_NOTHING;
    unsigned n = a.text ? list_objects(p->d, a.text) : 0;
    struct check *c = report_add(&p->d->report, !told ? VERDICT_FAIL : n ? VERDICT_WARN : VERDICT_PASS, "stored views and macros");
    check_text(c->configured, "those that do what clients may not are refused by name");
    check_text(c->in_force, "%u refused", n);
    check_text(c->how, "a worker opened the database and judged each");
    if (!told)
        check_text(c->hint, "%s", a.why);
    else if (n)
        check_text(c->hint, "they are listed above");
    free(a.text);
}

void doctor_walls(struct doctor *d)
{
    struct probe p = {.d = d};
    struct attempt first;
    try(&p, "start", 0, &first);
    struct check *c = report_add(&d->report, p.is_there ? VERDICT_PASS : VERDICT_FAIL, "worker");
    check_text(c->configured, "%s", d->probe->database.path[0] ? d->probe->database.path : "an empty database in memory");
    check_text(c->in_force, p.is_there ? "a worker opens it" : "no worker can be started: %s", first.why);
    check_text(c->how, "started one, as the server does");
    if (!p.is_there) {
        check_text(c->hint, "mend that first: nothing else about workers can be checked");
        return;
    }
    check_objects(&p);
    check_layers(&p);
    for (size_t i = 0; i < sizeof walls / sizeof *walls && !d->stopped; i++)
        check_wall(&p, &walls[i]);
    struct attempt again;
    if (!d->stopped)
        try(&p, "start", 0, &again);
    check_group(&p);
    void (*const ends[])(struct probe *) = {check_cores, check_deadline, check_scratch, check_memory};
    for (size_t i = 0; i < sizeof ends / sizeof *ends && !d->stopped; i++)
        ends[i](&p);
    if (p.is_there)
        query_worker_stop(&p.w);
}
