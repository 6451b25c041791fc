/* The engine: DuckDB opened read-only and locked, one connection, one statement at a time.
 * No header of this layer shows duckdb.h. Runs in the worker only. */
#pragma once
#include "core/errors.h"
#include "core/source.h"
#include "result/column.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A source to attach, with what it takes to get in. Needed until engine_open returns. */
struct engine_source {
    struct source def;
    const char *password, *key_id, *secret; /* "" for none */
};

struct engine_options {
    const char *database_path;     /* NULL or "": an empty in-memory database */
    const char *scratch_directory; /* private to this worker; NULL or "": no spilling */
    int64_t scratch_limit_bytes;   /* 0: no spilling */
    int64_t memory_limit_bytes;
    int64_t data_limit_bytes; /* the cap for which RLIMIT_DATA stands; 0: none */
    unsigned threads;
    const char *const *extensions;    /* absolute paths of .duckdb_extension files, NULL-terminated; NULL: none */
    uint32_t statement_cache_entries; /* 0: off */
    const struct engine_source *sources;
    size_t source_count;
    const char *extension_directory;  /* where the sources' extensions lie */
    bool extensions_verified;         /* the signature of each file that will be loaded was checked before */
    const char *trust_file;           /* the roots that sources' certificates are held against; "" or NULL: none */
    int64_t source_timeout_ms;        /* for one statement at a source */
    void (*attach_begins)(void *ctx); /* around the attaching of each source that is elsewhere; NULL: it may take for ever */
    bool (*attach_ends)(void *ctx);   /* true: its connections were ended, as it took too long */
    void *attach_ctx;
    bool session;                       /* its time zone can be set after the lock */
    bool write;                         /* for writing: made when it does not exist (engine_write.h says what one does with it) */
    const char *const *read_paths;      /* write: what else may be read, NULL-terminated absolute paths; directories end in a slash */
    const char *const *allow_functions; /* the policy's exceptions, NULL-terminated; NULL: none */
    const char *const *deny_functions;
};

enum cache_use { CACHE_BYPASS, CACHE_MISS, CACHE_HIT };

struct engine;
struct stream;
struct ArrowSchema; /* of Arrow's C data interface */

/* Opens and locks in the order that ARCHITECTURE.md gives, up to but without the last two steps, with one thread.
 * NULL with *err (code ERR_UNAVAILABLE, the detail says what is wrong with the file in words an operator understands:
 * missing, a directory, no permission, not a DuckDB file, written by a newer version, locked by a writer with its PID; ERR_SOURCE when it is a
 * source that can't be attached). */
struct engine *engine_open(const struct engine_options *opts, struct error *err);
/* The last steps, after the kernel sandbox is in place: raise threads, lock the configuration. 0, or -1 with *err. */
int engine_lock(struct engine *e, struct error *err);
void engine_close(struct engine *e);

struct engine_query {
    const char *sql; /* valid UTF-8, not NUL-terminated; may hold NUL bytes (then: a sql_error) */
    size_t sql_len;
    const char *params; /* JSON text of an array or object, NULL: none */
    size_t params_len;
    bool session; /* the connection stays as the statement leaves it, and session_grammar.h says what may run besides SELECT */
    bool profile; /* stream_profile is to tell what it cost; slower by some tens of microseconds, and uncached */
};

/* Starts one SELECT-type statement (SELECT, VALUES, FROM-first, WITH, EXPLAIN, DESCRIBE, SHOW, SUMMARIZE...; everything else is
 * ERR_FORBIDDEN with `what` = the kind of statement; so is a function, table or view that the policy refuses, with its name; no statement or
 * several: ERR_SQL or ERR_BAD_REQUEST with a clear text) and runs it until its first rows. NULL with *err. The stream must be freed before
 * the next query, and sql must stay valid until then. An interrupted query gives ERR_CANCELLED. */
struct stream *engine_query(struct engine *e, const struct engine_query *q, struct error *err);
const struct column *stream_columns(const struct stream *s, uint32_t *ret_count);
enum cache_use stream_cache_use(const struct stream *s);
/* The next rows: their number (> 0) with stream_columns pointing at them until the next call; 0 at the end; -1 with *err. */
int64_t stream_next(struct stream *s, struct error *err);
/* The schema of the engine's own Arrow export of these columns; VARIANT, which that has not, as VARCHAR. The caller releases it.
 * 0, or -1 with *err. */
int stream_arrow_schema(struct stream *s, struct ArrowSchema *ret, struct error *err);

struct parquet_copied {
    uint64_t rows;
    bool truncated; /* there was at least one more */
};
/* Writes the rows as a Parquet file to fd, which must be a pipe's, at most rows_max of them (0: all); nothing may have been taken from the stream
 * before. Blocks until the end; meanwhile nobody else may touch the engine but by engine_interrupt. fd stays the caller's. 0, or -1 with *err: then what
 * was written is no whole file. */
int stream_copy_parquet(struct stream *s, int fd, uint64_t rows_max, struct parquet_copied *ret, struct error *err);
/* After the end of a stream whose query asked for it: what the engine counted. False: it did not, or the stream was left before its end. */
struct result_profile;
bool stream_profile(const struct stream *s, struct result_profile *ret);
void stream_free(struct stream *s);

/* Optional: from here on engine_interrupt hits the query that the next engine_query starts, so that a cancel between "accepted" and "engine
 * running" is not lost. Must be followed by engine_query. Without it, engine_query itself is that moment. */
void engine_begin(struct engine *e);

/* Whether engine_progress will know something of the queries that follow; it costs them a little. */
void engine_track_progress(struct engine *e, bool on);
/* How far the running query is, 0 to 1; < 0: unknown. From any thread. */
double engine_progress(struct engine *e);

/* Stops the running query soon, if it co-operates. From any thread, at any time; without a query running it does nothing to the next one. */
void engine_interrupt(struct engine *e);

/* True once a query ended in a state that must not serve another one: INTERNAL, FATAL, invalidated database, out of memory. */
bool engine_is_spent(const struct engine *e);

/* Calls fn for each view, macro or table of the database that is refused because of what its own SQL does: kind ("view"), qualified name,
 * reason. For the operator's eyes. */
void engine_refused_objects(const struct engine *e, void (*fn)(void *ctx, const char *kind, const char *name, const char *why), void *ctx);

/* SQL that gives one row, one VARCHAR: the JSON text of GET /v1/schema (contract section 4). Static storage. */
const char *engine_schema_sql(void);
