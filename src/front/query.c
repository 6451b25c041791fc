/* A query's way through the front: request -> job -> ring -> client. The bytes of a result go from the worker's ring to the socket;
 * nothing here copies or reads them. Runs in the front. */
#include "core/clock.h"
#include "core/formats.h"
#include "front/front.h"
#include "front/query_request.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CLIENT_ID_HEADER "Bulkhead-Query-Id"

struct query {
    struct front *f;
    struct exchange *x; /* NULL: the client has gone */
    struct job *job;
    bool schema;        /* GET /v1/schema: not counted as a client's query */
    bool head_sent;
    struct query *next, *prev;
};

static void unlink_query(struct query *q)
{
    struct front *f = q->f;
    if (q->prev)
        q->prev->next = q->next;
    else
        f->queries = q->next;
    if (q->next)
        q->next->prev = q->prev;
    f->query_count--;
}

static void count(struct query *q, enum error_code code)
{
    struct metrics *m = &q->f->metrics;
    struct job *j = q->job;
    if (q->schema)
        return;
    m->queries[code]++;
    if (code == ERR_OK) {
        m->cache[j->cache]++;
        m->result_bytes_json += j->bytes;
    }
    if (j->started_ns) {
        histogram_add(&m->queue, (j->started_ns - j->submitted_ns) / 1000);
        histogram_add(&m->query, (j->finished_ns - j->started_ns) / 1000);
    } else {
        m->rejected[code]++;
    }
}

static void finish(struct query *q)
{
    unlink_query(q);
    job_free(q->job);
    free(q);
}

/* ---- the ring as the body of an answer ---- */

static size_t body_peek(void *ctx, const uint8_t **ret_data)
{
    const struct query *q = ctx;
    struct pool_worker *w = q->job->worker;
    if (!w)
        return 0;
    *ret_data = ring_reader_data(&w->reader);
    return ring_reader_ready(&w->reader);
}

static void body_consume(void *ctx, size_t n)
{
    const struct query *q = ctx;
    pool_consumed(q->f->pool, q->job, n);
}

static bool body_all(void *ctx, size_t n)
{
    const struct query *q = ctx;
    return q->job->state == JOB_DELIVERING && q->job->worker && ring_reader_ready(&q->job->worker->reader) == n;
}

static void start_stream(struct query *q, int64_t length)
{
    struct body_source src = {.ctx = q, .peek = body_peek, .consume = body_consume, .all = body_all};
    q->head_sent = true;
    if (!q->schema)
        exchange_add_header(q->x, "Content-Security-Policy", "sandbox");
    exchange_stream(q->x, 200, "application/json", length, &src);
}

/* ---- what the pool tells ---- */

static bool ring_is_nearly_full(const struct job *job)
{
    return job->worker && ring_reader_ready(&job->worker->reader) > RING_BYTES - RING_BYTES / 4;
}

static void on_data(struct job *job)
{
    struct query *q = job->owner;
    if (!q->x)
        return; /* being cancelled; what it wrote is dropped with it */
    if (!q->head_sent) {
        /* An HTTP/1.0 client gets a Content-Length whenever the result fits the ring. */
        if (exchange_is_http10(q->x) && !ring_is_nearly_full(job))
            return;
        start_stream(q, -1);
    } else {
        exchange_resume(q->x);
    }
    /* The exchange may be gone now, and q with it only after the job's end: q->x says. */
    if (q->x && job->state == JOB_RUNNING && exchange_is_blocked(q->x) && ring_is_nearly_full(job))
        pool_client_is_slow(q->f->pool, job);
}

static void on_end(struct job *job)
{
    struct query *q = job->owner;
    if (!q->x) {
        job_set_state(job, JOB_CANCELLED);
        pool_release(q->f->pool, job);
        count(q, ERR_CANCELLED);
        finish(q);
        return;
    }
    if (q->head_sent)
        exchange_finish(q->x);
    else
        start_stream(q, (int64_t)ring_reader_ready(&job->worker->reader));
}

static void on_failed(struct job *job)
{
    struct query *q = job->owner;
    const struct error *e = &job->error;
    if (e->code == ERR_TIMEOUT || e->code == ERR_WORKER_CRASHED || e->code == ERR_OUT_OF_MEMORY || e->code == ERR_INTERNAL)
        log_event(&q->f->log, LOG_WARN, "query_failed", LOG_S("query_id", job->query_id), LOG_S("code", error_text(e->code)),
                  LOG_S("stopped_by", stop_stage_text(e->stopped_by)), LOG_I("signal", e->signal), LOG_S("detail", e->detail));
    count(q, e->code);
    struct exchange *x = q->x;
    if (x && q->head_sent)
        exchange_abort(x);
    else if (x)
        exchange_problem(x, e, job->query_id);
    finish(q);
}

static const struct job_events events = {.data = on_data, .end = on_end, .failed = on_failed};

/* ---- what the HTTP server tells ---- */

void query_sent(void *ctx, struct exchange *x, void *user)
{
    (void)ctx;
    (void)x;
    struct query *q = user;
    struct pool *pool = q->f->pool;
    count(q, ERR_OK);
    job_set_state(q->job, JOB_DONE);
    pool_release(pool, q->job);
    finish(q);
}

void query_client_gone(void *ctx, struct exchange *x, void *user)
{
    (void)ctx;
    (void)x;
    struct query *q = user;
    struct job *job = q->job;
    q->x = NULL;
    if (job->state != JOB_DELIVERING) {
        pool_cancel(q->f->pool, job, STOP_FOR_CANCEL); /* may end q */
        return;
    }
    count(q, ERR_CANCELLED);
    job_set_state(job, JOB_CANCELLED);
    pool_release(q->f->pool, job);
    finish(q);
}

void query_cancel_revoked(struct front *f)
{
    for (struct query *q = f->queries, *next; q; q = next) {
        next = q->next; /* cancelling ends a query at once, or later; it never ends another */
        if (!q->job->tenant->revoked)
            continue;
        if (q->job->state != JOB_DELIVERING) {
            pool_cancel(f->pool, q->job, STOP_FOR_CANCEL);
            continue;
        }
        struct exchange *x = q->x;
        query_client_gone(f, x, q);
        exchange_abort(x);
    }
}

/* ---- requests ---- */

static struct query *query_new(struct front *f, struct exchange *x)
{
    struct query *q = calloc(1, sizeof *q);
    CHECK(q);
    q->f = f;
    q->x = x;
    q->job = job_new();
    q->job->tenant = tenant_ref(f->caller.tenant);
    q->job->events = &events;
    q->job->owner = q;
    q->next = f->queries;
    if (f->queries)
        f->queries->prev = q;
    f->queries = q;
    f->query_count++;
    return q;
}

static bool id_in_use(const struct front *f, const struct query *but, const char *id)
{
    for (const struct query *q = f->queries; q; q = q->next)
        if (q != but && strcasecmp(q->job->query_id, id) == 0)
            return true;
    return false;
}

/* The client's id, or one of ours, on the job and the answer. */
static int set_id(struct query *q, struct error *err)
{
    const char *chosen = exchange_header(q->x, CLIENT_ID_HEADER);
    char *id = q->job->query_id;
    query_id_make(q->f, id);
    int ok = 0;
    if (chosen && !query_id_valid(chosen))
        ok = error_set(err, ERR_BAD_REQUEST, CLIENT_ID_HEADER " must be a UUID, such as %s", id);
    else if (chosen && id_in_use(q->f, q, chosen))
        ok = error_set(err, ERR_CONFLICT, "the query id %s is in use", chosen);
    else if (chosen)
        memcpy(id, chosen, QUERY_ID_BYTES);
    exchange_add_header(q->x, CLIENT_ID_HEADER, id);
    return ok;
}

static bool media_is(const char *header, const char *type)
{
    size_t n = strlen(type);
    return strncasecmp(header, type, n) == 0 && (header[n] == 0 || header[n] == ';' || header[n] == ' ');
}

/* A charset other than UTF-8 would be read wrongly: refused, not guessed. */
static bool charset_is_utf8(const char *header)
{
    const char *c = strcasestr(header, "charset=");
    if (!c)
        return true;
    c += strlen("charset=");
    c += *c == '"';
    return strncasecmp(c, "utf-8", 5) == 0 || strncasecmp(c, "utf8", 4) == 0 || strncasecmp(c, "us-ascii", 8) == 0;
}

static int known_param(void *ctx, const char *name, const char *value)
{
    (void)value;
    static const char *const known[] = {"timeout", "format", "max_rows"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i]) == 0)
            return 0;
    if (strcmp(name, "session") == 0)
        return error_set(ctx, ERR_BAD_REQUEST, "'session': sessions are not built yet");
    return error_set(ctx, ERR_BAD_REQUEST, "unknown parameter '%.60s' in the query string", name);
}

static int no_param(void *ctx, const char *name, const char *value)
{
    (void)value;
    return error_set(ctx, ERR_BAD_REQUEST, "parameter '%.60s' in the query string: with a JSON body it belongs into the body", name);
}

static int parse(struct query *q, struct query_request *r, struct error *err)
{
    struct exchange *x = q->x;
    const struct config *c = q->f->cfg;
    int64_t timeout_max_ms = q->job->tenant->limits.timeout_max_ms; /* at most the server's */
    struct query_limits limits = {c->limits.max_sql_bytes, c->limits.timeout_ms < timeout_max_ms ? c->limits.timeout_ms : timeout_max_ms,
                                  timeout_max_ms};
    size_t len;
    const char *body = exchange_body(x, &len);
    const char *type = exchange_header(x, "Content-Type");
    if (!accept_allows(exchange_header(x, "Accept"), "application/json"))
        return error_set(err, ERR_NOT_ACCEPTABLE, "none of the accepted media types can be given; available: application/json");
    if (type && !charset_is_utf8(type))
        return error_set(err, ERR_UNSUPPORTED_MEDIA_TYPE, "the body must be UTF-8");
    if (type && media_is(type, "application/json"))
        return exchange_each_param(x, no_param, err) < 0 ? -1 : query_request_from_json(body, len, &limits, r, err);
    if (type && (media_is(type, "text/plain") || media_is(type, "application/sql"))) {
        if (exchange_each_param(x, known_param, err) < 0)
            return -1;
        return query_request_from_text(body, len, exchange_param(x, "timeout"), exchange_param(x, "format"), exchange_param(x, "max_rows"),
                                       &limits, r, err);
    }
    return error_set(err, ERR_UNSUPPORTED_MEDIA_TYPE, "Content-Type %s%.60s%s is not supported; send application/json, text/plain or application/sql",
                     type ? "'" : "is missing and", type ? type : "", type ? "'" : "");
}

/* A query that never became a job. */
static void refuse(struct query *q, const struct error *err)
{
    count(q, err->code);
    exchange_set_user(q->x, NULL);
    exchange_problem(q->x, err, q->job->query_id);
    finish(q);
}

static void submit(struct query *q)
{
    struct error err;
    exchange_set_user(q->x, q);
    if (pool_submit(q->f->pool, q->job, &err) < 0)
        refuse(q, &err);
}

void query_post(struct front *f, struct exchange *x)
{
    struct query *q = query_new(f, x);
    struct query_request r;
    struct error err;
    if (set_id(q, &err) < 0 || parse(q, &r, &err) < 0) {
        refuse(q, &err);
        return;
    }
    struct job *j = q->job;
    j->sql = r.sql;
    j->sql_len = r.sql_len;
    j->params = r.params;
    j->params_len = r.params_len;
    j->timeout_ms = r.timeout_ms;
    j->max_rows = r.max_rows;
    j->format = FORMAT_JSON;
    submit(q);
}

void query_schema(struct front *f, struct exchange *x)
{
    struct query *q = query_new(f, x);
    q->schema = true;
    struct job *j = q->job;
    query_id_make(f, j->query_id);
    j->sql = strdup("");
    CHECK(j->sql);
    j->timeout_ms = f->cfg->limits.timeout_ms;
    if (j->timeout_ms > j->tenant->limits.timeout_max_ms)
        j->timeout_ms = j->tenant->limits.timeout_max_ms;
    j->format = FORMAT_RAW; /* with no SQL: the worker's own statement for the schema */
    submit(q);
}
