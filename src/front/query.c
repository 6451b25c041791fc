/* A query's way through the front: from the request to its job, and its end. What becomes of its result is delivery.c's matter, or async.c's.
 * Runs in the front. */
#include "core/clock.h"
#include "front/admin.h"
#include "front/async.h"
#include "front/caller.h"
#include "front/delivery.h"
#include "front/export.h"
#include "front/negotiate.h"
#include "front/query.h"
#include "front/query_request.h"
#include "front/results.h"
#include "front/sessions_http.h"
#include "front/waiter.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

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

void query_count(struct query *q, const struct error *err)
{
    enum error_code code = err ? err->code : ERR_OK;
    struct metrics *m = &q->f->metrics;
    struct job *j = q->job;
    if (q->schema)
        return;
    m->queries[code]++;
    if (code == ERR_OK) {
        m->cache[j->cache]++;
        if (!q->asynchronous) /* else with each reader */
            m->result_bytes[j->format] += j->bytes;
    }
    if (j->started_ns) {
        histogram_add(&m->queue, (j->started_ns - j->submitted_ns) / 1000);
        histogram_add(&m->query, (j->finished_ns - j->started_ns) / 1000);
    } else {
        m->rejected[code]++;
    }
    query_log(q, err);
}

/* The query is over: its record gets its last figures, and who waits for it is told. */
static void close_record(struct query *q)
{
    struct record *rec = q->record;
    bool awaited = rec->waiters > 0;
    query_update_record(rec);
    if (rec->state == JOB_DONE)
        rec->progress = 1;
    else
        record_set_error(rec, &q->job->error);
    registry_over(q->f->registry, rec);
    if (awaited)
        waiters_tell(q->f, rec);
}

void query_leave_lane(struct query *q)
{
    if (q->own_lane)
        sources_close_lane(q->own_lane);
    q->own_lane = NULL;
}

void query_finish(struct query *q)
{
    unlink_query(q);
    if (q->record)
        close_record(q);
    query_leave_lane(q);
    export_drop(q);
    spool_unref(q->file);
    job_free(q->job);
    free(q);
}

void query_log_failure(const struct query *q)
{
    const struct error *e = &q->job->error;
    if (e->code == ERR_TIMEOUT || e->code == ERR_WORKER_CRASHED || e->code == ERR_OUT_OF_MEMORY || e->code == ERR_INTERNAL)
        log_event(&q->f->log, LOG_WARN, "query_failed", LOG_S("query_id", q->job->query_id), LOG_S("code", error_text(e->code)),
                  LOG_S("stopped_by", stop_stage_text(e->stopped_by)), LOG_I("signal", e->signal), LOG_S("detail", e->detail));
}

void query_fail(struct query *q, const struct error *err)
{
    q->job->error = *err;
    query_count(q, err);
    job_set_state(q->job, err->code == ERR_CANCELLED ? JOB_CANCELLED : JOB_FAILED);
    pool_release(q->pool, q->job);
    query_finish(q);
}

void query_stop(struct query *q, const struct error *why)
{
    if (q->publishing || q->export_state == EXPORT_COMMITTING)
        return;                              /* in a moment it is done */
    if (q->export_state == EXPORT_OPENING) { /* no job yet, and its directory may be slow */
        if (q->x)
            exchange_problem(q->x, why, q->job->query_id);
        query_fail(q, why);
        return;
    }
    if (q->job->state != JOB_DELIVERING) {
        pool_stop(q->pool, q->job, why);
        return;
    }
    if (q->x)
        exchange_abort(q->x);
    query_fail(q, why);
}

void query_cancel(struct query *q)
{
    struct error err;
    error_set(&err, ERR_CANCELLED,
              q->job->state == JOB_DELIVERING ? "the query was cancelled while its result was fetched" : "the query was cancelled");
    query_stop(q, &err);
}

/* ---- requests ---- */

static struct query *query_new(struct front *f, struct exchange *x)
{
    struct query *q = calloc(1, sizeof *q);
    CHECK(q);
    q->f = f;
    q->x = x;
    q->pool = f->pool;
    struct caller caller = caller_of(f, x);
    q->client = caller.address;
    traceparent_parse(exchange_header(x, "traceparent"), &q->trace);
    q->job = job_new();
    q->job->tenant = tenant_ref(caller.tenant);
    q->job->owner = q;
    delivery_take(q);
    q->next = f->queries;
    if (f->queries)
        f->queries->prev = q;
    f->queries = q;
    f->query_count++;
    front_wake(f);
    return q;
}

/* The client's id, or one of ours, on the job and the answer. */
static int set_id(struct query *q, struct error *err)
{
    const char *chosen = exchange_header(q->x, QUERY_ID_HEADER);
    char *id = q->job->query_id;
    struct query_key key;
    query_id_make(q->f, id);
    int ok = 0;
    if (chosen && !query_key_parse(chosen, &key))
        ok = error_set(err, ERR_BAD_REQUEST, QUERY_ID_HEADER " must be a UUID, such as %s", id);
    else if (chosen && !registry_id_is_free(q->f->registry, chosen, caller_of(q->f, q->x).key))
        ok = error_set(err, ERR_CONFLICT, "the query id %s is in use", chosen);
    else if (chosen)
        memcpy(id, chosen, QUERY_ID_BYTES);
    exchange_add_header(q->x, QUERY_ID_HEADER, id);
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
    static const char *const known[] = {"timeout", "format", "max_rows", "big_numbers", "session", "profile"};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(name, known[i]) == 0)
            return 0;
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
    const char *whose = timeout_max_ms < c->limits.timeout_max_ms ? "this key's timeout_max" : "the server's timeout_max";
    if (q->admin && c->admin.timeout_ms < timeout_max_ms) {
        timeout_max_ms = c->admin.timeout_ms;
        whose = "[admin] timeout";
    }
    int64_t timeout_ms = q->admin ? c->admin.timeout_ms : c->limits.timeout_ms;
    struct query_limits limits = {c->limits.max_sql_bytes, timeout_ms < timeout_max_ms ? timeout_ms : timeout_max_ms, timeout_max_ms, whose,
                                  q->asynchronous};
    size_t len;
    const char *body = exchange_body(x, &len);
    const char *type = exchange_header(x, "Content-Type"), *coding = exchange_header(x, "Content-Encoding");
    if (coding && strcasecmp(coding, "identity") != 0)
        return error_set(err, ERR_UNSUPPORTED_MEDIA_TYPE, "Content-Encoding '%.60s' is not supported; send the body as it is", coding);
    if (type && !charset_is_utf8(type))
        return error_set(err, ERR_UNSUPPORTED_MEDIA_TYPE, "the body must be UTF-8");
    if (type && media_is(type, "application/json"))
        return exchange_each_param(x, no_param, err) < 0 ? -1 : query_request_from_json(body, len, &limits, r, err);
    if (type && (media_is(type, "text/plain") || media_is(type, "application/sql"))) {
        if (exchange_each_param(x, known_param, err) < 0)
            return -1;
        struct query_texts texts = {exchange_param(x, "timeout"),     exchange_param(x, "format"),  exchange_param(x, "max_rows"),
                                    exchange_param(x, "big_numbers"), exchange_param(x, "session"), exchange_param(x, "profile")};
        return query_request_from_text(body, len, &texts, &limits, r, err);
    }
    return error_set(err, ERR_UNSUPPORTED_MEDIA_TYPE, "Content-Type %s%.60s%s is not supported; send application/json, text/plain or application/sql",
                     type ? "'" : "is missing and", type ? type : "", type ? "'" : "");
}

/* The request as a whole, with the form of its answer. */
static int read_request(struct query *q, struct query_request *r, struct error *err)
{
    if (parse(q, r, err) < 0)
        return -1;
    struct wishes wishes = {r->format, exchange_header(q->x, "Accept"), exchange_header(q->x, "Accept-Encoding")};
    if (negotiate(&wishes, &q->form, err) == 0)
        return 0;
    query_request_clear(r);
    return -1;
}

/* A query that never became a job. */
static void refuse(struct query *q, const struct error *err)
{
    struct front *f = q->f;
    if (q->record)
        registry_drop(f->registry, q->record);
    q->record = NULL;
    query_count(q, err);
    if (q->x) {
        exchange_set_user(q->x, NULL);
        exchange_problem(q->x, err, q->job->query_id);
    }
    query_finish(q);
}

static void enter(struct query *q)
{
    struct front *f = q->f;
    exchange_set_user(q->x, &q->asker);
    if (!q->schema) {
        q->record = registry_add(f->registry, q->job->query_id, caller_of(f, q->x).key, q->job->sql, q->job->sql_len);
        q->record->live = q;
        q->record->asynchronous = q->asynchronous;
        gone_note(&f->page->queries, gone_hash(q->record->key.high, q->record->key.low, q->record->owner));
    }
}

/* 0, or -1: it is refused, and gone. */
static int submit(struct query *q)
{
    struct error err;
    if (pool_submit(q->pool, q->job, &err) == 0)
        return 0;
    refuse(q, &err);
    return -1;
}

void query_file_refused(struct query *q, const struct error *err)
{
    q->export_state = EXPORT_NONE;
    refuse(q, err);
}

/* A job may be over before pool_submit returns; then its query is gone, and has been answered. */
static bool lives(const struct front *f, const struct query *q)
{
    const struct query *at = f->queries;
    while (at && at != q)
        at = at->next;
    return at != NULL;
}

void query_file_opened(struct query *q, struct spool_file *file)
{
    struct front *f = q->f;
    struct error err;
    q->file = file;
    if (!q->x || q->job->stop_reason != STOP_FOR_NOTHING) {
        error_set(&err, ERR_CANCELLED, "the query was cancelled, or its client left, before it was accepted");
        refuse(q, &err);
    } else if (submit(q) == 0 && lives(f, q)) {
        async_accepted(q);
    }
}

static int place(struct query *q, struct query_request *r, struct error *err)
{
    if (q->admin)
        return admin_place(q, r, err);
    if (r->destination_path && export_check(q, r, err) < 0)
        return -1;
    bool kept = q->asynchronous && !r->destination_path;
    if (kept && (spool_check(q->f->spool, q->job->tenant, 1, err) < 0 || results_check(q->f->results, caller_of(q->f, q->x).key, err) < 0))
        return -1;
    return query_place(q, r, err);
}

/* With a destination it waits for its file first. 0; 1: it waits; -1: it is refused, and gone. */
static int begin(struct query *q, const struct query_request *r)
{
    struct error err;
    enter(q);
    if (r->destination_path)
        record_set_destination(q->record, r->destination_source, r->destination_path);
    if (!r->destination_path || q->job->url)
        return submit(q);
    q->job->submitted_ns = clock_now_ns();
    if (export_begin(q, r->destination_source, r->destination_path, &err) == 0)
        return 1;
    refuse(q, &err);
    return -1;
}

/* The checked request becomes the job. As begin. */
static int post(struct query *q)
{
    struct front *f = q->f;
    struct query_request r;
    struct error err;
    if (set_id(q, &err) < 0 || read_request(q, &r, &err) < 0) {
        refuse(q, &err);
        return -1;
    }
    struct job *j = q->job;
    int begun = place(q, &r, &err);
    j->sql = r.sql;
    j->sql_len = r.sql_len;
    j->params = r.params;
    j->params_len = r.params_len;
    j->timeout_ms = r.timeout_ms;
    j->short_timeout = r.timeout_ms < f->cfg->limits.timeout_ms && r.timeout_ms < j->tenant->limits.timeout_max_ms;
    j->max_rows = r.max_rows;
    j->max_bytes = (uint64_t)f->cfg->limits.max_result_bytes;
    j->format = q->form.format;
    j->coding = q->form.coding;
    j->ipc_coding = q->form.ipc_coding;
    j->big_numbers_as_text = r.big_numbers_as_text;
    j->profile = r.profile;
    if (begun < 0)
        refuse(q, &err);
    else
        begun = begin(q, &r);
    r.sql = r.params = NULL; /* the job's */
    query_request_clear(&r);
    return begun;
}

void query_post(struct front *f, struct exchange *x) { (void)post(query_new(f, x)); }

void query_post_asynchronous(struct front *f, struct exchange *x)
{
    struct query *q = query_new(f, x);
    q->asynchronous = true;
    q->job->class = JOB_BACKGROUND;
    async_take(q);
    if (post(q) == 0 && lives(f, q))
        async_accepted(q);
}

void query_admin(struct front *f, struct exchange *x)
{
    struct query *q = query_new(f, x);
    q->admin = true;
    (void)post(q);
}

void query_schema(struct front *f, struct exchange *x)
{
    struct query *q = query_new(f, x);
    q->schema = true;
    q->without_body = exchange_method(x) == HTTP_M_HEAD;
    struct job *j = q->job;
    query_id_make(f, j->query_id);
    j->sql = strdup("");
    CHECK(j->sql);
    j->timeout_ms = f->cfg->limits.timeout_ms;
    if (j->timeout_ms > j->tenant->limits.timeout_max_ms)
        j->timeout_ms = j->tenant->limits.timeout_max_ms;
    j->format = FORMAT_RAW; /* with no SQL: the worker's own statement for the schema */
    enter(q);
    (void)submit(q);
}
