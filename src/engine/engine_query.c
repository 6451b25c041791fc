/* One query at a time: verdict or cache, parameters, execution, chunks, interrupt. Runs in the worker. */
#include "engine/engine_accept.h"
#include "engine/engine_private.h"
#include "engine/engine_session.h"
#include "engine/engine_sources.h"

#include <stdlib.h>
#include <string.h>

void engine_begin(struct engine *e)
{
    pthread_mutex_lock(&e->lock);
    atomic_store(&e->cancelled, false);
    e->running = true;
    pthread_mutex_unlock(&e->lock);
}

void engine_interrupt(struct engine *e)
{
    pthread_mutex_lock(&e->lock);
    if (e->running) {
        atomic_store(&e->cancelled, true); /* before the engine's own: whoever sees the engine stopped also sees why */
        if (e->con)
            duckdb_interrupt(e->con);
        if (e->parquet.con)
            duckdb_interrupt(e->parquet.con);
    }
    pthread_mutex_unlock(&e->lock);
}

void engine_track_progress(struct engine *e, bool on)
{
    struct error ignored; /* then nobody is told how far it is */
    if (e->tracked == on || e->spent || !e->con)
        return;
    e->tracked = engine_run(e, on ? "SET enable_progress_bar=true; SET enable_progress_bar_print=false" : "SET enable_progress_bar=false", "progress",
                            &ignored) == 0 &&
                 on;
}

double engine_progress(struct engine *e)
{
    double percentage = -1;
    pthread_mutex_lock(&e->lock);
    if (e->running && e->tracked && e->con)
        percentage = duckdb_query_progress(e->con).percentage;
    pthread_mutex_unlock(&e->lock);
    return !(percentage >= 0) ? -1 : percentage > 100 ? 1 : percentage / 100;
}

bool engine_is_spent(const struct engine *e) { return e->spent; }

static int check_cancelled(struct engine *e, struct error *err)
{
    if (!atomic_load_explicit(&e->cancelled, memory_order_relaxed))
        return 0;
    return error_set(err, ERR_CANCELLED, "the query was cancelled");
}

/* Puts a fresh statement where it belongs: into the cache's entry when it may be kept, else it is the stream's own. */
static void stream_take(struct stream *s, struct stmt *entry, duckdb_prepared_statement prepared, enum policy_effect effect)
{
    /* In a session a time zone, a variable or a view may change between two uses of the same text: there only the verdict is kept. */
    bool keep = entry && effect == POLICY_KEEP && !s->session;
    s->stmt = keep ? entry : &s->own;
    s->stmt->prepared = prepared;
    s->stmt->param_count = duckdb_nparams(prepared);
    s->cache_use = keep ? CACHE_MISS : CACHE_BYPASS;
    s->fresh_connection = effect >= POLICY_FRESH && !s->session;
    if (effect == POLICY_SPENT)
        s->engine->spent = true;
}

static int stream_judge(struct stream *s, char *text, size_t len, const char *sql, struct error *err)
{
    struct engine *e = s->engine;
    struct accepted a;
    int rc = s->session ? session_prepare(e, text, len, &a, err) : accept_statement(e, text, len, &a, err);
    if (rc < 0)
        return -1;
    /* A renamed text can be kept with its statement only: preparing it again would take the verdict anew. */
    bool keep = e->cache_on && (!a.renamed || (a.effect == POLICY_KEEP && !s->session));
    struct stmt *entry = keep ? stmt_cache_add(e->cache, sql, len) : NULL;
    if (entry) {
        entry->effect = (uint8_t)a.effect;
        entry->renamed = a.renamed;
    }
    stream_take(s, entry, a.prepared, a.effect);
    return 0;
}

/* The text has to be prepared, and judged before if it was never seen (entry NULL). */
static int stream_prepare(struct stream *s, struct stmt *entry, const char *sql, size_t len, struct error *err)
{
    duckdb_prepared_statement prepared;
    char *text = malloc(len + 1);
    CHECK(text);
    memcpy(text, sql, len);
    text[len] = 0;
    int rc;
    if (!entry)
        rc = stream_judge(s, text, len, sql, err);
    else if ((rc = accept_again(s->engine, text, len, &prepared, err)) == 0)
        stream_take(s, entry, prepared, entry->effect);
    free(text);
    return rc;
}

static int stream_failed(struct stream *s, const char *message, int type, struct error *err)
{
    struct failure_context ctx = s->engine->failure;
    ctx.sql_len = s->sql_len;
    if (failure_from_message(err, message, type, &ctx))
        s->engine->spent = true;
    s->at_end = true;
    return -1;
}

/* The C interface marks the streaming call as deprecated and offers nothing else that streams. */
static duckdb_state pending_streaming(duckdb_prepared_statement p, duckdb_pending_result *ret_pending)
{
    return duckdb_pending_prepared_streaming(p, ret_pending);
}

static int stream_execute(struct stream *s, struct error *err)
{
    duckdb_pending_result pending = NULL;
    int rc;
    if (pending_streaming(s->stmt->prepared, &pending) != DuckDBSuccess) {
        rc = stream_failed(s, duckdb_pending_error(pending), 0, err);
    } else if (s->started = true, (rc = check_cancelled(s->engine, err)) == 0) {
        /* An interrupt before this check was forgotten by the engine when the execution began; one after it is not. */
        duckdb_state state = duckdb_execute_pending(pending, &s->result);
        s->has_result = true;
        if (state != DuckDBSuccess)
            rc = stream_failed(s, duckdb_result_error(&s->result), (int)duckdb_result_error_type(&s->result), err);
    }
    duckdb_destroy_pending(&pending);
    return rc;
}

/* The shape: kept with a cached statement unless parameters may change it. */
static void stream_shape(struct stream *s)
{
    struct stmt *owner = s->stmt->param_count == 0 ? s->stmt : &s->own;
    if (!owner->columns)
        owner->columns = columns_new(&s->result);
    CHECK(owner->columns);
    s->columns = owner->columns;
}

/* A result of so many chunks is a large one: from then on they are fetched ahead. */
#define AHEAD_AFTER 8

static duckdb_data_chunk next_chunk(struct stream *s)
{
    struct engine *e = s->engine;
    if (!s->ahead && e->ahead && s->fetched++ == AHEAD_AFTER) {
        ahead_start(e->ahead, &s->result, &e->cancelled);
        s->ahead = true;
    }
    return s->ahead ? ahead_take(e->ahead) : duckdb_fetch_chunk(s->result);
}

/* The next chunk with rows in it: 1 there is one, 0 at the end, -1 with *err. */
static int stream_fetch(struct stream *s, struct error *err)
{
    for (;;) {
        if (s->chunk)
            duckdb_destroy_data_chunk(&s->chunk);
        if (check_cancelled(s->engine, err) < 0)
            return -1;
        s->chunk = next_chunk(s);
        if (!s->chunk)
            break;
        if (duckdb_data_chunk_get_size(s->chunk) > 0)
            return 1;
    }
    const char *message = duckdb_result_error(&s->result);
    if (message && message[0])
        return stream_failed(s, message, (int)duckdb_result_error_type(&s->result), err);
    if (check_cancelled(s->engine, err) < 0) /* before the end, perhaps */
        return -1;
    s->at_end = true;
    return 0;
}

/* A prepared and bound statement, up to its first rows. */
static int stream_run(struct stream *s, struct error *err)
{
    if (stream_execute(s, err) < 0)
        return -1;
    stream_shape(s);
    int rc = stream_fetch(s, err);
    s->chunk_is_new = rc > 0;
    return rc < 0 ? -1 : 0;
}

static int stream_start(struct stream *s, const struct engine_query *q, struct error *err)
{
    struct engine *e = s->engine;
    s->session = q->session;
    s->profile = q->profile;
    if (s->profile && profile_set(e, true, err) < 0)
        return -1;
    s->sql = q->sql;
    s->sql_len = q->sql_len;
    struct stmt *entry = stmt_cache_find(e->cache, q->sql, q->sql_len);
    s->cache_use = CACHE_HIT;
    if (entry && entry->prepared)
        s->stmt = entry;
    else if (stream_prepare(s, entry, q->sql, q->sql_len, err) < 0)
        return -1;
    if (check_cancelled(e, err) < 0)
        return -1;
    /* Always, when there are parameters: a cached statement must not run with what an earlier request bound. */
    if ((s->stmt->param_count > 0 || q->params) && params_bind(e, s->stmt->prepared, q->params, q->params_len, err) < 0)
        return -1;
    return stream_run(s, err);
}

struct stream *engine_query(struct engine *e, const struct engine_query *q, struct error *err)
{
    CHECK(!e->stream.engine); /* the last stream was freed */
    if (!e->running)
        engine_begin(e);
    struct stream *s = &e->stream;
    *s = (struct stream){.engine = e};
    int rc = e->spent || !e->con ? error_set(err, ERR_INTERNAL, "the engine must be replaced before it can run another query")
                                 : stream_start(s, q, err);
    if (rc == 0)
        return s;
    sources_judge_failure(e, q->sql, q->sql_len, err);
    stream_free(s);
    return NULL;
}

struct stream *engine_stream_prepared(struct engine *e, duckdb_prepared_statement prepared, size_t sql_len, struct error *err)
{
    CHECK(!e->stream.engine);
    if (!e->running)
        engine_begin(e);
    struct stream *s = &e->stream;
    *s = (struct stream){.engine = e, .sql_len = sql_len, .cache_use = CACHE_BYPASS};
    s->own.prepared = prepared; /* bound already: no parameters for us to clear */
    s->stmt = &s->own;
    int rc = check_cancelled(e, err) < 0 ? -1 : stream_run(s, err);
    s->own.prepared = NULL; /* the caller's */
    if (rc == 0)
        return s;
    stream_free(s);
    return NULL;
}

const struct column *stream_columns(const struct stream *s, uint32_t *ret_count) { return columns_get(s->columns, ret_count); }

enum cache_use stream_cache_use(const struct stream *s) { return s->cache_use; }

int64_t stream_next(struct stream *s, struct error *err)
{
    int rc = 1;
    if (!s->chunk_is_new)
        rc = s->at_end ? 0 : stream_fetch(s, err);
    s->chunk_is_new = false;
    if (rc < 0)
        sources_judge_failure(s->engine, s->sql, s->sql_len, err);
    if (rc <= 0)
        return rc;
    columns_set_chunk(s->columns, s->chunk);
    return (int64_t)duckdb_data_chunk_get_size(s->chunk);
}

/* A query that is left before its end stays alive in the engine, with its memory and its tasks, until another one starts. */
static void end_query(struct engine *e)
{
    duckdb_result r;
    if (!e->tidy && duckdb_prepare(e->con, "SELECT 1", &e->tidy) != DuckDBSuccess) {
        e->spent = true;
        return;
    }
    if (duckdb_execute_prepared(e->tidy, &r) != DuckDBSuccess)
        e->spent = true;
    duckdb_destroy_result(&r);
}

void stream_free(struct stream *s)
{
    if (!s)
        return;
    struct engine *e = s->engine;
    struct error ignored; /* e->spent says it */
    pthread_mutex_lock(&e->lock);
    e->running = e->script;
    pthread_mutex_unlock(&e->lock);
    if (s->ahead)
        ahead_stop(e->ahead, e->con);
    if (s->chunk)
        duckdb_destroy_data_chunk(&s->chunk);
    if (s->has_result)
        duckdb_destroy_result(&s->result);
    if (s->stmt && s->stmt->param_count > 0)
        duckdb_clear_bindings(s->stmt->prepared);
    stmt_release(&s->own);
    if (s->profile && s->session && profile_set(e, false, &ignored) < 0)
        e->spent = true;
    if (s->fresh_connection || (s->profile && !s->session))
        engine_reconnect(e, &ignored);
    else if (s->started && !s->at_end)
        end_query(e);
    s->engine = NULL;
}
