/* The worker's start: lifelines first, then the jail's first half, the engine opened, the jail closed, the engine locked, then `ready`.
 * Everything it has was inherited (link/inherit.h).
 * Knows one database; must not know HTTP, clients or other workers. Runs in the worker. */
#include "core/buf.h"
#include "core/config.h"
#include "core/fault.h"
#include "core/fd.h"
#include "link/inherit.h"
#include "worker/sandbox.h"
#include "worker/worker.h"

#include <limits.h>

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <unistd.h>

#define EXTENSIONS_MAX 64

struct arguments {
    uint32_t id;
    pid_t parent;
    size_t request_bytes;
    const char *scratch_directory;
    uid_t uid;
    int64_t data_bytes;
};

/* All that is known before the engine is there. Lives as long as the process. */
struct start {
    struct config *cfg;
    char database[PATH_MAX + 1];
    const char *extensions[EXTENSIONS_MAX + 1];
    struct sandbox_plan plan;
    struct layers layers;
};

static int usage(void)
{
    fprintf(stderr, "bulkhead-worker is started by bulkhead, not by hand: run `bulkhead serve`\n");
    return WORKER_EXIT_USAGE;
}

static bool parse_arguments(int argc, char **argv, struct arguments *ret)
{
    if (argc != WORKER_ARGUMENTS)
        return false;
    *ret = (struct arguments){.id = (uint32_t)strtoul(argv[1], NULL, 10),
                              .parent = (pid_t)strtol(argv[2], NULL, 10),
                              .request_bytes = strtoul(argv[3], NULL, 10),
                              .scratch_directory = argv[4],
                              .uid = (uid_t)strtoul(argv[5], NULL, 10),
                              .data_bytes = strtoll(argv[6], NULL, 10)};
    return ret->id > 0 && ret->parent > 0 && ret->request_bytes > 0;
}

/* Dies with its parent, whatever happens. The check behind it closes the gap between fork and prctl. */
static bool tie_to_parent(pid_t parent)
{
    return prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent;
}

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

static struct config *inherited_config(struct error *err)
{
    char *text;
    size_t len;
    struct config *cfg = NULL;
    if (fd_read_all(WORKER_FD_CONFIG, CONFIG_TEXT_MAX, &text, &len) < 0) {
        error_set(err, ERR_INTERNAL, "cannot read the inherited configuration");
        return NULL;
    }
    if (config_load_text(&cfg, text, len, "inherited configuration", err) < 0)
        cfg = NULL;
    free(text);
    close(WORKER_FD_CONFIG);
    return cfg;
}

/* The path from the root directory: the working directory will be another one. False: too long. */
static bool make_absolute(const char *path, char *ret, size_t cap)
{
    char cwd[PATH_MAX] = "";
    bool whole = path[0] == '/' || path[0] == 0;
    if (!whole && !getcwd(cwd, sizeof cwd))
        return false;
    return (size_t)snprintf(ret, cap, "%s%s%s", cwd, whole ? "" : "/", path) < cap;
}

/* Extension names become paths below the extension directory; paths stay. The texts live as long as the process. */
static int extension_paths(const struct config *cfg, const char **ret, struct error *err)
{
    const struct text_list *l = &cfg->database.extensions;
    char name[PATH_MAX + 1], path[PATH_MAX + 1];
    for (size_t i = 0; i < l->count; i++) {
        bool is_path = strchr(l->items[i], '/');
        if (i == EXTENSIONS_MAX)
            return error_set(err, ERR_UNAVAILABLE, "more than %d extensions", EXTENSIONS_MAX);
        int n = snprintf(name, sizeof name, "%s%s%s%s", is_path ? "" : cfg->database.extension_directory, is_path ? "" : "/", l->items[i],
                         is_path ? "" : ".duckdb_extension");
        if ((size_t)n >= sizeof name || !make_absolute(name, path, sizeof path))
            return error_set(err, ERR_UNAVAILABLE, "the path of the extension \"%.200s\" is too long", l->items[i]);
        ret[i] = strdup(path);
        CHECK(ret[i]);
    }
    return 0;
}

/* What the jail needs to know, while paths can still be looked up. */
static int make_plan(struct start *s, const struct arguments *a, struct error *err)
{
    s->cfg = inherited_config(err);
    if (!s->cfg || extension_paths(s->cfg, s->extensions, err) < 0)
        return -1;
    if (!make_absolute(s->cfg->database.path, s->database, sizeof s->database))
        return error_set(err, ERR_UNAVAILABLE, "the database's path is too long");
    int64_t scratch = s->cfg->pool.scratch_limit_bytes, spool = s->cfg->spool.max_bytes;
    s->plan = (struct sandbox_plan){.parent = a->parent,
                                    .uid = a->uid,
                                    .database_path = s->database,
                                    .extensions = s->extensions,
                                    .scratch_directory = a->scratch_directory,
                                    .file_bytes = scratch > spool ? scratch : spool,
                                    .data_bytes = a->data_bytes,
                                    .threads = (unsigned)s->cfg->pool.threads};
    return 0;
}

static int open_engine(struct worker *w, const struct start *s, struct error *err)
{
    const struct config *cfg = s->cfg;
    struct engine_options opts = {.database_path = s->database,
                                  .scratch_directory = s->plan.scratch_directory[0] ? "." : "", /* it is the working directory */
                                  .scratch_limit_bytes = cfg->pool.scratch_limit_bytes,
                                  .memory_limit_bytes = cfg->pool.memory_limit_bytes,
                                  .threads = (unsigned)cfg->pool.threads,
                                  .extensions = s->extensions,
                                  .statement_cache_entries = (uint32_t)cfg->pool.statement_cache};
    fault_point("open");
    w->engine = engine_open(&opts, err);
    return w->engine ? 0 : -1;
}

static void report(char kind, const char *text)
{
    char record[1 + LAYERS_TEXT_MAX];
    int n = snprintf(record, sizeof record, "%c%s", kind, text);
    size_t len = (size_t)n < sizeof record ? (size_t)n : sizeof record - 1;
    if (write(WORKER_FD_STATUS, record, len) < 0)
        _exit(WORKER_EXIT_DONE); /* the supervisor is gone */
    close(WORKER_FD_STATUS);
}

static void report_failure(char kind, const struct error *err) __attribute__((noreturn));
static void report_failure(char kind, const struct error *err)
{
    report(kind, err->detail);
    _exit(WORKER_EXIT_START);
}

static void report_ready(const struct layers *l)
{
    struct buf b = BUF_INIT(LAYERS_TEXT_MAX);
    CHECK(layers_write(l, LAYER_OF_WORKER, &b) && buf_append(&b, "", 1));
    report('R', b.data);
    buf_free(&b);
}

/* From an ordinary process to a jailed one with a locked engine. */
static void start(struct worker *w, struct start *s, const struct arguments *a)
{
    struct error err;
    if (make_plan(s, a, &err) < 0 || sandbox_prepare(&s->plan, &s->layers, &err) < 0 || open_engine(w, s, &err) < 0 ||
        sandbox_enter(&s->plan, &s->layers, &err) < 0)
        report_failure('F', &err);
    if (layers_require(&s->layers, LAYER_OF_WORKER, &s->cfg->sandbox.require, &err) < 0)
        report_failure('S', &err);
    if (watcher_start(w) < 0) {
        error_set(&err, ERR_UNAVAILABLE, "cannot start a thread");
        report_failure('F', &err);
    }
    if (engine_lock(w->engine, &err) < 0)
        report_failure('F', &err);
}

int worker_main(int argc, char **argv)
{
    struct start s = {0};
    struct arguments a;
    if (!parse_arguments(argc, argv, &a))
        return usage();
    if (!tie_to_parent(a.parent))
        return WORKER_EXIT_DONE;
    set_signals();
    sandbox_offer(&s.layers);
    struct worker w = {.id = a.id, .link_fd = WORKER_FD_LINK, .job_lock = PTHREAD_MUTEX_INITIALIZER};
    w.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w.wake_fd < 0 || ring_map(WORKER_FD_REGION, a.request_bytes, true, &w.ring) < 0) {
        report('F', "cannot map the shared region");
        _exit(WORKER_EXIT_START);
    }
    close(WORKER_FD_REGION);
    start(&w, &s, &a);
    config_free(s.cfg);
    s.cfg = NULL;
    fault_point("ready");
    report_ready(&s.layers);
    /* No destructors: the engine's threads may be anywhere, and the kernel frees all. */
    _exit(serve(&w));
}
