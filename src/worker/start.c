/* The worker's start: what it was granted is read while paths can still be looked up; then the first half of the jail, the engine, the rest of the
 * jail, and only then threads. Runs in the worker. */
#include "worker/start.h"
#include "core/config.h"
#include "core/extensions.h"
#include "core/fault.h"
#include "core/fd.h"
#include "core/slice.h"
#include "link/inherit.h"
#include "worker/egress.h"
#include "worker/patience.h"
#include "worker/sandbox.h"
#include "worker/sources.h"
#include "worker/trust.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

/* All that is known before the engine is there. */
struct start {
    struct config *cfg;
    char database[PATH_MAX + 1];
    char extension_directory[EXTENSION_PATH_BYTES];
    char trust[PATH_MAX];
    char *extensions[EXTENSIONS_MAX + 1];
    struct worker_sources sources;
    char *opening[SOURCES_PER_SET + 1]; /* files that are read while the engine opens */
    char *running[SOURCES_PER_SET + 1]; /* directories that are read by queries */
    struct sandbox_plan plan;
};

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

static int extension_paths(struct start *s, const struct start_arguments *a, struct error *err)
{
    const struct text_list *l = &s->cfg->database.extensions;
    size_t count = a->verify ? 1 : l->count;
    char path[EXTENSION_PATH_BYTES];
    if (extensions_directory(s->cfg, s->extension_directory, err) < 0)
        return -1;
    if (count > EXTENSIONS_MAX)
        return error_set(err, ERR_UNAVAILABLE, "more than %d extensions", EXTENSIONS_MAX);
    for (size_t i = 0; i < count; i++) {
        if (extension_path(s->extension_directory, a->verify ? a->verify : l->items[i], path, err) < 0)
            return -1;
        s->extensions[i] = strdup(path);
        CHECK(s->extensions[i]);
    }
    return 0;
}

/* Whether each extension's file that will be loaded is, now, in a state in which its signature was checked. */
static bool extensions_are_verified(const struct start *s, const char *states)
{
    char path[EXTENSION_PATH_BYTES];
    struct error ignored;
    bool any = false;
    for (size_t i = 0; s->extensions[i]; i++, any = true)
        if (!extension_is_in(states, s->extensions[i]))
            return false;
    for (size_t i = 0; i < s->sources.count; i++) {
        const char *name = source_extension(s->sources.engine[i].def.type);
        if (name && (extension_path(s->extension_directory, name, path, &ignored) < 0 || !extension_is_in(states, path)))
            return false;
        any |= name != NULL;
    }
    return any;
}

/* What the sources need of the jail: a network, files while they are attached, directories while queries run. */
static void plan_sources(struct start *s)
{
    size_t opening = 0, running = 0;
    for (size_t i = 0; i < s->sources.count; i++) {
        const struct source *x = &s->sources.engine[i].def;
        if (x->type == SOURCE_IS_duckdb)
            s->opening[opening++] = strdup(x->path);
        else if (x->type == SOURCE_IS_files)
            s->running[running++] = strdup(x->path);
        else
            s->plan.remote = true;
    }
    for (size_t i = 0; i < SOURCES_PER_SET; i++) /* both end at the first NULL */
        CHECK((i >= opening || s->opening[i]) && (i >= running || s->running[i]));
}

static void free_all(char **texts)
{
    for (; *texts; texts++)
        free(*texts);
}

static int make_plan(struct start *s, const struct start_arguments *a, struct error *err)
{
    s->cfg = inherited_config(err);
    if (!s->cfg || extension_paths(s, a, err) < 0 || worker_sources_read(s->cfg, &s->sources, err) < 0)
        return -1;
    if (!path_make_absolute(a->verify ? "" : s->cfg->database.path, s->database, sizeof s->database))
        return error_set(err, ERR_UNAVAILABLE, "the database's path is too long");
    int64_t scratch = a->dedicated ? s->cfg->session.scratch_limit_bytes : s->cfg->pool.scratch_limit_bytes, spool = s->cfg->spool.max_bytes;
    bool write = a->write == WRITER_COPY || a->write == WRITER_IN_PLACE;
    s->plan = (struct sandbox_plan){.parent = a->parent,
                                    .uid = a->uid,
                                    .database_path = s->database,
                                    .extensions = (const char *const *)s->extensions,
                                    .extension_directory = s->sources.count ? s->extension_directory : "",
                                    .opening = (const char *const *)s->opening,
                                    .running = write ? a->read_paths : (const char *const *)s->running,
                                    .write = write,
                                    .trust_file = trust_file(s->trust, sizeof s->trust),
                                    .scratch_directory = a->scratch_directory,
                                    .file_bytes = write             ? INT64_MAX
                                                  : scratch > spool ? scratch
                                                                    : spool,
                                    .data_bytes = a->data_bytes,
                                    .threads = (unsigned)s->cfg->pool.threads};
    plan_sources(s);
    return 0;
}

/* In the order of the grants, which is that of the set: the broker counts likewise. */
static void start_egress(struct worker *w, const struct start *s)
{
    const char *names[SOURCES_PER_SET];
    char set[SOURCE_SET_BYTES];
    struct egress_endpoint endpoints[SOURCES_PER_SET];
    struct error ignored; /* the names came from a set */
    for (size_t i = 0; i < s->sources.count; i++)
        names[i] = s->sources.engine[i].def.name;
    if (s->sources.count > 0 && source_set_make(names, s->sources.count, set, &ignored) == 0)
        egress_start(WORKER_FD_BROKER, endpoints, egress_endpoints(s->cfg, set, endpoints), &w->stop);
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

static int open_engine(struct worker *w, const struct start *s, const struct start_arguments *a, struct engine_options *ret_again, struct error *err)
{
    const struct config *cfg = s->cfg;
    const char **allow = name_list(&cfg->policy.allow_functions), **deny = name_list(&cfg->policy.deny_functions);
    struct engine_options opts = {.database_path = s->database,
                                  .scratch_directory = s->plan.scratch_directory[0] ? "." : "", /* it is the working directory */
                                  .scratch_limit_bytes = a->dedicated ? cfg->session.scratch_limit_bytes : cfg->pool.scratch_limit_bytes,
                                  .data_limit_bytes = a->data_bytes == 0 ? 0
                                                      : a->dedicated     ? cfg->session.memory_cap_bytes
                                                                         : cfg->pool.memory_cap_bytes,
                                  .memory_limit_bytes = a->dedicated ? cfg->session.memory_limit_bytes : cfg->pool.memory_limit_bytes,
                                  .threads = (unsigned)cfg->pool.threads,
                                  .extensions = (const char *const *)s->extensions,
                                  .allow_functions = allow,
                                  .deny_functions = deny,
                                  .statement_cache_entries = (uint32_t)cfg->pool.statement_cache,
                                  .extension_directory = s->extension_directory,
                                  .extensions_verified = a->write == WRITER_NONE && !a->verify && extensions_are_verified(s, a->verified),
                                  .trust_file = s->trust,
                                  .source_timeout_ms = cfg->limits.timeout_max_ms,
                                  .session = a->dedicated,
                                  .write = s->plan.write,
                                  .read_paths = a->read_paths};
    *ret_again = opts; /* without the sources: their secrets do not outlive the opening */
    ret_again->allow_functions = ret_again->deny_functions = NULL;
    start_egress(w, s);
    opts.attach_begins = patience_begins;
    opts.attach_ends = patience_ends;
    opts.attach_ctx = patience_new();
    opts.sources = s->sources.engine;
    opts.source_count = s->sources.count;
    fault_point("open");
    w->engine = engine_open(&opts, err);
    patience_free(opts.attach_ctx);
    free(allow);
    free(deny);
    return w->engine ? 0 : -1;
}

static int open_inside(struct worker *w, struct start *s, const struct start_arguments *a, struct layers *l, struct engine_options *ret_again,
                       char *ret_kind, struct error *err)
{
    int niceness = getpriority(PRIO_PROCESS, 0);
    if (sandbox_prepare(&s->plan, l, err) < 0)
        return -1;
    int r = open_engine(w, s, a, ret_again, err);
    if (a->write == WRITER_NONE) /* before the sandbox is closed, and before there are threads */
        slice_set(SLICE_SHORT_NS, niceness);
    worker_sources_wipe(&s->sources);
    if (r < 0 && err->code == ERR_SOURCE)
        *ret_kind = 'S';
    if (r < 0 || sandbox_enter(&s->plan, l, err) < 0)
        return -1;
    *ret_kind = 'J';
    if (layers_require(l, LAYER_OF_WORKER, &s->cfg->sandbox.require, err) < 0)
        return -1;
    *ret_kind = 'F';
    if (watcher_start(w) < 0)
        return error_set(err, ERR_UNAVAILABLE, "cannot start a thread");
    return engine_lock(w->engine, err);
}

int worker_start(struct worker *w, const struct start_arguments *a, struct layers *l, struct engine_options *ret_again,
                 struct probe_target *ret_target, char *ret_kind, struct error *err)
{
    struct start *s = calloc(1, sizeof *s);
    CHECK(s);
    *ret_kind = 'F';
    int r = make_plan(s, a, err);
    if (r == 0)
        r = open_inside(w, s, a, l, ret_again, ret_kind, err);
    worker_sources_wipe(&s->sources);
    if (r == 0)
        *ret_target = (struct probe_target){
            .parent = a->parent, .database_path = s->database, .threads = s->plan.threads, .scratch = a->scratch_directory[0]};
    config_free(s->cfg);
    free_all(s->opening);
    free_all(s->running);
    if (a->write != WRITER_NONE || a->probe) /* *ret_again and *ret_target point into it */
        return r;
    free_all(s->extensions);
    free(s);
    return r;
}
