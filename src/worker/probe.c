/* What a worker that was taken over would try. Nothing here does harm where it succeeds: files are opened and not written, signals are number 0.
 * Runs in the worker that `bulkhead doctor` starts. */
#include "worker/probe.h"
#include "core/clock.h"
#include "core/fd.h"
#include "link/inherit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#define PIECE (1 << 20)
#define SPIN_NS (1500 * NS_PER_MS)
#define SPIN_THREADS_MAX 16

enum outcome { NOTHING = 0, COULD = 1, COULD_NOT = 2 }; /* COULD_NOT: errno says why */

/* ---- files ---- */

static enum outcome try_open(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC | O_NONBLOCK, 0600);
    if (fd < 0)
        return COULD_NOT;
    close(fd);
    return COULD;
}

static enum outcome try_read(const struct probe_target *t)
{
    (void)t;
    return try_open("/etc/passwd", O_RDONLY);
}

/* Its directory: other files may lie beside it. */
static enum outcome try_list(const struct probe_target *t)
{
    char directory[PATH_MAX];
    const char *slash = strrchr(t->database_path, '/');
    snprintf(directory, sizeof directory, "%.*s", slash && slash > t->database_path ? (int)(slash - t->database_path) : 1, t->database_path);
    return try_open(t->database_path[0] ? directory : "/", O_RDONLY | O_DIRECTORY);
}

static enum outcome try_write_database(const struct probe_target *t) { return t->database_path[0] ? try_open(t->database_path, O_RDWR) : NOTHING; }

/* In the places where anybody may make one, and beside the database. */
static enum outcome try_make_file(const struct probe_target *t)
{
    static const char *const places[] = {"/tmp", "/var/tmp", "/dev/shm"};
    char path[PATH_MAX + 64];
    enum outcome r = COULD_NOT;
    for (size_t i = 0; i <= sizeof places / sizeof *places && r == COULD_NOT; i++) {
        bool beside = i == sizeof places / sizeof *places;
        if (beside && !t->database_path[0])
            break;
        snprintf(path, sizeof path, "%s%sbulkhead-probe-%d", beside ? t->database_path : places[i], beside ? "." : "/", (int)getpid());
        r = try_open(path, O_WRONLY | O_CREAT | O_EXCL);
        if (r == COULD)
            (void)unlink(path);
    }
    return r;
}

/* What must work: without it no query spills. */
static enum outcome try_scratch(const struct probe_target *t)
{
    static const char name[] = "probe";
    if (!t->scratch)
        return NOTHING;
    enum outcome r = try_open(name, O_RDWR | O_CREAT);
    if (r == COULD)
        (void)unlink(name);
    return r;
}

/* The file by which a process gets into another control group. */
static enum outcome try_group(const struct probe_target *t) { return t->argument[0] ? try_open(t->argument, O_WRONLY) : NOTHING; }

/* ---- processes and the network ---- */

static enum outcome of_call(long r) { return r < 0 ? COULD_NOT : COULD; }

/* To the port where nobody listens: being refused by the other side means that the call went through. */
static enum outcome try_tcp(const struct probe_target *t)
{
    (void)t;
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(1), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    auto_close int fd = (int)syscall(SYS_socket, AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return COULD_NOT;
    long r = syscall(SYS_connect, fd, &to, sizeof to);
    return r < 0 && errno != ECONNREFUSED ? COULD_NOT : COULD;
}

static enum outcome try_unix(const struct probe_target *t)
{
    (void)t;
    struct sockaddr_un to = {.sun_family = AF_UNIX, .sun_path = "/run/bulkhead-probe"};
    auto_close int fd = (int)syscall(SYS_socket, AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return COULD_NOT;
    long r = syscall(SYS_connect, fd, &to, sizeof to);
    return r < 0 && errno != ENOENT && errno != ECONNREFUSED ? COULD_NOT : COULD;
}

static enum outcome try_exec(const struct probe_target *t)
{
    (void)t;
    char *const argv[] = {"true", NULL}, *const env[] = {NULL};
    execve("/bin/true", argv, env); /* coming back is failing; as /bin/true it exits with 0, which its parent takes for success */
    return COULD_NOT;
}

static enum outcome try_fork(const struct probe_target *t)
{
    (void)t;
    pid_t pid = fork();
    if (pid == 0)
        _exit(0);
    return of_call(pid);
}

static enum outcome try_trace(const struct probe_target *t)
{
    char byte;
    struct iovec here = {&byte, 1}, there = {(void *)(uintptr_t)&here, 1};
    if (syscall(SYS_process_vm_readv, t->parent, &here, 1, &there, 1, 0) >= 0 || errno == EFAULT)
        return COULD;
    return of_call(ptrace(PTRACE_SEIZE, t->parent, NULL, NULL));
}

static enum outcome try_signal(const struct probe_target *t) { return of_call(kill(t->parent, 0)); }

static enum outcome try_unshare(const struct probe_target *t)
{
    (void)t;
    return of_call(unshare(CLONE_NEWUSER));
}

static enum outcome try_root(const struct probe_target *t)
{
    (void)t;
    if (geteuid() == 0)
        return COULD;
    return of_call(syscall(SYS_setresuid, 0, 0, 0));
}

static enum outcome try_code(const struct probe_target *t)
{
    (void)t;
    return mmap(NULL, PIECE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED ? COULD_NOT : COULD;
}

static enum outcome try_limits(const struct probe_target *t)
{
    (void)t;
    struct rlimit more = {RLIM_INFINITY, RLIM_INFINITY};
    return of_call(setrlimit(RLIMIT_FSIZE, &more));
}

static enum outcome try_kernel(const struct probe_target *t)
{
    (void)t;
    char parameters[256] = {0};
    return of_call(syscall(SYS_io_uring_setup, 1, parameters));
}

/* ---- what must be ended from outside ---- */

static void spin_until(int64_t ns)
{
    while (clock_now_ns() < ns)
        ;
}

/* So many bytes and no more: a cap that does not hold must not cost the machine its memory. */
static enum outcome eat_memory(const struct probe_target *t)
{
    char *piece;
    for (int64_t left = strtoll(t->argument, NULL, 10); left > 0; left -= PIECE) {
        piece = mmap(NULL, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (piece == MAP_FAILED) /* RLIMIT_DATA says no more: what it has is for the watchdog to find */
            break;
        memset(piece, 1, PIECE);
    }
    spin_until(clock_now_ns() + SPIN_NS);
    return COULD;
}

static enum outcome fill_disk(const struct probe_target *t)
{
    static char piece[PIECE];
    char name[32];
    if (!t->scratch)
        return NOTHING;
    for (int i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "probe-%d", i);
        int fd = open(name, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
        for (int n = 0; fd >= 0 && n < 8 && write(fd, piece, sizeof piece) > 0; n++)
            ;
        if (fd >= 0 && i > 20)
            close(fd);
    }
    for (;;)
        pause();
}

/* Hears no signal that can be kept from being heard. */
static enum outcome be_deaf(const struct probe_target *t) __attribute__((noreturn));
static enum outcome be_deaf(const struct probe_target *t)
{
    (void)t;
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, NULL);
    signal(SIGTERM, SIG_IGN); /* another thread would hear it */
    for (volatile uint64_t n = 0;; n++)
        ;
}

static void *spin(void *until)
{
    spin_until(*(const int64_t *)until);
    return NULL;
}

static enum outcome use_cores(const struct probe_target *t)
{
    int64_t until = clock_now_ns() + SPIN_NS;
    pthread_t threads[SPIN_THREADS_MAX];
    unsigned n = 0, most = t->threads + 4 < SPIN_THREADS_MAX ? t->threads + 4 : SPIN_THREADS_MAX;
    while (n < most && pthread_create(&threads[n], NULL, spin, &until) == 0)
        n++;
    spin(&until);
    for (unsigned i = 0; i < n; i++)
        pthread_join(threads[i], NULL);
    return COULD;
}

/* ---- asked and answered ---- */

static const struct attempt {
    const char *name;
    enum outcome (*run)(const struct probe_target *t);
} attempts[] = {
    {"read", try_read},           {"list", try_list},       {"write-database", try_write_database},
    {"make-file", try_make_file}, {"scratch", try_scratch}, {"tcp", try_tcp},
    {"unix", try_unix},           {"exec", try_exec},       {"fork", try_fork},
    {"trace", try_trace},         {"signal", try_signal},   {"unshare", try_unshare},
    {"root", try_root},           {"code", try_code},       {"limits", try_limits},
    {"group", try_group},         {"kernel", try_kernel},   {"memory", eat_memory},
    {"disk", fill_disk},          {"deadline", be_deaf},    {"cores", use_cores},
};

struct listing {
    struct worker *w;
    size_t len;
};

static void add_refused(void *ctx, const char *kind, const char *name, const char *why)
{
    struct listing *l = ctx;
    char line[1024];
    int n = snprintf(line, sizeof line, "%s %s: %s\n", kind, name, why);
    size_t len = n < (int)sizeof line ? (size_t)n : sizeof line - 1;
    if (l->len + len > RING_BYTES / 2)
        return;
    memcpy(l->w->ring.bytes + ((l->w->produced + l->len) & (RING_BYTES - 1)), line, len);
    l->len += len;
}

static int answer(struct worker *w, const struct probe_target *t, const struct link_run *run)
{
    char name[PATH_MAX + 32] = "";
    size_t len = run->sql_bytes < sizeof name ? run->sql_bytes : sizeof name - 1;
    memcpy(name, w->ring.request, len);
    struct link_end end = {.type = LINK_END, .job = run->job};
    enum outcome r = NOTHING;
    struct probe_target target = *t;
    char *colon = strchr(name, ':');
    target.argument = colon ? colon + 1 : "";
    if (colon)
        *colon = 0;
    if (strcmp(name, "objects") == 0) {
        struct listing l = {.w = w};
        engine_refused_objects(w->engine, add_refused, &l);
        w->produced += l.len;
    }
    for (size_t i = 0; i < sizeof attempts / sizeof *attempts; i++)
        if (strcmp(name, attempts[i].name) == 0)
            r = attempts[i].run(&target);
    end.produced = w->produced;
    end.rows = r == COULD;
    if (r != COULD_NOT)
        return worker_send(w, &end);
    struct link_fail fail = {.type = LINK_FAIL, .job = run->job, .produced = w->produced};
    error_set(&fail.error, ERR_FORBIDDEN, "%s", strerror(errno));
    return worker_send(w, &fail);
}

int probe_serve(struct worker *w, const struct probe_target *t)
{
    union link_message m;
    int n;
    while ((n = link_receive(w->link_fd, LINK_FRONT, LINK_IDLE, &m)) > 0)
        if (m.type == LINK_RUN && (m.run.sql_bytes > w->ring.request_bytes || answer(w, t, &m.run) < 0))
            return WORKER_EXIT_LINK;
    return n == 0 ? WORKER_EXIT_DONE : WORKER_EXIT_LINK;
}
