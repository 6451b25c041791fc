/* The worker's jail. The fence and the filter stand before the database is opened, since the file itself may be hostile; opening needs a few files
 * more than running, so a narrower fence and a narrower filter follow. Runs in the worker. */
#include "worker/sandbox.h"
#include "core/build.h"
#include "sandbox/fence.h"
#include "sandbox/filter.h"
#include "sandbox/privileges.h"
#include "worker/sandbox_limits.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define SET_MDWE 65 /* PR_SET_MDWE, Linux 6.3: no memory becomes executable that was not from its start */
#define MDWE_REFUSE_EXEC_GAIN 1

/* What the engine, the allocator and the C library look at while they start. */
static const char *const system_files[] = {
    "/proc/meminfo", "/proc/sys/vm/overcommit_memory", "/sys/devices/system/cpu", "/etc/localtime", "/usr/share/zoneinfo", "/dev/null"};
/* What the extensions' own libraries may need besides. */
static const char *const library_directories[] = {"/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache"};
/* What they look at later: the number of processors, when threads start. */
static const char *const running_files[] = {"/sys/devices/system/cpu"};
/* What checking a source's certificate takes. */
static const char *const certificates[] = {"/etc/ssl", "/etc/pki", "/usr/lib/ssl", "/usr/share/ca-certificates"};

#define ALLOW_ALL(fence, paths) allow_all(fence, paths, sizeof paths / sizeof *paths)

static int allow_all(struct fence *f, const char *const *paths, size_t count)
{
    int r = 0;
    for (size_t i = 0; i < count && r == 0; i++)
        r = fence_allow(f, paths[i], FENCE_READ);
    return r;
}

/* The file and what may lie beside it. The log's name comes from where a symbolic link leads. */
static int allow_database(struct fence *f, const char *path)
{
    static const char *const suffixes[] = {"", ".wal", ".wal.recovery", ".wal.checkpoint"};
    char real[PATH_MAX], name[PATH_MAX + 32];
    if (!path[0])
        return 0;
    if (!realpath(path, real))
        snprintf(real, sizeof real, "%s", path);
    int r = 0;
    for (size_t i = 0; i < sizeof suffixes / sizeof *suffixes && r == 0; i++) {
        snprintf(name, sizeof name, "%s%s", real, suffixes[i]);
        r = fence_allow(f, name, FENCE_READ);
    }
    return r;
}

/* A writer makes and removes the log beside the file. */
static int allow_database_directory(struct fence *f, const char *path)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(path, '/');
    if (!slash)
        return 0;
    snprintf(directory, sizeof directory, "%.*s", slash > path ? (int)(slash - path) : 1, path);
    return fence_allow(f, directory, FENCE_FILES);
}

static int allow_list(struct fence *f, const char *const *paths)
{
    int r = 0;
    for (; paths && *paths && r == 0; paths++)
        r = fence_allow(f, *paths, FENCE_READ);
    return r;
}

static int allow_extensions(struct fence *f, const struct sandbox_plan *p)
{
    bool any = (p->extensions && p->extensions[0]) || p->extension_directory[0];
    if (!any)
        return 0;
    if (ALLOW_ALL(f, library_directories) < 0 || allow_list(f, p->extensions) < 0)
        return -1;
    return p->extension_directory[0] ? fence_allow(f, p->extension_directory, FENCE_READ) : 0;
}

/* What is read while the engine opens, and what it reads as long as it lives. */
static int allow_opening(struct fence *f, const struct sandbox_plan *p)
{
    if (ALLOW_ALL(f, system_files) < 0 || allow_database(f, p->database_path) < 0 || allow_extensions(f, p) < 0)
        return -1;
    for (const char *const *path = p->opening; path && *path; path++)
        if (allow_database(f, *path) < 0)
            return -1;
    return 0;
}

static int allow_running(struct fence *f, const struct sandbox_plan *p)
{
    if (ALLOW_ALL(f, running_files) < 0 || allow_list(f, p->running) < 0)
        return -1;
    if (!p->remote)
        return 0;
    if (p->trust_file[0] && fence_allow(f, p->trust_file, FENCE_READ) < 0)
        return -1;
    return ALLOW_ALL(f, certificates);
}

static int allow_scratch(struct fence *f, const struct sandbox_plan *p)
{
    if (p->write && allow_database_directory(f, p->database_path) < 0)
        return -1;
    return p->scratch_directory[0] ? fence_allow(f, ".", FENCE_FILES) : 0;
}

/* The fence for opening, or (`running`) the one inside of it for the rest of its life. */
static void raise_fence(const struct sandbox_plan *p, bool running, struct layers *l)
{
    struct fence f;
    if (fence_begin(&f, FENCE_NO_NETWORK, NULL, 0, l, LAYER_LANDLOCK) < 0)
        return;
    int abi = f.abi;
    int r = running ? 0 : allow_opening(&f, p);
    if (r == 0 && allow_running(&f, p) == 0 && allow_scratch(&f, p) == 0 && fence_close(&f) == 0)
        layers_set(l, LAYER_LANDLOCK, LAYER_IN_FORCE, "version %d: %s", abi, fence_strength(abi));
    else
        layers_set(l, LAYER_LANDLOCK, LAYER_MISSING, "%s", strerror(errno));
    fence_drop(&f);
}

static void install_filter(enum filter_kind kind, struct layers *l)
{
    char text[LAYER_DETAIL_BYTES];
    if (filter_install(kind, text, sizeof text) < 0)
        layers_set(l, LAYER_SECCOMP, LAYER_MISSING, "%s", text);
    else if (kind != FILTER_CLOSED)
        layers_set(l, LAYER_SECCOMP, LAYER_IN_FORCE, "%s", text);
}

void sandbox_offer(struct layers *l)
{
    static const char most[] = "1000";
    char back[16] = "";
    int fd = open("/proc/self/oom_score_adj", O_RDWR | O_CLOEXEC);
    if (fd >= 0 && write(fd, most, sizeof most - 1) > 0 && pread(fd, back, sizeof back - 1, 0) > 0 && atoi(back) == 1000)
        layers_set(l, LAYER_OOM_SCORE, LAYER_IN_FORCE, "1000");
    else
        layers_set(l, LAYER_OOM_SCORE, LAYER_MISSING, "%s", strerror(errno));
    if (fd >= 0)
        close(fd);
}

int sandbox_prepare(const struct sandbox_plan *p, struct layers *l, struct error *err)
{
    privileges_unshare(l);
    sandbox_limits(p, l);
    if (chdir(p->scratch_directory[0] ? p->scratch_directory : "/") < 0) /* as long as whatever leads there may be walked */
        return error_set(err, ERR_UNAVAILABLE, "cannot enter the scratch directory %s: %s", p->scratch_directory, strerror(errno));
    if (privileges_become(p->uid, true) < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot become the user %u: %s", (unsigned)p->uid, strerror(errno));
    if (p->uid == 0 && getuid() != 0 && privileges_drop_all() < 0) /* those that came with the user namespace */
        return error_set(err, ERR_UNAVAILABLE, "cannot drop capabilities: %s", strerror(errno));
    (void)privileges_not_dumpable(l, LAYER_NOT_DUMPABLE);
    if (privileges_tie(p->parent) < 0)
        return error_set(err, ERR_UNAVAILABLE, "the parent has gone");
    layers_set(l, LAYER_LIFELINE, LAYER_IN_FORCE, "SIGKILL, and end of file on the link");
    if (privileges_no_new(l, LAYER_NO_NEW_PRIVS) < 0) {
        layers_set(l, LAYER_LANDLOCK, LAYER_MISSING, "needs no_new_privs");
        layers_set(l, LAYER_SECCOMP, LAYER_MISSING, "needs no_new_privs");
        return 0;
    }
    raise_fence(p, false, l);
    install_filter(p->write ? FILTER_WRITER : p->remote ? FILTER_NETWORK : FILTER_WORKER, l);
    return 0;
}

/* The number of threads, from the directory's links; 0: can't be told. A thread outside of the fences would make them worthless. */
static unsigned count_threads(void)
{
    struct stat st;
    return stat("/proc/self/task", &st) == 0 && st.st_nlink > 2 ? (unsigned)st.st_nlink - 2 : 0;
}

/* Runs into the walls: what a layer says it forbids is tried. */
static void try_walls(struct layers *l)
{
    if (l->of[LAYER_LANDLOCK].state == LAYER_IN_FORCE) {
        int fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0 || errno != EACCES)
            layers_set(l, LAYER_LANDLOCK, LAYER_MISSING, "the root directory could be read");
        if (fd >= 0)
            close(fd);
    }
    if (l->of[LAYER_SECCOMP].state == LAYER_IN_FORCE && (kill(getpid(), 0) == 0 || errno != EPERM || prctl(PR_GET_SECCOMP) != 2))
        layers_set(l, LAYER_SECCOMP, LAYER_MISSING, "a signal could be sent");
    void *at = mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (at == MAP_FAILED)
        return;
    munmap(at, 4096);
    layers_set(l, LAYER_NO_EXEC_MEMORY, LAYER_MISSING, "executable memory could be had");
}

/* Two kinds keep one. Files of a source may be for root alone: the right to read them stays, as long as the fence confines it to them. A writer
 * of root's works on a file that may be another user's. */
static int drop_capabilities(const struct sandbox_plan *p, const struct layers *l)
{
    if (p->write)
        return privileges_keep_files();
    bool reads = p->uid != 0 && p->running && p->running[0] && l->of[LAYER_LANDLOCK].state == LAYER_IN_FORCE;
    return reads ? 0 : privileges_drop_all();
}

int sandbox_enter(const struct sandbox_plan *p, struct layers *l, struct error *err)
{
    unsigned threads = count_threads();
    if (threads > 1 && !p->remote)
        return error_set(err, ERR_UNAVAILABLE, "the engine started %u threads before the sandbox was closed", threads - 1);
    if (drop_capabilities(p, l) < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot drop the last capabilities: %s", strerror(errno));
    privileges_report(l, LAYER_USER, LAYER_CAPABILITIES, p->uid);
    bool no_new = l->of[LAYER_NO_NEW_PRIVS].state == LAYER_IN_FORCE;
    if (no_new && !p->write && l->of[LAYER_LANDLOCK].state == LAYER_IN_FORCE) /* a writer opens its file once more, to verify it */
        raise_fence(p, true, l);
    if (threads > 1 && l->of[LAYER_LANDLOCK].state == LAYER_IN_FORCE) /* those that the sources' extensions started */
        layers_set(l, LAYER_LANDLOCK, LAYER_IN_FORCE, "version %d: %s; %u threads of extensions keep the wider fence of the start", fence_abi(),
                   fence_strength(fence_abi()), threads - 1);
    bool mdwe = !SANITIZED && prctl(SET_MDWE, MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) == 0;
    if (no_new && l->of[LAYER_SECCOMP].state == LAYER_IN_FORCE) {
        install_filter(FILTER_CLOSED, l);
        layers_set(l, LAYER_NO_EXEC_MEMORY, LAYER_IN_FORCE, "%s", mdwe ? "by the filter and by PR_SET_MDWE" : "by the filter");
    } else {
        layers_set(l, LAYER_NO_EXEC_MEMORY, LAYER_MISSING, "needs seccomp");
    }
    try_walls(l);
    return 0;
}
