/* What the files of src/engine share: the open database, its one connection, and the state of the query that runs. Runs in the worker. */
#pragma once
#include "core/buf.h"
#include "engine/ahead.h"
#include "engine/engine.h"
#include "engine/engine_parquet.h"
#include "engine/failure.h"
#include "engine/policy.h"
#include "engine/stmt_cache.h"
#include <duckdb.h>
#include <pthread.h>
#include <stdatomic.h>

struct stream {
    struct engine *engine;
    struct stmt *stmt; /* in the cache, or &own */
    struct stmt own;
    struct columns *columns; /* stmt's or own's */
    duckdb_result result;
    bool started; /* the engine has an active query for it */
    bool has_result, at_end;
    duckdb_data_chunk chunk; /* what stream_columns points into */
    bool chunk_is_new;       /* fetched, and not yet handed out */
    uint32_t fetched;        /* chunks, up to the one with which the engine's `ahead` took over */
    bool ahead;
    bool profile;          /* the connection's profiler is on for it */
    bool session;          /* the connection stays as it is left */
    bool fresh_connection; /* afterwards the connection must not serve another query */
    enum cache_use cache_use;
    const char *sql; /* the caller's, until the stream is freed */
    size_t sql_len;
};

struct attached {
    char name[SOURCE_NAME_BYTES];
    enum source_type type;
};

/* For connections on which statements of our own run. Otherwise what the database calls like a function of the engine's comes before it: a macro
 * json_serialize_sql would speak for the policy, list_value would choose what is allowed in SET allowed_configs=['..']. */
#define ENGINE_OWN_NAMES "SET search_path='system.main'"

struct engine {
    duckdb_database db;
    duckdb_connection con;
    unsigned threads;
    struct stmt_cache *cache;
    bool cache_on;
    struct policy *policy;
    struct failure_hide hide;
    struct failure_context failure;
    duckdb_prepared_statement tidy; /* on con; ends a query that was left before its end */
    struct stream stream;           /* there is one query at a time */
    struct helper *helper;          /* NULL: with one thread, and before the lock */
    struct ahead *ahead;            /* likewise */
    struct parquet_writer parquet;
    struct attached sources[SOURCES_PER_SET];
    size_t source_count;
    bool spent;
    bool tracked; /* con keeps track of progress */

    /* The interrupting thread sees only these. The lock guards con being replaced and `running`. */
    pthread_mutex_t lock;
    bool running;          /* from engine_begin (or engine_query) to stream_free, or to the script's end */
    bool script;           /* several streams make one piece of work */
    atomic_bool cancelled; /* kept by ourselves: the engine forgets an interrupt when the next step of the same query starts */
};

/* A fresh connection in the place of the present one; the cache is emptied. 0, or -1 with *err: the engine is spent then. */
int engine_reconnect(struct engine *e, struct error *err);
/* Runs SQL of our own without a result. 0, or -1 with *err (as ERR_UNAVAILABLE, `what_for` first). */
int engine_run(struct engine *e, const char *sql, const char *what_for, struct error *err);

/* The part of hardening that a writer has in the readers' place. */
int engine_harden_writer(struct engine *e, const struct engine_options *o, struct error *err);
/* engine_profile.c: turns the connection's profiler on or off. */
int profile_set(struct engine *e, bool on, struct error *err);
/* Runs a prepared statement of a text of `sql_len` bytes, whatever its kind, up to its first rows. The statement stays the caller's, and must
 * outlive the stream; the connection stays as the statement leaves it. NULL with *err. */
struct stream *engine_stream_prepared(struct engine *e, duckdb_prepared_statement prepared, size_t sql_len, struct error *err);

/* Says in words why a file can't be opened, from the file itself and the engine's message. */
void open_failure(struct error *err, const char *path, const char *message);
/* -1 with *err for what is there and is no file: the engine would wait for ever for somebody to write into a pipe. 0: it may try. */
int open_check_kind(struct error *err, const char *path);

/* Binds JSON parameters to a prepared statement. 0, or -1 with *err. */
int params_bind(struct engine *e, duckdb_prepared_statement statement, const char *json, size_t len, struct error *err);
