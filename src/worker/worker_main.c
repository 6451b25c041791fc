/* The worker's life from its first instruction: lifelines first, then the start behind the jail (start.c), then `ready`, then the serve loop.
 * Everything it has was inherited (link/inherit.h). Knows one database; must not know HTTP, clients or other workers. Runs in the worker. */
#include "core/buf.h"
#include "core/fault.h"
#include "link/inherit.h"
#include "worker/sandbox.h"
#include "worker/probe.h"
#include "worker/start.h"
#include "worker/worker.h"
#include "worker/writer.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

static int usage(void)
{
    fprintf(stderr, "bulkhead-worker is started by bulkhead, not by hand: run `bulkhead serve`\n");
    return WORKER_EXIT_USAGE;
}

static bool parse_arguments(int argc, char **argv, struct start_arguments *ret)
{
    const char *kind = argc >= WORKER_ARGUMENTS ? argv[WORKER_ARGUMENTS - 1] : "";
    bool write = strcmp(kind, "write") == 0, verify = strcmp(kind, "verify") == 0;
    if (argc < WORKER_ARGUMENTS || (argc > WORKER_ARGUMENTS && !write && !verify) || (verify && argc != WORKER_ARGUMENTS + 1))
        return false;
    *ret = (struct start_arguments){.id = (uint32_t)strtoul(argv[1], NULL, 10),
                                    .parent = (pid_t)strtol(argv[2], NULL, 10),
                                    .request_bytes = strtoul(argv[3], NULL, 10),
                                    .scratch_directory = argv[4],
                                    .uid = (uid_t)strtoul(argv[5], NULL, 10),
                                    .data_bytes = strtoll(argv[6], NULL, 10),
                                    .verified = argv[7],
                                    .verify = verify ? argv[WORKER_ARGUMENTS] : NULL,
                                    .dedicated = strcmp(kind, "dedicated") == 0,
                                    .probe = strcmp(kind, "probe") == 0};
    if (write) {
        ret->write = argc > WORKER_ARGUMENTS ? writer_mode_of(argv[WORKER_ARGUMENTS]) : WRITER_NONE;
        ret->read_paths = (const char *const *)argv + WORKER_ARGUMENTS + 1;
        if (ret->write == WRITER_NONE)
            return false;
    }
    return ret->id > 0 && ret->parent > 0 && ret->request_bytes > 0;
}

/* Dies with its parent, whatever happens. The check behind it closes the gap between fork and prctl. */
static bool tie_to_parent(pid_t parent) { return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent; }

static void set_signals(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, INTERRUPT_SIGNAL);
    sigprocmask(SIG_BLOCK, &set, NULL);
    /* SIGTERM keeps its default action: nothing in here is worth saving, and a handler could be blocked. */
    signal(SIGPIPE, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
}

static void report(char kind, const char *source, const char *text)
{
    char record[1 + LAYERS_TEXT_MAX];
    int n = snprintf(record, sizeof record, "%c%s%s%s", kind, source, kind == 'S' ? "\n" : "", text);
    size_t len = (size_t)n < sizeof record ? (size_t)n : sizeof record - 1;
    if (write(WORKER_FD_STATUS, record, len) < 0)
        _exit(WORKER_EXIT_DONE); /* the supervisor is gone */
}

static void report_ready(const struct layers *l)
{
    struct buf b = BUF_INIT(LAYERS_TEXT_MAX);
    CHECK(layers_write(l, LAYER_OF_WORKER, &b) && buf_append(&b, "", 1));
    report('R', "", b.data);
    buf_free(&b);
}

int worker_main(int argc, char **argv)
{
    struct start_arguments a;
    struct engine_options again;
    struct error err;
    struct layers layers = {0};
    char kind;
    if (!parse_arguments(argc, argv, &a))
        return usage();
    if (!tie_to_parent(a.parent))
        return WORKER_EXIT_DONE;
    set_signals();
    sandbox_offer(&layers);
    struct worker w = {.id = a.id, .link_fd = WORKER_FD_LINK, .job_lock = PTHREAD_MUTEX_INITIALIZER};
    w.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w.wake_fd < 0 || ring_map(WORKER_FD_REGION, a.request_bytes, true, &w.ring) < 0) {
        report('F', "", "cannot map the shared region");
        _exit(WORKER_EXIT_START);
    }
    close(WORKER_FD_REGION);
    struct probe_target target;
    if (worker_start(&w, &a, &layers, &again, &target, &kind, &err) < 0) {
        report(kind, kind == 'S' ? err.source : "", err.detail);
        _exit(WORKER_EXIT_START);
    }
    fault_point("ready");
    report_ready(&layers);
    bool of_pool = a.write == WRITER_NONE && !a.dedicated && !a.verify && !a.probe;
    if (of_pool)
        dying_announce();
    else if (a.write != WRITER_COPY) /* these two have one more word to say (dying.c, writer.c) */
        close(WORKER_FD_STATUS);
    /* No destructors: the engine's threads may be anywhere, and the kernel frees all. */
    if (a.verify)
        _exit(WORKER_EXIT_DONE);
    if (a.probe)
        _exit(probe_serve(&w, &target));
    _exit(a.write == WRITER_NONE ? serve(&w) : writer_serve(&w, a.write, &again));
}
