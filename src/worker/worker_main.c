/* The worker's start: lifelines first, then the engine opened and locked, then `ready`. Everything it has was inherited (link/inherit.h).
 * Knows one database; must not know HTTP, clients or other workers. Runs in the worker. */
#include "core/buf.h"
#include "core/config.h"
#include "core/errors.h"
#include "core/fault.h"
#include "core/fd.h"
#include "link/inherit.h"
#include "worker/egress.h"
#include "worker/sources.h"
#include "worker/worker.h"
#include "worker/writer.h"

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
    bool dedicated;
    enum writer_mode write;          /* WRITER_NONE: it serves readers */
    const char *const *read_paths;   /* of a writer */
};

static int usage(void)
{
    fprintf(stderr, "bulkhead-worker is started by bulkhead, not by hand: run `bulkhead serve`\n");
    return WORKER_EXIT_USAGE;
}

static bool parse_arguments(int argc, char **argv, struct arguments *ret)
{
    if (argc < 6 || (argc > 6 && strcmp(argv[5], "write") != 0))
        return false;
    *ret = (struct arguments){.id = (uint32_t)strtoul(argv[1], NULL, 10),
                              .parent = (pid_t)strtol(argv[2], NULL, 10),
                              .request_bytes = strtoul(argv[3], NULL, 10),
                              .scratch_directory = argv[4],
                              .dedicated = strcmp(argv[5], "dedicated") == 0};
    if (strcmp(argv[5], "write") == 0) {
        ret->write = argc > 6 ? writer_mode_of(argv[6]) : WRITER_NONE;
        ret->read_paths = (const char *const *)argv + 7;
        if (ret->write == WRITER_NONE)
            return false;
    }
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

/* Extension names become paths below the extension directory; paths stay. The texts live as long as the process. */
static int extension_paths(const struct config *cfg, const char **ret, struct error *err)
{
    const struct text_list *l = &cfg->database.extensions;
    char directory[4096];
    for (size_t i = 0; i < l->count; i++) {
        if (i == EXTENSIONS_MAX)
            return error_set(err, ERR_UNAVAILABLE, "more than %d extensions", EXTENSIONS_MAX);
        char *path = NULL;
        if (strchr(l->items[i], '/'))
            path = strdup(l->items[i]);
        else if (asprintf(&path, "%s/%s.duckdb_extension", worker_extension_directory(cfg, directory, sizeof directory), l->items[i]) < 0)
            path = NULL;
        CHECK(path);
        ret[i] = path;
    }
    return 0;
}

/* In the order of the grants, which is that of the set: the broker counts likewise. */
static void start_egress(struct worker *w, const struct config *cfg, const struct worker_sources *sources)
{
    const char *names[SOURCES_PER_SET];
    char set[SOURCE_SET_BYTES];
    struct egress_endpoint endpoints[SOURCES_PER_SET];
    struct error ignored; /* the names came from a set */
    for (size_t i = 0; i < sources->count; i++)
        names[i] = sources->engine[i].def.name;
    if (sources->count > 0 && source_set_make(names, sources->count, set, &ignored) == 0)
        egress_start(WORKER_FD_BROKER, endpoints, egress_endpoints(cfg, set, endpoints), &w->stop);
}

/* A list as the engine wants it. It lives as long as the configuration; the caller frees it. */
static const char **name_list(const struct text_list *l)
{
    const char **names = calloc(l->count + 1, sizeof *names);
    CHECK(names);
    for (size_t i = 0; i < l->count; i++)
        names[i] = l->items[i];
    return names;
}

/* *ret_again, with all it points at, is for a writer, which opens the database once more: it lives as long as the process. */
static int open_engine(struct worker *w, const struct arguments *a, struct engine_options *ret_again, struct error *err)
{
    struct config *cfg = inherited_config(err);
    if (!cfg)
        return -1;
    const char **extensions = calloc(EXTENSIONS_MAX + 1, sizeof *extensions);
    char *path = strdup(cfg->database.path);
    const char **allow = name_list(&cfg->policy.allow_functions), **deny = name_list(&cfg->policy.deny_functions);
    CHECK(extensions && path);
    struct worker_sources sources;
    char directory[4096];
    int ok = extension_paths(cfg, extensions, err) < 0 || worker_sources_read(cfg, &sources, err) < 0 ? -1 : 0;
    struct engine_options opts = {.database_path = path,
                                  .scratch_directory = a->scratch_directory,
                                  .scratch_limit_bytes = a->dedicated ? cfg->session.scratch_limit_bytes : cfg->pool.scratch_limit_bytes,
                                  .memory_limit_bytes = a->dedicated ? cfg->session.memory_limit_bytes : cfg->pool.memory_limit_bytes,
                                  .threads = (unsigned)cfg->pool.threads,
                                  .extensions = extensions,
                                  .allow_functions = allow,
                                  .deny_functions = deny,
                                  .statement_cache_entries = (uint32_t)cfg->pool.statement_cache,
                                  .extension_directory = worker_extension_directory(cfg, directory, sizeof directory),
                                  .source_timeout_ms = cfg->limits.timeout_max_ms,
                                  .session = a->dedicated,
                                  .write = a->write != WRITER_NONE,
                                  .read_paths = a->read_paths};
    *ret_again = opts; /* without the sources: their secrets do not outlive the opening */
    ret_again->extension_directory = NULL;
    ret_again->allow_functions = ret_again->deny_functions = NULL;
    if (ok == 0)
        start_egress(w, cfg, &sources);
    if (ok == 0) {
        opts.sources = sources.engine;
        opts.source_count = sources.count;
    }
    fault_point("open");
    w->engine = ok == 0 ? engine_open(&opts, err) : NULL;
    if (ok == 0)
        worker_sources_wipe(&sources);
    free(allow);
    free(deny);
    config_free(cfg);
    if (!w->engine)
        return -1;
    if (watcher_start(w) < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot start a thread");
    return engine_lock(w->engine, err);
}

static void report(char kind, const char *source, const char *text)
{
    char record[1024];
    int n = snprintf(record, sizeof record, "%c%s%s%s", kind, source, kind == 'S' ? "\n" : "", text);
    size_t len = (size_t)n < sizeof record ? (size_t)n : sizeof record - 1;
    if (write(WORKER_FD_STATUS, record, len) < 0)
        _exit(WORKER_EXIT_DONE); /* the supervisor is gone */
    close(WORKER_FD_STATUS);
}

int worker_main(int argc, char **argv)
{
    struct arguments a;
    struct engine_options again;
    struct error err;
    if (!parse_arguments(argc, argv, &a))
        return usage();
    if (!tie_to_parent(a.parent))
        return WORKER_EXIT_DONE;
    set_signals();
    struct worker w = {.id = a.id, .link_fd = WORKER_FD_LINK, .job_lock = PTHREAD_MUTEX_INITIALIZER};
    w.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (w.wake_fd < 0 || ring_map(WORKER_FD_REGION, a.request_bytes, true, &w.ring) < 0) {
        report('F', "", "cannot map the shared region");
        _exit(WORKER_EXIT_START);
    }
    close(WORKER_FD_REGION);
    if (open_engine(&w, &a, &again, &err) < 0) {
        report(err.code == ERR_SOURCE ? 'S' : 'F', err.code == ERR_SOURCE ? err.source : "", err.detail);
        _exit(WORKER_EXIT_START);
    }
    fault_point("ready");
    report('R', "", "");
    /* No destructors: the engine's threads may be anywhere, and the kernel frees all. */
    _exit(a.write == WRITER_NONE ? serve(&w) : writer_serve(&w, a.write, &again));
}
