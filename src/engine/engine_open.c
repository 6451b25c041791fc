/* Opening DuckDB read-only and locking it down, in an order that works (each step is refused by the engine once a later one is done).
 * Knows nothing of queries. Runs in the worker. */
#include "engine/engine_private.h"
#include "engine/engine_sources.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool is_memory(const struct engine_options *o) { return !o->database_path || !o->database_path[0]; }

static bool can_spill(const struct engine_options *o) { return o->scratch_directory && o->scratch_directory[0] && o->scratch_limit_bytes > 0; }

static duckdb_config config_new(const struct engine_options *o)
{
    char memory[32], scratch[32];
    snprintf(memory, sizeof memory, "%" PRId64 "B", o->memory_limit_bytes);
    snprintf(scratch, sizeof scratch, "%" PRId64 "B", can_spill(o) ? o->scratch_limit_bytes : 0);
    const char *const rows[][2] = {
        {"access_mode", is_memory(o) ? "AUTOMATIC"
                        : o->write   ? "READ_WRITE"
                                     : "READ_ONLY"}, /* it refuses a read-only in-memory database */
        {"threads", "1"},                          /* until the sandbox is in place: its threads inherit it */
        {"autoinstall_known_extensions", "false"},
        {"autoload_known_extensions", "false"},
        {"allow_community_extensions", "false"},
        {"allow_unsigned_extensions", o->extensions_verified ? "true" : "false"}, /* what may be loaded ends with the opening */
        {"allow_persistent_secrets", "false"},
        {"custom_user_agent", "bulkhead/" BULKHEAD_VERSION},
        {"errors_as_json", "true"}, /* class and byte position without reading the prose */
        {"temp_directory", can_spill(o) ? o->scratch_directory : ""},
        {"max_temp_directory_size", scratch},
        {"memory_limit", memory},
    };
    duckdb_config config;
    CHECK(duckdb_create_config(&config) == DuckDBSuccess);
    size_t count = sizeof rows / sizeof *rows - (o->memory_limit_bytes <= 0);
    for (size_t i = 0; i < count; i++)
        CHECK(duckdb_set_config(config, rows[i][0], rows[i][1]) == DuckDBSuccess);
    return config;
}

int engine_run(struct engine *e, const char *sql, const char *what_for, struct error *err)
{
    duckdb_result r;
    struct error said;
    duckdb_state state = duckdb_query(e->con, sql, &r);
    if (state != DuckDBSuccess) {
        failure_from_message(&said, duckdb_result_error(&r), 0, &e->failure);
        error_set(err, ERR_UNAVAILABLE, "%s: %s", what_for, said.detail);
    }
    duckdb_destroy_result(&r);
    return state == DuckDBSuccess ? 0 : -1;
}

static int load_extensions(struct engine *e, const char *const *paths, struct error *err)
{
    for (; paths && *paths; paths++) {
        char sql[4200], why[4200];
        size_t n = 0;
        const char *base = strrchr(*paths, '/');
        failure_hide_path(&e->hide, *paths, base ? base + 1 : *paths);
        snprintf(why, sizeof why, "cannot load the extension \"%s\"", *paths);
        if (strlen(*paths) > 2000)
            return error_set(err, ERR_UNAVAILABLE, "%s: the path is too long", why);
        n += (size_t)snprintf(sql, sizeof sql, "LOAD '");
        for (const char *c = *paths; *c; c++) { /* every quote doubled */
            if (*c == '\'')
                sql[n++] = '\'';
            sql[n++] = *c;
        }
        snprintf(sql + n, sizeof sql - n, "'");
        if (engine_run(e, sql, why, err) < 0)
            return -1;
    }
    return 0;
}

static bool has_source(const struct engine_options *o, enum source_type type)
{
    for (size_t i = 0; i < o->source_count; i++)
        if (o->sources[i].def.type == type)
            return true;
    return false;
}

/* What a client's statement may do; before sources are attached whose catalogs lie elsewhere. */
static int make_policy(struct engine *e, const struct engine_options *o, struct error *err)
{
    char *files[SOURCES_PER_SET + 1] = {NULL};
    const char *catalogs[SOURCES_PER_SET + 1] = {NULL};
    CHECK(o->source_count <= SOURCES_PER_SET);
    size_t count = sources_file_prefixes(o, files);
    for (size_t i = 0, n = 0; i < o->source_count; i++)
        if (o->sources[i].def.type == SOURCE_IS_postgres || o->sources[i].def.type == SOURCE_IS_mysql)
            catalogs[n++] = o->sources[i].def.name;
    struct policy_options p = {.allow = o->allow_functions,
                               .deny = o->deny_functions,
                               .files = (const char *const *)files,
                               .catalogs = catalogs,
                               .nothing_stored = is_memory(o) && !has_source(o, SOURCE_IS_duckdb)};
    e->policy = policy_new(e->db, &p, err);
    for (size_t i = 0; i < count; i++)
        free(files[i]);
    return e->policy ? 0 : -1;
}

static int harden(struct engine *e, const struct engine_options *o, struct error *err)
{
    static const char why[] = "cannot lock the engine down";
    /* This connection is for our own statements: engine_lock replaces it. */
    if (engine_run(e, ENGINE_OWN_NAMES, why, err) < 0 || load_extensions(e, o->extensions, err) < 0 || sources_attach(e, o, true, err) < 0)
        return -1;
    if (!o->write && make_policy(e, o, err) < 0)
        return -1;
    if (sources_attach(e, o, false, err) < 0 || sources_allow_paths(e, o, err) < 0)
        return -1;
    if (engine_run(e, "SET GLOBAL TimeZone='UTC'", why, err) < 0)
        return -1;
    if (o->write)
        return engine_harden_writer(e, o, err);
    if (engine_run(e, "SET enable_external_access=false", why, err) < 0)
        return -1;
    if (!can_spill(o) && !has_source(o, SOURCE_IS_files) && engine_run(e, "SET disabled_filesystems='LocalFileSystem'", why, err) < 0)
        return -1;
        /* What may be set under the lock: by ourselves, with each connection (the progress bar) or query (engine_profile.c); and the time zone by a
     * session's statement, as far as its grammar allows it. Clients' statements set nothing else. */
#define OURS "'enable_progress_bar', 'enable_progress_bar_print', 'enable_profiling'"
    return engine_run(e, o->session ? "SET allowed_configs=['TimeZone', " OURS "]" : "SET allowed_configs=[" OURS "]", why, err);
#undef OURS
}

struct engine *engine_open(const struct engine_options *o, struct error *err)
{
    struct engine *e = calloc(1, sizeof *e);
    CHECK(e && o->source_count <= SOURCES_PER_SET);
    CHECK(pthread_mutex_init(&e->lock, NULL) == 0);
    e->threads = o->threads ? o->threads : 1;
    e->parquet.memory_limit_bytes = o->memory_limit_bytes / 4 * 3; /* both together below the kernel's cap, which is twice one */
    e->cache_on = o->statement_cache_entries > 0;
    e->cache = stmt_cache_new(o->statement_cache_entries);
    failure_hide_path(&e->hide, o->database_path, "<database>");
    failure_hide_path(&e->hide, o->scratch_directory, "<scratch>");
    e->failure = (struct failure_context){.hide = &e->hide, .memory_limit_bytes = o->memory_limit_bytes, .data_limit_bytes = o->data_limit_bytes};

    if (!is_memory(o) && open_check_kind(err, o->database_path) < 0) {
        engine_close(e);
        return NULL;
    }
    duckdb_config config = config_new(o);
    char *message = NULL;
    duckdb_state state = duckdb_open_ext(is_memory(o) ? NULL : o->database_path, &e->db, config, &message);
    duckdb_destroy_config(&config);
    if (state != DuckDBSuccess) {
        if (is_memory(o))
            error_set(err, ERR_UNAVAILABLE, "cannot start the engine: %s", message ? message : "no reason given");
        else
            open_failure(err, o->database_path, message);
        duckdb_free(message);
        e->db = NULL;
    } else if (engine_reconnect(e, err) == 0 && harden(e, o, err) == 0) {
        return e;
    }
    engine_close(e);
    return NULL;
}

int engine_lock(struct engine *e, struct error *err)
{
    char sql[64];
    /* The main thread is one of them, and so is the helper. */
    snprintf(sql, sizeof sql, "SET threads=%u; SET external_threads=%u", e->threads, e->threads > 1 ? 2 : 1);
    if (engine_run(e, sql, "cannot set the number of threads", err) < 0 ||
        engine_run(e, "SET lock_configuration=true", "cannot lock the configuration", err) < 0)
        return -1;
    if (e->threads > 1) { /* with one, there is one core */
        e->helper = helper_new(e->db);
        e->ahead = ahead_new(e->helper);
    }
    /* Queries start on a connection that never ran anything of ours. */
    return engine_reconnect(e, err);
}

static void disconnect(struct engine *e)
{
    stmt_cache_unprepare(e->cache); /* the verdicts stay */
    if (e->tidy)
        duckdb_destroy_prepare(&e->tidy);
    if (e->con)
        duckdb_disconnect(&e->con);
    e->con = NULL;
    e->tracked = false;
}

int engine_reconnect(struct engine *e, struct error *err)
{
    pthread_mutex_lock(&e->lock);
    disconnect(e);
    duckdb_state state = duckdb_connect(e->db, &e->con);
    if (state != DuckDBSuccess) {
        e->con = NULL;
        e->spent = true;
    }
    pthread_mutex_unlock(&e->lock);
    return state == DuckDBSuccess ? 0 : error_set(err, ERR_INTERNAL, "the engine gives no new connection");
}

void engine_refused_objects(const struct engine *e, void (*fn)(void *ctx, const char *kind, const char *name, const char *why), void *ctx)
{
    struct stored *s = e->policy ? policy_stored(e->policy) : NULL;
    for (uint32_t i = 0; s && i < stored_count(s); i++) {
        const struct stored_object *o = stored_get(s, i);
        char name[512];
        snprintf(name, sizeof name, "%.160s.%.160s.%.160s", o->database, o->schema, o->name);
        if (o->why)
            fn(ctx, stored_kind_text(o->kind), name, o->why);
    }
}

void engine_close(struct engine *e)
{
    if (!e)
        return;
    ahead_free(e->ahead);
    helper_free(e->helper);
    disconnect(e);
    parquet_close(&e->parquet);
    policy_free(e->policy);
    if (e->db)
        duckdb_close(&e->db);
    stmt_cache_free(e->cache);
    failure_hide_free(&e->hide);
    pthread_mutex_destroy(&e->lock);
    free(e);
}
