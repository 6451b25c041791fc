/* Starting a worker. Runs in the supervisor and the command line. */
#include "supervisor/spawn.h"
#include "core/errors.h"
#include "core/fd.h"
#include "core/slice.h"
#include "link/inherit.h"
#include "link/ring.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

/* Workers weigh less than the front, so that the server answers while queries use every core. Niceness 5 is a third of the normal
 * weight. Until one is ready it has a long slice as well: nobody waits for it, and whoever wakes goes first. Those that serve then take a
 * short one (worker/start.c), so that a quick query does not wait behind a long one's. */
#define WORKER_NICE 5

char *worker_executable(void)
{
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    if (n < 0)
        return NULL;
    self[n] = 0;
    char *path = NULL;
    if (asprintf(&path, "%s/bulkhead-worker", dirname(self)) < 0)
        return NULL;
    if (access(path, X_OK) < 0) {
        int e = errno;
        free(path);
        errno = e;
        return NULL;
    }
    return path;
}

void worker_ends_close(struct worker_ends *e)
{
    fd_close_p(&e->link_fd);
    fd_close_p(&e->region_fd);
    fd_close_p(&e->status_fd);
    fd_close_p(&e->log_fd);
}

/* The reading end of a pipe that holds the grants already: the worker finds them, and then the end of file. */
static int grants_pipe(const struct worker_plan *plan)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC | O_NONBLOCK) < 0) /* a pipe that the kernel made smaller than usual is a failure, not a wait */
        return -1;
    ssize_t n = plan->grants_bytes ? write(ends[1], plan->grants, plan->grants_bytes) : 0;
    close(ends[1]);
    if (n == (ssize_t)plan->grants_bytes)
        return ends[0];
    close(ends[0]);
    errno = EIO;
    return -1;
}

static int exec_worker(const struct worker_plan *plan, uint32_t id, const int fds[6], int output_fd, struct child *ret)
{
    char id_text[16], parent[16], request[24], uid[16], data[24];
    snprintf(id_text, sizeof id_text, "%u", id);
    snprintf(parent, sizeof parent, "%d", (int)getpid());
    snprintf(request, sizeof request, "%zu", plan->request_bytes);
    snprintf(uid, sizeof uid, "%u", (unsigned)plan->uid);
    snprintf(data, sizeof data, "%" PRId64, plan->data_bytes);
    size_t reads = 0, n = 0;
    while (plan->read_paths && plan->read_paths[reads])
        reads++;
    const char **argv = calloc(reads + WORKER_ARGUMENTS + 2, sizeof *argv);
    CHECK(argv);
    const char *const first[] = {"bulkhead-worker",
                                 id_text,
                                 parent,
                                 request,
                                 plan->scratch_directory,
                                 uid,
                                 data,
                                 plan->verified ? plan->verified : "",
                                 plan->write_mode  ? "write"
                                 : plan->verify    ? "verify"
                                 : plan->probe     ? "probe"
                                 : plan->dedicated ? "dedicated"
                                                   : "pool"};
    for (; n < sizeof first / sizeof first[0]; n++)
        argv[n] = first[n];
    if (plan->write_mode) {
        argv[n++] = plan->write_mode;
        for (size_t i = 0; i < reads; i++)
            argv[n++] = plan->read_paths[i];
    }
    if (plan->verify)
        argv[n++] = plan->verify;
    struct child_spec spec = {.path = plan->executable,
                              .argv = argv,
                              .fds = fds,
                              .fd_count = WORKER_FD_END - WORKER_FD_LINK,
                              .output_fd = output_fd,
                              .group_fds = plan->group_fds,
                              .group_count = plan->group_count,
                              .first_core = plan->first_core,
                              .cores = plan->cores,
                              .nice = WORKER_NICE,
                              .failure_fd = &fds[WORKER_FD_STATUS - WORKER_FD_LINK],
                              .slice_ns = SLICE_LONG_NS};
    int r = child_spawn(&spec, ret);
    free(argv);
    return r;
}

int worker_spawn(const struct worker_plan *plan, uint32_t id, struct worker_ends *ret)
{
    struct worker_ends e = {CHILD_NONE, -1, -1, -1, -1, plan->request_bytes};
    int link[2] = {-1, -1}, status[2] = {-1, -1}, out[2] = {-1, -1}, r = -1;
    e.region_fd = ring_create(plan->request_bytes);
    int grants_fd = grants_pipe(plan);
    if (e.region_fd >= 0 && grants_fd >= 0 && socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, link) == 0 && pipe2(status, O_CLOEXEC) == 0 &&
        (plan->share_stderr || pipe2(out, O_CLOEXEC) == 0)) {
        /* A worker without a broker has the (then useless) end of the grants in its place. */
        int fds[] = {link[1], e.region_fd, status[1], plan->config_fd, grants_fd, plan->broker_fd >= 0 ? plan->broker_fd : grants_fd};
        r = exec_worker(plan, id, fds, out[1], &e.child);
    }
    int saved = errno;
    fd_close_p(&link[1]);
    fd_close_p(&grants_fd);
    fd_close_p(&status[1]);
    fd_close_p(&out[1]);
    e.link_fd = link[0];
    e.status_fd = status[0];
    e.log_fd = out[0];
    if (r < 0) {
        worker_ends_close(&e);
        errno = saved;
        return -1;
    }
    (void)fd_nonblock(e.link_fd);
    (void)fd_nonblock(e.status_fd);
    if (e.log_fd >= 0)
        (void)fd_nonblock(e.log_fd);
    *ret = e;
    return 0;
}
